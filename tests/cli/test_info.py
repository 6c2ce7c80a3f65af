from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy

from clinical_ner.cli import main
from clinical_ner.pipeline.manifest import MANIFEST
from clinical_ner.training.train import train

from ..conftest import write_tiny_recipe


@pytest.fixture
def model(tmp_path: Path, corpus_file: Path) -> Path:
    recipe = write_tiny_recipe(tmp_path / "tiny.cfg")
    out = tmp_path / "out"
    train(recipe, out, train_path=corpus_file, dev_path=corpus_file, epochs=1)
    return out / "model-best"


def info(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["info", *map(str, args), "--json"])
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_a_model_says_what_it_is_and_whether_it_is_whole(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, report = info(capsys, model, "--verify")
    assert code == 0
    assert (report["finished"], report["verified"], report["mismatches"]) == (True, True, [])
    assert report["versions"]["spacy"] == dict.fromkeys(
        ("trained_with", "running"), spacy.__version__
    )
    assert report["labels"] == {"ner": ["Drug", "Sign"]}
    assert report["data"] == ["corpus.spacy"]
    assert "ents_f" in report["scores"]

    strings = model / "vocab" / "strings.json"
    strings.write_text(strings.read_text() + " ")
    code, report = info(capsys, model, "--verify")
    assert (code, report["verified"]) == (1, False)
    changed, refused = report["mismatches"]
    assert changed == "vocab/strings.json: changed"
    assert "not as it was written (vocab/strings.json: changed)" in refused
    assert info(capsys, model)[0] == 0


def test_other_versions_are_told(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    meta = json.loads((model / "meta.json").read_text())
    meta["trained_with"] |= {"torch": "1.0"}
    (model / "meta.json").write_text(json.dumps(meta | {"unfinished": True}))
    (model / MANIFEST).unlink()
    code, report = info(capsys, model)
    assert (code, report["finished"], report["verified"]) == (0, False, None)
    (line,) = report["mismatches"]
    assert line.startswith("torch: trained with 1.0, running with ")
    with pytest.raises(SystemExit):
        main(["info", str(model)])
    assert "its training did not end" in capsys.readouterr().out


def test_what_is_no_model_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "meta.json").write_text("[]")
    for model in (tmp_path, tmp_path / "none"):
        with pytest.raises(SystemExit) as ended:
            main(["info", str(model)])
        assert ended.value.code == 1
        assert capsys.readouterr().err.count("\n") == 1
