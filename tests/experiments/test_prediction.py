from __future__ import annotations

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from clinical_ner.experiments.prediction import evaluate_pipeline, recognizer_of
from clinical_ner.scoring.evaluation import evaluation_scores
from clinical_ner.scoring.prior import prior_ratios
from clinical_ner.scoring.reliability import token_calibration_error
from clinical_ner.scoring.scorers import score_entities
from clinical_ner.scoring.tokens import gold_tags

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
        scores = evaluation_scores(counts)
        assert {key: scores[key] for key in expected} == expected
        recalls.append(scores["ents_r"])
    assert len(set(recalls)) > 1


def test_training_mentions_come_from_the_component_unless_given(
    nlp: Language, references: list[Doc]
) -> None:
    mentions = evaluate_pipeline(nlp, references).counts.training_mentions
    assert mentions == {"Dose": 1, "Drug": 1, "Sign": 4}
    given = evaluate_pipeline(nlp, references, training_mentions={"Sign": 9}).counts
    assert given.training_mentions == {"Sign": 9}


def test_the_component_is_left_as_it_was(nlp: Language, references: list[Doc]) -> None:
    component = nlp.get_pipe("ner")
    before = component.set_annotations
    evaluate_pipeline(nlp, references, prior_strengths=[0.0])
    assert component.set_annotations == before


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
