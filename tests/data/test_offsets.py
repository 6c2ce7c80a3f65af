from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.data.mentions import Mention, Place
from clinical_ner.data.offsets import UNITS, Draft, QuotedMention, Unit, settled, width
from clinical_ner.errors import ClinicalNerError

from .formats.examples import document, text

PLACE = Place(Path("notes.jsonl"), 3)


def _count(content: str, unit: Unit, end: int | None = None) -> int:
    prefix = content[:end]
    if unit.endswith("-lf"):
        # An offset behind the CR of a CRLF is one before it.
        prefix = prefix.removesuffix("\r") if content[len(prefix) :][:1] == "\n" else prefix
        prefix = prefix.replace("\r\n", "\n")
        unit = "utf-16" if unit == "utf-16-lf" else "code-points"
    if unit == "bytes":
        return len(prefix.encode())
    # One unit more for each character that JavaScript writes as a pair.
    return len(prefix) + (sum(c > "\uffff" for c in prefix) if unit == "utf-16" else 0)


def _settled(content: str, quoted: list[QuotedMention], unit: Unit | None) -> tuple[Mention, ...]:
    document = settled(Draft("note", content, quoted), PLACE, unit)
    for fault in document.faults:
        raise fault
    return document.mentions


def _written_in(content: str, mention: Mention, unit: Unit) -> Mention:
    fragments = tuple(
        (_count(content, unit, start), _count(content, unit, end))
        for start, end in mention.fragments
    )
    return replace(mention, fragments=fragments)


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_offsets_in_a_given_unit(seed: int, unit: Unit) -> None:
    note = document(random.Random(seed), "note")
    given = [QuotedMention(_written_in(note.text, mention, unit)) for mention in note.mentions]

    expected = note.mentions
    if unit.endswith("-lf"):

        def before(offset: int) -> int:
            return offset - (note.text[max(0, offset - 1) : offset + 1] == "\r\n")

        moved = [QuotedMention(mention).moved(before).mention for mention in expected]
        expected = tuple(moved)
    assert _settled(note.text, given, unit) == expected


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_quotes_tell_the_unit(seed: int, unit: Unit) -> None:
    rng = random.Random(seed)
    content = text(rng) + "😷 fever, µg and b.i.d. after 5 days" + text(rng)
    # Each of these words stands once behind the emoji, so no other unit fits by chance.
    starts = [content.rindex(word) for word in ("fever", "b.i.d.", "days")]
    words = [
        Mention(f"T{number}", "X", ((start, start + 4),))
        for number, start in enumerate(starts, start=1)
    ]
    given = [
        QuotedMention(_written_in(content, mention, unit), content[mention.start : mention.end])
        for mention in words
    ]

    assert _settled(content, given, None) == tuple(words)


def test_without_quotes_offsets_are_code_points() -> None:
    given = [QuotedMention(Mention("T1", "X", ((2, 7),)))]

    assert _settled("😷 fever", given, None)[0].fragments == ((2, 7),)


@pytest.mark.parametrize("unit", UNITS)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_width(seed: int, unit: Unit) -> None:
    content = text(random.Random(seed))
    assert width(content, unit) == _count(content, unit)


@pytest.mark.parametrize(
    ("unit", "fragments"),
    [
        ("utf-16", (1, 2)),
        ("bytes", (0, 3)),
        ("code-points", (0, 3)),
        ("code-points", (2, 1)),
        ("code-points", (-1, 1)),
        ("utf-16", (0, 99)),
    ],
)
def test_offsets_that_fit_no_place(unit: Unit, fragments: tuple[int, int]) -> None:
    with pytest.raises(ClinicalNerError) as caught:
        _settled("😷x", [QuotedMention(Mention("T1", "X", (fragments,)))], unit)

    start, end = fragments
    assert f"notes.jsonl, line 3: offsets {start} {end} of T1" in str(caught.value)
    assert unit in str(caught.value) and "😷" not in str(caught.value)


def test_a_given_unit_is_kept_to_though_quotes_speak_for_another() -> None:
    given = [QuotedMention(Mention("T1", "X", ((3, 8),)), "fever", line=9)]

    assert _settled("😷 fever", given, "utf-16")[0].fragments == ((2, 7),)
    with pytest.raises(ClinicalNerError, match="line 9: offsets 3 8 of T1"):
        _settled("😷 fever", given, "code-points")


def test_quote_that_fits_in_no_unit() -> None:
    given = [QuotedMention(Mention("T1", "X", ((0, 2),)), "fever")]

    with pytest.raises(ClinicalNerError) as caught:
        _settled("😷 fever", given, None)
    assert "line 3: the text of T1 does not match document note at 0 2" in str(caught.value)
    assert "fever" not in str(caught.value)


def test_utf16_takes_two_units_only_beyond_the_basic_plane() -> None:
    for character, units in (("\uffff", 1), ("\U00010000", 2)):
        mention = Mention("T1", "Sign", ((units, units + 1),))
        [found] = _settled(character + "a", [QuotedMention(mention, "a")], "utf-16")
        assert found.fragments == ((1, 2),)
