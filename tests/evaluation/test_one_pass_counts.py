from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import spacy
from sklearn.metrics import average_precision_score
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline
from clinical_ner.evaluation.runner import recognizer_of
from clinical_ner.pipeline.recognizer import ClinicalNer
from clinical_ner.scoring.evaluation import evaluation_scores
from clinical_ner.scoring.prior import prior_ratios
from clinical_ner.scoring.reliability import token_calibration_error
from clinical_ner.scoring.scorers import entity_scores, score_entities
from clinical_ner.tags.encode import gold_tags

from ..pipeline.examples import TRAIN, make_examples, train


@pytest.fixture(scope="module")
def nlp() -> Language:
    nlp = spacy.blank("en")
    # So few steps and words that the decision depends on the prior, which smoothing would even out.
    nlp.add_pipe("clinical_ner", name="ner", config={"prior_smoothing": 0.01})
    return train(nlp, steps=3)


@pytest.fixture
def references(nlp: Language) -> list[Doc]:
    docs = [example.reference for example in make_examples(nlp)]
    return [*docs, Doc(nlp.vocab, words=[])]


def test_probabilities_are_those_of_the_component(nlp: Language, references: list[Doc]) -> None:
    component = nlp.get_pipe("ner")
    docs = [nlp(doc.text) for doc in references]
    tags = component.statistics.tags
    rows, truths = [], []
    for doc, reference in zip(docs, references, strict=True):
        rows.append(np.exp(component.predict([doc])[0].astype("float64")))
        truths += [tags.index(tag) for tag in gold_tags(Example(doc, reference))]
    probabilities, gold = np.concatenate(rows), np.array(truths)
    scores = evaluation_scores(evaluate_pipeline(nlp, references).counts)
    assert scores["token_ece"] == pytest.approx(token_calibration_error(probabilities, gold))
    shares = np.bincount(gold, minlength=len(tags)) / len(gold)
    mass, argmax = prior_ratios(probabilities, shares)
    for i, tag in enumerate(tags):
        expected = {"share": shares[i], "mass": mass[i], "argmax": argmax[i]}
        found = scores["prior_ratios"][tag]
        assert found == pytest.approx(expected) if shares[i] else found["mass"] is None


def test_decisions_at_other_strengths_are_those_of_the_component(
    nlp: Language, references: list[Doc]
) -> None:
    evaluation = evaluate_pipeline(nlp, references, prior_strengths=[1.0, 0.5, 0.0])
    component = nlp.get_pipe("ner")
    assert component.prior_strength == evaluation.prior_strength == 1.0
    assert list(evaluation.decisions) == [0.0, 0.5]
    found = {1.0: evaluation.counts, **evaluation.decisions}
    recalls = []
    for strength, counts in found.items():
        component.prior_strength = strength
        expected = score_entities([Example(nlp(doc.text), doc) for doc in references])
        component.prior_strength = 1.0
        assert entity_scores(counts.entities) == expected
        scores = evaluation_scores(counts)
        recalls.append(scores["ents_r"])
    assert len(set(recalls)) > 1


def test_training_mentions_come_from_the_component_unless_given(
    nlp: Language, references: list[Doc]
) -> None:
    mentions = evaluate_pipeline(nlp, references).counts.training_mentions
    assert mentions == {"Dose": 1, "Drug": 1, "Sign": 4}
    given = evaluate_pipeline(nlp, references, training_mentions={"Sign": 9}).counts
    assert given.training_mentions == {"Sign": 9}


def test_later_components_may_merge_tokens(nlp: Language, references: list[Doc]) -> None:
    expected = evaluation_scores(evaluate_pipeline(nlp, references).counts)["prior_ratios"]
    nlp.add_pipe("merge_entities")
    try:
        found = evaluation_scores(evaluate_pipeline(nlp, references).counts)["prior_ratios"]
    finally:
        nlp.remove_pipe("merge_entities")
    for tag, ratios in expected.items():
        assert found[tag] == pytest.approx(ratios)


def test_labels_that_the_model_lacks_are_never_right(nlp: Language) -> None:
    doc = nlp.make_doc(TRAIN[2][0])
    doc.set_ents([Span(doc, 0, 3, "Unknown")], default="outside")
    counts = evaluate_pipeline(nlp, [doc]).counts.probabilities
    assert counts is not None
    tokens, _, correct = counts.bins.totals().sum(axis=0)
    assert (tokens, correct) == (3, 0)


@pytest.fixture(scope="module")
def finding() -> Language:
    """Finds some entities, one of them wrong, and misses others."""
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    return train(nlp, steps=4)


@pytest.fixture
def calibrated(finding: Language) -> Iterator[ClinicalNer]:
    component = finding.get_pipe("ner")
    bias = (0.0, 0.3, -0.2, 0.1, 0.4, 0.3, 0.2)
    component.calibration = Calibration(TokenCalibration(0.8, bias), EntityCalibration(0.8, -0.4))
    yield component
    component.calibration = None
    component.thresholds = {}


