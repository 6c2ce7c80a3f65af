"""Several annotations of one text; A6 to A9 are cases of the reports."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning

TEXT = "Denies fever, takes aspirin."
FEVER = {"start": 7, "end": 12, "label": "SIGN"}
DENIES = {"start": 0, "end": 6, "label": "DRUG"}
ASPIRIN = {"start": 20, "end": 27, "label": "DRUG"}

Record = dict[str, Any]
Found = dict[str, list[str]]


def _task(*spans: Record, task: int = 1, by: str | None = None, **fields: Any) -> Record:
    record = {"text": TEXT, "_input_hash": 101, "_task_hash": task, "spans": list(spans)}
    names = {} if by is None else {"_annotator_id": by, "_session_id": by}
    return {**record, "answer": "accept", **names, **fields}


def _mini(label: str, annotator: Any, **fields: Any) -> Record:
    span = {"start": 7, "end": 12, "text": "fever", "labels": [label]}
    return {"text": "Denies fever.", "id": 1, "label": [span], "annotator": annotator, **fields}


def _doccano(label: str, **fields: Any) -> Record:
    return {"id": 1, "text": "Denies fever.", "label": [[7, 12, label]], "Comments": [], **fields}


def _read(folder: Path, *records: Record, **settings: Any) -> list[AnnotatedText]:
    path = folder / "notes.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    return list(read_texts(path, format="jsonl", **settings))


def _read_folder(
    folder: Path, files: dict[str, list[Record]], annotator: str | None
) -> list[AnnotatedText]:
    notes = folder / "notes"
    notes.mkdir()
    for name, records in files.items():
        lines = "".join(f"{json.dumps(record)}\n" for record in records)
        (notes / f"{name}.jsonl").write_text(lines)
    return list(read_texts(notes, annotator=annotator))


def _found(documents: list[AnnotatedText]) -> Found:
    """Each document's mentions by its id, as LABEL START-END, or why it is unusable."""
    return {
        document.id: [f"{m.label} {m.start}-{m.end}" for m in document.mentions]
        if document.unusable is None
        else [document.unusable]
        for document in documents
    }


#: Case A6.
TWO_ANNOTATORS = [_task(FEVER, by="db-anna"), _task(FEVER, ASPIRIN, by="db-bert")]
#: Case A7.
BINARY = [_task(FEVER, task=11), _task(DENIES, task=12, answer="reject")]
#: Case A9.
JSON_MIN = [_mini("SIGN", 1, annotation_id=3), _mini("DRUG", 2, annotation_id=4)]


@pytest.mark.parametrize(
    ("records", "annotator", "expected"),
    [
        (TWO_ANNOTATORS, "db-bert", {"101": ["SIGN 7-12", "DRUG 20-27"]}),
        (TWO_ANNOTATORS, "db-anna", {"101": ["SIGN 7-12"]}),
        (
            TWO_ANNOTATORS,
            "*",
            {"101_db-anna": ["SIGN 7-12"], "101_db-bert": ["SIGN 7-12", "DRUG 20-27"]},
        ),
        (JSON_MIN, "2", {"1": ["DRUG 7-12"]}),
        (JSON_MIN, "*", {"1_1": ["SIGN 7-12"], "1_2": ["DRUG 7-12"]}),
        # Label Studio writes an annotator as an object too, and doccano had a user's name.
        ([_mini("SIGN", {"id": 1, "email": "a@x.org"}), JSON_MIN[1]], "a@x.org",
         {"1": ["SIGN 7-12"]}),
        ([_doccano("SIGN", username="jo"), _doccano("DRUG", username="al")], "al",
         {"1": ["DRUG 7-12"]}),
    ],
)  # fmt: skip
def test_annotators(tmp_path: Path, records: list[Record], annotator: str, expected: Found) -> None:
    assert _found(_read(tmp_path, *records, annotator=annotator)) == expected


