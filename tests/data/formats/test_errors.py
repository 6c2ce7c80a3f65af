"""Annotations and records at fault, of which a user wants the rest: issue 16, A17, and its like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spacy.vocab import Vocab

from clinical_ner.data.convert import ConversionRefusedError, convert
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning, ConfigError


def _region(id: str, start: int, end: int, **value: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, **value}
    return {"id": id, "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def _task(*regions: dict[str, Any]) -> str:
    annotations = [{"id": 1, "completed_by": 1, "result": list(regions)}]
    return json.dumps([{"id": 1, "data": {"text": "Denies fever."}, "annotations": annotations}])


FEVER = _region("p", 7, 12, text="fever", labels=["SIGN"])
NOTE = '{"id": %d, "text": "Denies fever.", "label": [[7, 12, "SIGN"]]}\n'
PASSAGE: dict[str, Any] = {
    "offset": 0,
    "infons": {},
    "text": "Denies fever.",
    "sentences": [],
    "relations": [],
}
BIOC_ANNOTATION = {
    "id": "1",
    "infons": {"type": "SIGN"},
    "text": "fever",
    "locations": [{"offset": 7, "length": 5}],
}


def _asked(text: int, label: str) -> str:
    spans = [{"start": 7, "end": 12, "label": label}]
    task = {"text": "Denies fever.", "_input_hash": text, "_task_hash": 1, "spans": spans}
    return f"{json.dumps(task)}\n"


def _bioc(*annotations: dict[str, Any], id: Any = "1") -> dict[str, Any]:
    passage = {**PASSAGE, "annotations": list(annotations)}
    return {"id": id, "infons": {}, "passages": [passage], "relations": []}


#: A file, its format, how many mentions of "fever" are kept, and what is said of each fault.
CASES: dict[str, tuple[str, Any, int, list[str]]] = {
    "Label Studio, region without labels": (  # A17
        _task(_region("q", 0, 6, text="Denies"), FEVER), "jsonl", 1,
        ["line 1: annotation q of document 1 has no label"],
    ),
    "Label Studio, region of no labels": (
        _task(_region("q", 0, 6, labels=[]), FEVER), "jsonl", 1,
        ["line 1: annotation q of document 1 has no label"],
    ),
    "Label Studio, region over another text": (
        _task(FEVER, {**FEVER, "id": "q", "to_name": "title"}), "jsonl", 1,
        ["line 1: annotation q of document 1 is over 'title', others are over 'text'"],
    ),
    "offsets outside": (
        NOTE % 1 + NOTE.replace("[[", '[[0, 99, "X"], [') % 2, "jsonl", 2,
        ["line 2: offsets 0 99 of T1 do not fit the text of document 2"],
    ),
    "two faults in a record, one in another": (
        NOTE.replace("[[", '[3, [1, 0, "X"], [') % 1 + NOTE.replace("12", '"12"') % 2, "jsonl", 1,
        [
            "line 1: annotation T1 of document 1 is a number",
            "line 1: offsets 1 0 of T2 do not fit",
            "line 2: annotation T1 of document 2 has no offsets",
        ],
    ),
    "line that is not JSON": (
        NOTE % 1 + NOTE[:30] + "\n" + NOTE % 2, "jsonl", 2, ["line 2: not JSON, from column"]
    ),
    "text that is null": (
        NOTE % 1 + '{"id": 2, "text": null, "label": []}\n', "jsonl", 1,
        ["line 2: the text is null"],
    ),
    "one id twice": (
        NOTE % 1 + NOTE % 1, "jsonl", 1, ["line 2: the document's id 1 is used at "]
    ),
    "Prodigy, tasks that contradict each other": (
        _asked(1, "SIGN") + _asked(1, "DRUG") + _asked(2, "SIGN"), "jsonl", 1,
        ["line 2: a task about document 1 is answered again, and otherwise"],
    ),
    "PubTator": (
        "1|t|Denies fever.\n1\t7\t12\tfever\tSIGN\n1\t7\t12\tpain\tSIGN\n1\t0\t6\n2\t0\t6\tx\tX\n\n"
        "3|t|Denies fever.\n3\t7\t12\tfever\tSIGN\n", "pubtator", 2,
        [
            "line 5: the line belongs to no document",
            "line 4: a mention or a relation of 3 columns",
            "line 3: the text of T2 does not match document 1",
        ],
    ),
    "BioC": (
        json.dumps({"documents": [
            _bioc(BIOC_ANNOTATION, {**BIOC_ANNOTATION, "infons": {}, "id": "2"}),
            _bioc(BIOC_ANNOTATION, id=None),
            {"id": "3"},
            _bioc(BIOC_ANNOTATION, {**BIOC_ANNOTATION, "text": "pain", "id": "2"}, id="4"),
        ]}), "bioc", 2,
        [
            "line 1: annotation 2 of document 1 has no type",
            "document 2 has no id",
            "document 3 has an object without",
            "line 1: the text of 2 does not match document 4",
        ],
    ),
    "CoNLL": (
        "# newdoc id = a\nDenies O\nfever B-SIGN\n. O\n# newdoc id = b\nand O\nno I-SIGN\n"
        "# newdoc id = c\nfever B-SIGN\nnow O\npain B-DRUG\n", "conll", 2,
        ["line 7: I follows no word of its entity (IOB2)"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_rest_is_kept(tmp_path: Path, name: str) -> None:
    content, format, kept, messages = CASES[name]
    path, report = tmp_path / "notes.txt", tmp_path / "report.jsonl"
    path.write_text(content, encoding="utf-8")

    with pytest.warns(ClinicalNerWarning) as caught:
        counts = convert(path, tmp_path / "a.spacy", format=format, errors="record", report=report)

    said = [str(w.message) for w in caught if "left out: " in str(w.message)]
    rows = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    written = [row["message"] for row in rows if row["kind"] == "fault"]
    assert said == [f"left out: {message}" for message in written]
    assert len(said) == len(messages) == counts.faults
    for message, expected in zip(written, messages, strict=True):
        assert message.startswith(f"{path}, line ") and expected in message
        assert "fever" not in message and "Denies" not in message
    docs = read_docbin(tmp_path / "a.spacy", Vocab())
    assert [e.text for doc in docs for e in doc.ents if e.text == "fever"] == ["fever"] * kept
    assert len(docs) == counts.documents["kept"]

    with pytest.raises(ClinicalNerError) as error:
        convert(path, tmp_path / "b.spacy", format=format)
    assert str(error.value) in written and not (tmp_path / "b.spacy").exists()


def test_brat(tmp_path: Path) -> None:
    lines = ["T1\tSIGN 7 12\tfever", "T2\tSIGN 7 99\tfever", "T3 SIGN 7 12 fever", "And more"]
    for name, ann in (("a", "\n".join(lines).encode()), ("b", b"\xff"), ("c", lines[0].encode())):
        (tmp_path / f"{name}.txt").write_text("Denies fever.")
        (tmp_path / f"{name}.ann").write_bytes(ann)

    documents = list(read_texts(tmp_path, errors="record"))

    assert [(d.id, len(d.mentions), len(d.faults), d.unusable) for d in documents] == [
        ("a", 1, 3, None),
        ("b", 0, 1, "faulty"),
        ("c", 1, 0, None),
    ]
    # As they come: lines, then what does not fit the text.
    assert [str(fault).split(": ")[0].rsplit(" ")[-1] for fault in documents[0].faults] == [
        "3", "4", "2"
    ]  # fmt: skip


def test_a_first_line_at_fault_hides_no_format(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(NOTE[:30] + "\n" + NOTE % 2)

    documents = list(read_texts(tmp_path / "a.jsonl", errors="record"))

    assert [(document.unusable, len(document.mentions)) for document in documents] == [
        ("faulty", 0),
        (None, 1),
    ]


def test_what_ends_a_file_is_raised(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(f"[{NOTE % 1} {NOTE % 2}]")

    with pytest.raises(ClinicalNerError, match="line 2: not JSON"):
        convert(tmp_path / "a.json", tmp_path / "a.spacy", errors="record")


@pytest.mark.filterwarnings("ignore::clinical_ner.errors.ClinicalNerWarning")
def test_what_is_left_out_counts_as_dropped(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(NOTE % 1 + NOTE % 2 + '{"id": 3, "text": 3, "label": []}\n')

    for limit in ("1", "34%"):
        convert(tmp_path / "a.jsonl", tmp_path / "a.spacy", errors="record", max_dropped=limit)
    for limit in ("0", "33%"):
        with pytest.raises(ConversionRefusedError, match=r"1 of 3 mentions .*: faulty 1\."):
            convert(tmp_path / "a.jsonl", tmp_path / "b.spacy", errors="record", max_dropped=limit)


def test_an_unknown_value(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(NOTE % 1)

    with pytest.raises(ConfigError, match="errors must be one of stop, record"):
        convert(tmp_path / "a.jsonl", tmp_path / "a.spacy", errors="ignore")  # type: ignore[arg-type]
