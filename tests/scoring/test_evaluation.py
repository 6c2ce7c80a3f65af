from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score
from spacy.vocab import Vocab

from clinical_ner.scoring.counts import DocumentCounts
from clinical_ner.scoring.evaluation import (
    EvaluationCounts,
    ProbabilityCounts,
    evaluation_scores,
    evaluation_statistics,
)
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


def test_without_probabilities_and_mentions_the_scores_are_null() -> None:
    scores = evaluation_scores(EvaluationCounts(("a", "b"), two_documents()))
    for name in ("token_ece", "mass_ratio_rarest_third", "prior_ratios", "rarest_third"):
        assert scores[name] is None
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
