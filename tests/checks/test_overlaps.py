from __future__ import annotations

import random

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.checks import overlaps as module
from clinical_ner.checks.overlaps import find_overlaps, held, overlaps
from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.gold import overlapping_gold
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ClinicalNerWarning

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


def test_thousands_of_nested_mentions_and_labels_are_not_compared_in_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    number = 20_000
    mentions = tuple(
        Mention(f"T{i}", f"L{i % 5000}", ((i, 2 * number - i),)) for i in range(number)
    )
    monkeypatch.setattr(module, "_lies_in", None)
    document = AnnotatedText("a", "x" * 2 * number, mentions)
    assert len(overlaps(document)) == number - 1
    assert held(document)[0] == {0}


def in_pieces(number: int, step: int) -> AnnotatedText:
    """Mentions of two pieces, each ``step`` characters behind the one before."""
    starts = [step * i for i in range(number)]
    mentions = (
        Mention(f"T{i}", "A", ((start, start + 2), (start + 3, start + 5)))
        for i, start in enumerate(starts)
    )
    return AnnotatedText("a", "x" * (starts[-1] + 5), tuple(mentions))


def comparisons(document: AnnotatedText, monkeypatch: pytest.MonkeyPatch) -> int:
    """How many pieces are looked at."""
    looked = 0

    def counting(inner: module.Span, outer: module.Span) -> bool:
        nonlocal looked
        looked += len(inner)
        return lies_in(inner, outer)

    lies_in = module._lies_in
    with monkeypatch.context() as patch:
        patch.setattr(module, "_lies_in", counting)
        overlaps(document)
    return looked


def test_of_mentions_in_pieces_only_those_that_share_text_are_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert comparisons(in_pieces(4000, step=10), monkeypatch) == 0
    few, many = (comparisons(in_pieces(number, step=4), monkeypatch) for number in (1000, 4000))
    # Each shares text with the next: two questions about two pieces.
    assert (few, many) == (4 * 999, 4 * 3999)


def test_thousands_of_mentions_in_pieces_on_one_text_are_compared_up_to_a_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "x" * 3000
    mentions = tuple(
        Mention(f"T{i}", "A", ((i, 1000 - i), (2000 + i, 3000 - i))) for i in range(400)
    )
    document = AnnotatedText("secret words here", text, mentions)
    assert len(overlaps(document)) == 400 + 399
    monkeypatch.setattr(module, "MOST_PIECES", 40_000)
    with pytest.warns(ClinicalNerWarning, match="not all were compared") as caught:
        assert comparisons(document, monkeypatch) <= 40_004
    assert "secret" not in str(caught[0].message)