def test_the_scores_before_calibration_are_those_without_it(
    finding: Language, references: list[Doc], calibrated: ClinicalNer
) -> None:
    calibration = calibrated.calibration
    found = evaluation_scores(evaluate_pipeline(finding, references).counts)
    assert calibrated.calibration is calibration
    calibrated.calibration = None
    plain = evaluation_scores(evaluate_pipeline(finding, references).counts)
    assert (found["calibrated"], plain["calibrated"]) == (True, False)
    for name, value in found["before_calibration"].items():
        assert value == (None if plain[name] is None else pytest.approx(plain[name], abs=1e-5))
    assert found["token_nll"] != pytest.approx(plain["token_nll"], rel=0.01)
    assert found["ents_brier"] is not None


def test_the_scores_of_entities_are_those_on_the_documents(
    finding: Language, references: list[Doc], calibrated: ClinicalNer
) -> None:
    scores = evaluation_scores(evaluate_pipeline(finding, references).counts)
    errors, missed = [], []
    for reference in references:
        doc = finding(reference.text)
        gold = {(ent.start, ent.end, ent.label_) for ent in reference.ents}
        for span in doc.spans["ner"]:
            key = (span.start, span.end, span.label_)
            errors.append((span._.probability - (key in gold)) ** 2)
            gold.discard(key)
        missed += [calibrated.span_probability(doc, *key) for key in gold]
    assert len(errors) > 1 and len(missed) > 1
    assert scores["ents_brier"] == pytest.approx(np.mean(errors))
    assert scores["ents_missed_probability"] == pytest.approx(np.mean(missed))


def test_entities_below_a_threshold_are_missed(
    finding: Language, references: list[Doc], calibrated: ClinicalNer
) -> None:
    before = evaluation_scores(evaluate_pipeline(finding, references).counts)
    calibrated.thresholds = dict.fromkeys(calibrated.labels, 1.0)
    after = evaluation_scores(evaluate_pipeline(finding, references).counts)
    assert after["ents_f"] == 0 and after["ents_ece"] is after["ents_brier"] is None
    assert after["reliability"]["entities"] == []
    assert after["ents_missed_probability"] > before["ents_missed_probability"]
    # A decision changes no probability.
    for name in ("token_nll", "token_classwise_ece", "ents_micro_ap", "precision_recall"):
        assert after[name] == before[name]


def test_candidates_are_ranked_as_the_component_gives_them(
    nlp: Language, references: list[Doc]
) -> None:
    component = nlp.get_pipe("ner")
    right, probabilities, gold = [], [], 0
    for reference in references:
        wanted = {(ent.start, ent.end, ent.label_) for ent in reference.ents}
        gold += len(wanted)
        for start, end, label, probability in component.candidates(nlp(reference.text), 0.01):
            right.append((start, end, label) in wanted)
            probabilities.append(probability)
    scores = evaluation_scores(evaluate_pipeline(nlp, references).counts)
    expected = average_precision_score(right, probabilities) * sum(right) / gold
    assert scores["ents_micro_ap"] == pytest.approx(expected)


def test_a_type_that_only_gold_has_is_never_found(nlp: Language) -> None:
    doc = nlp.make_doc(TRAIN[2][0])
    doc.set_ents([Span(doc, 0, 3, "Unknown")], default="outside")
    scores = evaluation_scores(evaluate_pipeline(nlp, [doc]).counts)
    assert scores["ents_per_type"]["Unknown"]["ap"] == 0.0
    assert scores["ents_missed_probability"] == 0.0 and scores["ents_missed_ece"] == 1.0
    assert (scores["token_nll"], scores["token_nll_left_out"]) == (None, 3)


def test_documents_without_gold_or_tokens_have_no_scores(nlp: Language) -> None:
    docs = [nlp.make_doc("patient has fever"), nlp.make_doc("")]
    scores = evaluation_scores(evaluate_pipeline(nlp, docs).counts)
    for name in ("token_ece", "token_nll", "ents_ece", "ents_missed_ece", "ents_micro_ap"):
        assert scores[name] is None
    assert scores["precision_recall"] == []
    assert scores["reliability"] == {"tokens": [], "entities": []}


def test_further_decisions_have_no_details(nlp: Language, references: list[Doc]) -> None:
    evaluation = evaluate_pipeline(nlp, references, prior_strengths=[0.0])
    assert evaluation.counts.details is not None
    assert evaluation.decisions[0.0].details is None


def test_a_loss_without_posterior_has_no_probabilities() -> None:
    nlp = spacy.blank("en")
    loss = {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "reduction": "classes"}
    nlp.add_pipe("clinical_ner", name="ner", config={"loss": loss})
    train(nlp, steps=1)
    assert recognizer_of(nlp) is None
    references = [example.reference for example in make_examples(nlp)]
    evaluation = evaluate_pipeline(nlp, references, prior_strengths=[0.5])
    assert evaluation.prior_strength is None and evaluation.decisions == {}
    assert evaluation_scores(evaluation.counts)["token_ece"] is None
