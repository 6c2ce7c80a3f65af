from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.tokens import Span
from spacy.training import docs_to_json

from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ClinicalNerError

from .examples import spans

TEXT = "Severe chest pain and fever"
SIGNS = [("Sign", ((7, 17),)), ("Sign", ((22, 27),))]


def _read(folder: Path, *records: Any, **settings: Any) -> list[AnnotatedText]:
    path = folder / "notes.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return list(read_texts(path, format="jsonl", **settings))


def _task(*annotations: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"text": TEXT}, "annotations": list(annotations), **fields}


def _result(start: int, end: int, **fields: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": TEXT[start:end], "labels": ["Sign"]}
    return {"id": f"r{start}", "type": "labels", "from_name": "label", "value": value, **fields}


RESULTS = {"completed_by": 1, "was_cancelled": False, "result": [_result(7, 17), _result(22, 27)]}
SHAPES: dict[str, Any] = {
    "doccano": {"id": 7, "text": TEXT, "label": [[7, 17, "Sign"], [22, 27, "Sign"]]},
    "doccano, older": {"id": 7, "data": TEXT, "labels": [[7, 17, "Sign"], [22, 27, "Sign"]]},
    "doccano, relations": {
        "id": 7,
        "text": TEXT,
        "entities": [
            {"id": 70, "label": "Sign", "start_offset": 7, "end_offset": 17},
            {"id": 71, "label": "Sign", "start_offset": 22, "end_offset": 27},
        ],
        "relations": [{"id": 1, "from_id": 70, "to_id": 71, "type": "with"}],
    },
    "Prodigy": {
        "text": TEXT,
        "_input_hash": 7,
        "_task_hash": 12,
        "tokens": [{"text": "Severe", "start": 0, "end": 6, "id": 0}],
        "spans": [
            {"start": 7, "end": 17, "token_start": 1, "token_end": 2, "label": "Sign"},
            {"start": 22, "end": 27, "label": "Sign", "text": "fever"},
        ],
        "answer": "accept",
    },
    "Label Studio": _task(RESULTS),
    "Label Studio, older": {"id": 7, "data": {"note": TEXT, "n": 3}, "completions": [RESULTS]},
    "Label Studio, JSON_MIN": {
        "id": 7,
        "text": TEXT,
        "label": [result["value"] for result in RESULTS["result"]],  # type: ignore[index]
        "annotator": 1,
    },
    "spaCy, entities": {"id": 7, "text": TEXT, "entities": [[7, 17, "Sign"], [22, 27, "Sign"]]},
    "spaCy, Doc.to_json": {
        "id": 7,
        "text": TEXT,
        "ents": [
            {"start": 7, "end": 17, "label": "Sign"},
            {"start": 22, "end": 27, "label": "Sign"},
        ],
        "tokens": [],
    },
    "spaCy, training": {
        "id": 7,
        "paragraphs": [
            {"raw": TEXT, "sentences": [], "entities": [[7, 17, "Sign"], [22, 27, "Sign"]]}
        ],
    },
    "spaCy, training, tags": {
        "id": 7,
        "paragraphs": [
            {
                "raw": TEXT,
                "sentences": [
                    {"tokens": [{"orth": "Severe", "ner": "O"}, {"orth": "chest", "ner": "B-Sign"},
                                {"orth": "pain", "ner": "L-Sign"}]},
                    {"tokens": [{"orth": "and", "ner": "O"}, {"orth": "fever", "ner": "U-Sign"}]},
                ],
            }
        ],
    },
}  # fmt: skip


@pytest.mark.parametrize("name", SHAPES)
def test_shapes(tmp_path: Path, name: str) -> None:
    [document] = _read(tmp_path, SHAPES[name])

    assert (document.id, document.text, spans(document)) == ("7", TEXT, SIGNS)
    assert document.unusable is None


NER_ANNOTATOR: dict[str, Any] = {
    "classes": ["SIGN", "DRUG"],
    "annotations": [
        ["Denies fever, takes aspirin.", {"entities": [[7, 12, "SIGN"], [20, 27, "DRUG"]]}],
        None,
        ["Chest pain.", {"entities": [[0, 10, "SIGN"]]}],
    ],
}


@pytest.mark.parametrize("indent", [None, 1])
def test_ner_annotator(tmp_path: Path, indent: int | None) -> None:
    (tmp_path / "notes.json").write_text(json.dumps(NER_ANNOTATOR, indent=indent))

    first, second = read_texts(tmp_path / "notes.json")

    assert (first.id, second.id) == ("notes-1-1", "notes-1-3")
    assert spans(first) == [("SIGN", ((7, 12),)), ("DRUG", ((20, 27),))]
    assert (second.text, spans(second)) == ("Chest pain.", [("SIGN", ((0, 10),))])
    assert (first.skipped, second.skipped) == ({"null": 1}, {})


def test_ner_annotator_of_nothing_and_of_texts_without_entities(tmp_path: Path) -> None:
    assert _read(tmp_path, {**NER_ANNOTATOR, "annotations": [None]}) == []

    [text] = _read(tmp_path, {**NER_ANNOTATOR, "annotations": [["Well.\r", {"entities": []}]]})
    assert (text.text, text.mentions) == ("Well.\r", ())


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (3, "the record is a number"),
        (["fever", {"entities": [[0, 50, "SIGN"]]}], "offsets 0 50 of T1 do not fit"),
        (["fever", {"entities": [[0, 5, None]]}], "annotation T1 .* has no label"),
    ],
)
def test_faults_of_ner_annotator(tmp_path: Path, item: Any, message: str) -> None:
    with pytest.raises(ClinicalNerError, match=f"line 1: .*{message}"):
        _read(tmp_path, {**NER_ANNOTATOR, "annotations": [item]})


