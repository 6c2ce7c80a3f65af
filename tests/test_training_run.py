"""spaCy's own commands on the recipes and the embedded notes, without any of ours.

Training runs in a process of its own, where nothing of the package is imported beforehand.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.cli.evaluate import evaluate
from spacy.cli.init_config import fill_config

from clinical_ner.data.convert import convert
from clinical_ner.data.split.split import split
from clinical_ner.training.schedules import planned_steps

from .imports import ROOT

pytestmark = pytest.mark.slow

EPOCHS = 3
CONFIGS = ROOT / "configs"


@dataclass(frozen=True)
class Run:
    """What spacy train left behind.

    rows: epoch, step and scores of each evaluation, by the names in the table's head.
    """

    output: Path
    corpus: Path
    rows: list[dict[str, float]]

    @property
    def best(self) -> dict[str, float]:
        """The best row; not by its column SCORE, which has too few digits to tell them apart."""
        return max(self.rows, key=lambda row: row["ENTS_F"] + row["ENTS_MACRO_F"])

    @property
    def performance(self) -> dict[str, Any]:
        """Scores that the best model carries."""
        meta = json.loads((self.output / "model-best" / "meta.json").read_text(encoding="utf8"))
        return dict(meta["performance"])


def read_rows(table: str) -> list[dict[str, float]]:
    """Rows of the console logger; its head separates names by two spaces or more."""
    lines = table.splitlines()
    (head,) = (number for number, line in enumerate(lines) if re.match(r"E\s+#\s", line))
    names = re.split(r"\s{2,}", lines[head].strip())
    rows = [line.split() for line in lines[head + 2 :] if re.match(r"\s*\d+\s+\d+\s", line)]
    return [dict(zip(names, map(float, row), strict=True)) for row in rows]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    convert(ROOT / "corpus" / "case_reports", folder / "all.spacy", nlp=spacy.blank("en"))
    split(folder / "all.spacy", folder / "corpus", dev=0.15, test=0.5, seed=0)
    parts = {part: folder / "corpus" / f"{part}.spacy" for part in ("train", "dev")}
    done = subprocess.run(
        [
            *(sys.executable, "-m", "spacy", "train", CONFIGS / "tok2vec.cfg"),
            *("--output", folder / "training"),
            *("--paths.train", parts["train"], "--paths.dev", parts["dev"]),
            *("--variables.epochs", str(EPOCHS)),
        ],
        capture_output=True,
        text=True,
        timeout=900,
        env={**os.environ, "NO_COLOR": "1", "ANSI_COLORS_DISABLED": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return Run(folder / "training", folder / "corpus", read_rows(done.stdout))


def test_every_epoch_is_evaluated_and_the_last_tenth(run: Run) -> None:
    assert {row["E"] for row in run.rows} == set(range(EPOCHS))
    steps = planned_steps(
        run.corpus / "train.spacy", epochs=EPOCHS, words_per_batch=500, tolerance=0.2
    )
    assert run.rows[-1]["#"] + 1 > 0.9 * steps


def test_the_best_model_is_that_of_the_best_evaluation(run: Run) -> None:
    assert run.best["SCORE"] > run.rows[0]["SCORE"]
    for name, column in {
        "ents_f": "ENTS_F",
        "ents_macro_f": "ENTS_MACRO_F",
        "ents_p": "ENTS_P",
        "ents_r": "ENTS_R",
    }.items():
        assert run.performance[name] > 0
        assert 100 * run.performance[name] == pytest.approx(run.best[column], abs=0.01)


def test_spacy_evaluate_finds_the_scores_that_training_found(run: Run) -> None:
    scores = evaluate(str(run.output / "model-best"), run.corpus / "dev.spacy", silent=True)
    for name in ("ents_f", "ents_macro_f"):
        assert scores[name] == pytest.approx(run.performance[name], abs=1e-3)
    assert scores["ents_per_type"].keys() == run.performance["ents_per_type"].keys()


def leaves(config: dict[str, Any], path: str = "") -> dict[str, Any]:
    """Settings by their dotted path."""
    found = {}
    for key, value in config.items():
        below = isinstance(value, dict) and value
        found.update(leaves(value, f"{path}{key}.") if below else {path + key: value})
    return found


@pytest.mark.parametrize("is_split", [False, True], ids=["no corpus", "corpus"])
@pytest.mark.parametrize("name", ["minilm", "tok2vec"])
def test_fill_config_keeps_every_setting_and_leaves_nothing_to_fill(
    name: str, is_split: bool, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The recipes' paths are relative: here they name files that are there, or not.
    monkeypatch.chdir(run.corpus.parent if is_split else tmp_path)
    assert Path("corpus/train.spacy").exists() == is_split
    filled = tmp_path / f"{name}.cfg"
    fill_config(filled, CONFIGS / f"{name}.cfg", silent=True)
    found = spacy.util.load_config(filled, interpolate=False)
    given = spacy.util.load_config(CONFIGS / f"{name}.cfg", interpolate=False)
    assert leaves(found["components"]) == leaves(given["components"])
    assert {key: leaves(found).get(key) for key in leaves(given)} == leaves(given)
    nlp = spacy.util.load_model_from_config(found, auto_fill=False, validate=True)
    assert nlp.pipe_names == given["nlp"]["pipeline"]
