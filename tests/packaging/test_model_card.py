from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language

from clinical_ner.errors import ClinicalNerError
from clinical_ner.packaging.corpus_card import (
    NOT_STATED,
    corpus_card,
    guideline_of,
    read_definitions,
)
from clinical_ner.packaging.figures import SCORES, SPAN_SCORES, check_same, out_of_fold_scores
from clinical_ner.packaging.model_card import as_html, model_card, sources

from ..conftest import CORPUS

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
ROW = {"p": 0.5, "r": 1.0, "f": 2 / 3, "support": 1, "predicted": 2}
SCORED: dict[str, Any] = dict.fromkeys(SCORES, 0.5) | {
    "ents_per_type": {"Sign": ROW, "Rare": {**ROW, "p": None, "predicted": 0}},
    "documents": 2,
    "ents_macro_types": 2,
    "intervals": {"ents_f": [0.421, 0.579]},
}


def make_nlp(
    scores: dict[str, Any] = SCORED,
    membership: dict[str, Any] | None = None,
    definitions: dict[str, str] | None = None,
    labels: tuple[str, ...] = ("Sign", "Rare"),
) -> Language:
    """A pipeline as it is when its card is written."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": label.lower()} for label in labels])
    nlp.meta["sources"] = [{"name": "notes", "license": "CC0-1.0", "url": "", "author": ""}]
    nlp.meta["training_notes"] = {"searched": True, "membership": membership}
    nlp.meta["model_card"] = {
        "scores": scores,
        "scored_on": "2 documents that took no part in training",
        "definitions": definitions or {},
    }
    return nlp


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def test_it_orders_the_types_by_support_and_keeps_its_columns() -> None:
    types = {"Few": ROW, "A|B": {**ROW, "support": 9}, "None": {**ROW, "p": None, "support": 0}}
    text = section(model_card(make_nlp({**SCORED, "ents_per_type": types}), "x"), "Scores")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert rows[rows.index("| type | precision | recall | F1 | support | predicted |") + 2 :] == [
        r"| A\|B | 50.0 | 100.0 | 66.7 | 9 | 2 |",
        "| Few | 50.0 | 100.0 | 66.7 | 1 | 2 |",
        "| None | n/a | 100.0 | 66.7 | 0 | 2 |",
    ]
    assert "| micro-F1 | 50.0 | 42.1 to 57.9 |" in rows
    assert "| macro-F1 (2 types) | 50.0 | n/a |" in rows


@pytest.mark.parametrize("beyond", [5, 0])
def test_overlaps_have_both_scores_and_a_table_of_all_mentions(beyond: int) -> None:
    scores = {
        **SCORED,
        **dict.fromkeys(SPAN_SCORES, 0.25),
        "spans_macro_types": 3,
        "spans_per_type": {"Nested": ROW},
        "beyond_flat_mentions": beyond,
        "recall_beyond_flat": 0.2 if beyond else None,
    }
    text = model_card(make_nlp(scores), "x")
    assert "| micro-F1 | 50.0 |" in text and "| micro-F1, all mentions | 25.0 |" in text
    assert "| macro-F1, all mentions (3 types) | 25.0 |" in text
    assert f"{beyond} mentions are beyond flat entities" in " ".join(text.split())
    assert ("| recall of mentions beyond flat entities | 20.0 |" in text) is bool(beyond)
    assert "| Nested | 50.0 |" in text and "| Sign | 50.0" not in text
    assert "calibration error of the mentions found" in text


def test_it_says_how_well_training_notes_are_told() -> None:
    score = {"auc": 0.631, "interval": [0.52, 0.734]}
    both = {"most_probable_tag": score, "gold_tag": score}
    measured = {"members": 112, "others": 32, **both, "before_calibration": both}
    text = " ".join(model_card(make_nlp(membership=measured), "x").split())
    assert "and hold none. Can the model tell" in text
    assert "in 63 of 100 pairs (95 % interval 52 to 73) for who knows both texts, and in" in text
    assert "50 is chance, 100 certainty; before calibration 63 and 63." in text


def test_labels_have_their_definitions_or_say_that_they_have_none() -> None:
    text = model_card(make_nlp(definitions={"Sign": "What is seen | felt."}), "x")
    assert r"| Sign | What is seen \| felt. |" in text and "| Rare | not defined |" in text
    assert "The labels come without definitions." in model_card(make_nlp(), "x")


@pytest.mark.parametrize("title", ["Use", "Data", "Scores", "Imbalance", "Other notes"])
def test_every_section_has_something_to_say(title: str) -> None:
    assert len(section(model_card(make_nlp(), "x"), title).split()) > 3


@pytest.mark.parametrize(
    "fault",
    [
        {"ents_f": "fever"},
        {"token_ece": "fever"},
        {"ents_macro_types": "fever"},
        {"intervals": {"ents_f": ["fever", 1]}},
        {"ents_per_type": {"Sign": {**ROW, "support": "fever"}}},
    ],
)
def test_a_text_in_place_of_a_number_is_not_shown(fault: dict[str, Any]) -> None:
    nlp = make_nlp({**SCORED, **fault})
    with pytest.raises((TypeError, ValueError)):
        model_card(nlp, "x")


def test_a_label_that_is_a_sentence_is_shown_as_its_digest() -> None:
    sentence = "She had fever since Tuesday and then some more"
    scores = {**SCORED, "ents_per_type": {sentence: ROW}}
    text = model_card(make_nlp(scores, labels=(sentence,)), "x")
    assert "Tuesday" not in text and text.count("| #") == 2


def test_as_html_tags_in_names_are_text() -> None:
    nlp = make_nlp(definitions={"Sign": "<script>alert(1)</script>"})
    nlp.meta["sources"][0]["name"] = "<img src=x>"
    html = as_html(model_card(nlp, "x"))
    assert "<h2>Scores</h2>" in html and "<td>42.1 to 57.9</td>" in html
    assert "<script>" not in html and "<img" not in html and "&lt;img src=x&gt;" in html


def test_the_scores_of_folds_have_no_intervals_of_other_probabilities() -> None:
    of = {"token_ece": 0.1, "token_nll": 0.2, "ents_ece": 0.3, "ents_brier": 0.4}
    folds = {"number": 5, "reliability": {"raw": of, "cross_fitted": {**of, "ents_ece": 0.01}}}
    intervals = {"ents_f": [0, 1], "ents_ece": [0.2, 0.4]}
    scores = out_of_fold_scores({**SCORED, "folds": folds, "intervals": intervals})
    assert scores["intervals"] == {"ents_f": [0, 1]}
    assert (scores["ents_ece"], scores["before_calibration"]["ents_ece"]) == (0.01, 0.3)
    assert scores["calibrated"] is True


@pytest.mark.parametrize(
    "given, message",
    [
        ({"a": 0.5004, "b": {"c": [1.0, None]}}, None),
        ({"a": 0.501, "b": {"c": [1.0, None]}}, r"a \(0.501 and 0.5\)"),
        ({"a": 0.5, "b": {"c": [1.0, 0.2]}}, r"b.c.1 \(0.2 and none\)"),
        ({"a": 0.5}, r"b.c.0 \(none and 1\)"),
    ],
)
def test_figures_differ_from_half_of_the_last_digit_on(given: Any, message: str | None) -> None:
    own = {"a": 0.5, "b": {"c": [1.0, None]}}
    if message is None:
        check_same(Path("metrics.json"), given, own)
        return
    with pytest.raises(ClinicalNerError, match=message):
        check_same(Path("metrics.json"), given, own)


@pytest.mark.parametrize(
    "text, expected",
    [
        (None, {"name": "notes", "license": NOT_STATED, "url": ""}),
        ("# Notes\n", {"name": "notes", "license": NOT_STATED, "url": ""}),
        ("---\nlicense: CC0-1.0\n---\n", {"name": "notes", "license": "CC0-1.0", "url": ""}),
        (
            '---\npretty_name: "Our notes"\n\nurl: https://x.org/a\nother: 1\n---\nlicense: MIT\n',
            {"name": "Our notes", "license": NOT_STATED, "url": "https://x.org/a"},
        ),
    ],
)
def test_the_card_of_a_corpus(tmp_path: Path, text: str | None, expected: dict[str, str]) -> None:
    (tmp_path / "notes").mkdir()
    if text is not None:
        (tmp_path / "notes" / "README.md").write_text(text)
    assert corpus_card(tmp_path / "notes") == expected
    assert guideline_of(tmp_path / "notes") is None


@pytest.mark.parametrize("text", [b"---\nlicense: MIT\n", b"---\nno colon\n---\n", b"---\n\xff\n"])
def test_a_card_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "README.md").write_bytes(text)
    with pytest.raises(ClinicalNerError, match="the corpus card is not a list of 'key"):
        corpus_card(tmp_path)


def test_the_case_reports_name_a_guideline_that_defines_all_41_labels() -> None:
    guideline = guideline_of(CORPUS)
    assert guideline is not None
    labels = {
        line.split("\t")[1].split()[0]
        for path in CORPUS.glob("*.ann")
        for line in path.read_text().splitlines()
    }
    definitions = read_definitions(guideline, labels)
    assert set(definitions) == labels and len(labels) == 41
    assert definitions["Weight"] == "What the body weighs."


@pytest.mark.parametrize(
    "text, message",
    [
        ("Sign\tSeen or felt\textra\nOther\tnot a label\n", None),
        ("# Guide\n| Type | What |\n|---|---|\n| Sign | Seen or felt | x |\n", None),
        ("Sign\tSeen\n| Sign | Felt |\n", "line 2: defines Sign a second time"),
        ("Sign is seen\n| Sign | |\n", "defines none of the model's labels"),
    ],
)
def test_definitions_are_rows_of_a_table(tmp_path: Path, text: str, message: str | None) -> None:
    path = tmp_path / "guideline.md"
    path.write_text(text)
    if message is None:
        assert read_definitions(path, {"Sign", "Rare"}) == {"Sign": "Seen or felt"}
        return
    with pytest.raises(ClinicalNerError, match=message):
        read_definitions(path, {"Sign", "Rare"})


def test_weights_of_unknown_licence_are_listed_as_such() -> None:
    card = {"name": "notes", "license": "CC0-1.0", "url": ""}
    _, known, unknown = sources(card, [MINILM, "dmis-lab/biobert-base-cased-v1.1"])
    assert known["license"] == "Apache-2.0"
    assert unknown == {
        "name": "dmis-lab/biobert-base-cased-v1.1",
        "license": NOT_STATED,
        "url": "https://huggingface.co/dmis-lab/biobert-base-cased-v1.1",
        "author": "",
    }
