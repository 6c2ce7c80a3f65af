from __future__ import annotations

import random
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language

from clinical_ner.data.conversion import ConversionRow, to_flat_doc
from clinical_ner.data.flattening import CHANGES, DROPS, FlatRules, joined
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError

from .formats.examples import LABELS, document

Fragments = list[tuple[int, int]]


@pytest.fixture(scope="module")
def nlp() -> Language:
    return spacy.blank("en")


def _flat(
    nlp: Language, text: str, *mentions: tuple[str, Fragments], **rules: Any
) -> tuple[list[tuple[str, str]], list[ConversionRow]]:
    given = [
        Mention(f"T{number}", label, tuple(fragments))
        for number, (label, fragments) in enumerate(mentions, start=1)
    ]
    doc, rows = to_flat_doc(text, given, nlp, document="note", rules=FlatRules(**rules))
    return [(ent.text, ent.label_) for ent in doc.ents], rows


def _codes(rows: list[ConversionRow]) -> list[tuple[str, tuple[str, ...]]]:
    return [(row.action, row.codes) for row in rows]


@pytest.mark.parametrize(
    ("rules", "kept", "reasons"),
    [
        ({"overlap": "longest"}, [("pain and fever", "Sign"), ("chest", "Body")], ["same_label"]),
        ({"overlap": "first"}, [("chest pain", "Sign")], ["overlap", "overlap"]),
        (
            {"overlap": "priority", "priority": ("Body",)},
            [("chest", "Body"), ("pain and fever", "Sign")],
            ["same_label"],
        ),
    ],
    ids=lambda value: value.get("overlap") if isinstance(value, dict) else None,
)
def test_overlap(
    nlp: Language, rules: dict[str, Any], kept: list[tuple[str, str]], reasons: list[str]
) -> None:
    text = "chest pain and fever"
    mentions = [("Sign", [(0, 10)]), ("Body", [(0, 5)]), ("Sign", [(6, 20)])]

    entities, rows = _flat(nlp, text, *mentions, **rules)

    assert sorted(entities) == sorted(kept)
    dropped = [row.codes for row in rows if row.action == "dropped"]
    assert dropped == [(reason,) for reason in reasons]


def test_labels_without_priority_follow_those_with_it(nlp: Language) -> None:
    mentions = [("C", [(0, 20)]), ("A", [(0, 5)]), ("B", [(0, 10)])]
    text = "chest pain and fever"

    def winner(*priority: str) -> str:
        entities, _ = _flat(nlp, text, *mentions, overlap="priority", priority=priority)
        return entities[0][1]

    assert (winner("A", "B"), winner("B", "A"), winner("D")) == ("A", "B", "C")


def test_first_takes_the_longer_of_those_that_start_together(nlp: Language) -> None:
    entities, _ = _flat(nlp, "chest pain", ("Body", [(0, 5)]), ("Sign", [(0, 10)]), overlap="first")

    assert entities == [("chest pain", "Sign")]


WRAPPED: Fragments = [(0, 5), (6, 10)]
APART: Fragments = [(0, 5), (15, 20)]


@pytest.mark.parametrize(
    ("discontinuous", "wrapped", "apart"),
    [
        ("merge-wrapped", ("chest\npain", ("joined",)), (None, ("fragments",))),
        ("longest", ("chest\npain", ("joined",)), ("chest", ("discontinuous",))),
        ("span", ("chest\npain", ("joined",)), ("chest\npain and fever", ("bridged",))),
        ("drop", (None, ("fragments",)), (None, ("fragments",))),
    ],
)
def test_discontinuous(
    nlp: Language,
    discontinuous: str,
    wrapped: tuple[str | None, tuple[str, ...]],
    apart: tuple[str | None, tuple[str, ...]],
) -> None:
    text = "chest\npain and fever"

    for fragments, (kept, codes) in ((WRAPPED, wrapped), (APART, apart)):
        entities, [row] = _flat(nlp, text, ("Sign", fragments), discontinuous=discontinuous)
        assert entities == ([(kept, "Sign")] if kept else [])
        assert (row.action, row.codes) == ("changed" if kept else "dropped", codes)
        assert (row.start, row.end) == (fragments[0][0], fragments[1][1])


@pytest.mark.parametrize("discontinuous", ["merge-wrapped", "longest", "span", "drop"])
def test_fragments_of_whitespace_are_empty_whatever_stands_between(
    nlp: Language, discontinuous: str
) -> None:
    _, rows = _flat(nlp, " a  b", ("Sign", [(0, 1), (2, 4)]), discontinuous=discontinuous)

    assert _codes(rows) == [("dropped", ("empty",))]


@pytest.mark.parametrize(
    ("misaligned", "kept", "codes"),
    [
        ("expand", "feverish and painful", ("expanded",)),
        ("contract", "and", ("contracted",)),
        ("drop", None, ("misaligned",)),
    ],
)
def test_misaligned(
    nlp: Language, misaligned: str, kept: str | None, codes: tuple[str, ...]
) -> None:
    entities, rows = _flat(nlp, "feverish and painful", ("Sign", [(5, 17)]), misaligned=misaligned)

    assert entities == ([(kept, "Sign")] if kept else [])
    assert _codes(rows) == [("changed" if kept else "dropped", codes)]


