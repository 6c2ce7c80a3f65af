from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score
from spacy.vocab import Vocab

from clinical_ner.scoring.average_precision import RankedSpans
from clinical_ner.scoring.bootstrap import percentile_interval, resample_weights
from clinical_ner.scoring.counts import DocumentCounts
from clinical_ner.scoring.entities import DocumentEntities, count_entity_reliability
from clinical_ner.scoring.evaluation import (
    EvaluationCounts,
    ProbabilityCounts,
    evaluation_metrics,
    evaluation_scores,
    evaluation_statistics,
)
from clinical_ner.scoring.probabilities import DETAIL_SCORES, ProbabilityDetails
from clinical_ner.scoring.reliability import count_tokens
from clinical_ner.scoring.scorers import EntityCounts, count_entities

from .examples import random_example


def entity_counts(table: dict[str, list[int]]) -> EntityCounts:
    tokens = DocumentCounts.stack([{"O": [1, 1]}], kinds=2)
    return EntityCounts(DocumentCounts.stack([table], kinds=3), tokens)


def test_rare_types_are_those_under_a_hundred_mentions_and_in_gold() -> None:
    table = {"common": [9, 1, 0], "rare": [1, 1, 1], "new": [0, 0, 2], "not_in_gold": [0, 3, 0]}
    mentions = {"common": 100, "rare": 99, "not_in_gold": 5}
    scores = evaluation_scores(
        EvaluationCounts(("a",), entity_counts(table), training_mentions=mentions)
    )
    # "new" had no mention in training at all.
    assert scores["ents_macro_f_rare"] == pytest.approx((2 * 1 / 4 + 0) / 2)
    assert scores["ents_macro_rare_types"] == 2


def test_macro_f_of_rare_types_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    gold, found = rng.integers(0, 4, size=(2, 300))
    names = ["a", "b", "c", "d"]
    table = {
        name: [
            int(((gold == i) & (found == i)).sum()),
            int(((gold != i) & (found == i)).sum()),
            int(((gold == i) & (found != i)).sum()),
        ]
        for i, name in enumerate(names)
    }
    mentions = {"a": 500, "b": 20, "c": 500, "d": 1}
    counts = EvaluationCounts(("x",), entity_counts(table), training_mentions=mentions)
    expected = f1_score(gold, found, labels=[1, 3], average="macro")
    assert float(evaluation_statistics(counts)["ents_macro_f_rare"]) == pytest.approx(expected)


def probability_counts() -> ProbabilityCounts:
    tags = np.array(
        [
            [[8, 7.0, 9], [1, 1.5, 1], [1, 1.0, 0], [0, 0.5, 0], [0, 0.0, 0]],
            [[4, 4.5, 5], [1, 0.2, 0], [0, 0.1, 0], [0, 0.1, 0], [0, 0.1, 0]],
        ]
    )
    bins = np.array([[[10, 9.0, 8]], [[5, 4.0, 4]]], dtype=float)
    return ProbabilityCounts(
        DocumentCounts(("bin 01",), bins),
        DocumentCounts(("O", "B-rare", "I-rare", "B-common", "I-common"), tags),
        ("rare",),
    )


def test_the_mass_of_the_rarest_third_pools_begin_and_inside() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probability_counts())
    statistics = evaluation_statistics(counts, np.array([[1, 1], [0, 2]]))
    np.testing.assert_allclose(
        statistics["mass_ratio_rarest_third"], [(1.5 + 1.0 + 0.2 + 0.1) / 3, 0.3]
    )
    np.testing.assert_allclose(statistics["token_ece"], [1 / 15, 0.0])


def two_documents() -> EntityCounts:
    rng = np.random.default_rng(3)
    vocab = Vocab()
    return count_entities([random_example(rng, vocab) for _ in range(2)])


def test_prior_ratios_are_null_where_gold_has_none_of_the_tag() -> None:
    scores = evaluation_scores(EvaluationCounts(("a", "b"), two_documents(), probability_counts()))
    ratios = scores["prior_ratios"]
    assert ratios["B-rare"] == pytest.approx({"share": 2 / 15, "mass": 0.85, "argmax": 0.5})
    assert ratios["B-common"] == {"share": 0.0, "mass": None, "argmax": None}


