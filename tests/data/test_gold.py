from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.gold import GOLD_ALL, get_gold, read_gold, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.train import train

from ..conftest import ROOT


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
