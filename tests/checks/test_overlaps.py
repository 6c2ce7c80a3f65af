from __future__ import annotations

import random
import time

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.checks.overlaps import find_overlaps, held, overlaps
from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.gold import overlapping_gold
from clinical_ner.data.mentions import AnnotatedText, Mention

from .examples import counts, document, notes, part

TEXT = "abcdefghijkl"


def found(*mentions: tuple[object, ...]) -> list[tuple[str, int]]:
    return [(code, index) for code, index, _ in overlaps(document("a", TEXT, *mentions))]


@pytest.mark.parametrize(
    ("mentions", "expected"),
    [
        ([(0, 3, "A"), (3, 5, "A")], []),
        ([(0, 3, "A"), (0, 3, "A"), (0, 3, "A")], [("C060", 1), ("C060", 2)]),
        ([(0, 3, "A"), (0, 3, "B"), (0, 3, "A")], [("C060", 2), ("C061", 1)]),
        ([(0, 3, "A"), (0, 5, "A")], [("C062", 0)]),
        ([(0, 3, "A"), (1, 1, "B")], []),
        ([(0, 5, "A"), (1, 2, "B"), (1, 2, "B")], [("C060", 2), ("C062", 1), ("C062", 2)]),
        ([(0, 3, "A"), (2, 5, "B")], [("C063", 0), ("C063", 1)]),
        ([(0, 2, 4, 6, "A"), (2, 4, "B")], [("C064", 0)]),
        ([(0, 2, 4, 6, "A"), (4, 5, "B")], [("C062", 1), ("C064", 0)]),
        ([(0, 2, 4, 6, "A"), (3, 5, "B")], [("C063", 0), ("C063", 1), ("C064", 0)]),
        # In another order of the file, and in pieces that lie side by side.
        ([(4, 6, 0, 2, "A"), (0, 2, 4, 6, "A")], [("C060", 1), ("C064", 0), ("C064", 1)]),
        ([(0, 2, 2, 6, "A"), (0, 6, "A")], [("C060", 1)]),
    ],
)
def test_mentions_that_share_text(
    mentions: list[tuple[object, ...]], expected: list[tuple[str, int]]
) -> None:
    assert found(*mentions) == expected


spans = st.tuples(st.integers(0, 11), st.integers(0, 11)).map(sorted).filter(lambda s: s[0] < s[1])


@given(st.lists(spans, max_size=8))
def test_nested_and_crossing_are_those_of_all_pairs(chosen: list[list[int]]) -> None:
    sets = [set(range(start, end)) for start, end in chosen]
    nested = {i for i, a in enumerate(sets) if any(a < b for b in sets)}
    crossing = {i for i, a in enumerate(sets) if any(a & b and a - b and b - a for b in sets)}
    result = found(*((start, end, "A") for start, end in chosen))
    assert {index for code, index in result if code == "C062"} == nested
    assert {index for code, index in result if code == "C063"} == crossing


def test_the_other_label_and_the_pieces_are_said() -> None:
    marked = document("a", TEXT, (0, 3, "A"), (0, 3, "B"), (4, 5, 7, 8, "A"))
    findings = find_overlaps([part("x", marked), part("y", marked)])
    assert counts(findings) == {"C061": 2, "C064": 2}
    assert notes(findings, "C061") == ["also A", "also A"]
    assert notes(findings, "C064") == ["2 pieces", "2 pieces"]
    assert {finding.of for finding in findings} == {6}


def test_what_flat_entities_and_overlaps_hold_is_said() -> None:
    marked = document(
        "a", TEXT, (0, 8, "A"), (1, 3, "B"), (1, 3, "B"), (1, 3, "C"), (4, 5, "A"), (7, 9, "B")
    )
    details = {finding.code: finding.detail for finding in find_overlaps([part("x", marked)])}
    assert details == {
        "C060": "flat entities hold 0, overlaps = true 0",
        "C061": "flat entities hold 0, overlaps = true 1",
        "C062": "flat entities hold 0, overlaps = true 2",
        "C063": "flat entities hold 1, overlaps = true 2",
    }


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_what_is_held_is_what_conversion_chooses(seed: int) -> None:
    # Words of one letter, so that lengths in characters and in tokens are in one order.
    words = " ".join("abcdefghij")
    rng = random.Random(seed)
    mentions = []
    for number in range(8):
        start, end = sorted(rng.sample(range(11), 2))
        mentions.append(Mention(f"T{number}", rng.choice("AB"), ((2 * start, 2 * end - 1),)))
    doc, rows = to_flat_doc(words, mentions, spacy.blank("xx"), document="a")
    flat, overlapping = held(AnnotatedText("a", words, tuple(mentions)))
    assert flat == {index for index, row in enumerate(rows) if row.action != "dropped"}
    found = [(mentions[i].start, mentions[i].end, mentions[i].label) for i in overlapping]
    expected = [(of.start_char, of.end_char, of.label_) for of in overlapping_gold(doc)]
    assert sorted(found) == sorted(expected)


def test_documents_with_flat_entities_only_are_found_beside_others() -> None:
    whole, flat = document("a", TEXT, (0, 3, "A")), document("b", TEXT, only_flat=True)
    [finding] = find_overlaps([part("train", whole, flat)])
    assert (finding.code, finding.count, finding.of) == ("C065", 1, 2)
    assert [place.document for place in finding.places] == ["b"]
    assert find_overlaps([part("train", whole)]) == find_overlaps([part("train", flat)]) == []


@given(seed=st.integers(0, 10_000))
def test_nested_and_crossing_in_pieces_are_those_of_all_pairs(seed: int) -> None:
    rng = random.Random(seed)
    text = "abcdefghijkl"
    mentions = []
    for number in range(rng.randint(0, 9)):
        edges = sorted(rng.sample(range(13), rng.choice([2, 2, 2, 4])))
        pieces = tuple(zip(edges[::2], edges[1::2], strict=True))
        mentions.append(Mention(f"T{number}", "A", pieces))
    covered = [{i for piece in of.fragments for i in range(*piece)} for of in mentions]
    found = overlaps(AnnotatedText("a", text, tuple(mentions)))
    nested = {index for code, index, _ in found if code == "C062"}
    crossing = {index for code, index, _ in found if code == "C063"}
    assert nested == {i for i, of in enumerate(covered) if any(of < other for other in covered)}
    assert crossing == {
        i
        for i, of in enumerate(covered)
        if any(of & other and not of <= other and not other <= of for other in covered)
    }


def test_thousands_of_nested_mentions_and_labels_take_no_longer_each() -> None:
    number = 20_000
    mentions = tuple(
        Mention(f"T{i}", f"L{i % 5000}", ((i, 2 * number - i),)) for i in range(number)
    )
    start = time.process_time()
    document = AnnotatedText("a", "x" * 2 * number, mentions)
    assert len(overlaps(document)) == number - 1
    assert held(document)[0] == {0}
    # In pairs this takes minutes.
    assert time.process_time() - start < 20