def test_the_ratios_of_a_type_pool_begin_and_inside() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probability_counts())
    ratios = evaluation_scores(counts)["prior_ratios_per_type"]
    assert list(ratios) == ["rare", "common"]
    expected = {"tokens": 3, "share": 3 / 15, "mass": 2.8 / 3, "argmax": 1 / 3}
    assert ratios["rare"] == pytest.approx(expected)
    assert ratios["common"] == {"tokens": 0, "share": 0.0, "mass": None, "argmax": None}


def test_the_mass_of_a_type_has_the_interval_of_the_documents_drawn() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probability_counts())
    weights = np.array([[2, 0], [1, 1], [0, 2]])
    ratios = evaluation_metrics(counts, weights)["prior_ratios_per_type"]
    masses = np.array([2.5 / 2, 2.8 / 3, 0.3 / 1])
    assert ratios["rare"]["mass_interval"] == pytest.approx(percentile_interval(masses))
    assert ratios["common"]["mass_interval"] is None


def details(*, calibrated: bool = True) -> ProbabilityDetails:
    rng = np.random.default_rng(0)
    log_probs = [np.log(rng.dirichlet(np.ones(5), size=n)) for n in (10, 5)]
    truths = [rng.integers(0, 5, size=n) for n in (10, 5)]
    tokens = count_tokens(log_probs, truths, tags=list("abcde"))
    raw = count_tokens([2 * rows for rows in log_probs], truths, tags=list("abcde"))
    right = np.array([True, False])
    entities = [DocumentEntities(np.array([0.9, 0.2]), right, np.array([0.1]))] * 2
    sure = [DocumentEntities(np.array([0.9, 0.9]), right, np.array([0.1]))] * 2
    ranked = RankedSpans.rank(
        [[("Age", 0.9, True), ("Age", 0.5, False)], [("Sign_symptom", 0.4, True)]],
        [{"Age": 2}, {"Sign_symptom": 1, "Disease_disorder": 1}],
    )
    before = (raw, count_entity_reliability(sure)) if calibrated else None
    made = RankedSpans.rank(
        [[("rare", 0.9, True), ("Age", 0.5, False)], [("Age", 0.4, True)]],
        [{"Age": 2, "rare": 2}, {}],
    )
    return ProbabilityDetails(tokens, count_entity_reliability(entities), ranked, made, before)


def test_scores_before_calibration_stand_beside_those_after_it() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probability_counts(), {}, details())
    scores = evaluation_scores(counts)
    before = scores["before_calibration"]
    assert scores["calibrated"] is True
    assert set(before) == {
        *("token_ece", "token_classwise_ece", "token_nll", "ents_ece", "ents_brier")
    }
    assert before["ents_brier"] == pytest.approx((0.01 + 0.81) / 2)
    assert scores["ents_brier"] == pytest.approx((0.01 + 0.04) / 2)
    assert before["token_nll"] == pytest.approx(2 * scores["token_nll"])
    assert set(scores["reliability"]) == {
        *("tokens", "tokens_before", "entities", "entities_before")
    }
    assert scores["reliability"]["entities_before"] == [
        {"confidence": pytest.approx(0.9), "accuracy": 0.5, "count": 4}
    ]


def test_a_pipeline_that_is_not_calibrated_has_nothing_before() -> None:
    found = details(calibrated=False)
    scores = evaluation_scores(EvaluationCounts(("a", "b"), two_documents(), None, {}, found))
    assert scores["calibrated"] is False and scores["before_calibration"] is None
    assert set(scores["reliability"]) == {"tokens", "entities"}


def test_types_are_grouped_by_their_training_mentions() -> None:
    mentions = {"Age": 1000, "Sign_symptom": 99}
    scores = evaluation_scores(
        EvaluationCounts(("a", "b"), two_documents(), None, mentions, details())
    )
    often, seldom = scores["precision_recall"]
    assert often["group"] == "1000 or more training mentions"
    assert (often["types"], often["gold"], often["ap"]) == (1, 2, 0.5)
    assert (often["recall"], often["precision"]) == ([0.5, 0.5], [1.0, 0.5])
    assert seldom["group"] == "under 100 training mentions"
    assert (seldom["types"], seldom["gold"], seldom["ap"]) == (2, 2, 0.5)
    unknown = EvaluationCounts(("a", "b"), two_documents(), details=details())
    (only,) = evaluation_scores(unknown)["precision_recall"]
    assert (only["group"], only["gold"]) == ("all types", 4)


