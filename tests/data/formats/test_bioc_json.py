from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError

from .examples import spans


def _read(folder: Path, *records: Any, **settings: Any) -> list[AnnotatedText]:
    path = folder / "notes.json"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return list(read_texts(path, format="bioc", **settings))


def _annotation(offset: int, text: str, **fields: Any) -> dict[str, Any]:
    return {
        "id": "1",
        "infons": {"type": "Sign"},
        "text": text,
        "locations": [{"offset": offset, "length": len(text)}],
        **fields,
    }


def _passage(offset: int, text: str | None, *annotations: Any, **fields: Any) -> dict[str, Any]:
    return {
        "offset": offset,
        "infons": {},
        **({} if text is None else {"text": text}),
        "sentences": [],
        "annotations": list(annotations),
        "relations": [],
        **fields,
    }


def _document(*passages: Any, id: Any = "7", **fields: Any) -> dict[str, Any]:
    return {"id": id, "infons": {}, "passages": list(passages), "relations": [], **fields}


def _collection(*documents: Any) -> dict[str, Any]:
    return {"source": "", "date": "", "key": "", "infons": {}, "documents": list(documents)}


NOTE = _document(_passage(0, "Chest pain", _annotation(0, "Chest pain")), _passage(11, "Fever"))


@pytest.mark.parametrize(
    "records",
    [[_collection(NOTE)], [NOTE], [[_collection(NOTE)]], [{"PubTator3": [NOTE]}]],
    ids=["collection", "document a line", "array of collections", "PubTator 3"],
)
def test_what_a_record_may_be(tmp_path: Path, records: list[Any]) -> None:
    [document] = _read(tmp_path, *records)

    assert (document.id, document.text) == ("7", "Chest pain\nFever")
    assert spans(document) == [("Sign", ((0, 10),))]


#: Case A28 of the reports: what PubTator 3 writes, with infons that are no strings.
PUBTATOR3 = """{"PubTator3":[{"_id":"1|None","id":"1","infons":{},"passages":[
{"infons":{"type":"title"},"offset":0,"text":"Fever in mice.","sentences":[],"annotations":[
{"id":"2","infons":{"identifier":"D005334","type":"Disease","valid":true,"normalized":["D005334"],
"accession":null},"text":"Fever","locations":[{"offset":0,"length":5}]}],"relations":[]},
{"infons":{"type":"abstract"},"offset":15,"text":"No cough. ","sentences":[],"annotations":[
{"id":"3","infons":{"type":"Disease","valid":false,"normalized_id":null},"text":"cough",
"locations":[{"offset":18,"length":5}]}],"relations":[]}],"relations":[{"id":"R1","infons":
{"score":"0.9","role1":{"identifier":"x"},"type":"Association"},"nodes":[{"refid":"0","role":"1,0"}]
}],"pmid":1,"relations_display":[]}]}"""


@pytest.mark.parametrize("id", ["1", 1, "PMC1"])
def test_what_pubtator_3_writes(tmp_path: Path, id: Any) -> None:
    record = json.loads(PUBTATOR3)
    record["PubTator3"][0]["id"] = id
    (tmp_path / "notes.json").write_text(json.dumps(record))

    [document] = read_texts(tmp_path / "notes.json")

    assert (document.id, document.text) == (str(id), "Fever in mice.\nNo cough. ")
    assert spans(document) == [("Disease", ((0, 5),)), ("Disease", ((18, 23),))]
    # All infons of the mentions but their types.
    assert document.skipped == {"relation": 1, "infon": 6}


def test_what_no_passage_covers_is_whitespace(tmp_path: Path) -> None:
    passages = [_passage(10, "Fever", _annotation(10, "Fever")), _passage(2, "Pain")]

    [document] = _read(tmp_path, _document(*passages))

    assert document.text == " \nPain   \nFever"
    assert spans(document) == [("Sign", ((10, 15),))]


def test_passages_of_sentences(tmp_path: Path) -> None:
    sentence = {**_passage(4, "Fever", _annotation(4, "Fever")), "relations": []}

    [document] = _read(tmp_path, _document(_passage(0, None, sentences=[sentence])))

    assert document.text == "   \nFever"
    assert spans(document) == [("Sign", ((4, 9),))]


def test_fragments_and_what_is_counted(tmp_path: Path) -> None:
    locations = [{"offset": 0, "length": 5}, {"offset": 10, "length": 4}]
    annotation = _annotation(
        0, "Chest pain", locations=locations, infons={"type": "Sign", "identifier": "D1"}
    )
    relation = {"id": "R1", "infons": {}, "nodes": [{"refid": "1", "role": "x"}]}
    passage = _passage(0, "Chest and pain", annotation, relations=[relation])

    [document] = _read(tmp_path, _document(passage, relations=[relation]))

    assert spans(document) == [("Sign", ((0, 5), (10, 14)))]
    assert document.skipped == {"relation": 2, "infon": 1}