@pytest.mark.parametrize(
    ("records", "names"),
    [
        (TWO_ANNOTATORS, r"db-anna, db-bert"),
        (JSON_MIN, "1, 2"),
        ([*JSON_MIN[:1], _doccano("A")], "-, 1"),
    ],
)
def test_without_an_annotator_those_found_are_named(
    tmp_path: Path, records: list[Record], names: str
) -> None:
    with pytest.raises(ClinicalNerError, match=rf"line 2: several annotators .*\({names}\)\. Name"):
        _read(tmp_path, *records)


def test_an_annotator_who_annotated_nothing(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="by db. Annotators are db-anna, db-bert"):
        _read(tmp_path, *TWO_ANNOTATORS, annotator="db")
    with pytest.raises(ClinicalNerError, match=r"notes\.jsonl: .* no record names one"):
        _read(tmp_path, _doccano("SIGN"), annotator="1")


@pytest.mark.parametrize("annotator", ["-", "*"])
def test_records_that_name_no_annotator(tmp_path: Path, annotator: str) -> None:
    assert _found(_read(tmp_path, _doccano("SIGN"), annotator=annotator)) == {"1": ["SIGN 7-12"]}


def test_texts_that_the_annotator_did_not_annotate(tmp_path: Path) -> None:
    other = {**_mini("SIGN", 1), "id": 5}

    documents = _read(tmp_path, *JSON_MIN, other, _doccano("SIGN", id=6), annotator="2")

    by_others = ["other_annotator"]
    assert _found(documents) == {"1": ["DRUG 7-12"], "5": by_others, "6": by_others}
    assert documents[0].skipped["other_annotation"] == 1


def test_texts_of_one_annotator_each_need_no_name(tmp_path: Path) -> None:
    records = [_mini("SIGN", 1), {**_mini("DRUG", 2), "id": 2}]

    assert _found(_read(tmp_path, *records)) == {"1": ["SIGN 7-12"], "2": ["DRUG 7-12"]}


#: Case A8.
BY_USER = {"admin": [_doccano("SIGN")], "bert": [_doccano("DRUG")]}
#: The same without ids, of which one text is there twice.
NO_IDS = {
    name: [{**record, "id": None} for record in [*records, *records]]
    for name, records in BY_USER.items()
}


@pytest.mark.parametrize(
    ("files", "annotator", "expected"),
    [
        (BY_USER, "admin", {"1": ["SIGN 7-12"]}),
        (BY_USER, "*", {"1_admin": ["SIGN 7-12"], "1_bert": ["DRUG 7-12"]}),
        (NO_IDS, "bert", {"notes-1": ["DRUG 7-12"], "notes-2": ["DRUG 7-12"]}),
        (NO_IDS, "*", {"notes-1_admin": ["SIGN 7-12"], "notes-1_bert": ["DRUG 7-12"],
                       "notes-2_admin": ["SIGN 7-12"], "notes-2_bert": ["DRUG 7-12"]}),
        # Files that share no document, of which one is chosen.
        ({**BY_USER, "bert": [_doccano("DRUG", id=2)]}, "bert",
         {"1": ["other_annotator"], "2": ["DRUG 7-12"]}),
        ({**BY_USER, "bert": [_doccano("DRUG", id=2)]}, None,
         {"1": ["SIGN 7-12"], "2": ["DRUG 7-12"]}),
        # Records that name their annotator are not the file's.
        ({"a": TWO_ANNOTATORS[:1], "b": TWO_ANNOTATORS[1:]}, "db-anna", {"101": ["SIGN 7-12"]}),
    ],
)  # fmt: skip
def test_a_file_for_each_annotator(
    tmp_path: Path, files: dict[str, list[Record]], annotator: str | None, expected: Found
) -> None:
    assert _found(_read_folder(tmp_path, files, annotator)) == expected


@pytest.mark.parametrize("files", [BY_USER, NO_IDS])
def test_files_of_annotators_are_named(tmp_path: Path, files: dict[str, list[Record]]) -> None:
    with pytest.raises(ClinicalNerError, match=r"bert\.jsonl, line 1: several .*\(admin, bert\)"):
        _read_folder(tmp_path, files, None)


