"""What offsets count where a file does not say it: cases of issue 16 (A2 to A5) and their like."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.data.offsets import width
from clinical_ner.data.unit_judge import misplaced
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning

EMOJI = "🙂🙂🙂🙂🙂 has pain cold now."
CRLF = "a\r\nb\r\nc\r\nd\r\ne\r\nhas pain cold now."


def _write(folder: Path, *records: Any) -> Path:
    path = folder / "notes.jsonl"
    path.write_text("".join(f"{json.dumps(record)}\n" for record in records), encoding="utf-8")
    return path


def _found(path: Path, **settings: Any) -> list[str]:
    return [
        document.text[mention.start : mention.end]
        for document in read_texts(path, **settings)
        for mention in document.mentions
    ]


def _doccano(text: str, start: int, end: int, id: int = 1) -> dict[str, Any]:
    return {"id": id, "text": text, "label": [[start, end, "SIGN"]]}


def _task(text: str, start: int, end: int, quote: str | None = None) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": ["SIGN"]}
    if quote is not None:
        value["text"] = quote
    result = {"id": "a1", "from_name": "label", "to_name": "text", "type": "labels", "value": value}
    return {"id": 1, "data": {"text": text}, "annotations": [{"id": 5, "result": [result]}]}


@pytest.mark.parametrize(
    ("record", "units"),
    [
        (_doccano(EMOJI, 15, 19), {"code-points": "cold", "utf-16": "pain"}),  # A2
        (_doccano(CRLF, 19, 23), {"code-points": "pain", "code-points-lf": "cold"}),  # A4
        (_task(CRLF, 19, 23), {"utf-16": "pain", "utf-16-lf": "cold"}),
        # Chinese has no spaces, so that every edge is as good as any.
        (_doccano("🙂患者昨日发热", 3, 5), {"code-points": "昨日", "utf-16": "者昨"}),
    ],
)
def test_what_cannot_be_told_is_refused(
    tmp_path: Path, record: dict[str, Any], units: dict[str, str]
) -> None:
    path = _write(tmp_path, record)

    with pytest.raises(ClinicalNerError) as caught:
        _found(path)

    message = str(caught.value)
    assert message.startswith(f"{path}: cannot tell what offsets count, first in document 1 ")
    assert "--offsets" in message and "\n" not in message
    assert all(f"0 under {unit}" in message for unit in units)
    assert not any(word in message for word in ("pain", "cold", "昨日"))
    for unit, expected in units.items():
        assert _found(path, offsets=unit) == [expected]


def test_label_studio_counts_utf16(tmp_path: Path) -> None:  # A3
    assert _found(_write(tmp_path, _task(EMOJI, 15, 19))) == ["pain"]


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (_task(CRLF, 19, 23, "cold"), "cold"),  # A5
        (_task(EMOJI, 15, 19, "cold"), "cold"),  # written into Label Studio by Python
        (_task("🙂\r\nb\r\nhas pain cold now.", 14, 18, "cold"), "cold"),
        (_task("🙂\r\nb\r\nhas pain cold now.", 16, 20, "cold"), "cold"),
    ],
)
def test_quotes_settle_it(tmp_path: Path, record: dict[str, Any], expected: str) -> None:
    assert _found(_write(tmp_path, record)) == [expected]


def test_label_studios_short_export_counts_as_its_long_one(tmp_path: Path) -> None:
    label = [{"start": 15, "end": 19, "labels": ["SIGN"]}]

    assert _found(_write(tmp_path, {"id": 1, "text": EMOJI, "label": label})) == ["pain"]


def test_python_tools_count_code_points(tmp_path: Path) -> None:
    spans = [{"start": 15, "end": 19, "label": "SIGN"}]
    prodigy = {"text": EMOJI, "spans": spans, "_input_hash": 1, "answer": "accept"}
    ents = {"id": 2, "text": EMOJI, "ents": spans, "tokens": []}

    assert _found(_write(tmp_path, prodigy, ents)) == ["cold", "cold"]


@pytest.mark.parametrize("unit", ["code-points", "utf-16", "bytes", "code-points-lf", "utf-16-lf"])
@pytest.mark.parametrize("has_quotes", [True, False])
def test_the_corpus_settles_it(tmp_path: Path, unit: Any, has_quotes: bool) -> None:
    """By other documents, with quotes or without; the first alone would not tell."""
    text = "🙂 Müde:\r\nhas fever, chest pain\r\nand a long cough"
    first = {"utf-16": (EMOJI, 15, 19), "bytes": ("ä ö b c d e", 8, 9)}
    records = [_doccano(*first.get(unit, (CRLF, 19, 23)))]
    records.append({"id": 2, "text": text, "entities": []})
    for word in ("fever", "chest pain", "cough"):
        start = width(text[: text.index(word)], unit)
        entity = {"start_offset": start, "end_offset": start + len(word), "label": "SIGN"}
        records[1]["entities"].append(entity | ({"text": word} if has_quotes else {}))

    with pytest.warns(ClinicalNerWarning, match=f"offsets are taken to count {unit}: ") as caught:
        found = _found(_write(tmp_path, *records))

    assert found[1:] == ["fever", "chest pain", "cough"]
    assert found == _found(tmp_path / "notes.jsonl", offsets=unit)
    [message] = [str(warning.message) for warning in caught]
    assert message.startswith(f"{tmp_path / 'notes.jsonl'}: ") and f" 0 under {unit}" in message
    assert "fever" not in message


def test_some_annotators_cut_words(tmp_path: Path) -> None:
    """Under both units as many edges cut words, so that they say nothing."""
    even = [_doccano("🙂 xx yyzz vv", start, start + 2, id=start) for start in (5, 6)]

    with pytest.raises(ClinicalNerError, match="cannot tell what offsets count"):
        _found(_write(tmp_path, *even))


@pytest.mark.filterwarnings("error")
def test_nothing_is_said_where_it_makes_no_difference(tmp_path: Path) -> None:
    assert _found(_write(tmp_path, _doccano("pain and 🙂", 0, 4))) == ["pain"]


def test_what_is_written_says_what_it_counts(tmp_path: Path) -> None:
    note = AnnotatedText("a", EMOJI, (Mention("T1", "SIGN", ((10, 14),)),))
    write_jsonl([note], tmp_path / "notes.jsonl")

    assert _found(tmp_path / "notes.jsonl") == ["pain"]


@pytest.mark.parametrize(
    ("text", "start", "end", "expected"),
    [
        ("has pain now", 4, 8, 0),
        ("has pain now", 3, 8, 1),
        ("has pain now", 5, 9, 2),
        ("5mg", 1, 3, 0),
        ("50mg", 1, 4, 1),
        ("cafe\u0301", 0, 4, 1),
        ("昨日发热", 2, 4, 0),
        ("pain", 2, 2, 0),
    ],
)
def test_edges(text: str, start: int, end: int, expected: int) -> None:
    assert misplaced(text, start, end) == expected
