from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import spacy

from clinical_ner.cli import main
from clinical_ner.cli.optimize import optimize
from clinical_ner.cli.package import package
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.errors import ClinicalNerError

from ..conftest import ROOT
from ..model.windows.windowed_examples import examples, make_nlp, train, write_bert
from .test_package import METRICS, distribution_of, files_of, machine_paths, meta_of, stub

__all__ = ["stub"]


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model and dev.spacy, not to be changed."""
    folder = tmp_path_factory.mktemp("optimize")
    nlp = train(make_nlp(write_bert(folder / "bert")))
    nlp.meta["performance"] = {"ents_f": 0.987, "ner_loss": 4.5}
    nlp.to_disk(folder / "model")
    write_docbin([example.reference for example in examples(nlp)[:2]], folder / "dev.spacy")
    return folder


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The pipeline written, and the report."""
    output = tmp_path_factory.mktemp("output") / "deep" / "model"
    report = optimize(str(inputs / "model"), inputs / "dev.spacy", output, rounds=2)
    return output, report


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["optimize", *map(str, args)])
    return int(ended.value.code or 0)


def test_the_folder_loads_and_finds_what_the_report_tells(
    inputs: Path, done: tuple[Path, dict[str, Any]]
) -> None:
    output, report = done
    nlp = spacy.load(output)
    assert nlp.config["components"]["transformer"]["model"]["@architectures"] == (
        "clinical_ner.OnnxEncoder.v1"
    )
    assert [doc.text for doc in nlp.pipe(["fever and cough", ""])] == ["fever and cough", ""]
    assert report["precision"] == "int8"
    assert report["documents"] == 2
    for column, folder in (("before", inputs / "model"), ("after", output)):
        of_column = report[column]
        sizes = [path.stat().st_size for path in folder.rglob("*") if path.is_file()]
        assert of_column["folder_bytes"] == sum(sizes)
        encoder = sum(path.stat().st_size for path in (folder / "transformer").iterdir())
        assert of_column["encoder_bytes"] == encoder > 1000
        assert of_column["words_per_second"] > 0
        assert 0 <= of_column["token_ece"] <= 1
    assert report["speed_ratio"] > 0


def test_meta_json_tells_of_it(done: tuple[Path, dict[str, Any]]) -> None:
    output, report = done
    meta = json.loads((output / "meta.json").read_text())
    told = meta["optimization"]
    assert told["precision"] == "int8"
    assert told["component"] == "transformer"
    assert told["speed_ratio"] == pytest.approx(report["speed_ratio"])
    for column in ("before", "after"):
        for key in ("token_ece", "words_per_second"):
            assert told[column][key] == pytest.approx(report[column][key])
    # Scores that training wrote become those after; what is no score stays.
    assert meta["performance"] == {"ents_f": report["after"]["ents_f"], "ner_loss": 4.5}


def spoil(monkeypatch: pytest.MonkeyPatch, **after: float | None) -> None:
    """Let the pipeline before and the one after have made-up scores."""
    before = {"ents_f": 0.8, "token_ece": 0.02}
    scores = iter([before, {**before, **after}])
    monkeypatch.setattr("clinical_ner.cli.optimize.scores_of", lambda *_, **__: next(scores))


@pytest.mark.parametrize(
    ("after", "bounds", "words"),
    [
        (
            {"ents_f": 0.794, "token_ece": 0.026},
            [],
            [
                "micro-F1 80.00 -> 79.40 (at most 0.5 less)",
                "token ECE 0.0200 -> 0.0260 (at most 0.005 more)",
            ],
        ),
        ({"ents_f": 0.799}, ["--max-f-loss", 0.05], ["at most 0.05 less"]),
        ({"token_ece": 0.021}, ["--max-ece-loss", 0], ["at most 0 more"]),
    ],
)
def test_beyond_a_bound_nothing_is_written(
    after: dict[str, float],
    bounds: list[Any],
    words: list[str],
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(monkeypatch, **after)
    assert run(inputs / "model", inputs / "dev.spacy", tmp_path / "out", *bounds) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("clinical-ner: ")
    assert printed.err.count("\n") == 1
    assert all(word in printed.err for word in words)
    assert printed.out == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("after", "bounds"),
    [
        ({"ents_f": 0.796, "token_ece": 0.024}, []),
        ({"ents_f": 0.9, "token_ece": None}, []),
        ({"ents_f": 0.77}, ["--max-f-loss", 4]),
    ],
)
def test_within_the_bounds_it_is_written(
    after: dict[str, float | None],
    bounds: list[Any],
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil(monkeypatch, **after)
    paths = inputs / "model", inputs / "dev.spacy", tmp_path / "out"
    assert run(*paths, "--rounds", 1, "--precision", "fp32", *bounds) == 0
    assert (tmp_path / "out" / "config.cfg").is_file()
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "F1 of entities, micro" in printed.out
    assert "times that before" in printed.out
    assert f"Written: {tmp_path / 'out'}" in printed.out


def test_json_is_all_that_is_printed(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = inputs / "model", inputs / "dev.spacy", tmp_path / "out"
    assert run(*paths, "--rounds", 1, "--json", "--max-f-loss", 100, "--max-ece-loss", 1) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["max_f_loss"] == 100
    assert report["before"].keys() == report["after"].keys()


def test_what_is_optimized_already(
    inputs: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(ClinicalNerError, match="Name the pipeline that it was made from"):
        optimize(str(done[0]), inputs / "dev.spacy", tmp_path / "out")


def test_a_model_without_a_transformer(inputs: Path, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler")
    nlp.to_disk(tmp_path / "model")
    with pytest.raises(
        ClinicalNerError,
        match=r"has no components.*entity_ruler.*Name a pipeline that was trained with an",
    ):
        optimize(str(tmp_path / "model"), inputs / "dev.spacy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["model", "model/inside", "."])
def test_the_output_may_not_destroy_the_input(place: str, inputs: Path) -> None:
    with pytest.raises(ClinicalNerError, match=", holds it or lies in it, which writing"):
        optimize(str(inputs / "model"), inputs / "dev.spacy", inputs / place)


def test_the_output_may_not_be_something_else(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ClinicalNerError, match="exists and is not a pipeline's folder"):
        optimize(str(inputs / "model"), inputs / "dev.spacy", tmp_path)


def test_dev_without_entities(inputs: Path, tmp_path: Path) -> None:
    write_docbin([spacy.blank("en")("fever and cough")], tmp_path / "dev.spacy")
    with pytest.raises(ClinicalNerError, match="ents, so there is nothing to learn or to"):
        optimize(str(inputs / "model"), tmp_path / "dev.spacy", tmp_path / "out")


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
    assert printed.startswith(f"clinical-ner: Package {package_name} ")
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
    (tmp_path / "metrics.json").write_text(json.dumps(METRICS))
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