def test_risk_and_coverage_are_of_all_types_and_of_the_rarest_third() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probability_counts(), {}, details())
    of_all, rare = evaluation_scores(counts)["risk_coverage"]
    assert (of_all["group"], of_all["made"], of_all["gold"]) == ("all types", 3, 4)
    assert of_all["share"] == pytest.approx([1 / 3, 2 / 3, 1])
    assert of_all["precision"] == pytest.approx([1, 1 / 2, 2 / 3])
    assert of_all["recall"] == [0.25, 0.25, 0.5] and of_all["threshold"] == [0.9, 0.5, 0.4]
    assert (rare["group"], rare["made"], rare["gold"]) == ("rarest third of the types", 1, 2)
    assert (rare["share"], rare["precision"], rare["recall"]) == ([1.0], [1.0], [0.5])


def test_average_precision_stands_with_each_type_and_has_intervals() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), None, {}, details())
    weights = resample_weights(2, resamples=50, seed=0)
    metrics = evaluation_metrics(counts, weights)
    found = {label: of["ap"] for label, of in metrics["ents_per_type"].items()}
    assert found == {"Age": 0.5, "Disease_disorder": 0.0, "Sign_symptom": 1.0}
    assert metrics["ents_macro_ap"] == 0.5
    assert metrics["ents_ap_intervals"]["Age"] == (0.5, 0.5)
    assert set(DETAIL_SCORES) < set(metrics["intervals"])
    low, high = metrics["intervals"]["ents_micro_ap"]
    assert low <= metrics["ents_micro_ap"] <= high and low < high


def test_details_are_not_kept_and_their_scores_then_undefined() -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probability_counts(), {}, details())
    again = EvaluationCounts.from_dict(json.loads(json.dumps(counts.to_dict())))
    assert again.details is None
    weights = np.array([[1, 1], [0, 2]])
    whole, read = (evaluation_statistics(of, weights) for of in (counts, again))
    for name, values in read.items():
        if name in DETAIL_SCORES:
            assert values.shape == (2,) and np.isnan(values).all()
            assert not np.isnan(whole[name]).all()
        else:
            np.testing.assert_array_equal(values, whole[name])


def test_without_probabilities_and_mentions_the_scores_are_null() -> None:
    metrics = evaluation_metrics(EvaluationCounts(("a", "b"), two_documents()), np.ones((3, 2)))
    for name in (
        *("token_ece", "mass_ratio_rarest_third", "prior_ratios", "rarest_third"),
        *("prior_ratios_per_type", "calibrated", "before_calibration", "token_nll_left_out"),
        *("reliability", "precision_recall", "risk_coverage", "ents_ap_intervals"),
        *DETAIL_SCORES,
    ):
        assert metrics[name] is None
    assert all(metrics["intervals"][name] is None for name in DETAIL_SCORES)
    scores = evaluation_scores(EvaluationCounts(("a", "b"), two_documents()))
    assert all(of["ap"] is None for of in scores["ents_per_type"].values())
    assert scores["ents_macro_f_rare"] is scores["ents_macro_rare_types"] is None


@pytest.mark.parametrize("probabilities", [None, probability_counts()])
def test_counts_survive_json(probabilities: ProbabilityCounts | None) -> None:
    counts = EvaluationCounts(("a", "b"), two_documents(), probabilities, {"Age": 3})
    again = EvaluationCounts.from_dict(json.loads(json.dumps(counts.to_dict())))
    assert evaluation_scores(again) == evaluation_scores(counts)
    weights = np.array([[2, 0], [0, 2]])
    for name, values in evaluation_statistics(counts, weights).items():
        np.testing.assert_array_equal(evaluation_statistics(again, weights)[name], values)


def test_counts_without_any_entity_survive_json() -> None:
    empty = EntityCounts(
        DocumentCounts.stack([{}, {}], kinds=3), DocumentCounts.stack([{}, {}], kinds=2)
    )
    counts = EvaluationCounts(("a", "b"), empty)
    again = EvaluationCounts.from_dict(json.loads(json.dumps(counts.to_dict())))
    assert again.entities.spans.counts.shape == (2, 0, 3)
    assert evaluation_scores(again) == evaluation_scores(counts)