def test_texts_without_id_that_are_equal_by_chance(tmp_path: Path) -> None:
    files = {
        name: [
            {"text": "No fever.", "label": []},
            *({"text": f"{name} {number}", "label": []} for number in range(3)),
        ]
        for name in ("a", "b")
    }

    assert len(_found(_read_folder(tmp_path, files, None))) == 8


def test_ids_are_made_of_the_first_record_of_a_text(tmp_path: Path) -> None:
    records = [{**record, "id": None} for record in JSON_MIN]

    assert _found(_read(tmp_path, *records, annotator="2")) == {"notes-1": ["DRUG 7-12"]}
    every = _found(_read(tmp_path, *records, annotator="*"))
    assert list(every) == ["notes-1_1", "notes-1_2"]


@pytest.mark.parametrize(
    ("records", "expected", "skipped"),
    [
        (BINARY, ["SIGN 7-12"], {"rejected_span": 1}),
        # In any order, with one that was ignored, one that was asked twice, and two of a place.
        (
            [BINARY[1], _task(ASPIRIN, task=13), *BINARY, _task(DENIES, task=14, answer="ignore"),
             _task({**FEVER, "label": "DRUG"}, task=15)],
            ["DRUG 20-27", "SIGN 7-12", "DRUG 7-12"],
            {"rejected_span": 1, "ignored_task": 1, "repeated_task": 1},
        ),
        ([_task(FEVER, task=11, answer="reject"), BINARY[1]], ["rejected"], {}),
        # Two passes over a text, each with labels of its own, which have a span in common.
        ([_task(FEVER, task=11), _task(FEVER, ASPIRIN, task=12)], ["SIGN 7-12", "DRUG 20-27"], {}),
        # What was rejected as a whole gives way to what was accepted as a whole.
        ([_task(FEVER, ASPIRIN, answer="reject"), _task(FEVER, task=2)], ["SIGN 7-12"],
         {"rejected_task": 1}),
        ([_task(FEVER, ASPIRIN, answer="ignore"), _task(FEVER)], ["SIGN 7-12"],
         {"ignored_task": 1}),
        ([_task(FEVER, answer="ignore"), _task(FEVER, answer="ignore")], ["ignored"],
         {"ignored_task": 1}),
    ],
)  # fmt: skip
def test_tasks_of_one_text(
    tmp_path: Path, records: list[Record], expected: list[str], skipped: dict[str, int]
) -> None:
    [document] = documents = _read(tmp_path, *records)

    assert _found(documents) == {"101": expected}
    assert document.skipped == skipped
    assert [mention.id for mention in document.mentions] == [
        f"T{number}" for number in range(1, len(document.mentions) + 1)
    ]


def test_merging_answers_about_spans_says_what_they_leave_open(tmp_path: Path) -> None:
    with pytest.warns(
        ClinicalNerWarning, match=r"notes\.jsonl: tasks about one span each are merged"
    ):
        _read(tmp_path, *BINARY)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClinicalNerWarning)
        _read(tmp_path, _task(FEVER, ASPIRIN, answer="reject"), _task(FEVER, task=2))


def test_tasks_of_one_text_are_merged_for_each_annotator(tmp_path: Path) -> None:
    records = [{**record, "_annotator_id": by} for by in ("a", "b") for record in BINARY]
    records.append(_task(ASPIRIN, task=13, by="b"))

    documents = _read(tmp_path, *records, annotator="*")

    assert _found(documents) == {"101_a": ["SIGN 7-12"], "101_b": ["SIGN 7-12", "DRUG 20-27"]}


def test_sessions_without_a_name_are_of_one_annotator(tmp_path: Path) -> None:
    days = ("db-2024-01-30_09-00-00", "db-2024-01-31_17-30-59")
    records = [{**task, "_annotator_id": day} for task, day in zip(BINARY, days, strict=True)]

    assert _found(_read(tmp_path, *records)) == {"101": ["SIGN 7-12"]}


