from __future__ import annotations

import random
import warnings
from collections.abc import Sequence
from pathlib import Path

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.data.conversion import (
    CHANGED,
    DROPPED,
    OVERLAPPING,
    ConversionCounts,
    ConversionRow,
    OutcomeCounts,
    to_flat_doc,
)
from clinical_ner.data.flattening import CHANGES, DROPS
from clinical_ner.data.formats.brat import read_brat
from clinical_ner.data.formats.docbin import DOCUMENT_ID, LANGUAGE, read_docbin, write_docbin
from clinical_ner.data.mentions import FAULTY, UNUSABLE, Mention
from clinical_ner.errors import ClinicalNerError

MACCROBAT = Path(__file__).parents[3] / "shared" / "maccrobat"
SPACES = [" ", "  ", "\n", "\r\n", "\t", "\u00a0", "\u2003", "\u3000", "\x1c", "\x85"]


@pytest.fixture(scope="module")
def nlp() -> Language:
    return spacy.blank("en")


def _mentions(*mentions: tuple[str, list[tuple[int, int]]]) -> list[Mention]:
    return [
        Mention(f"T{number}", label, tuple(fragments))
        for number, (label, fragments) in enumerate(mentions, start=1)
    ]


def _convert(
    nlp: Language, text: str, *mentions: tuple[str, list[tuple[int, int]]]
) -> tuple[list[tuple[str, str]], list[tuple[str, tuple[str, ...]]]]:
    """Entities as (text, label), rows as (action, codes)."""
    doc, rows = to_flat_doc(text, _mentions(*mentions), nlp, document="note")
    return [(e.text, e.label_) for e in doc.ents], [(row.action, row.codes) for row in rows]


def test_aligned_mention_is_kept(nlp: Language) -> None:
    doc, rows = to_flat_doc(
        "Severe chest pain.", _mentions(("Sign", [(7, 17)])), nlp, document="note"
    )

    assert [(ent.text, ent.label_) for ent in doc.ents] == [("chest pain", "Sign")]
    assert rows == [ConversionRow("note", "T1", "Sign", 7, 17, "kept", (), 7, 17, "Sign")]


def test_doc_carries_its_id_and_text_through_a_docbin(nlp: Language, tmp_path: Path) -> None:
    text = "Severe \r\n chest pain.\t"
    doc, _ = to_flat_doc(text, [], nlp, document="note-7")

    write_docbin([doc], tmp_path / "docs.spacy")
    [read] = read_docbin(tmp_path / "docs.spacy", Vocab())

    assert read.user_data == {DOCUMENT_ID: "note-7", LANGUAGE: "en"}
    assert read.text == text


def test_tokens_outside_entities_are_known_to_be_outside(nlp: Language) -> None:
    doc, _ = to_flat_doc("Severe chest pain", _mentions(("Sign", [(7, 17)])), nlp, document="x")

    assert [token.ent_iob_ for token in doc] == ["O", "B", "I"]


@pytest.mark.parametrize("space", SPACES, ids=ascii)
def test_whitespace_at_the_edges_is_trimmed(nlp: Language, space: str) -> None:
    text = f"a{space}chest pain{space}b"
    doc, [row] = to_flat_doc(text, _mentions(("Sign", [(1, len(text) - 1)])), nlp, document="note")

    assert [ent.text for ent in doc.ents] == ["chest pain"]
    assert (row.action, row.codes) == ("changed", ("trimmed",))
    assert (row.start, row.end) == (1, len(text) - 1)
    assert (row.new_start, row.new_end) == (1 + len(space), len(text) - 1 - len(space))


@pytest.mark.parametrize("fragments", [[(1, 1)], [(1, 3)], [(0, 0)], [(4, 4)], [(1, 2), (2, 3)]])
def test_mention_without_text_is_dropped(nlp: Language, fragments: list[tuple[int, int]]) -> None:
    doc, [row] = to_flat_doc("a  b", _mentions(("Sign", fragments)), nlp, document="note")

    assert not doc.ents
    assert (row.action, row.codes, row.new_start, row.new_end) == (
        "dropped", ("empty",), None, None
    )  # fmt: skip


