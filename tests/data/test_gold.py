from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.checks.check import check
from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.convert import convert
from clinical_ner.data.flattening import FlatRules
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.gold import GOLD_ALL, get_gold, overlapping_gold, read_gold, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning
from clinical_ner.evaluation.gold_mentions import has_all_mentions
from clinical_ner.training.train import train

from ..conftest import ROOT
from .formats.examples import document


def _doc() -> Doc:
    return Doc(Vocab(), words=["left", "and", "right", "arm"], spaces=[True] * 3 + [False])


def test_every_mention_has_a_span_over_all_that_it_touches() -> None:
    doc = _doc()
    mentions = [
        Mention("T1", "Body", ((0, 4), (15, 18))),
        Mention("T2", "Body", ((11, 18),)),
        Mention("T3", "Part", ((9, 11),)),
        Mention("T4", "Gap", ((4, 5),)),
        Mention("T5", "Gap", ((4, 5), (8, 9))),
    ]

    set_gold(doc, mentions)

    assert [(span.text, span.label_) for span in doc.spans[GOLD_ALL]] == [
        ("left and right arm", "Body"),
        ("right arm", "Body"),
        ("right", "Part"),
    ]
    assert get_gold(doc) == tuple(mentions[:3])


def test_conversion_keeps_what_entities_cannot_hold() -> None:
    nlp = spacy.blank("en")
    mentions = [Mention("T1", "Sign", ((0, 10),)), Mention("T2", "Body", ((0, 5),))]

    doc, _ = to_flat_doc("chest pain", mentions, nlp, document="note")

    assert [ent.label_ for ent in doc.ents] == ["Sign"]
    assert [span.label_ for span in doc.spans[GOLD_ALL]] == ["Sign", "Body"]
    assert get_gold(doc) == tuple(mentions)


def test_a_doc_without_the_group_has_its_entities() -> None:
    doc = _doc()
    doc.set_ents([Span(doc, 2, 4, "Body")])

    assert get_gold(doc) == (Mention("T1", "Body", ((9, 18),)),)


def test_a_group_made_elsewhere_has_its_spans_offsets() -> None:
    doc = _doc()
    doc.spans[GOLD_ALL] = [Span(doc, 0, 4, "Body"), Span(doc, 3, 4, "Body")]

    assert [mention.fragments for mention in get_gold(doc)] == [((0, 18),), ((15, 18),)]


def test_attributes_that_no_longer_fit() -> None:
    doc = _doc()
    doc.user_data[DOCUMENT_ID] = "note-7"
    set_gold(doc, [Mention("T1", "Body", ((0, 4),))])
    doc.spans[GOLD_ALL].append(Span(doc, 3, 4, "Body"))

    with pytest.raises(ClinicalNerError, match=r"note-7: the attributes .* 'gold_all'"):
        get_gold(doc)


def test_docs_without_ids_are_numbered(tmp_path: Path) -> None:
    write_docbin([_doc(), _doc()], tmp_path / "notes.spacy")

    for path in (tmp_path, tmp_path / "notes.spacy"):
        ids = [text.id for text in read_texts(path, format="docbin")]
        assert ids == ["notes-1", "notes-2"]


def test_docs_of_one_id(tmp_path: Path) -> None:
    docs = [_doc(), _doc()]
    for doc in docs:
        doc.user_data[DOCUMENT_ID] = "a"
    write_docbin(docs, tmp_path / "notes.spacy")

    with pytest.raises(ClinicalNerError, match="document 2: .* id a is used at .*document 1"):
        list(read_texts(tmp_path / "notes.spacy", format="docbin"))


