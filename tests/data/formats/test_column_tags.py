from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.data.formats.column_tags import (
    SCHEMES,
    Scheme,
    TagFaultError,
    chunks,
    detect_scheme,
    parse_tag,
)

Chunk = tuple[int, int, str]
STRICT: list[Scheme] = [scheme for scheme in SCHEMES if scheme != "lenient"]


def _random_chunks(rng: random.Random, length: int) -> list[Chunk]:
    found, position = [], 0
    while position < length:
        size = min(rng.randint(1, 3), length - position)
        if rng.random() < 0.6:
            found.append((position, position + size, rng.choice(["X", "Y-z"])))
        position += size
    return found


def _encode(found: list[Chunk], length: int, scheme: Scheme) -> list[tuple[str, str]]:
    """Tags written after the definitions of the schemes."""
    tags = [("O", "")] * length
    for first, last, label in found:
        size = last - first
        if scheme == "IOB1":
            follows = any(other[1] == first and other[2] == label for other in found)
            prefixes = ("B" if follows else "I") + "I" * (size - 1)
        elif scheme == "IOB2":
            prefixes = "B" + "I" * (size - 1)
        else:
            single, end = ("S", "E") if scheme == "BIOES" else ("U", "L")
            prefixes = single if size == 1 else "B" + "I" * (size - 2) + end
        tags[first:last] = [(prefix, label) for prefix in prefixes]
    return tags


@pytest.mark.parametrize("scheme", STRICT)
@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_chunks_come_back_and_the_scheme_is_told(scheme: Scheme, seed: int) -> None:
    rng = random.Random(seed)
    # So long that every scheme shows itself: a chunk of several words, and one of one.
    sentences = [_random_chunks(rng, 30) for _ in range(5)]

    tags = [_encode(found, 30, scheme) for found in sentences]
    assert [chunks(sentence, scheme) for sentence in tags] == sentences
    assert [chunks(sentence, "lenient") for sentence in tags] == sentences
    assert detect_scheme(tag for sentence in tags for tag in [*sentence, None]) == scheme


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_tags_of_any_kind_give_chunks_that_do_not_overlap_or_a_fault(seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(50):
        tags = [
            (prefix, rng.choice("XY") if prefix != "O" else "")
            for prefix in rng.choices("OBIESLU", k=8)
        ]
        for scheme in SCHEMES:
            try:
                found = chunks(tags, scheme)
            except TagFaultError as error:
                assert 0 <= error.index < 8 and scheme != "lenient"
                continue
            marked = [index for first, last, _ in found for index in range(first, last)]
            assert marked == [index for index, (prefix, _) in enumerate(tags) if prefix != "O"]


@pytest.mark.parametrize(
    ("tags", "scheme", "index"),
    [
        ("O I-X", "IOB2", 1),
        ("B-X I-Y", "IOB2", 1),
        ("B-X E-X", "IOB2", 1),
        ("B-X O", "BIOES", 1),
        ("O B-X", "BIOES", 1),
        ("B-X B-X E-X", "BIOES", 1),
        ("E-X", "BIOES", 0),
        ("B-X S-X", "BIOES", 1),
        ("B-X L-Y", "BILUO", 1),
        ("U-X I-X", "BILUO", 1),
        ("S-X", "BILUO", 0),
    ],
)
def test_what_a_scheme_does_not_allow(tags: str, scheme: Scheme, index: int) -> None:
    parsed = [parse_tag(tag) or ("", "") for tag in tags.split()]

    with pytest.raises(TagFaultError) as caught:
        chunks(parsed, scheme)
    assert caught.value.index == index


@pytest.mark.parametrize(
    ("tags", "found"),
    [
        ("B-X I-X O S-X", [(0, 2, "X"), (3, 4, "X")]),
        ("I-X E-X I-X", [(0, 2, "X"), (2, 3, "X")]),
        ("E-X L-X S-X U-X", [(0, 1, "X"), (1, 2, "X"), (2, 3, "X"), (3, 4, "X")]),
        ("B-X I-Y B-Y", [(0, 1, "X"), (1, 2, "Y"), (2, 3, "Y")]),
        ("S-X I-X O B-X", [(0, 1, "X"), (1, 2, "X"), (3, 4, "X")]),
    ],
)
def test_what_lenient_reading_makes_of_faults(tags: str, found: list[Chunk]) -> None:
    assert chunks([parse_tag(tag) or ("", "") for tag in tags.split()], "lenient") == found


def test_a_tag_without_label_gets_one_that_is_given() -> None:
    assert [parse_tag(tag, "X") for tag in ("B", "E", "O", "I-Y")] == [
        ("B", "X"),
        ("E", "X"),
        ("O", ""),
        ("I", "Y"),
    ]
    assert parse_tag("x", "X") is None


@pytest.mark.parametrize("tag", ["B-", "B", "b-X", "X", "o", "", "B- X", "Q-X", "-X", "B_X", "OO"])
def test_what_is_no_tag(tag: str) -> None:
    assert parse_tag(tag) is None


def test_a_label_may_hold_hyphens() -> None:
    assert parse_tag("B-Body-part") == ("B", "Body-part")
    assert parse_tag("O") == ("O", "")


def test_mixed_tags_are_taken_for_iob2_which_names_the_fault() -> None:
    assert detect_scheme([("B", "X"), ("O", ""), ("I", "X")]) == "IOB2"
