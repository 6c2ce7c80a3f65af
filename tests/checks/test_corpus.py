from __future__ import annotations

import pytest

from clinical_ner.checks.corpus import (
    count_words,
    cuts_word,
    learned,
    mention_text,
    normalised,
    tokens,
)
from clinical_ner.data.mentions import Mention

from .examples import part


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("5mg b.i.d., HbA_1c", 5), ("Ærø größer\n--", 2)]
)
def test_words_are_runs_of_letters_digits_and_underscores(text: str, number: int) -> None:
    assert count_words(text) == number


def test_tokens_are_casefolded_but_keep_their_offsets() -> None:
    # "ß" becomes two characters.
    assert tokens("Groß-X ±") == [("gross", 0, 4), ("-", 4, 5), ("x", 5, 6), ("±", 7, 8)]


def test_the_text_of_a_mention_has_one_space_between_its_pieces() -> None:
    text = "chest \n pain or pressure"
    mention = Mention("T1", "X", ((16, 24), (8, 12), (0, 5)))
    assert mention_text(text, mention) == "chest \n pain pressure"


def test_normalised_texts_differ_in_neither_case_nor_whitespace() -> None:
    assert normalised(" Chest\n\u00a0PAIN ") == "chest pain"


@pytest.mark.parametrize(
    ("offsets", "cut"),
    [((2, 8), False), ((2, 7), True), ((3, 8), True), ((1, 9), False), ((9, 12), False)],
)
def test_an_edge_between_letters_cuts_a_word(offsets: tuple[int, int], cut: bool) -> None:
    assert cuts_word("a fevers (x)", Mention("T1", "X", (offsets,))) is cut


def test_an_edge_at_an_inner_gap_cuts_too() -> None:
    assert cuts_word("hemimandible", Mention("T1", "X", ((0, 4), (8, 12))))


def test_what_is_learned_is_train_or_else_all() -> None:
    train, dev = part("train"), part("dev")
    assert learned([dev, train]) == [train]
    assert learned([dev]) == [dev]
