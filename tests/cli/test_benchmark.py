"""The command that measures speed and memory."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch

from clinical_ner.cli import benchmark as command
from clinical_ner.cli import main
from clinical_ner.cli.benchmark import benchmark

from ..speed.speed_examples import TEXTS, write_model

HAS_MATPLOTLIB = importlib.util.find_spec("matplotlib") is not None
needs_matplotlib = pytest.mark.skipif(not HAS_MATPLOTLIB, reason="draws with matplotlib")
KEYS = ["bare", "bare_side_by_side", "bare_no_context", "ours", "spacy_ner"]
KEYS += [f"hugging_face_{length}x{size}" for length in (32, 12) for size in (1, 8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("speed"))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number, text in enumerate(TEXTS):
        (folder / f"{number}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Requests to other processes, which fail for spaCy's ner on many notes."""
    requests: list[dict[str, Any]] = []

    def ask_child(**request: Any) -> dict[str, Any]:
        requests.append(request)
        if request["variant"] == "spacy_ner" and request.get("notes", 0) > 2:
            return {"reason": "out of memory"}
        told = {"loaded_mib": 500.0, "reading_mib": 1600.0, "peak_mib": 2700.0}
        return told if "texts" in request else {**told, "seconds": 0.5, "entities": 1}

    monkeypatch.setattr(command, "ask_child", ask_child)
    return requests


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def test_everything_is_measured(model: Path, notes: Path, asked: list[dict[str, Any]]) -> None:
    measured = benchmark(str(model), notes, rounds=2, optimized=str(model), threads=1)
    assert [row["variant"] for row in measured["variants"]] == [*KEYS, "optimized"]
    for row in measured["variants"]:
        assert len(row["seconds"]["wall"]) == len(row["seconds"]["processor"]) == 2
        assert row["memory"]["peak_mib"] == 2700.0
    assert (measured["documents"], measured["limit"], measured["threads"]) == (3, 200, 1)
    assert measured["words"] == 53
    assert [windows["context"] for windows in measured["windows"]] == [2, 0]
    assert measured["growth"] is None
    assert measured["versions"]["spacy"] == spacy.__version__


def test_memory_is_asked_of_a_process_for_each(
    model: Path, notes: Path, asked: list[dict[str, Any]]
) -> None:
    benchmark(str(model), notes, rounds=1, seed=5, threads=1)
    assert [request["variant"] for request in asked] == KEYS
    assert all(request["texts"] == TEXTS and request["threads"] == 1 for request in asked)
    assert asked[0]["sources"] == {
        **{"model": str(model), "spacy_ner": None, "optimized": None, "seed": 5}
    }


def test_growth_is_that_of_ours_and_the_rest(
    model: Path, notes: Path, asked: list[dict[str, Any]]
) -> None:
    measured = benchmark(
        str(model), notes, rounds=1, growth=True, growth_notes=(2, 2000), growth_words=(5,)
    )
    grown = [(row["variant"], row["notes"], row["words"]) for row in measured["growth"]]
    assert grown[:3] == [("ours", 2, 150), ("ours", 2000, 150), ("ours", 1, 5)]
    assert grown[3:5] == [("spacy_ner", 2, 150), ("spacy_ner", 1, 5)]
    fastest = grown[5][0]
    assert fastest.startswith("hugging_face") and grown[5:] == [(fastest, 2, 150), (fastest, 1, 5)]
    assert "".join(asked[-1]["pieces"]).split() == " ".join(TEXTS).split()


def test_the_threads_of_pytorch_are_set_back(
    model: Path, notes: Path, asked: list[dict[str, Any]]
) -> None:
    before = torch.get_num_threads()
    assert benchmark(str(model), notes, rounds=1, threads=before + 1)["threads"] == before + 1
    assert torch.get_num_threads() == before


@needs_matplotlib
def test_tables_file_and_picture(
    model: Path,
    notes: Path,
    asked: list[dict[str, Any]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output, plot = tmp_path / "out" / "speed.json", tmp_path / "out" / "growth.svg"
    options = ["--growth", "--growth-notes", "2,3", "--growth-words", "5", "--rounds", 1]
    assert run("benchmark", model, notes, *options, "-o", output, "--plot", plot) == 0
    shown, progress = capsys.readouterr()
    measured = json.loads(output.read_text(encoding="utf-8"))
    for row in measured["variants"]:
        assert row["title"] in shown
    assert "2,700" in shown and "1,600" in shown
    assert "There were 3 notes, fewer than 200." in shown
    assert "(c) spaCy's ner, strided spans 128/96, 3 x 150: out of memory." in shown
    assert "untrained head" in shown and "wordpieces encoded again" in shown
    assert plot.read_text(encoding="utf-8").count("<svg") == 1
    assert progress == ""
    assert sorted(path.name for path in output.parent.iterdir()) == ["growth.svg", "speed.json"]
    assert "aspirin" not in shown + output.read_text(encoding="utf-8")


def test_json_on_stdout_is_all_there_is(
    model: Path, notes: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("benchmark", model, notes, "--rounds", 1, "--limit", 2, "--json") == 0
    measured = json.loads(capsys.readouterr().out)
    assert (measured["documents"], measured["limit"]) == (2, 2)


@pytest.mark.parametrize(
    "options",
    [
        ["--growth-notes", "10"],
        ["--growth-words", "10"],
        ["--plot", "growth.png"],
        ["--growth", "--plot", "growth.jpg"],
        ["--growth", "--growth-notes", "10,0"],
        ["--growth", "--growth-words", "ten"],
        ["--rounds", "0"],
    ],
)
def test_wrong_calls_end_with_code_2(
    options: list[str], model: Path, notes: Path, asked: list[dict[str, Any]]
) -> None:
    assert run("benchmark", model, notes, *options) == 2
    assert asked == []


def test_an_empty_folder_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    assert run("benchmark", model, tmp_path / "empty") == 1
    shown = capsys.readouterr()
    assert (
        "Name the file, or the folder in which the" in shown.err
        and shown.err.count("\n") == 1
        and not shown.out
    )


def test_a_model_without_a_transformer_is_one_line(
    notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spacy.blank("en").to_disk(tmp_path / "blank")
    assert run("benchmark", tmp_path / "blank", notes) == 1
    error = capsys.readouterr().err
    assert "has no transformer component, whose speed" in error and error.count("\n") == 1


def test_a_missing_optimized_model_is_told_before_anything_is_measured(
    model: Path, notes: Path, asked: list[dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("benchmark", model, notes, "--optimized", notes) == 1
    assert "Check the path, or install the pipeline's" in capsys.readouterr().err
    assert asked == []
