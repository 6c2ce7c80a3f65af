"""Texts made to do harm: each is annotated, and stays as it is."""

from __future__ import annotations

import pytest
from spacy.language import Language

from clinical_ner.data.convert import blank

from .examples import train

LONG = 20_000
TEXTS = {
    "one letter": "a" * 10**6,
    "line breaks": "\n" * LONG,
    "combining marks": "e" + "\u0301" * LONG,
    "joiners": "\u200d" * LONG,
    "overrides": "\u202e\u202d fever" * 2_000,
    "zeros": "a\x00b \x00 fever" * 2_000,
    "brackets": "(" * LONG,
    "addresses": "http://a@" * (LONG // 10),
    "numbers": "1." * LONG,
    "byte order marks": "\ufefffever " * 2_000,
}


@pytest.fixture(scope="module")
def nlp() -> Language:
    nlp = blank()
    nlp.add_pipe("clinical_ner", name="ner")
    train(nlp, steps=2)
    nlp.max_length = 2_000_000
    return nlp


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_text_of_any_kind_is_annotated(nlp: Language, text: str) -> None:
    doc = nlp(text)
    assert doc.text == text
    assert all(0 <= ent.start < ent.end <= len(doc) for ent in doc.ents)


def test_half_of_a_pair_fails_before_any_component(nlp: Language) -> None:
    # As docs/predict.md says, with the way to repair it.
    text = "fever \ud83d and cough \ud83d\ude37"
    with pytest.raises(UnicodeEncodeError):
        nlp(text)
    repaired = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    assert nlp(repaired).text == repaired == "fever \ufffd and cough \U0001f637"
