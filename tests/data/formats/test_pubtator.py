from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError

from .examples import spans


def _read(folder: Path, *lines: str, end: str = "\n", **settings: Any) -> list[AnnotatedText]:
    path = folder / "notes.pubtator"
    path.write_bytes("".join(f"{line}{end}" for line in lines).encode())
    return list(read_texts(path, format="pubtator", **settings))


NOTE = ["7|t|Chest pain", "7|a|after a fall.", "7\t0\t10\tChest pain\tDisease\tD002637"]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_mentions_and_what_is_counted(tmp_path: Path, end: str) -> None:
    lines = [
        *NOTE,
        "7\t19\t23\tfall\tEvent\t-",
        "7\tCID\tD002637\tD000001",
        "7\tCause\t7157\t1\tNovel",
        "",
        "",
        "8|t|Fever",
    ]

    first, second = _read(tmp_path, *lines, end=end)

    assert (first.id, first.text) == ("7", "Chest pain\nafter a fall.")
    assert spans(first) == [("Disease", ((0, 10),)), ("Event", ((19, 23),))]
    assert [mention.id for mention in first.mentions] == ["T1", "T2"]
    assert first.skipped == {"concept": 1, "relation": 2}
    assert (second.id, second.text, second.mentions) == ("8", "Fever", ())


def test_documents_without_an_empty_line_between(tmp_path: Path) -> None:
    assert [document.id for document in _read(tmp_path, "7|t|Fever", "8|t|Pain")] == ["7", "8"]


def test_the_title_may_hold_bars_and_be_empty(tmp_path: Path) -> None:
    first, second = _read(tmp_path, "7|t|1|t|2", "7|a|x", "8|t|", "8|a|x")

    assert (first.text, second.text) == ("1|t|2\nx", "\nx")


@pytest.mark.parametrize(("unit", "start"), [("utf-16", 3), ("bytes", 5), (None, 3), (None, 2)])
def test_offsets_of_other_units(tmp_path: Path, unit: str | None, start: int) -> None:
    line = f"7\t{start}\t{start + 5}\tfever\tSign"

    [document] = _read(tmp_path, "7|t|😷 fever", line, offsets=unit)

    assert spans(document) == [("Sign", ((2, 7),))]


def test_a_mention_that_does_not_fit_is_named_by_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="line 4: the text of T2 does not match document 7"):
        _read(tmp_path, *NOTE, "7\t18\t22\tfall\tEvent")
