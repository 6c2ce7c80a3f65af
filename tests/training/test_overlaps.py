"""Recipes for mentions that overlap: their scores."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.gold import set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.recipes import read_recipe
from clinical_ner.training.train import initialize, train, training_settings

from ..conftest import ROOT

BASE = ROOT / "configs" / "tok2vec.cfg"
OVERLAPS = """
[components.ner]
overlaps = {}

[components.ner.loss]
@losses = "clinical_ner.BinaryTokenLabels.v2"
problems = "all"

[training.score_weights]
ents_f = 0.0
ents_macro_f = 0.0
spans_f = 0.5
spans_macro_f = 0.5
"""


@pytest.fixture
def nested_file(tmp_path: Path) -> Path:
    """Documents in which a Subject holds a Gender."""
    vocab, docs = Vocab(), []
    for number in range(6):
        doc = Doc(vocab, words=["Old", "man", str(number), "rests"])
        doc.set_ents([Span(doc, 0, 2, "Subject")], default="outside")
        set_gold(doc, [Mention("T1", "Subject", ((0, 7),)), Mention("T2", "Gender", ((4, 7),))])
        docs.append(doc)
    write_docbin(docs, tmp_path / "nested.spacy")
    return tmp_path / "nested.spacy"


def written(tmp_path: Path, overlaps: str) -> Path:
    path = tmp_path / "own.cfg"
    path.write_text(OVERLAPS.format(overlaps), encoding="utf-8")
    return path


def test_the_best_model_is_chosen_by_the_scores_of_all_mentions(
    nested_file: Path, tmp_path: Path
) -> None:
    train(
        written(tmp_path, "true"),
        tmp_path / "training",
        train_path=nested_file,
        dev_path=nested_file,
        base=BASE,
        epochs=6,
        overrides={"variables.words_per_batch": 8},
    )
    nlp = spacy.load(tmp_path / "training" / "model-best")
    doc = nlp("Old man 1 rests")
    found = {(span.text, span.label_) for span in doc.spans["ner"]}
    assert found == {("Old man", "Subject"), ("man", "Gender")}
    performance = nlp.meta["performance"]
    assert performance["spans_f"] == performance["spans_macro_f"] == 1.0


def test_a_weight_of_a_score_that_no_component_gives_is_an_error(
    corpus_file: Path, tmp_path: Path
) -> None:
    recipe = read_recipe(written(tmp_path, "false"), BASE)
    with pytest.raises(ClinicalNerError, match="weighs spans_f, which only.*or weigh ents_f"):
        initialize(recipe, training_settings(corpus_file, corpus_file))


@pytest.mark.parametrize(
    "setting, value", [("corpora.train.max_length", 4), ("corpora.dev.gold_preproc", True)]
)
def test_a_reader_that_loses_the_mentions_is_refused(
    nested_file: Path, tmp_path: Path, setting: str, value: object
) -> None:
    settings = training_settings(nested_file, nested_file) | {setting: value}
    with pytest.raises(ClinicalNerError, match=f"{setting} makes documents of sentences, which"):
        initialize(read_recipe(written(tmp_path, "true"), BASE), settings)


@pytest.mark.parametrize("limit", [0, 4, 5])
def test_documents_that_a_reader_leaves_out_are_counted(
    nested_file: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder, limit: int
) -> None:
    settings = training_settings(nested_file, nested_file) | {"corpora.dev.max_length": limit}
    initialize(read_recipe(BASE), settings)
    said = [str(of.message) for of in recwarn if "max_length cuts" in str(of.message)]
    expected = "6 of 6 documents have 4 tokens or more, which corpora.dev.max_length cuts"
    assert len(said) == (limit == 4) and all(expected in of for of in said)
