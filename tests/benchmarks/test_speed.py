"""The benchmark of speed: its arithmetic, what it refuses, and that no note text leaves it."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.language import Language

from benchmarks import speed
from benchmarks.speed import (
    BARE,
    OURS,
    ask,
    made_notes,
    measure,
    pieces_of,
    read_notes,
    reason_of,
    summarise,
)
from clinical_ner.errors import ClinicalNerError

from ..model.windows.windowed_examples import make_nlp, train, write_bert

TIMES = {
    BARE: {"wall": [1.0, 2.0, 4.0], "processor": [1.0, 1.0, 1.0]},
    OURS: {"wall": [2.0, 2.0, 5.0], "processor": [2.0, 1.25, 1.6]},
    "other": {"wall": [6.0, 3.0, 5.0], "processor": [4.0, 2.5, 3.2]},
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take back what the benchmark sets for its process: with it, forked tokenizers hang."""
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")


@pytest.fixture
def nlp() -> Language:
    return spacy.blank("en")


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """One item for each collection of garbage, which takes a second in a process full of tests."""
    found: list[None] = []
    monkeypatch.setattr("gc.collect", lambda: found.append(None))
    return found


def test_each_runs_once_in_each_round_in_an_order_that_changes(collected: list[None]) -> None:
    def order() -> list[str]:
        found: list[str] = []
        runs = {key: lambda key=key: found.append(key) for key in "abcd"}
        assert all(len(times["wall"]) == 6 for times in measure(runs, rounds=6).values())
        return found

    drawn = order()
    # Before each run, so that none pays for what another left behind.
    assert len(collected) == len(drawn) == 24
    rounds = [tuple(drawn[start : start + 4]) for start in range(0, 24, 4)]
    assert [sorted(each) for each in rounds] == [[*"abcd"]] * 6
    assert len(set(rounds)) > 1
    assert drawn == order()


def test_ratios_are_taken_within_rounds() -> None:
    rows = summarise(TIMES, words=600)
    # 1/2, 2/2, 4/5; the ratio of the medians would be 1.
    assert rows[OURS]["of_bare"] == pytest.approx({"wall": 0.8, "processor": 0.625})
    # 6/2, 3/2, 5/5; the ratio of the medians would be 2.5.
    assert rows["other"]["ours_over"]["wall"] == {"median": 1.5, "low": 1.0, "high": 3.0}
    assert rows["other"]["words_per_second"] == {"wall": 120.0, "processor": 187.5}
    assert rows[BARE]["of_bare"] == {"wall": 1.0, "processor": 1.0}


def test_notes_are_read_in_order_up_to_the_limit(tmp_path: Path) -> None:
    for name, text in (("b", "No fever.\n"), ("a", "Cough"), ("c", "")):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    assert read_notes(tmp_path, limit=10) == ["Cough", "No fever.\n", ""]
    assert read_notes(tmp_path, limit=1) == ["Cough"]


def test_notes_without_a_word_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(ClinicalNerError, match="holds no note with words"):
        read_notes(tmp_path, limit=1)


def test_made_notes_go_on_where_the_last_ended(nlp: Language) -> None:
    pieces = pieces_of(nlp, ["a b", "", "c"])
    assert pieces == ["a ", "b\n", "c\n"]
    assert list(made_notes(pieces, notes=3, words=2)) == ["a b\n", "c\na ", "b\nc\n"]


def test_ours_gets_every_size_and_others_what_they_can_bear() -> None:
    sizes = argparse.Namespace(growth_notes=(10, 10_000), growth_words=(100, 100_000))
    points = [
        (point["variant"], point["notes"], point["words"])
        for point in speed.plan(["ours", "spacy_ner"], sizes)
    ]
    assert points == [
        *(("ours", notes, words) for notes, words in ((10, 150), (10_000, 150))),
        *(("ours", 1, words) for words in (100, 100_000)),
        *(("spacy_ner", 10, 150), ("spacy_ner", 1, 100)),
    ]


def test_the_reason_of_an_error_has_no_text_of_a_note() -> None:
    try:
        raise ValueError("[E088] Text of length 9: a patient with fever")
    except ValueError as error:
        reason = reason_of(error)
    assert reason.startswith("ValueError in test_speed.py, line ")
    assert "fever" not in reason


@pytest.mark.parametrize(
    "arguments",
    [["--plot", "growth.png"], ["--growth", "--plot", "growth.jpg"], ["--rounds", "x"]],
)
def test_wrong_calls_end_with_code_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        speed.main(["model", "notes", *arguments])
    assert ended.value.code == 2


def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        speed.main([str(tmp_path / "none"), str(tmp_path)])
    assert "neither a folder with a config.cfg nor an installed" in str(ended.value.code)
    assert "\n" not in str(ended.value.code)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline with windows of 12 of the encoder's 32 places."""
    folder = tmp_path_factory.mktemp("speed")
    nlp = train(make_nlp(write_bert(folder / "encoder")))
    nlp.to_disk(folder / "model")
    return folder / "model"


def test_everything_is_measured_and_no_note_is_in_it(
    model: Path,
    collected: list[None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "1.txt").write_text("fever and cough . aspirin " * 10, encoding="utf-8")
    asked: list[Any] = []

    def answer(**request: Any) -> dict[str, Any]:
        asked.append(request)
        if request["variant"] == "spacy_ner" and "pieces" in request:
            return {"reason": "out of memory"}
        found = {"loaded_mib": 500.0, "reading_mib": 1600.0}
        return found if "texts" in request else {**found, "seconds": 0.5, "words_per_second": 90.0}

    monkeypatch.setattr(speed, "ask", answer)
    output = tmp_path / "speed.json"
    options = ["--growth", "--growth-notes", "3", "--growth-words", "5", "--rounds", "1"]
    speed.main(
        [str(model), str(notes), *options, "--optimized", str(model), "--output", str(output)]
    )
    measured = json.loads(output.read_text(encoding="utf-8"))
    keys = ["bare", "bare_side_by_side", "bare_no_context", "ours", "spacy_ner"]
    keys += [f"hugging_face_{length}x{size}" for length in (32, 12) for size in (1, 8)]
    assert [row["variant"] for row in measured["variants"]] == [*keys, "optimized"]
    assert (measured["documents"], measured["words"]) == (1, 50)
    # Growth of ours, spaCy's ner, the last of Hugging Face's, and the optimised one.
    assert len(measured["growth"]) == 8
    assert len(asked) == 10 + 8
    shown = capsys.readouterr().out
    assert "(c) spaCy's ner, strided spans 128/96, 3 x 150: out of memory." in shown
    assert "aspirin" not in shown + output.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_process_measures_memory_and_time(model: Path) -> None:
    common = {"optimized": None, "variant": "ours", "threads": 1}
    size = {"pieces": ["fever ", "and ", "cough "], "notes": 30, "words": 8}
    found = ask(model=str(model), **common, **size)
    assert found["seconds"] > 0
    if found["loaded_mib"] is not None:
        assert 50 < found["loaded_mib"] <= found["reading_mib"]
    failed = ask(model=str(model / "gone"), **common, **size)
    assert "neither a folder" in failed["reason"]
