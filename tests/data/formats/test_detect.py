from __future__ import annotations

import json
from pathlib import Path

import pytest

from clinical_ner.data.formats.detect import detect_format
from clinical_ner.errors import ClinicalNerError

from .test_bioc_json import NOTE
from .test_jsonl import NER_ANNOTATOR, SHAPES, TEXT

COLUMNS = "chest B-Sign\npain I-Sign\n"
TITLE = "7|t|Chest pain\n7|a|\n"


def _detected(folder: Path, content: str, name: str = "notes.txt") -> str:
    (folder / name).write_bytes(content.encode())
    return detect_format(folder / name)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("as_array", [True, False])
def test_json_of_tools(tmp_path: Path, shape: str, as_array: bool) -> None:
    record = [SHAPES[shape]] * 3 if as_array else SHAPES[shape]
    assert _detected(tmp_path, json.dumps(record, indent=1 if as_array else None)) == "jsonl"


@pytest.mark.parametrize(
    ("content", "format"),
    [
        (json.dumps([TEXT, {"entities": []}]), "jsonl"),
        (json.dumps(NOTE), "bioc"),
        (json.dumps([{"documents": [NOTE]}], indent=1), "bioc"),
        (json.dumps({"PubTator3": [NOTE]}), "bioc"),
        (json.dumps(NER_ANNOTATOR), "jsonl"),
        (TITLE, "pubtator"),
        ("\n\n" + TITLE, "pubtator"),
        (COLUMNS, "conll"),
        ("\n# a comment\n\n" + COLUMNS, "conll"),
        ("-DOCSTART- -X- O\n\n" + COLUMNS.replace(" ", "\tNN\t"), "conll"),
        ("# newdoc id = a\n", "conll"),
        ("{ B-Bracket\n[ O\n", "conll"),
    ],
)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_contents(tmp_path: Path, content: str, format: str, mark: str, end: str) -> None:
    assert _detected(tmp_path, mark + content.replace("\n", end)) == format


@pytest.mark.parametrize(
    "text",
    [
        "Fever |t| noted today.",  # H1: PubTator's title
        "7|t|Fever",
        "He said I-think",  # a tag in the last column
        "-DOCSTART- O",
        "# newdoc id = a",
        "T1\tSign 0 5\tFever",
    ],
)
@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("as_array", [True, False])
def test_json_comes_first(tmp_path: Path, text: str, indent: int | None, as_array: bool) -> None:
    record = {"id": 1, "label": [[0, 5, "SIGN"]], "text": text}
    content = json.dumps([record] if as_array else record, indent=indent)

    assert _detected(tmp_path, content) == "jsonl"
    # Damaged JSON too, since its reader says where.
    with pytest.raises(ClinicalNerError, match="line .*: not JSON"):
        _detected(tmp_path, content.replace(": 1", ": "))


@pytest.mark.parametrize(
    ("content", "format"),
    [
        ("a|t|b\tO\nfever\tB-Sign\n", "conll"),
        ("a|t|b O\nfever B-Sign\n", "conll"),
        ("7|t|Lack of vitamin B-12\n", "pubtator"),
        ("7|t|Lack of vitamin B-12\n7|a|and hepatitis B-negative\n", "pubtator"),
        ("x^2 O\nfever B-Sign\n", "conll"),  # as zlib begins
        ("[ O\nfever B-Sign\n", "conll"),
    ],
)
def test_what_two_formats_may_begin_with(tmp_path: Path, content: str, format: str) -> None:
    assert _detected(tmp_path, content) == format


def test_an_empty_list_is_of_any_format(tmp_path: Path) -> None:  # H2
    assert _detected(tmp_path, "[]\n", "a.json") == "jsonl"
    assert detect_format(tmp_path) == "jsonl"

    (tmp_path / "b.json").write_text(json.dumps([NOTE]))
    assert detect_format(tmp_path) == "bioc"


def test_the_name_says_nothing(tmp_path: Path) -> None:
    assert _detected(tmp_path, COLUMNS, "notes.json") == "conll"
    assert _detected(tmp_path, json.dumps(SHAPES["doccano"]), "notes.spacy") == "jsonl"
    assert _detected(tmp_path, TITLE, "notes") == "pubtator"


@pytest.mark.parametrize(
    ("content", "seen"),
    [
        ("", "an empty file"),
        (" \n\r\n", "an empty file"),
        ("Chest pain\nafter a fall.\n", "text whose lines are neither columns"),
        ("chest O\npain\n", "text whose lines are neither columns"),
        ("B-X\nO\n", "text whose lines are neither columns"),
        ("Chest pain\n", "brat's NAME.txt needs a NAME.ann beside it"),
        ("token\ttag\nfever\tB-Sign\n.\tO\n", "first line holds no tag: remove a header"),
        ("token tag\nfever B-Sign\n. O\n", "first line holds no tag: remove a header"),
        ("a\x00b", "a binary file"),
        ("[3]", "JSON, of which the first record is a number"),
        ('{"note": "fever", "patient has fever": 3}', "unknown shape; keys: note"),
        ('{"text": "fever"}', "unknown shape; keys: text"),
    ],
)
def test_what_is_in_no_format(tmp_path: Path, content: str, seen: str) -> None:
    with pytest.raises(ClinicalNerError) as caught:
        _detected(tmp_path, content)

    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'notes.txt'}: in no format known here (")
    assert seen in message and "Known are brat, conll, jsonl, " in message
    assert "\n" not in message and "fever" not in message


def test_folders(tmp_path: Path) -> None:
    for name in ("a.txt", "b.pubtator"):
        (tmp_path / name).write_text(TITLE)
    (tmp_path / "README.md").write_text("not a note")
    (tmp_path / "inner").mkdir()
    assert detect_format(tmp_path) == "pubtator"

    (tmp_path / "c.conll").write_text(COLUMNS)
    with pytest.raises(ClinicalNerError, match=r"a\.txt: pubtator, c\.conll: conll"):
        detect_format(tmp_path)

    (tmp_path / "a.ann").write_text("")
    assert detect_format(tmp_path) == "brat"


def test_an_annotation_file_is_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="brat standoff: name the folder"):
        _detected(tmp_path, "T1\tX 0 1\ta\n", "a.ann")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="absent: no such file or folder"):
        detect_format(tmp_path / "absent")
    with pytest.raises(ClinicalNerError, match=r"holds no .*\.conll.* file"):
        detect_format(tmp_path)
