"""The recipe overlaps, from notes to what is found, on made notes with nested mentions."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.util import filter_spans
from spacy.vocab import Vocab

from clinical_ner.data.convert import convert
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.data.gold import overlapping_gold
from clinical_ner.training.train import train

from ..conftest import ROOT
from .adverse_events import NESTED, OUTER, write_notes

TOK2VEC = ROOT / "configs" / "tok2vec.cfg"
EPOCHS = 5


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("adverse_events")
    for seed, (part, number) in enumerate({"train": 120, "dev": 20, "test": 60}.items()):
        write_notes(folder / part, number, seed=seed)
        convert(folder / part, folder / f"{part}.spacy")
    return folder


def spans_found(corpus: Path, recipe: str) -> list[tuple[Doc, list[Span], list[Span]]]:
    """Documents of test as a trained model annotates them, with all gold and all found spans."""
    output = corpus / recipe
    paths = {"train_path": corpus / "train.spacy", "dev_path": corpus / "dev.spacy"}
    train(recipe, output, base=TOK2VEC, epochs=EPOCHS, **paths)
    nlp = spacy.load(output / "model-best")
    gold = read_docbin(corpus / "test.spacy", nlp.vocab)
    docs = [nlp(doc.text) for doc in gold]
    return [
        (doc, overlapping_gold(of), list(doc.spans["ner"]))
        for doc, of in zip(docs, gold, strict=True)
    ]


def f_by_type(found: list[tuple[Doc, list[Span], list[Span]]]) -> dict[str, float]:
    """F1 by type, counted as sets."""
    right: Counter[str] = Counter()
    both: Counter[str] = Counter()
    for _, *sides in found:
        gold, predicted = ({(of.start_char, of.end_char, of.label_) for of in s} for s in sides)
        right.update(label for *_, label in gold & predicted)
        both.update(label for side in (gold, predicted) for *_, label in side)
    return {label: 2 * right[label] / both[label] for label in sorted(both)}


def test_most_mentions_are_nested_and_race_is_rare(corpus: Path) -> None:
    docs = read_docbin(corpus / "train.spacy", Vocab())
    every = Counter(span.label_ for doc in docs for span in overlapping_gold(doc))
    flat = Counter(ent.label_ for doc in docs for ent in doc.ents)
    assert set(every) == {*NESTED, *OUTER} and set(flat) == set(OUTER)
    assert flat.total() < every.total() / 2
    assert min(every, key=lambda label: every[label]) == "Race" and every["Race"] < 30


@pytest.mark.slow
def test_every_type_is_found_which_flat_training_cannot(corpus: Path) -> None:
    found = spans_found(corpus, "overlaps")
    scores = f_by_type(found)
    assert set(scores) == {*NESTED, *OUTER}
    assert min(scores.values()) > 0.8
    # Entities are the longest spans found, as in gold: the outer mentions, but for ties.
    entities = f_by_type([(doc, filter_spans(gold), list(doc.ents)) for doc, gold, _ in found])
    assert all(entities[label] > 0.8 for label in OUTER)
    flat = f_by_type(spans_found(corpus, "plain"))
    assert all(flat[label] == 0 for label in NESTED)
    assert all(flat[label] > 0.8 for label in OUTER)