def test_mention_inside_a_token_is_expanded(nlp: Language) -> None:
    doc, [row] = to_flat_doc("A 3cm-mass here", _mentions(("X", [(6, 8)])), nlp, document="note")

    [entity] = doc.ents
    assert entity.start_char <= 6 and entity.end_char >= 8
    assert (row.action, row.codes) == ("changed", ("expanded",))
    assert (row.new_start, row.new_end) == (entity.start_char, entity.end_char) != (6, 8)


def test_trimmed_and_expanded(nlp: Language) -> None:
    entities, rows = _convert(nlp, "was feverish today", ("Sign", [(3, 9)]))

    assert entities == [("feverish", "Sign")]
    assert rows == [("changed", ("trimmed", "expanded"))]


def test_discontinuous_keeps_its_longest_fragment(nlp: Language) -> None:
    doc, [row] = to_flat_doc(
        "left and right forearm", _mentions(("Body", [(0, 4), (15, 22)])), nlp, document="note"
    )

    assert [ent.text for ent in doc.ents] == ["forearm"]
    assert row == ConversionRow(
        "note", "T1", "Body", 0, 22, "changed", ("discontinuous",), 15, 22, "Body"
    )


@pytest.mark.parametrize("fragments", [[(0, 4), (9, 13)], [(9, 13), (0, 4)]])
def test_discontinuous_keeps_the_first_of_equal_fragments(
    nlp: Language, fragments: list[tuple[int, int]]
) -> None:
    assert _convert(nlp, "left and hand", ("Body", fragments))[0] == [("left", "Body")]


def test_whitespace_does_not_make_a_fragment_longer(nlp: Language) -> None:
    entities, rows = _convert(nlp, "leg     or thigh", ("Body", [(0, 8), (11, 16)]))

    assert entities == [("thigh", "Body")]
    assert rows == [("changed", ("discontinuous",))]


def test_fragments_with_only_whitespace_between_are_one(nlp: Language) -> None:
    entities, rows = _convert(nlp, "chest\r\npain", ("Sign", [(0, 5), (7, 11)]))

    assert entities == [("chest\r\npain", "Sign")]
    assert rows == [("changed", ("joined",))]


def test_longest_mention_wins(nlp: Language) -> None:
    entities, rows = _convert(
        nlp,
        "severe acute chest pain",
        ("Severity", [(0, 6)]),
        ("Sign", [(0, 23)]),
        ("X", [(13, 23)]),
    )

    assert entities == [("severe acute chest pain", "Sign")]
    assert [codes for _, codes in rows] == [("overlap",), (), ("overlap",)]


def test_length_is_counted_in_tokens(nlp: Language) -> None:
    # "a b c" is shorter than "c electroencephalography" in characters only.
    entities, _ = _convert(
        nlp, "a b c electroencephalography", ("Long", [(4, 28)]), ("Many", [(0, 5)])
    )

    assert entities == [("a b c", "Many")]


def test_earlier_start_wins_a_tie(nlp: Language) -> None:
    entities, rows = _convert(nlp, "acute chest pain", ("B", [(6, 16)]), ("A", [(0, 11)]))

    assert entities == [("acute chest", "A")]
    assert rows == [("dropped", ("overlap",)), ("kept", ())]


def test_duplicate_and_conflict(nlp: Language) -> None:
    entities, rows = _convert(nlp, "fever", *[(label, [(0, 5)]) for label in ("A", "B", "A")])

    assert entities == [("fever", "A")]
    assert rows == [("kept", ()), ("dropped", ("conflict",)), ("dropped", ("duplicate",))]


def test_overlaps_are_found_after_expansion(nlp: Language) -> None:
    # The halves of one token do not overlap as characters.
    entities, rows = _convert(nlp, "feverish", ("A", [(0, 5)]), ("A", [(5, 8)]))

    assert entities == [("feverish", "A")]
    assert rows == [("changed", ("expanded",)), ("dropped", ("duplicate",))]


def test_loser_of_a_loser_is_kept(nlp: Language) -> None:
    entities, _ = _convert(nlp, "a b c d e f", ("X", [(0, 7)]), ("Y", [(6, 9)]), ("Z", [(8, 9)]))

    assert entities == [("a b c d", "X"), ("e", "Z")]


