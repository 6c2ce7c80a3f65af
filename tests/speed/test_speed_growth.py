"""Sizes that are measured, and the processes that measure them."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.speed import speed_child
from clinical_ner.research.speed.speed_child import answer, forget_peak, peak_memory, reason_of
from clinical_ner.research.speed.speed_growth import Point, ask_child, grow, plan

from .speed_examples import TEXTS, write_model

needs_linux = pytest.mark.skipif(
    not speed_child.STATUS.is_file(), reason="only Linux tells memory apart"
)


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return {"model": str(write_model(tmp_path_factory.mktemp("speed")))}


def python(code: str) -> tuple[str, ...]:
    return sys.executable, "-c", code


def test_ours_gets_every_size_and_others_what_they_can_bear() -> None:
    points = plan(["ours", "spacy_ner"], notes=(10, 10_000), words=(100, 100_000))
    assert points == [
        Point("ours", "notes", 10, 150),
        Point("ours", "notes", 10_000, 150),
        Point("ours", "words", 1, 100),
        Point("ours", "words", 1, 100_000),
        Point("spacy_ner", "notes", 10, 150),
        Point("spacy_ner", "words", 1, 100),
    ]


def test_speed_is_that_of_all_words_of_a_point() -> None:
    asked: list[dict[str, Any]] = []

    def ask(**request: Any) -> dict[str, Any]:
        asked.append(request)
        return {"seconds": 4.0, "peak_mib": 7.0}

    (row,) = grow([Point("ours", "notes", 10, 150)], ["a "], ask)
    assert asked == [{"variant": "ours", "pieces": ["a "], "notes": 10, "words": 150}]
    assert row == {
        **{"variant": "ours", "kind": "notes", "notes": 10, "words": 150},
        **{"seconds": 4.0, "peak_mib": 7.0, "words_per_second": 375.0},
    }


def test_after_a_failure_the_others_go_on() -> None:
    answers = iter([{"reason": "out of memory"}, {"seconds": 1.0}])
    points = [Point("ours", "words", 1, 10), Point("ours", "words", 1, 20)]
    rows = grow(points, ["a "], lambda **request: next(answers))
    assert rows[0]["reason"] == "out of memory" and "words_per_second" not in rows[0]
    assert rows[1]["words_per_second"] == 20.0


@pytest.mark.slow
def test_the_answer_is_the_last_line() -> None:
    code = "import json, sys; print('noise'); print(json.dumps(json.load(sys.stdin)))"
    assert ask_child(command=python(code), texts=["f\u00e9ver \ud800"]) == {
        "texts": ["f\u00e9ver \ud800"]
    }


@pytest.mark.slow
def test_a_process_that_the_system_ends_is_a_reason() -> None:
    code = "import os, signal, sys; sys.stdin.read(); os.kill(os.getpid(), signal.SIGKILL)"
    told = ask_child(command=python(code))
    assert told == {"reason": "ended by the system: Killed, as happens when memory runs out"}


@pytest.mark.slow
def test_a_process_that_fails_is_a_reason_without_its_output() -> None:
    code = "import sys; sys.stdin.read(); sys.exit('the text of a note')"
    assert ask_child(command=python(code)) == {"reason": "ended with exit code 1"}


def test_a_fault_of_ours_is_told_in_its_words() -> None:
    assert reason_of(ClinicalNerError("too long")) == "too long"


def test_other_faults_are_told_without_text() -> None:
    try:
        raise ValueError("[E088] Text of length 9: a patient with fever")
    except ValueError as error:
        told = reason_of(error)
    assert told.startswith("ValueError [E088] in test_speed_growth.py, line ")
    assert "fever" not in told


def test_lack_of_memory_is_told() -> None:
    assert reason_of(MemoryError()) == "out of memory"


@pytest.mark.slow
def test_the_peak_is_that_of_the_process_not_of_the_one_that_started_it() -> None:
    own = bytearray(b"1") * (600 * 2**20)
    code = "from clinical_ner.research.speed.speed_child import peak_memory; print(peak_memory())"
    done = subprocess.run(python(code), capture_output=True, text=True, check=True)
    assert len(own) == 600 * 2**20
    assert 5 < float(done.stdout) < 600


@needs_linux
def test_a_peak_that_is_forgotten_does_not_hide_a_lower_one() -> None:
    first = bytearray(b"1") * (400 * 2**20)
    del first
    before, now = peak_memory(), forget_peak()
    assert before is not None and now is not None
    second = bytearray(b"1") * (100 * 2**20)
    del second
    after = peak_memory()
    assert after is not None
    assert before > now + 300
    assert now + 90 < after < before - 150


def test_without_a_way_to_forget_memory_of_reading_is_unknown(
    sources: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(speed_child, "REFERENCES", tmp_path / "gone" / "clear_refs")
    told = answer({"sources": sources, "variant": "bare", "threads": 1, "texts": TEXTS})
    assert told["loaded_mib"] is None and told["reading_mib"] is None
    assert told["peak_mib"] > 0


@pytest.mark.slow
@needs_linux
def test_a_process_tells_memory_time_and_entities(sources: dict[str, str]) -> None:
    told = ask_child(
        sources=sources,
        variant="ours",
        threads=1,
        pieces=["fever ", "and ", "cough "],
        notes=30,
        words=8,
    )
    assert told["seconds"] > 0 and told["processor_seconds"] > 0
    assert told["entities"] > 0
    assert 50 < told["loaded_mib"] <= told["reading_mib"] <= told["peak_mib"]


def test_what_cannot_be_loaded_is_a_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    request = {"sources": {"model": str(tmp_path / "gone")}, "variant": "ours", "threads": 1}
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps({**request, "texts": TEXTS})))
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    speed_child.main()
    assert json.loads(capsys.readouterr().out)["reason"].startswith("OSError ")


def test_threads_are_those_of_the_request(
    sources: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", asked.append)
    answer({"sources": sources, "variant": "bare", "threads": 3, "texts": TEXTS})
    assert asked == [3]


def test_what_libraries_print_does_not_disturb_the_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def noisy(request: Any) -> dict[str, Any]:
        print("noise")
        return {"seconds": 1.0}

    monkeypatch.setattr(speed_child, "answer", noisy)
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    speed_child.main()
    assert json.loads(capsys.readouterr().out) == {"seconds": 1.0}