def test_spans_in_other_groups_are_named_where_there_is_no_entity(tmp_path: Path) -> None:
    docs = [_doc(), _doc()]
    for doc in docs:
        doc.spans["sc"] = [Span(doc, 0, 4, "Body"), Span(doc, 3, 4, "Body")]
        doc.spans["few"] = [Span(doc, 3, 4, "Body")]
        doc.spans["empty"] = []
    write_docbin(docs, tmp_path / "spancat.spacy")

    with pytest.raises(ClinicalNerError, match=r"spancat\.spacy: holds no entity") as raised:
        read_gold(tmp_path / "spancat.spacy", Vocab())

    message = str(raised.value)
    assert "doc.spans['sc'] (4), doc.spans['few'] (2)" in message
    assert "doc.ents = spacy.util.filter_spans(doc.spans['sc'])" in message
    assert "empty" not in message and "\n" not in message
    # What it says to do.
    for doc in docs:
        doc.ents = spacy.util.filter_spans(doc.spans["sc"])
    write_docbin(docs, tmp_path / "spancat.spacy")
    assert [len(doc.ents) for doc in read_gold(tmp_path / "spancat.spacy", Vocab())] == [1, 1]


def test_without_any_span_there_is_no_group_to_name(tmp_path: Path) -> None:
    write_docbin([_doc()], tmp_path / "bare.spacy")

    with pytest.raises(ClinicalNerError, match=r"score\. Name a file with gold annotations\.$"):
        read_gold(tmp_path / "bare.spacy", Vocab())


def test_training_names_them_too(tmp_path: Path) -> None:
    doc = _doc()
    doc.spans["sc"] = [Span(doc, 3, 4, "Body")]
    (tmp_path / "folder").mkdir()
    write_docbin([doc], tmp_path / "folder" / "a.spacy")
    write_docbin([_doc()], tmp_path / "folder" / "b.spacy")

    with pytest.raises(ClinicalNerError, match=r"folder: holds no entity.*doc.spans\['sc'\] \(1\)"):
        train(
            ROOT / "configs" / "tok2vec.cfg",
            tmp_path / "out",
            train_path=tmp_path / "folder",
            dev_path=tmp_path / "folder",
        )


class TestEntitiesThatWereChanged:
    """A file that conversion made, whose entities were then edited in Python."""

    @pytest.fixture
    def converted(self, tmp_path: Path) -> Path:
        records = [
            {"id": "a", "text": "Denies fever, takes aspirin.", "label": [[7, 12, "SIGN"]]},
            {"id": "b", "text": "No cough.", "label": [[3, 8, "SIGN"], [0, 8, "NEGATED"]]},
        ]
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)))
        convert(tmp_path / "a.jsonl", tmp_path / "a.spacy")
        return tmp_path / "a.spacy"

    def changed(self, path: Path, entities: list[tuple[int, int, str]]) -> list[Doc]:
        docs = read_docbin(path, Vocab())
        docs[0].ents = [Span(docs[0], *entity) for entity in entities]
        write_docbin(docs, path)
        return docs

    def mentions(self, path: Path) -> list[list[tuple[int, int, str]]]:
        return [
            [(m.start, m.end, m.label) for m in document.mentions] for document in read_texts(path)
        ]

    def test_unchanged_all_mentions_are_read(self, converted: Path) -> None:
        assert self.mentions(converted) == [
            [(7, 12, "SIGN")],
            [(3, 8, "SIGN"), (0, 8, "NEGATED")],
        ]

    @pytest.mark.parametrize(
        ("entities", "expected"),
        [
            ([(1, 2, "SYMPTOM"), (4, 5, "DRUG")], [(7, 12, "SYMPTOM"), (20, 27, "DRUG")]),
            ([(1, 2, "SIGN"), (4, 5, "DRUG")], [(7, 12, "SIGN"), (20, 27, "DRUG")]),
            ([], []),
        ],
    )
    @pytest.mark.parametrize("ending", ["jsonl", "conll", "spacy"])
    def test_what_was_written_last_is_read(
        self,
        converted: Path,
        entities: list[tuple[int, int, str]],
        expected: list[tuple[int, int, str]],
        ending: str,
    ) -> None:
        self.changed(converted, entities)
        with pytest.warns(ClinicalNerWarning, match="entities of 1 documents were changed after"):
            convert(converted, converted.parent / f"b.{ending}")
        assert self.mentions(converted.parent / f"b.{ending}")[0] == expected

    def test_an_evaluation_knows_no_longer_all_mentions(self, converted: Path) -> None:
        assert has_all_mentions(read_docbin(converted, Vocab()))
        assert not has_all_mentions(self.changed(converted, [(1, 2, "SYMPTOM")]))


