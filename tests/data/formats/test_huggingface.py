from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.detect import detect_format
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError

from .examples import documents, write_huggingface

A14 = {"id": "0", "tokens": ["Denies", "fever", "."], "ner_tags": ["O", "B-SIGN", "O"]}


def _read(folder: Path, *records: Any, **settings: Any) -> list[AnnotatedText]:
    path = folder / "data.jsonl"
    path.write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    assert detect_format(path) == "huggingface"
    return list(read_texts(path, **settings))


def _found(document: AnnotatedText) -> list[tuple[str, str]]:
    return [
        (document.text[mention.start : mention.end], mention.label) for mention in document.mentions
    ]


def test_a_record(tmp_path: Path) -> None:
    [note] = _read(tmp_path, A14)

    assert (note.id, note.text, _found(note)) == ("0", "Denies fever .", [("fever", "SIGN")])


@pytest.mark.parametrize(
    "names",
    [
        "O\nB-SIGN\nI-SIGN\n",
        '\ufeff["O", "B-SIGN", "I-SIGN"]',
        '{"0": "O", "1": "B-SIGN", "2": "I-SIGN"}',
        '{"hidden_size": 3, "id2label": {"0": "O", "1": "B-SIGN", "2": "I-SIGN"}}',
    ],
    ids=["lines", "array", "object", "config.json"],
)
def test_tags_that_are_numbers(tmp_path: Path, names: str) -> None:
    (tmp_path / "names").write_text(names, encoding="utf-8")
    record = {"tokens": ["Chest", "pain", "now"], "tags": [1, 2, 0]}

    [note] = _read(tmp_path, record, tag_names=tmp_path / "names")

    assert (note.id, _found(note)) == ("data-1", [("Chest pain", "SIGN")])


def test_the_scheme_is_that_of_all_records(tmp_path: Path) -> None:
    first = {"tokens": ["pain"], "ner_tags": ["I-X"]}
    second = {"tokens": ["chest", "pain"], "ner_tags": ["I-X", "B-X"]}

    notes = _read(tmp_path, first, second)

    assert list(map(_found, notes)) == [[("pain", "X")], [("chest", "X"), ("pain", "X")]]


def test_tags_without_a_type_and_tags_with_faults(tmp_path: Path) -> None:
    bare = {"tokens": ["chest", "pain"], "tags": ["B", "I"]}
    with pytest.raises(ClinicalNerError, match="line 1: a tag has no type.*--label"):
        _read(tmp_path, bare)
    assert _found(_read(tmp_path, bare, label="SIGN")[0]) == [("chest pain", "SIGN")]

    faulty = {"tokens": ["chest", "pain"], "tags": ["S-A", "I-A"]}
    with pytest.raises(ClinicalNerError, match="line 1: tag 2: I follows .*--scheme lenient"):
        _read(tmp_path, faulty)
    assert len(_found(_read(tmp_path, faulty, scheme="lenient")[0])) == 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"tokens": ["pain"], "ner_tags": [1]}, "the tags are numbers. .*--tag-names"),
        ({"tokens": ["pain"], "ner_tags": ["B-A", "O"]}, "1 tokens have 2 tags"),
        ({"tokens": [3], "ner_tags": ["B-A"]}, "a token is not a string"),
        ({"tokens": ["pain"], "ner_tags": ["SIGN"]}, "a tag is neither O nor"),
        ({"tokens": ["pain"], "ner_tags": [None]}, "a tag is null"),
        ({"tokens": ["pain"], "ner_tags": [True]}, "a tag is a truth value"),
        ({"tokens": ["\ud83d"], "ner_tags": ["O"]}, "the text holds half of a UTF-16 pair"),
    ],
)
def test_faults(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(ClinicalNerError, match=f"line 1: {message}") as caught:
        _read(tmp_path, record)
    assert "pain" not in str(caught.value).removeprefix(str(tmp_path))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("O", "line 1: tag 1 has no name among 1"),
        ("{", "names: not JSON"),
        ("[1]", "names: holds no names of tags"),
        ('{"label2id": {}}', "names: holds no names of tags"),
        ("O\nSIGN", "line 1: a tag is neither O nor"),
    ],
)
def test_faults_of_the_names(tmp_path: Path, names: str, message: str) -> None:
    (tmp_path / "names").write_text(names)

    with pytest.raises(ClinicalNerError, match=message):
        _read(tmp_path, {"tokens": ["pain"], "tags": [1]}, tag_names=tmp_path / "names")


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    written = documents(0, number=30)

    write_huggingface(written, tmp_path / "data.jsonl")

    back = list(read_texts(tmp_path / "data.jsonl"))
    assert [(note.id, note.text) for note in back] == [
        (note.id, " ".join(note.text.split())) for note in written
    ]
    write_huggingface(back, tmp_path / "again.jsonl")
    assert (tmp_path / "again.jsonl").read_bytes() == (tmp_path / "data.jsonl").read_bytes()


def test_a_record_at_fault_may_be_left_out(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join([json.dumps(A14), '{"tokens": ["a"], "ner_tags": []}', "{"]))

    first, *others = read_texts(path, format="huggingface", errors="record")

    assert _found(first) == [("fever", "SIGN")]
    assert [(note.id, note.unusable, len(note.faults)) for note in others] == [
        ("data-2", "faulty", 1),
        ("data-3", "faulty", 1),
    ]
