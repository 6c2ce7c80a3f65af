from __future__ import annotations

import os

# The workers of pytest-xdist share the cores: one thread each. Read when torch is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import json
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from confection import Config
from filelock import FileLock
from hypothesis import settings
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.data.convert import blank, convert
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.files import written_by
from clinical_ner.fitting.calibrate import calibrate
from clinical_ner.packaging.package import package

# The same examples in every run, however slow the machine is.
settings.register_profile("project", derandomize=True, deadline=None)
settings.load_profile("project")

ROOT = Path(__file__).parents[1]
CORPUS = ROOT / "corpus" / "case_reports"
#: Files that take longest. The first makes both trained models, while others that need none run.
LONGEST = ("test_fresh_environment.py", "test_project.py", "test_training_run.py")
#: An index that no one answers for: what asks it, fails at once.
NO_INDEX = {"PIP_NO_INDEX": "1", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}


@dataclass(frozen=True)
class Trained:
    """A pipeline made by the commands or their functions, with what it was made of.

    folder: the run's; hub: cache of the hub's client during training; left_behind: what building
    the wheels left in the project's folder.
    """

    folder: Path
    hub: Path
    left_behind: tuple[Path, ...]

    @property
    def model(self) -> Path:
        return self.folder / "training" / "model-final"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.json"

    @property
    def wheels(self) -> list[Path]:
        return sorted((self.folder / "packages").glob("*.whl"))


def command(*args: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run ``python -m clinical_ner`` as a user does, from the project's folder."""
    return subprocess.run(
        [sys.executable, "-m", "clinical_ner", *map(str, args)],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def own(model: Path, command: str) -> None:
    """Say in meta.json of a pipeline that a command wrote it, which may replace it then."""
    meta = json.loads((model / "meta.json").read_text()) | written_by(command)
    (model / "meta.json").write_text(json.dumps(meta))


def build_products() -> set[Path]:
    """What builds of wheels leave in the project's folder."""
    patterns = ("*.whl", "*/*.whl", "build", "dist", "*.egg-info")
    return {path for pattern in patterns for path in ROOT.glob(pattern)}


def train_and_package(folder: Path, recipe: str, *, documents: int, epochs: int) -> Trained:
    """Convert, train, calibrate, evaluate and package some case reports; no network is needed."""
    corpus = folder / "notes"
    corpus.mkdir()
    for text in sorted(CORPUS.glob("*.txt"))[:documents]:
        shutil.copy(text, corpus)
        shutil.copy(text.with_suffix(".ann"), corpus)
    shutil.copy(CORPUS / "README.md", corpus)
    shutil.copy(CORPUS.parent / "GUIDELINE.md", folder)
    before = build_products()
    hub, data = folder / "hub", folder / "all.spacy"
    hub.mkdir()
    convert(corpus, data, nlp=blank("en", "clinical"))
    done = command(
        *["train", ROOT / "configs" / f"{recipe}.cfg", folder / "training"],
        *["--train", data, "--dev", data, "--epochs", epochs],
        # So few steps find entities only if all tags are treated alike.
        *["--components.ner.prior_strength", "0.0"],
        **{"HF_HUB_OFFLINE": "1", "HF_HOME": str(hub)},
    )
    assert done.returncode == 0, done.stderr
    trained = Trained(folder, hub, ())
    calibrate(str(folder / "training" / "model-best"), data, trained.model)
    metrics = evaluate(str(trained.model), data, resamples=10)
    trained.metrics.write_text(json.dumps(metrics), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in NO_INDEX.items():
            patch.setenv(name, value)
        package(
            trained.model,
            folder / "packages",
            metrics=trained.metrics,
            corpus=corpus,
            library=ROOT,
        )
    return replace(trained, left_behind=tuple(build_products() - before))


def train_once(
    factory: pytest.TempPathFactory, recipe: str, *, documents: int, epochs: int
) -> Trained:
    """Train and package in the first worker that asks; the others wait, then read its record."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    record = shared / f"{recipe}.json"
    with FileLock(shared / f"{recipe}.lock"):
        if not record.exists():
            folder = Path(tempfile.mkdtemp(prefix=recipe, dir=shared))
            made = train_and_package(folder, recipe, documents=documents, epochs=epochs)
            left_behind = [str(path) for path in made.left_behind]
            record.write_text(json.dumps([str(folder), left_behind]), encoding="utf-8")
    name, left_behind = json.loads(record.read_text(encoding="utf-8"))
    return Trained(Path(name), Path(name) / "hub", tuple(map(Path, left_behind)))


@pytest.fixture(scope="session")
def tok2vec_model(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_once(tmp_path_factory, "tok2vec", documents=8, epochs=3)


@pytest.fixture(scope="session")
def minilm_model(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    return train_once(tmp_path_factory, "minilm", documents=6, epochs=2)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files come first, then others with slow tests, so that no worker waits long."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    rank = {ROOT / "tests" / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: (rank.get(item.path, len(rank)), item.path not in slow))


def write_tiny_recipe(path: Path) -> Path:
    """The recipe without a transformer, small enough to train in a second."""
    config = Config().from_disk(ROOT / "configs" / "tok2vec.cfg", interpolate=False)
    encoder = config["components"]["tok2vec"]["model"]
    encoder["encode"] |= {"width": 16, "depth": 1}
    encoder["embed"]["rows"] = [50, 50, 50, 50]
    config["variables"] |= {"words_per_batch": 30, "learn_rate": 0.01}
    config.to_disk(path, interpolate=False)
    return path


@pytest.fixture
def corpus_file(tmp_path: Path) -> Path:
    """A .spacy file of six made-up documents with two types."""
    path = tmp_path / "corpus.spacy"
    vocab = Vocab()
    docs = []
    for number in range(6):
        doc = Doc(vocab, words=["Patient", str(number), "had", "fever", "and", "took", "aspirin"])
        doc.set_ents([Span(doc, 3, 4, "Sign"), Span(doc, 6, 7, "Drug")], default="outside")
        docs.append(doc)
    write_docbin(docs, path)
    return path