def tuples(spans: Iterable[Span]) -> list[tuple[int, int, str]]:
    return [(span.start, span.end, span.label_) for span in spans]


def stored(doc: Doc, folder: Path) -> Doc:
    """A document as it is read again."""
    write_docbin([doc], folder / "one.spacy")
    return read_docbin(folder / "one.spacy", Vocab())[0]


class TestOverlappingGold:
    """What a pipeline with overlaps learns."""

    TEXT = "a 71-year-old white woman with chest and back pain"
    SUBJECT = Mention("T1", "Subject", ((0, 25),))
    AGE = Mention("T2", "Age", ((2, 13),))
    RACE = Mention("T3", "Race", ((14, 19),))

    def convert(self, *mentions: Mention, **rules: Any) -> Doc:
        nlp = spacy.blank("en")
        doc, _ = to_flat_doc(self.TEXT, mentions, nlp, document="n", rules=FlatRules(**rules))
        return doc

    def test_nested_mentions_and_those_of_one_span_are_there(self, tmp_path: Path) -> None:
        effect, sign = (Mention(of, of, ((31, 36),)) for of in ("Effect", "Sign"))
        doc = self.convert(self.AGE, self.RACE, self.SUBJECT, sign, effect)

        assert [ent.label_ for ent in doc.ents] == ["Subject", "Sign"]
        found = overlapping_gold(stored(doc, tmp_path))
        assert [(span.text, span.label_) for span in found] == [
            ("a 71-year-old white woman", "Subject"),
            ("71-year-old", "Age"),
            ("white", "Race"),
            ("chest", "Effect"),
            ("chest", "Sign"),
        ]

    @pytest.mark.parametrize("overlap", ["longest", "first"])
    def test_of_one_label_the_longest_is_kept(self, overlap: str) -> None:
        inner = Mention("T4", "Subject", ((14, 25),))
        crossing = Mention("T5", "Subject", ((20, 36),))
        doc = self.convert(inner, crossing, self.SUBJECT, self.AGE, overlap=overlap)

        expected = [("a 71-year-old white woman", "Subject"), ("71-year-old", "Age")]
        assert [(span.text, span.label_) for span in overlapping_gold(doc)] == expected

    @pytest.mark.parametrize(
        ("discontinuous", "expected"),
        [
            ("longest", "chest"),
            ("span", "chest and back pain"),
            ("merge-wrapped", None),
            ("drop", None),
        ],
    )
    def test_mentions_in_pieces_follow_the_rule_of_the_conversion(
        self, discontinuous: str, expected: str | None, tmp_path: Path
    ) -> None:
        sign = Mention("T4", "Sign", ((31, 36), (46, 50)))
        doc = stored(self.convert(self.AGE, sign, discontinuous=discontinuous), tmp_path)

        assert [span.text for span in overlapping_gold(doc) if span.label_ == "Sign"] == (
            [] if expected is None else [expected]
        )

    def test_a_cut_word_follows_the_rule_of_the_conversion(self, tmp_path: Path) -> None:
        cut = Mention("T4", "Sign", ((31, 34),))
        doc = stored(self.convert(self.AGE, cut, misaligned="drop"), tmp_path)
        assert [span.label_ for span in overlapping_gold(doc)] == ["Age"]

    def test_entities_that_were_changed_need_all_mentions_again(self, tmp_path: Path) -> None:
        doc = stored(self.convert(self.SUBJECT, self.AGE, self.RACE), tmp_path)
        doc.ents = [Span(doc, 0, 2, "Subject")]
        doc = stored(doc, tmp_path)
        with pytest.raises(ClinicalNerError, match="Document n: its entities were changed"):
            overlapping_gold(doc)
        spans = [Span(doc, 0, 2, "Subject"), Span(doc, 1, 2, "Age")]
        doc.spans[GOLD_ALL] = spans
        assert tuples(overlapping_gold(stored(doc, tmp_path))) == tuples(spans)

    def test_mentions_where_entities_are_unknown_are_one_line(self, tmp_path: Path) -> None:
        doc = _doc()
        doc.spans[GOLD_ALL] = [Span(doc, 0, 4, "Body")]
        with pytest.raises(ClinicalNerError, match="of 4 tokens: .* but its entities are unknown"):
            overlapping_gold(stored(doc, tmp_path))
        doc.spans[GOLD_ALL] = []
        assert overlapping_gold(stored(doc, tmp_path)) == []

    def test_a_group_made_elsewhere_needs_no_attributes(self, tmp_path: Path) -> None:
        doc = _doc()
        spans = [Span(doc, 0, 4, "Body"), Span(doc, 2, 4, "Part"), Span(doc, 3, 4, "Body")]
        doc.spans[GOLD_ALL] = spans
        doc.set_ents(spans[:1])
        assert tuples(overlapping_gold(stored(doc, tmp_path))) == tuples(spans[:2])

    def test_a_document_without_the_group_is_one_line(self) -> None:
        doc = _doc()
        doc.user_data[DOCUMENT_ID] = "note-7"
        doc.set_ents([Span(doc, 2, 4, "Body")])
        with pytest.raises(ClinicalNerError, match=r"note-7 has no doc.spans\['gold_all'\]") as of:
            overlapping_gold(doc)
        assert "clinical-ner convert" in str(of.value) and "\n" not in str(of.value)

    @settings(max_examples=60, deadline=None)
    @given(seed=st.integers(0, 10_000), discontinuous=st.sampled_from(["longest", "span", "drop"]))
    def test_they_are_the_entities_of_each_label_alone(self, seed: int, discontinuous: str) -> None:
        nlp, note = spacy.blank("en"), document(random.Random(seed), "note")
        rules = FlatRules(discontinuous=discontinuous)  # type: ignore[arg-type]
        expected = []
        for label in {mention.label for mention in note.mentions}:
            of_label = [mention for mention in note.mentions if mention.label == label]
            alone, _ = to_flat_doc(note.text, of_label, nlp, document="note", rules=rules)
            expected += tuples(alone.ents)
        doc, _ = to_flat_doc(note.text, note.mentions, nlp, document="note", rules=rules)
        assert tuples(overlapping_gold(doc)) == sorted(expected)


