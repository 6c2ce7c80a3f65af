"""What is scored of a component with ``overlaps``, on documents counted by hand."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.metrics import average_precision_score
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.gold import overlapping_gold, set_gold
from clinical_ner.errors import InputError
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.evaluation.one_pass_counts import evaluate_pipeline
from clinical_ner.scoring.evaluation import EvaluationCounts, evaluation_scores
from clinical_ner.scoring.scorers import entity_scores
from clinical_ner.tags.encode import gold_tags

from ..pipeline.test_overlaps import make_corpus, make_nlp, recognizer, some_calibration, train

#: What entities at less than certainty are dropped of.
SILENT = {"Gender": 1.0, "Age": 1.0}


@pytest.fixture(scope="module")
def perfect() -> Language:
    """Finds all 11 mentions: 2 Age, 3 Gender, 3 Sign, 3 Subject."""
    return train(make_nlp())


@pytest.fixture(scope="module")
def unsure() -> Language:
    return train(make_nlp(), steps=9)


@pytest.fixture
def nlp(perfect: Language) -> Iterator[Language]:
    """The same without Gender and Age: 6 are found."""
    recognizer(perfect).thresholds = SILENT
    yield perfect
    recognizer(perfect).thresholds = {}


@pytest.fixture
def data(nlp: Language, tmp_path: Path) -> tuple[Path, Path]:
    nlp.to_disk(tmp_path / "model")
    write_docbin(references(nlp), tmp_path / "gold.spacy")
    return tmp_path / "model", tmp_path / "gold.spacy"


def references(nlp: Language) -> list[Doc]:
    empty = Doc(nlp.vocab)
    set_gold(empty, [])
    return [*(example.reference for example in make_corpus(nlp)), empty]


def scores_of(nlp: Language) -> dict[str, Any]:
    return evaluation_scores(evaluate_pipeline(nlp, references(nlp)).counts)


def test_spans_are_scored_against_all_mentions_and_entities_against_the_flat_ones(
    data: tuple[Path, Path],
) -> None:
    metrics = evaluate(*data, resamples=100)
    assert metrics["spans_p"] == 1.0
    assert metrics["spans_r"] == 6 / 11
    assert metrics["spans_f"] == pytest.approx(12 / 17)
    assert (metrics["spans_macro_f"], metrics["spans_macro_types"]) == (0.5, 4)
    row = {"p": 1.0, "r": 1.0, "f": 1.0, "support": 3, "predicted": 3, "ap": 1.0}
    silent = {"p": 0.0, "r": 0.0, "f": 0.0, "predicted": 0, "ap": 1.0}
    assert metrics["spans_per_type"] == {
        "Age": {**silent, "support": 2},
        "Gender": {**silent, "support": 3},
        "Sign": row,
        "Subject": row,
    }
    # Gold entities: 2 Subjects, 3 Signs, and of "man", which is both, the Gender.
    assert metrics["ents_p"] == metrics["ents_r"] == pytest.approx(5 / 6)
    assert metrics["ents_macro_f"] == pytest.approx((0 + 1 + 4 / 5) / 3)
    for name in ("spans_f", "spans_macro_f", "ents_f", "recall_beyond_flat"):
        low, high = metrics["intervals"][name]
        assert 0 <= low <= metrics[name] <= high <= 1 and low < high


def test_mentions_that_flat_entities_leave_out_have_a_recall(data: tuple[Path, Path]) -> None:
    metrics = evaluate(*data, resamples=5)
    # Age and Gender within Subject, twice, and the Subject that is a Gender: only it is found.
    assert (metrics["beyond_flat_mentions"], metrics["found_beyond_flat"]) == (5, 1)
    assert metrics["recall_beyond_flat"] == 0.2
    assert metrics["beyond_flat_per_type"]["Age"] == {
        "beyond_flat_mentions": 2,
        "found_beyond_flat": 0,
        "recall_beyond_flat": 0.0,
    }
    assert set(metrics["beyond_flat_per_type"]) == {"Age", "Gender", "Subject"}


def test_the_ceiling_is_that_of_spans_that_may_overlap(data: tuple[Path, Path]) -> None:
    metrics = evaluate(*data, resamples=5)
    assert (metrics["gold_mentions"], metrics["stated_mentions"]) == (11, 11)
    assert (metrics["found_mentions"], metrics["recall_all_mentions"]) == (6, 6 / 11)


def test_the_scores_are_those_of_the_components_scorer(nlp: Language) -> None:
    found, expected = scores_of(nlp), nlp.evaluate(make_corpus(nlp))
    for name in ("p", "r", "f", "macro_f"):
        assert found[f"spans_{name}"] == expected[f"spans_{name}"]
        assert found[f"ents_{name}"] == expected[f"ents_{name}"]


def test_tokens_that_a_later_component_merges_change_no_score(nlp: Language) -> None:
    expected = scores_of(nlp)
    nlp.add_pipe("merge_entities")
    try:
        found = scores_of(nlp)
    finally:
        nlp.remove_pipe("merge_entities")
    assert found["spans_per_type"] == expected["spans_per_type"]
    assert found["ents_f"] == expected["ents_f"]


def by_hand(nlp: Language) -> dict[str, list[Any]]:
    """Probabilities of what is found, missed, and might be found, by way of the component."""
    component = recognizer(nlp)
    made: dict[str, list[Any]] = {"errors": [], "missed": [], "right": [], "candidates": []}
    gold_spans = 0
    for reference in references(nlp):
        doc = nlp(reference.text)
        gold = {(span.start, span.end, span.label_) for span in overlapping_gold(reference)}
        gold_spans += len(gold)
        for start, end, label, probability in component.candidates(doc, 0.01) if len(doc) else ():
            made["right"].append((start, end, label) in gold)
            made["candidates"].append(probability)
        spans = [(of.start, of.end, of.label_) for of in doc.spans["ner"]]
        scores = doc.spans["ner"].attrs["scores"]
        made["errors"] += [(p - (of in gold)) ** 2 for of, p in zip(spans, scores, strict=True)]
        made["missed"] += [component.span_probability(doc, *of) for of in gold - set(spans)]
    made["gold"] = [gold_spans]
    return made


def test_probabilities_of_spans_are_held_against_all_mentions(unsure: Language) -> None:
    component = recognizer(unsure)
    component.thresholds = {"Subject": 0.5}
    for calibration in (None, some_calibration(component)):
        component.calibration = calibration
        scores, made = scores_of(unsure), by_hand(unsure)
        assert len(made["errors"]) > 3 and len(made["missed"]) > 3
        assert scores["ents_brier"] == pytest.approx(np.mean(made["errors"]))
        assert scores["ents_missed_probability"] == pytest.approx(np.mean(made["missed"]))
        precision = average_precision_score(made["right"], made["candidates"])
        expected = precision * sum(made["right"]) / made["gold"][0]
        assert scores["ents_micro_ap"] == pytest.approx(expected)


def test_tokens_are_scored_by_the_softmax_over_all_tags_against_the_entities(
    unsure: Language,
) -> None:
    component = recognizer(unsure)
    component.calibration = None
    plain = scores_of(unsure)
    component.calibration = some_calibration(component)
    tags = component.statistics.tags
    surprise, mass, gold_tokens = [], np.zeros(len(tags)), np.zeros(len(tags))
    for reference in references(unsure)[:-1]:
        doc = unsure.make_doc(reference.text)
        rows = log_softmax(component.predict([doc])[0].astype("float64"), axis=1)
        gold = [tags.index(str(tag)) for tag in gold_tags(Example(doc, reference))]
        surprise += (-rows[np.arange(len(doc)), gold]).tolist()
        mass += np.exp(rows).sum(axis=0)
        gold_tokens += np.bincount(gold, minlength=len(tags))
    scores = scores_of(unsure)
    assert scores["token_nll"] == pytest.approx(np.mean(surprise), rel=1e-5)
    for tag in ("O", "B-Subject", "I-Subject", "B-Sign"):
        expected = mass[tags.index(tag)] / gold_tokens[tags.index(tag)]
        assert scores["prior_ratios"][tag]["mass"] == pytest.approx(expected, rel=1e-5)
    # What it was before calibration is what it is without it.
    for name, value in scores["before_calibration"].items():
        assert value == pytest.approx(plain[name], abs=1e-5), name


def test_decisions_at_other_strengths_are_those_of_the_component(unsure: Language) -> None:
    component = recognizer(unsure)
    component.calibration, component.thresholds = None, {}
    evaluation = evaluate_pipeline(unsure, references(unsure), prior_strengths=[0.0])
    component.prior_strength = 0.0
    expected = unsure.evaluate(make_corpus(unsure))
    component.prior_strength = 1.0
    found = entity_scores(evaluation.decisions[0.0].entities)
    assert found["spans_f"] == expected["spans_f"] and found["ents_f"] == expected["ents_f"]
    assert found["spans_r"] > entity_scores(evaluation.counts.entities)["spans_r"]


def test_counts_survive_json(nlp: Language) -> None:
    counts = evaluate_pipeline(nlp, references(nlp)).counts
    again = EvaluationCounts.from_dict(json.loads(json.dumps(counts.to_dict())))
    assert again.entities.mentions is not None
    assert entity_scores(again.entities) == entity_scores(counts.entities)


def test_the_tables_show_both_and_say_what_tokens_are_scored_by(
    data: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["evaluate", *map(str, data), "--resamples", "5"])
    out = capsys.readouterr().out
    rows = [[cell.strip() for cell in line.strip("│").split("│")] for line in out.splitlines()]
    values = {row[0]: row[1] for row in rows if len(row) > 1}
    assert values["all mentions: F1, micro"] == "0.706"
    assert values["all mentions: F1, macro (4 types)"] == "0.500"
    assert values["doc.ents: F1, micro"] == "0.833"
    assert values["doc.ents: F1, macro (3 types)"] == "0.600"
    assert values["recall of mentions that flat entities leave out (5)"] == "0.200"
    assert "Brier score of spans" in values and "Brier score of entities" not in values
    assert ["Subject", "1.000", "1.000", "1.000", "1.000", "3", "3", "0.800"] in rows
    assert "(spans that may overlap state 11 of 11 annotated mentions)" in out
    assert "Tokens are scored by the softmax over all tags" in out


def test_a_document_that_does_not_tell_its_mentions_is_an_error(nlp: Language) -> None:
    docs = references(nlp)
    docs[1].spans.clear()
    with pytest.raises(InputError, match=r"has no doc.spans\['gold_all'\].*clinical-ner convert"):
        evaluate_pipeline(nlp, docs)