@pytest.mark.parametrize(("unit", "size"), [("code-points", 1), ("utf-16", 2), ("bytes", 4)])
@pytest.mark.parametrize("given", [True, False])
def test_offsets_of_passages_count_as_those_of_annotations(
    tmp_path: Path, unit: str, size: int, given: bool
) -> None:
    passages = [_passage(0, "😷"), _passage(size + 1, "Fever", _annotation(size + 1, "Fever"))]

    [document] = _read(tmp_path, _document(*passages), offsets=unit if given else None)

    [mention] = document.mentions
    assert document.text[mention.start : mention.end] == "Fever"
    assert document.text.split() == ["😷", "Fever"]
    if given:
        assert document.text == "😷\nFever"


@pytest.mark.parametrize("quote", ["Chest pain", "Chest and pain"])
def test_fragments_or_the_whole_are_quoted(tmp_path: Path, quote: str) -> None:
    locations = [{"offset": 3, "length": 5}, {"offset": 13, "length": 4}]
    annotation = _annotation(0, quote, locations=locations)

    passage = _passage(0, "😷 Chest and pain", annotation)
    [document] = _read(tmp_path, _document(passage), offsets="utf-16")

    assert spans(document) == [("Sign", ((2, 7), (12, 16)))]


def _broken(path: str, value: Any = None) -> Any:
    """A document in which something, under keys separated by dots, is another value or missing."""
    note = json.loads(json.dumps(NOTE))
    *parents, last = [int(key) if key.isdigit() else key for key in path.split(".")]
    place = note
    for key in parents:
        place = place[key]
    if value is None:
        del place[last]
    else:
        place[last] = value
    return note


@pytest.mark.parametrize(
    ("record", "problem"),
    [
        ({"text": "fever"}, "neither a collection nor a document"),
        ([3], "neither a collection nor a document"),
        (_broken("id"), "document 1 has an object without 'id'"),
        (_broken("id", " "), "document 1 has no id"),
        (_broken("passages.0.offset"), "document 1 has an object without 'offset'"),
        (_broken("passages.0.annotations.0.text"), "document 1 has an object without 'text'"),
        (_broken("passages.0.annotations", 3), "document 1 has a value of another type"),
        (_broken("passages.0", "fever"), "document 1 has a value of another type"),
        (_collection("fever"), "document 1 has a value of another type"),
        (_broken("passages.0.text", 3), "a passage of document 7 has no text or no offset"),
        (_broken("passages.0.offset", -1), "a passage of document 7 has no text or no offset"),
        (_broken("passages.0.text", "\ud83d"), "document 7 holds half of a UTF-16 pair"),
        (
            _broken("passages.0.annotations.0.infons", {"type": "\ud83d"}),
            "annotation 1 .* has a type with half",
        ),
        (_broken("passages.1.offset", 9), "passages of document 7 overlap"),
        (_broken("passages.0.annotations.0.infons", {"a": 1}), "annotation 1 .* has no type"),
        (_broken("passages.0.annotations.0.locations", []), "annotation 1 .* has no locations"),
        (_broken("passages.0.annotations.0.text", "Fever"), "the text of 1 does not match"),
        (
            _broken("passages.0.annotations.0.locations.0.length", 99),
            "offsets 0 99 of 1 do not fit",
        ),
    ],
)
def test_faults(tmp_path: Path, record: Any, problem: str) -> None:
    with pytest.raises(ClinicalNerError, match=problem) as caught:
        _read(tmp_path, record)

    message = str(caught.value)
    assert f"{tmp_path / 'notes.json'}, line 1: " in message
    assert "\n" not in message and "Chest" not in message


def test_documents_of_one_id(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="line 2: the document's id 7"):
        _read(tmp_path, NOTE, NOTE)


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bioc", None)

    with pytest.raises(ClinicalNerError, match=r"pip install 'clinical-ner\[bioc\]'"):
        _read(tmp_path, NOTE)


@pytest.mark.parametrize("offset", [3_000_000_000, 200_000_000, 2000])
@pytest.mark.parametrize("before", [0, 1])
@pytest.mark.parametrize("as_sentence", [True, False])
def test_a_passage_beyond_what_the_file_holds(
    tmp_path: Path, offset: int, before: int, as_sentence: bool
) -> None:  # H3
    passage = _passage(offset, "Fever.", _annotation(offset, "Fever"))
    if as_sentence:
        passage = _passage(0, None, sentences=[passage])
    passages = [_passage(0, "Pain.")] * before + [passage]

    for unit in (None, "utf-16"):
        with pytest.raises(ClinicalNerError, match=f"document 7 starts at {offset}, beyond what"):
            _read(tmp_path, _document(*passages), offsets=unit)
