"""What reaches the terminal: lines without a note, in any encoding, and nothing that it obeys."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.checks import check
from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import DOCUMENT_ID
from clinical_ner.errors import InputError
from clinical_ner.tags.encode import gold_tags
from clinical_ner.training.training_run import _Stopped, _stopping

SECRET = "Erna Quandt has had zosteric neuralgia"


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main([str(arg) for arg in args])
    code = stopped.value.code
    assert isinstance(code, int)
    return code


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_names_of_any_kind_reach_any_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    path = tmp_path / "a\x1b[31m\nb.jsonl"
    labels = ["Z\u00fc\u4e2d", "S\x1b[31m", SECRET]
    record = {"id": SECRET, "text": "chest pain", "label": [[0, 5, label] for label in labels]}
    path.write_text(json.dumps(record))
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding) for _ in range(2)]
    monkeypatch.setattr(sys, "stdout", streams[0])
    monkeypatch.setattr(sys, "stderr", streams[1])
    report = tmp_path / "report.jsonl"
    assert run("convert", path, tmp_path / "b.jsonl", "--report", report) == 0
    assert run("check", path, "--encoder", "none") == 0
    path.write_text("{")
    assert run("check", path, "--encoder", "none") == 1
    written = ""
    for stream in streams:
        stream.flush()
        written += stream.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert r"a\x1b[31m\nb.jsonl, line 1: not JSON" in written
    assert ("Z\u00fc\u4e2d" if encoding == "utf-8" else r"\u4e2d") in written
    assert "\x1b" not in written and SECRET not in written + report.read_text()


def test_an_error_that_nobody_foresaw_is_one_line_without_its_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*args: Any, **settings: Any) -> None:
        Example.from_dict(Doc(Vocab(), words=SECRET.split()), {"entities": [(1, 3, "Sign")]})
        raise ValueError(f"[E949] Unable to align {SECRET}")

    monkeypatch.setattr(check, "read_texts", fail)
    assert run("check", tmp_path, "--encoder", "none") == 1
    first, second = capsys.readouterr().err.splitlines()
    assert "[W030] Of a text whose entities are" in first and "(1, 3" in first
    assert "unexpected ValueError [E949] in test_quiet.py, line" in second
    assert "Quandt" not in first + second
    monkeypatch.setenv("CLINICAL_NER_DEBUG", "1")
    with pytest.raises(ValueError, match="Quandt"):
        main(["check", str(tmp_path), "--encoder", "none"])


def test_gold_of_another_text_is_named_by_its_id() -> None:
    vocab = Vocab()
    gold = Doc(vocab, words=SECRET.split())
    gold.user_data[DOCUMENT_ID] = "note-7"
    with pytest.raises(InputError, match="Document note-7: gold is another text") as caught:
        gold_tags(Example(Doc(vocab, words=["other"]), gold))
    assert "Quandt" not in str(caught.value) and caught.value.__suppress_context__


def test_what_spacys_ner_cannot_learn_is_named_by_its_place() -> None:
    def update(examples: list[Example]) -> None:
        raise ValueError("[E024] Could not find an optimal move to supervise the parser.")

    gold = Doc(Vocab(), words=["pain", "\n", "and"], spaces=[False, False, False])
    gold.user_data[DOCUMENT_ID] = "note-7"
    gold.ents = [Span(gold, 0, 2, "Sign")]
    with pytest.raises(_Stopped) as caught:
        _stopping(update)([Example(gold.copy(), gold)])
    assert "whitespace: note-7 at 0 5." in str(caught.value)