def test_text_without_tokens(nlp: Language) -> None:
    doc, rows = to_flat_doc("", _mentions(("X", [(0, 0)])), nlp, document="note")

    assert len(doc) == 0
    assert [row.codes for row in rows] == [("empty",)]


def test_tokenizer_that_alters_the_text_is_an_error() -> None:
    nlp = spacy.blank("xx")
    nlp.tokenizer = lambda text: Doc(nlp.vocab, words=text.split())

    with pytest.raises(ClinicalNerError, match="alters the text of document note"):
        to_flat_doc("two  blanks", [], nlp, document="note")


def _random_case(random_state: random.Random) -> tuple[str, list[Mention]]:
    pieces = ["ab", "3.5mg", "x-ray", "(", ".", "don't", "µ", "😷", *SPACES]
    text = "".join(random_state.choices(pieces, k=random_state.randint(1, 25)))

    def fragment() -> tuple[int, int]:
        start, end = sorted(random_state.choices(range(len(text) + 1), k=2))
        return start, end

    fragments = [
        [fragment() for _ in range(random_state.choice([1, 1, 1, 2, 3]))] for _ in range(12)
    ]
    return text, _mentions(*[(random_state.choice("ABC"), spans) for spans in fragments])


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_random_mentions_end_as_one_row_each_and_the_choice_is_stable(
    nlp: Language, seed: int
) -> None:
    text, mentions = _random_case(random.Random(seed))

    doc, rows = to_flat_doc(text, mentions, nlp, document="note")

    assert [row.annotation for row in rows] == [mention.id for mention in mentions]
    entities = sorted((ent.start_char, ent.end_char, ent.label_) for ent in doc.ents)
    survivors = [row for row in rows if row.action != "dropped"]
    assert entities == sorted((row.new_start, row.new_end, row.label) for row in survivors)
    for row in rows:
        if row.action == "kept":
            assert row.codes == () and (row.start, row.end) == (row.new_start, row.new_end)
        elif row.action == "changed":
            assert row.codes and set(row.codes) <= set(CHANGES)
        else:
            assert len(row.codes) == 1 and set(row.codes) <= set(DROPS)
            assert row.new_start is None and row.new_end is None
    # What lost to others would have been kept alone, and no loser beats all that it overlaps.
    spans = _alone(doc, nlp, mentions)
    kept = {int(row.annotation[1:]) - 1 for row in survivors}
    for index, row in enumerate(rows):
        assert (row.codes == ("empty",)) == (index not in spans)
        if row.codes in [("overlap",), ("conflict",), ("duplicate",), ("same_label",)]:
            start, end = spans[index]
            rivals = [i for i in kept if spans[i][0] < end and start < spans[i][1]]
            best = min((spans[i][0] - spans[i][1], spans[i][0], i) for i in rivals)
            assert best < (start - end, start, index)
    # Alone with the others of its label, a loser is kept unless that is why it lost.
    for label in "ABC":
        of_label = [mention for mention in mentions if mention.label == label]
        _, alone = to_flat_doc(text, of_label, nlp, document="note")
        for row in alone:
            if rows[int(row.annotation[1:]) - 1].action == "dropped":
                codes = rows[int(row.annotation[1:]) - 1].codes
                assert (row.action != "dropped") == (codes[0] in OVERLAPPING)


def _alone(doc: Doc, nlp: Language, mentions: Sequence[Mention]) -> dict[int, tuple[int, int]]:
    """The tokens that each mention takes when it has no rival."""
    spans = {}
    for index, mention in enumerate(mentions):
        single, _ = to_flat_doc(doc.text, [mention], nlp, document="note")
        if single.ents:
            spans[index] = (single.ents[0].start, single.ents[0].end)
    return spans


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_no_entity_has_a_whitespace_edge(nlp: Language, seed: int) -> None:
    text, mentions = _random_case(random.Random(seed))

    doc, _ = to_flat_doc(text, mentions, nlp, document="note")

    for entity in doc.ents:
        assert not entity[0].is_space and not entity[-1].is_space
        assert entity.text == entity.text.strip()


