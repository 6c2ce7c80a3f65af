from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.gold import GOLD_ALL, get_gold, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError


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
