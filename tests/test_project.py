from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy.cli
import srsly
from packaging.utils import canonicalize_name
from typer.testing import CliRunner

from .conftest import CORPUS, NO_INDEX, ROOT

STEPS = ["convert", "split", "train", "neighbours", "calibrate", "evaluate", "report", "package"]
PROJECT: dict[str, Any] = srsly.read_yaml(ROOT / "project.yml")
COMMANDS: dict[str, dict[str, Any]] = {command["name"]: command for command in PROJECT["commands"]}
#: What the library's wheel is made of beside the modules, and what the model's is made of.
PACKAGED = {"LICENSE", "README.md", "pyproject.toml", "setup.cfg"}


def test_packaging_depends_on_what_the_wheels_are_made_of() -> None:
    assert set(COMMANDS["package"]["deps"]) >= PACKAGED | {"${vars.model}", "${vars.corpus}"}


def test_all_has_its_steps_in_order() -> None:
    assert PROJECT["workflows"]["all"] == STEPS


@pytest.mark.parametrize("name", list(COMMANDS))
def test_every_command_says_what_it_does_reads_and_writes(name: str) -> None:
    for key in ("help", "script", "deps", "outputs"):
        assert COMMANDS[name][key]


def test_a_step_that_runs_the_package_depends_on_its_requirements() -> None:
    for command in COMMANDS.values():
        if "clinical_ner" in command["script"][0]:
            assert "requirements.txt" in command["deps"]


def test_every_pin_but_that_of_torch_has_its_sums() -> None:
    def pins(file: str) -> dict[str, str]:
        lines = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / file).read_text(), re.MULTILINE)
        return {canonicalize_name(name): version for name, version in lines}

    pinned, locked = pins("requirements.txt"), pins("requirements.lock")
    assert pinned.pop("torch") and locked == pinned
    # Each line goes on but for the last of a package: nothing is there without a sum.
    _, *packages = re.split(r"^(?=\w)", (ROOT / "requirements.lock").read_text(), flags=re.M)
    sums = r" \\\n    --hash=sha256:[0-9a-f]{64}"
    assert all(re.fullmatch(rf"\S+==\S+({sums})+\n", package) for package in packages)


def test_the_project_reads_as_documentation() -> None:
    assert len((ROOT / "project.yml").read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.parametrize("workflow", list(PROJECT["workflows"]))
def test_a_step_reads_what_an_earlier_one_wrote(workflow: str) -> None:
    written: set[str] = set()
    for step in PROJECT["workflows"][workflow]:
        for dep in COMMANDS[step]["deps"]:
            dep = dep.replace("${vars.model}", PROJECT["vars"]["model"])
            if dep.split("/")[0] in ("training", "metrics") or dep.endswith(".spacy"):
                assert dep in written, f"{step}: {dep}"
        written |= set(COMMANDS[step]["outputs"])


def test_every_variable_is_used() -> None:
    scripts = srsly.json_dumps(PROJECT["commands"])
    assert {name for name in PROJECT["vars"] if f"${{vars.{name}}}" not in scripts} == set()
    assert set(re.findall(r"\$\{vars\.(\w+)}", scripts)) <= set(PROJECT["vars"])


def copy_tree(target: Path) -> Path:
    """The project as a clone has it, with some of its corpus."""
    target.mkdir()
    for name in (*PACKAGED, "project.yml", "requirements.txt"):
        shutil.copy(ROOT / name, target)
    notes = target / "corpus" / "case_reports"
    notes.mkdir(parents=True)
    # Fewer documents than the corpus has: what runs is tested, not how well.
    for text in sorted(CORPUS.glob("*.txt"))[:10]:
        shutil.copy(text, notes)
        shutil.copy(text.with_suffix(".ann"), notes)
    shutil.copy(CORPUS / "README.md", notes)
    shutil.copy(CORPUS.parent / "GUIDELINE.md", notes.parent)
    for name in ("clinical_ner", "configs"):
        shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.fixture
def run_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[list[str], list[str]]]:
    """Run the workflow in a copy of the project; gives the steps that ran and those skipped."""
    project = copy_tree(tmp_path / "project")
    monkeypatch.chdir(project)
    for name, value in {**NO_INDEX, "PYTHONPATH": str(project)}.items():
        monkeypatch.setenv(name, value)
    # Compiled modules must not make a step run again.
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)

    def run(*args: str) -> tuple[list[str], list[str]]:
        # The command without the process around it; each step is a process.
        done = CliRunner().invoke(spacy.cli.app, ["project", "run", "all", ".", *args])
        assert done.exit_code == 0, done.output
        titles = re.findall(r"(?m)^=+ (\w+) =+$", re.sub(r"\x1b\[[\d;]*m", "", done.stdout))
        skipped = re.findall(r"Skipping '(\w+)': nothing changed", done.stdout)
        return [title for title in titles if title not in skipped], skipped

    return run


@pytest.mark.slow
def test_only_what_changed_runs_again(
    tmp_path: Path, run_all: Callable[..., tuple[list[str], list[str]]]
) -> None:
    tok2vec = ("--vars.config", "tok2vec", "--vars.epochs", "1")
    project = tmp_path / "project"
    packages = project / "packages"
    wheels = ["clinical_ner-0.1.0-py3-none-any.whl", "en_clinical_ner-0.1.0-py3-none-any.whl"]

    assert run_all(*tok2vec) == (STEPS, [])
    assert sorted(path.name for path in packages.iterdir()) == wheels
    assert list((project / "clinical_ner").rglob("*.pyc")) != []

    assert run_all(*tok2vec) == ([], STEPS)

    version = (*tok2vec, "--vars.version", "0.2.0")
    assert run_all(*version) == (["package"], STEPS[:-1])
    wheels[1] = wheels[1].replace("0.1.0", "0.2.0")
    assert sorted(path.name for path in packages.iterdir()) == wheels
    assert sorted(project.rglob("*.whl")) == [packages / name for name in wheels]

    # What would run: with another seed the training, and after it all that reads its model.
    other_seed = (*version, "--vars.seed", "1", "--dry")
    assert run_all(*other_seed) == (["train"], [*STEPS[:2], *STEPS[3:]])
    models = [f"training/model-{name}" for name in ("best", "neighbours", "final")]
    for changed in (*models, "metrics/test.json"):
        path = project / changed
        path = path / "meta.json" if path.is_dir() else path
        path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")
    assert run_all(*other_seed) == (STEPS[2:], STEPS[:2])