def test_spacys_own_ner_trains_on_the_result() -> None:
    nlp = spacy.blank("en")
    # Cut sizes under a document's length make the parser look for the oracle's whole sequence.
    nlp.add_pipe("ner", config={"update_with_oracle_cut_size": 2})
    docs = [
        to_flat_doc(*_random_case(random.Random(seed)), nlp, document=str(seed))[0]
        for seed in range(40)
    ]
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    nlp.initialize(lambda: examples)

    # An entity with a whitespace edge ends this in E024.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nlp.update(examples)["ner"] > 0


def _row(label: str, action: str, *codes: str, new_label: str | None = "X") -> ConversionRow:
    return ConversionRow("a", "T1", label, 0, 1, action, codes, 0, 1, new_label)  # type: ignore[arg-type]


def test_counts_add_up() -> None:
    counts = ConversionCounts()
    rows = [
        _row("X", "kept"),
        _row("X", "changed", "trimmed", "expanded"),
        _row("X", "changed", "relabelled"),
        _row("X", "changed", "relabelled", "joined", "expanded"),
        _row("Y", "dropped", "conflict"),
    ]

    counts.add(rows)
    counts.add(rows[:1])

    assert counts.labels["X"] == OutcomeCounts(kept=2, renamed=1, merged=1, moved=1)
    assert counts.labels["Y"] == OutcomeCounts(dropped=1)
    assert (counts.total.read, counts.total.changed, counts.total.dropped) == (6, 3, 1)
    assert counts.new_labels == {"X": 5}
    assert counts.overlapping == {"Y": 1}
    assert counts.reasons == {
        "trimmed": 1, "expanded": 2, "relabelled": 2, "joined": 1, "conflict": 1
    }  # fmt: skip


@pytest.mark.parametrize(
    ("codes", "outcome"),
    [
        (["joined"], "merged"),
        (["discontinuous", "trimmed"], "merged"),
        (["relabelled", "bridged"], "merged"),
        (["trimmed"], "moved"),
        (["contracted"], "moved"),
        (["relabelled", "expanded"], "moved"),
        (["relabelled"], "renamed"),
    ],
)
def test_columns_of_changed_mentions(codes: list[str], outcome: str) -> None:
    assert _row("A", "changed", *codes).outcome == outcome


def test_what_nobody_wanted_is_not_lost() -> None:
    counts = ConversionCounts()
    for code in DROPPED:
        counts.add([_row("X", "dropped", code)])

    assert counts.lost == dict.fromkeys([FAULTY, *DROPS], 1)
    assert counts.wanted == len(DROPS) + 1


def test_every_code_has_a_meaning() -> None:
    assert CHANGED.keys() > CHANGES.keys()
    assert DROPPED.keys() > DROPS.keys() | UNUSABLE.keys()
    assert not CHANGED.keys() & DROPPED.keys()


@pytest.mark.slow
@pytest.mark.skipif(not MACCROBAT.is_dir(), reason="the case reports (shared/maccrobat) are absent")
def test_every_mention_of_the_case_reports_is_accounted_for(nlp: Language) -> None:
    # Counted from the files, without the reader.
    lines = [
        line
        for path in MACCROBAT.glob("*.ann")
        for line in path.read_text(encoding="utf8").splitlines()
    ]
    mentions = sum(line.startswith("T") for line in lines)
    counts = ConversionCounts()
    entities = documents = 0
    for document in read_brat(MACCROBAT):
        doc, rows = to_flat_doc(document.text, document.mentions, nlp, document=document.id)
        counts.add(rows)
        counts.other_lines.update(document.skipped)
        documents += 1
        entities += len(doc.ents)
        assert not any(ent[0].is_space or ent[-1].is_space for ent in doc.ents)

    assert documents == 160
    assert counts.total.read == mentions == 20167
    assert counts.total.kept + counts.total.changed == entities
    assert mentions + counts.other_lines.total() == sum(bool(line.strip()) for line in lines)
    assert sum(counts.reasons[code] for code in DROPS) == counts.total.dropped