def test_an_ignored_copy_blocks_nothing(tmp_path: Path) -> None:
    ignored = _task(by="db-carl", answer="ignore")

    [document] = documents = _read(tmp_path, ignored, TWO_ANNOTATORS[1])
    assert _found(documents) == {"101": ["SIGN 7-12", "DRUG 20-27"]}
    assert document.skipped == {"ignored_task": 1}
    with pytest.raises(ClinicalNerError, match=r"\(db-anna, db-bert\)"):
        _read(tmp_path, ignored, *TWO_ANNOTATORS)
    assert _found(_read(tmp_path, ignored, *TWO_ANNOTATORS, annotator="db-carl")) == {
        "101": ["ignored"]
    }


@pytest.mark.parametrize(
    ("records", "problem"),
    [
        ([_task(FEVER), _task(ASPIRIN)], "line 2: a task about document 101 is answered again"),
        ([_task(FEVER), _task(FEVER, answer="reject")], "line 2: a task about document 101 is"),
        (
            [_task(FEVER), _task(FEVER, task=2, answer="reject")],
            "accepted in one task and rejected",
        ),
        ([JSON_MIN[0], JSON_MIN[0]], "line 2: document 1 has several annotations by 1"),
        ([_doccano("SIGN"), _doccano("DRUG")], "line 2: the document's id 1 is used at"),
        # Another text under the id is another document.
        ([JSON_MIN[0], {**JSON_MIN[1], "text": "Severe fever"}], "line 2: the document's id 1"),
    ],
)
def test_annotations_that_contradict_each_other(
    tmp_path: Path, records: list[Record], problem: str
) -> None:
    with pytest.raises(ClinicalNerError, match=problem) as caught:
        _read(tmp_path, *records)
    assert "fever" not in str(caught.value)


def _label_studio(*annotations: Record) -> Record:
    return {"id": 7, "data": {"text": TEXT}, "annotations": list(annotations)}


def _annotation(by: Any, *spans: Record, **fields: Any) -> Record:
    results = [
        {"type": "labels", "value": {"start": s["start"], "end": s["end"], "labels": [s["label"]]}}
        for s in spans
    ]
    return {"completed_by": by, "result": results, **fields}


def test_annotations_of_a_label_studio_task(tmp_path: Path) -> None:
    first = _annotation(1, FEVER)
    second = _annotation({"id": 2, "email": "b@x.org"}, ASPIRIN)
    true = _annotation(3, ground_truth=True)
    cancelled = _annotation(1, DENIES, was_cancelled=True)
    task = _label_studio(first, second, cancelled)

    [one] = _read(tmp_path, task, annotator="1")
    assert _found([one]) == {"7": ["SIGN 7-12"]} and one.skipped == {"other_annotation": 1}
    assert _found(_read(tmp_path, task, annotator="b@x.org")) == {"7": ["DRUG 20-27"]}
    [chosen] = _read(tmp_path, _label_studio(first, second, true))
    assert _found([chosen]) == {"7": []} and chosen.skipped == {"other_annotation": 2}
    every = _read(tmp_path, task, annotator="*")
    assert _found(every) == {"7_1": ["SIGN 7-12"], "7_b@x.org": ["DRUG 20-27"]}
    with pytest.raises(ClinicalNerError, match=r"line 1: several .*\(1, b@x\.org\)"):
        _read(tmp_path, task)


def test_a_fault_is_told_behind_the_documents_before_it(tmp_path: Path) -> None:
    path = tmp_path / "notes.jsonl"
    lines = [json.dumps(record) for record in (JSON_MIN[0], {**JSON_MIN[1], "id": 2})]
    path.write_text("[" + ",\n".join([*lines, '{"text":']))

    documents = read_texts(path, format="jsonl", annotator="9")

    assert [next(documents).unusable for _ in lines] == ["other_annotator"] * 2
    with pytest.raises(ClinicalNerError, match=r"notes\.jsonl, line 3: not JSON"):
        next(documents)