def test_contracting_leaves_no_whitespace_at_the_edges(nlp: Language) -> None:
    text = "feverish \n and \n painful"

    entities, [row] = _flat(nlp, text, ("Sign", [(5, 20)]), misaligned="contract")

    assert entities == [("and", "Sign")]
    assert (row.new_start, row.new_end) == (text.index("and"), text.index("and") + 3)


@pytest.mark.parametrize("text", ["feverish", "feverish \n \n painful"])
def test_contracting_to_nothing_drops(nlp: Language, text: str) -> None:
    entities, rows = _flat(nlp, text, ("Sign", [(2, len(text) - 2)]), misaligned="contract")

    assert entities == []
    assert _codes(rows) == [("dropped", ("misaligned",))]


def test_misaligned_as_an_error(nlp: Language) -> None:
    assert _flat(nlp, "feverish", ("Sign", [(0, 8)]), misaligned="error")[0]
    with pytest.raises(ClinicalNerError) as caught:
        _flat(nlp, "feverish", ("Sign", [(0, 5)]), misaligned="error")
    assert "Document note: the edges of T1 (0 5) lie inside tokens" in str(caught.value)


@pytest.mark.parametrize(
    ("rules", "named"),
    [
        ({"overlap": "shortest"}, "longest, first, priority"),
        ({"discontinuous": "merge"}, "merge-wrapped, longest, span, drop"),
        ({"misaligned": "no"}, "expand, contract, drop, error"),
        ({"overlap": "priority"}, "list of labels"),
        ({"priority": ("A",)}, "list of labels"),
        ({"overlap": "priority", "priority": ("A", "A")}, "each once"),
    ],
)
def test_rules_that_mean_nothing(rules: dict[str, Any], named: str) -> None:
    with pytest.raises(ClinicalNerError, match=named):
        FlatRules(**rules)


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_under_any_rules_every_mention_has_one_row(nlp: Language, seed: int) -> None:
    rng = random.Random(seed)
    note = document(rng, "note")
    overlap = rng.choice(["longest", "first", "priority"])
    rules = FlatRules(
        overlap=overlap,
        discontinuous=rng.choice(["merge-wrapped", "longest", "span", "drop"]),
        misaligned=rng.choice(["expand", "contract", "drop"]),
        priority=tuple(rng.sample(LABELS, k=3)) if overlap == "priority" else (),
    )

    doc, rows = to_flat_doc(note.text, note.mentions, nlp, document="note", rules=rules)

    assert [row.annotation for row in rows] == [mention.id for mention in note.mentions]
    entities = sorted((ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)
    survivors = [row for row in rows if row.action != "dropped"]
    assert entities == sorted((row.new_start, row.new_end, row.label) for row in survivors)
    for entity in doc.ents:
        assert entity.text == entity.text.strip()
    for row in rows:
        codes = set(row.codes)
        assert codes <= set(DROPS if row.action == "dropped" else CHANGES)
        assert bool(codes) == (row.action != "kept")
        if rules.misaligned != "expand":
            assert "expanded" not in codes
        if row.action != "dropped" and "bridged" not in codes and "expanded" not in codes:
            assert row.start <= row.new_start < row.new_end <= row.end


def test_default_rules_are_those_of_no_rules(nlp: Language) -> None:
    for seed in range(20):
        note = document(random.Random(seed), "note")
        given = (note.text, note.mentions, nlp)
        _, rows = to_flat_doc(*given, document="note")
        assert (
            rows
            == to_flat_doc(
                *given, document="note", rules=FlatRules("longest", "longest", "expand")
            )[1]
        )


def test_fragments_that_only_whitespace_separates_are_one_piece() -> None:
    text = "chest \n pain or pressure"
    assert joined(text, [(16, 24), (8, 12), (0, 5)]) == [(0, 12), (16, 24)]
    assert joined(text, [(0, 8), (2, 5)]) == [(0, 8)]


@pytest.mark.parametrize(
    ("fragments", "entities"),
    [
        ([(1, 3), (9, 11)], []),  # parts of "left" and "right": "and" would be left
        ([(0, 4), (9, 11)], ["left and"]),
        ([(1, 3), (9, 14)], ["and right"]),
        ([(1, 3), (4, 5), (9, 11)], []),  # whitespace is no part
        ([(1, 3), (6, 7), (9, 11)], ["and"]),
    ],
)
def test_a_gap_alone_is_no_entity(  # H5
    nlp: Language, fragments: Fragments, entities: list[str]
) -> None:
    rules = {"discontinuous": "span", "misaligned": "contract"}
    found, rows = _flat(nlp, "left and right", ("Side", fragments), **rules)

    assert [text for text, _ in found] == entities
    if not entities:
        assert _codes(rows) == [("dropped", ("misaligned",))]


@settings(max_examples=100, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    discontinuous=st.sampled_from(["merge-wrapped", "longest", "span"]),
    misaligned=st.sampled_from(["expand", "contract", "drop"]),
)
def test_every_entity_has_a_part_of_its_mention(
    nlp: Language, seed: int, discontinuous: str, misaligned: str
) -> None:
    note = document(random.Random(seed), "note", pieces=(2, 3))
    for mention in note.mentions:
        given = (mention.label, list(mention.fragments))
        rules = {"discontinuous": discontinuous, "misaligned": misaligned}
        _, [row] = _flat(nlp, note.text, given, **rules)
        if row.new_start is not None and row.new_end is not None:
            assert any(
                note.text[max(start, row.new_start) : min(end, row.new_end)].strip()
                for start, end in mention.fragments
            )