class TestUnknownGold:
    """Tokens of which nobody has said whether they are in an entity."""

    @pytest.fixture
    def partial(self, tmp_path: Path) -> Path:
        nlp = spacy.blank("en")
        known, unknown, partly = map(nlp.make_doc, ("Has fever.", "Has cough.", "Fever, cough."))
        known.ents = [Span(known, 1, 2, "SIGN")]
        partly.set_ents([Span(partly, 0, 1, "SIGN")], missing=[partly[2:3]], default="outside")
        write_docbin([known, unknown, partly], tmp_path / "u.spacy")
        return tmp_path / "u.spacy"

    def test_it_stays_unknown(self, partial: Path) -> None:
        convert(partial, partial.parent / "v.spacy")
        found = [
            [t.ent_iob for t in doc] for doc in read_docbin(partial.parent / "v.spacy", Vocab())
        ]
        assert found == [[2, 3, 2], [0, 0, 0], [3, 2, 0, 2]]

    def test_a_format_that_cannot_tell_says_so(self, partial: Path) -> None:
        with pytest.warns(ClinicalNerWarning, match="of 2 documents the gold is unknown"):
            convert(partial, partial.parent / "v.jsonl")
        with pytest.raises(ClinicalNerError, match="document u-2: token 0 may be in an entity"):
            convert(partial, partial.parent / "v.conll")

    def test_no_label_is_missed_there(self, tmp_path: Path) -> None:
        nlp = spacy.blank("en")
        docs = [nlp.make_doc("Has fever today.") for _ in range(4)]
        for doc in docs[:2]:
            doc.ents = [Span(doc, 1, 2, "SIGN")]
        docs[2].ents = []
        write_docbin(docs, tmp_path / "u.spacy")
        places = {of.code: of.places for of in check(tmp_path / "u.spacy").findings}
        assert [place.document for place in places["C052"]] == ["u-3"]