@pytest.mark.parametrize("as_array", [False, True])
def test_a_pair_of_a_text_and_a_list(tmp_path: Path, as_array: bool) -> None:
    pair = ["Denies fever now.", [[7, 12, "Sign"]]]
    (tmp_path / "a.json").write_text(json.dumps([pair] if as_array else pair))
    [text] = read_texts(tmp_path / "a.json")
    assert [(m.label, m.start, m.end) for m in text.mentions] == [("Sign", 7, 12)]


def test_spacys_pair(tmp_path: Path) -> None:
    [document] = _read(tmp_path, [TEXT, {"entities": [[7, 17, "Sign"]]}])

    assert (document.id, spans(document)) == ("notes-1", SIGNS[:1])


def test_what_spacy_itself_writes(tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    docs = [nlp("Severe chest pain 😷 . No fever."), nlp("Fever")]
    docs[0].set_ents([Span(docs[0], 1, 3, "Sign"), Span(docs[0], 6, 7, "Sign")])
    expected = [("Sign", ((e.start_char, e.end_char),)) for e in docs[0].ents]

    json_doc = docs_to_json(docs, doc_id=3)
    by_offsets = _read(tmp_path, json_doc)
    for paragraph in json_doc["paragraphs"]:
        del paragraph["entities"]
    by_tags = _read(tmp_path, json_doc, offsets="bytes")

    for first, second in (by_offsets, by_tags):
        assert (first.id, second.id) == ("3-1", "3-2")
        assert spans(first) == expected and second.mentions == ()
    [from_json] = _read(tmp_path, docs[0].to_json())
    assert spans(from_json) == expected


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("as_array", [True, False])
def test_records_over_lines_and_in_arrays(
    tmp_path: Path, indent: int | None, as_array: bool
) -> None:
    records = [SHAPES["doccano"], {**SHAPES["doccano"], "id": 8}]
    path = tmp_path / "notes.json"
    content = (
        json.dumps(records, indent=indent)
        if as_array
        else "\n".join(json.dumps(record, indent=indent) for record in records)
    )
    path.write_text(f"\ufeff\n{content}\r\n\n", encoding="utf-8")

    assert [(text.id, spans(text)) for text in read_texts(path, format="jsonl")] == [
        ("7", SIGNS),
        ("8", SIGNS),
    ]


def test_an_array_of_nothing_has_no_document(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("[]\n")

    assert list(read_texts(tmp_path / "notes.json", format="jsonl")) == []


def test_ids(tmp_path: Path) -> None:
    fields = {"text": "fever", "label": []}

    records = [{"id": "a"}, {"meta": {"id": 3}}, {"_input_hash": -9}, {}]

    documents = _read(tmp_path, *[{**record, **fields} for record in records])

    assert [document.id for document in documents] == ["a", "3", "-9", "notes-4"]


def test_fragments(tmp_path: Path) -> None:
    entity = {"label": "Sign", "fragments": [[7, 12], [22, 27]]}

    assert spans(_read(tmp_path, {"text": TEXT, "entities": [entity]})[0]) == [
        ("Sign", ((7, 12), (22, 27)))
    ]


def test_several_labels_are_several_mentions(tmp_path: Path) -> None:
    value = {"start": 22, "end": 27, "labels": ["Sign", "Fever"]}

    [document] = _read(tmp_path, {"text": TEXT, "label": [value]})

    assert [(m.id, m.label) for m in document.mentions] == [("T1", "Sign"), ("T1-2", "Fever")]


def test_prodigys_answers(tmp_path: Path) -> None:
    records = [
        {"text": "fever", "answer": answer, "_input_hash": number}
        for number, answer in enumerate(["accept", "reject", "ignore"])
    ]

    unusable = [document.unusable for document in _read(tmp_path, *records)]
    assert unusable == [None, "rejected", "ignored"]


#: Case A1 of the reports.
SPAN_ANSWERS = {
    "text": "Denies fever, takes aspirin.",
    "_input_hash": 7,
    "_task_hash": 8,
    "spans": [
        {"start": 7, "end": 12, "label": "SIGN", "answer": "accept"},
        {"start": 0, "end": 6, "label": "DRUG", "answer": "reject"},
        {"start": 20, "end": 27, "label": "DRUG", "answer": "ignore"},
    ],
    "answer": "accept",
}


def test_prodigys_answers_about_spans(tmp_path: Path) -> None:
    [document] = _read(tmp_path, SPAN_ANSWERS)

    assert spans(document) == [("SIGN", ((7, 12),))]
    assert document.skipped == {"rejected_span": 1, "ignored_span": 1}


@pytest.mark.parametrize(
    ("answers", "kept", "skipped"),
    [
        # The whole task is accepted, and none of what a model proposed.
        (["reject", "reject", "reject"], [], {"rejected_span": 3}),
        # Some spans were not asked about: null, or no answer at all.
        ([None, "accept", "ignore"], ["SIGN", "DRUG"], {"ignored_span": 1}),
    ],
)
def test_answers_about_all_or_few_spans(
    tmp_path: Path, answers: list[str | None], kept: list[str], skipped: dict[str, int]
) -> None:
    pairs = zip(SPAN_ANSWERS["spans"], answers, strict=True)  # type: ignore[call-overload]
    items = [{**span, "answer": answer} for span, answer in pairs]

    [document] = _read(tmp_path, {**SPAN_ANSWERS, "spans": items})

    assert [mention.label for mention in document.mentions] == kept
    assert document.skipped == skipped


def test_an_answer_about_a_span_that_is_unknown(tmp_path: Path) -> None:
    span = {"start": 0, "end": 6, "label": "DRUG", "answer": ["maybe"]}

    with pytest.raises(ClinicalNerError, match="line 1: annotation T1 .* not accept, reject or"):
        _read(tmp_path, {**SPAN_ANSWERS, "spans": [span]})


def test_what_is_no_mention_is_counted(tmp_path: Path) -> None:
    [document] = _read(
        tmp_path,
        {
            "text": TEXT,
            "entities": [[7, 17, "Sign"]],
            "relations": [{}, {}],
            "label": ["Cardiology"],
            "cats": {"A": 1.0},
            "Comments": [],
            "ents": [],
            "spans": {"a": [{}, {}], "b": [{}]},
        },
    )

    assert document.skipped == {"relation": 2, "label": 1, "category": 1, "spans": 3}


def test_an_empty_list_gives_way_to_one_that_is_not(tmp_path: Path) -> None:
    [document] = _read(tmp_path, {"text": TEXT, "entities": [], "label": [[7, 17, "Sign"]]})

    assert spans(document) == SIGNS[:1]


def test_label_studio_skips_and_counts(tmp_path: Path) -> None:
    choice = {"type": "choices", "value": {"choices": ["A"]}}
    relation = {"type": "relation", "from_id": "a", "to_id": "b"}

    [document] = _read(tmp_path, _task({"result": [_result(7, 17), choice, relation, relation]}))

    assert spans(document) == SIGNS[:1] and document.mentions[0].id == "r7"
    assert document.skipped == {"choices": 1, "relation": 2}


@pytest.mark.parametrize("annotations", [[], [{"was_cancelled": True, "result": []}]])
def test_label_studio_without_annotation(tmp_path: Path, annotations: list[Any]) -> None:
    assert _read(tmp_path, _task(*annotations))[0].unusable == "unannotated"


def test_label_studio_counts_utf16_and_escapes_line_breaks(tmp_path: Path) -> None:
    text = "😷\nchest\npain"
    value = {"start": 3, "end": 13, "text": "chest\\npain", "labels": ["Sign"]}
    task = {
        "data": {"text": text},
        "annotations": [{"result": [{"type": "labels", "value": value}]}],
    }

    [document] = _read(tmp_path, task)

    assert text[document.mentions[0].start : document.mentions[0].end] == "chest\npain"


@pytest.mark.parametrize(
    "result",
    [
        {"type": "hypertextlabels", "value": {"start": 7, "end": 17, "hypertextlabels": ["Sign"]}},
        _result(7, 17, value={"start": "/p[1]/text()[1]", "end": "/p[1]", "labels": ["Sign"]}),
        _result(7, 17, value={"globalOffsets": {"start": 7, "end": 17}, "labels": ["Sign"]}),
    ],
)
def test_label_studios_html_is_refused(tmp_path: Path, result: dict[str, Any]) -> None:
    with pytest.raises(ClinicalNerError, match=r"line 1: document 7 is HTML \(HyperText"):
        _read(tmp_path, _task({"result": [result]}))
    [document] = _read(tmp_path, _task({"result": [result]}), errors="record")
    assert (document.unusable, document.text) == ("faulty", "")


@pytest.mark.parametrize(
    ("data", "to_names", "expected"),
    [
        ({"text": "Fever", "title": TEXT}, ["title"], SIGNS[:1]),
        ({"title": "Fever", "text": TEXT}, ["text"], SIGNS[:1]),
        # A control may be named otherwise than what it shows.
        ({"text": TEXT, "title": "Fever"}, ["note"], SIGNS[:1]),
        ({"a": TEXT, "n": 3}, ["note"], SIGNS[:1]),
        ({"a": TEXT, "b": "Fever"}, ["note"], "data has 2 strings and none is 'text'"),
        ({"text": TEXT, "title": TEXT}, ["text", "title"], "is over 'title', others are over 'te"),
        ({"title": TEXT, "text": TEXT}, ["title", "text"], "is over 'title', others are over 'te"),
        ({"text": TEXT}, ["note", "title"], "is over 'title', others are over 'note'"),
    ],
)
def test_what_label_studios_labels_are_over(
    tmp_path: Path, data: dict[str, Any], to_names: list[str], expected: Any
) -> None:
    results = [_result(7, 17, to_name=name) for name in to_names]
    # What is over another control and labels no text says nothing about the text.
    results.append({"type": "choices", "to_name": "image", "value": {"choices": ["A"]}})
    task = _task({"result": results}, data=data)

    if isinstance(expected, str):
        with pytest.raises(ClinicalNerError, match=f"notes.jsonl, line 1: .*{expected}"):
            _read(tmp_path, task)
    else:
        [document] = _read(tmp_path, task)
        assert (document.text, spans(document)) == (TEXT, expected)


@pytest.mark.parametrize(
    "path",
    [
        "/data/upload/1/note.txt",
        "/data/local-files/?d=notes/1",
        "s3://bucket/note%201.txt",
        "https://example.org/note",
        "note-1.txt",
    ],
)
def test_a_path_is_no_text(tmp_path: Path, path: str) -> None:
    value = {"start": 3, "end": 6, "labels": ["Sign"]}
    task = _task({"result": [_result(3, 6, value=value)]}, data={"text": path})

    for record in (task, {"text": path, "label": [value]}):
        with pytest.raises(ClinicalNerError, match=r"line 1: the text is a path or an address"):
            _read(tmp_path, record)


@pytest.mark.parametrize(("offsets", "start"), [("code-points", 2), ("utf-16", 3), ("bytes", 5)])
def test_offsets_in_a_given_unit(tmp_path: Path, offsets: str, start: int) -> None:
    record = {"text": "😷 fever", "label": [[start, start + 5, "Sign"]]}

    assert spans(_read(tmp_path, record, offsets=offsets)[0]) == [("Sign", ((2, 7),))]


def test_an_unknown_unit(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="offsets must be one of"):
        _read(tmp_path, SHAPES["doccano"], offsets="characters")


def test_tokens_without_tag_are_counted(tmp_path: Path) -> None:
    tokens = [{"orth": "chest", "ner": "-"}, {"orth": "pain"}, {"orth": "fever", "ner": "U-Sign"}]
    record = {"paragraphs": [{"raw": None, "sentences": [{"tokens": tokens}]}]}

    [document] = _read(tmp_path, record)

    assert document.text == "chest pain fever "
    assert spans(document) == [("Sign", ((11, 16),))]
    assert document.skipped == {"missing_tag": 2}


def test_one_document_is_held_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    path.write_text('{"text": "fever", "label": []}\n{"text":\n')

    documents = read_texts(path, format="jsonl")

    assert next(documents).text == "fever"
    with pytest.raises(ClinicalNerError, match=r"notes\.jsonl, line 2: not JSON"):
        next(documents)


def test_what_is_written(tmp_path: Path) -> None:
    mentions = (Mention("a", "Sign", ((0, 3), (4, 6))), Mention("b", "X", ((7, 8),)))

    write_jsonl([AnnotatedText("n", "37° über 😷", mentions)], tmp_path / "out.jsonl")

    assert (tmp_path / "out.jsonl").read_text(encoding="utf-8") == (
        '{"id": "n", "text": "37° über 😷", "entities": [{"id": "a", "label": "Sign", '
        '"start_offset": 0, "end_offset": 6, "fragments": [[0, 3], [4, 6]]}, '
        '{"id": "b", "label": "X", "start_offset": 7, "end_offset": 8}], '
        '"offsets": "code-points"}\n'
    )


@pytest.mark.parametrize(
    ("unusable", "ids", "problem"),
    [("rejected", "ab", "document a: it is rejected"), (None, "aa", "another has its id")],
)
def test_what_is_not_written(tmp_path: Path, unusable: str | None, ids: str, problem: str) -> None:
    texts = [AnnotatedText(id, "fever", (), unusable=unusable) for id in ids]

    with pytest.raises(ClinicalNerError, match=problem):
        write_jsonl(texts, tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []
