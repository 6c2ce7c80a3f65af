"""The command: its report, its options, and one line for what is at fault."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.packaging.package import package

from ..conftest import ROOT
from ..onnx.test_optimize import done, inputs
from .test_package import METRICS, distribution_of, files_of, machine_paths, meta_of, stub

__all__ = ["done", "inputs", "stub"]

WIDE = ["--max-f-loss", 100, "--max-macro-f-loss", 100, "--max-ece-loss", 1]


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["optimize", *map(str, args)])
    return int(ended.value.code or 0)


def test_json_is_all_that_is_printed(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    paths = inputs / "model", inputs / "dev.spacy", output
    assert run(*paths, "--rounds", 1, "--json", *WIDE) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["max_f_loss"], report["max_macro_f_loss"]) == (100, 100)
    assert report["before"].keys() == report["after"].keys()
    for column, folder in (("before", inputs / "model"), ("after", output)):
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        assert report[column]["folder_bytes"] == sum(sizes)
        encoder = sum(path.stat().st_size for path in (folder / "transformer").iterdir())
        assert report[column]["encoder_bytes"] == encoder > 1000


def test_the_table_has_the_scores_and_the_speed(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = inputs / "model", inputs / "dev.spacy", tmp_path / "out"
    assert run(*paths, "--rounds", 1, "--precision", "fp32") == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "F1 of entities, micro" in printed.out
    assert "times that before" in printed.out
    assert f"Written: {tmp_path / 'out'}" in printed.out


def test_a_loss_beyond_its_bound_is_one_line(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = {"ents_f": 0.8, "ents_macro_f": 0.448, "token_ece": 0.02}
    scores = iter([before, {**before, "ents_macro_f": 0.446}])
    monkeypatch.setattr("clinical_ner.onnx.optimize.evaluation_scores", lambda _: next(scores))
    paths = inputs / "model", inputs / "dev.spacy", tmp_path / "out"
    assert run(*paths, "--max-macro-f-loss", 0.1) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("clinical-ner: ")
    assert "macro-F1 44.80 -> 44.60 (at most 0.1 less)" in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


def test_dev_without_entities(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin([spacy.blank("en")("fever and cough")], tmp_path / "dev.spacy")
    assert run(inputs / "model", tmp_path / "dev.spacy", tmp_path / "out") == 1
    assert "ents, so there is nothing to learn or to" in capsys.readouterr().err


@pytest.mark.parametrize("package_name", ["onnx", "onnxruntime"])
def test_without_the_extra_it_is_named(
    package_name: str,
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setitem(sys.modules, package_name, None)
    assert run(inputs / "model", inputs / "dev.spacy", tmp_path / "out") == 1
    printed = capsys.readouterr().err
    assert printed.startswith(f"clinical-ner: An encoder on ONNX Runtime needs {package_name}: ")
    assert printed.count("\n") == 1


def test_an_unknown_precision(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = inputs / "model", inputs / "dev.spacy", tmp_path / "out"
    assert run(*paths, "--precision", "int4") == 2
    assert "fp32" in capsys.readouterr().err


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "clinical-ner optimize training/model-final" in capsys.readouterr().out


@pytest.mark.slow
def test_it_packages_and_its_wheel_requires_the_extra(
    done: tuple[Path, dict[str, Any]], inputs: Path, stub: Path, tmp_path: Path
) -> None:
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS | {"calibrated": False}))
    (tmp_path / "notes").mkdir()
    _, wheel = package(
        done[0],
        tmp_path / "wheels",
        metrics=tmp_path / "metrics.json",
        corpus=tmp_path / "notes",
        library=stub,
    )
    assert "clinical-ner[onnx]>=3.4.5,<3.5.0" in meta_of(wheel)["requirements"]
    requires = distribution_of(wheel).get_all("Requires-Dist") or []
    assert "clinical-ner[onnx]<3.5.0,>=3.4.5" in requires
    assert meta_of(wheel)["optimization"]["precision"] == "int8"
    paths = [str(ROOT), str(tmp_path), str(inputs), str(done[0]), *machine_paths(tmp_path)]
    found = [
        (name, path)
        for name, content in files_of(wheel).items()
        for path in paths
        if path.encode() in content
    ]
    assert found == []
