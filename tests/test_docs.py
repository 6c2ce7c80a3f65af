"""What README, CONTRIBUTING and docs show: Python that runs, names and commands that exist."""

from __future__ import annotations

import configparser
import importlib
import importlib.util
import re
import shlex
import shutil
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import spacy
import yaml
from typer.main import get_command

from clinical_ner.cli import app

from .fitting.stores import train_pipeline

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md"]
PAGES += [*sorted((ROOT / "docs").glob("*.md"))]
#: The name under which the pages load the packaged model.
MODEL = "en_clinical_ner"
#: Python blocks that are not run, by page; each says why on the line before it.
NOT_RUN = {"deployment.md": 1, "predict.md": 1}
#: What blocks may call besides the project's own commands. Their arguments are not checked.
PROGRAMS = {".", "curl", "export", "mkdocs", "mypy", "pip", "pre-commit", "ruff"}
PROGRAMS |= {"spark-submit", "uvicorn", "venv-pack"}
MODULES = {"pytest", "venv"}
#: Rooms in the order in which the lists of docs/design.md go through them.
ROOMS = ("data", "model", "losses", "neighbours", "calibration", "decoding")
#: Notes that stand for a reader's own; the smallest recipe is trained on them.
NOTES = 12


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    line: that of its fence, counted from 1.
    reason: why it is not run, None if it is.
    needs: a package without which it is not run.
    """

    page: Path
    line: int
    language: str
    text: str
    reason: str | None
    needs: str | None

    def __str__(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path, language: str) -> list[Block]:
    """The blocks of a page in one language."""
    found = []
    lines = page.read_text(encoding="utf-8").splitlines()
    start = None
    for number, line in enumerate(lines):
        if not line.startswith("```"):
            continue
        if start is None:
            start = number
            continue
        before = lines[start - 1] if start else ""
        reason = re.fullmatch(r"<!-- not run: (.+) -->", before)
        needs = re.fullmatch(r"<!-- needs: (\w+) -->", before)
        text = "\n".join(lines[start + 1 : number]) + "\n"
        name = lines[start][3:]
        marks = [mark and mark[1] for mark in (reason, needs)]
        found.append(Block(page, start + 1, name, text, *marks))
        start = None
    assert start is None, f"{page}: a block is not closed"
    return [block for block in found if block.language == language]


def prose(page: Path) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)


def shell_commands(block: Block) -> list[list[str]]:
    """The commands of a block, each as its words."""
    found: list[list[str]] = []
    for line in block.text.replace("\\\n", " ").splitlines():
        words: list[str] = []
        for word in [*shlex.split(line, comments=True), "&&"]:
            if word != "&&":
                words.append(word)
            elif words:
                found.append(words)
                words = []
    return found


PYTHON_BLOCKS = [block for page in PAGES for block in blocks(page, "python")]
PYTHON_PAGES = sorted({block.page for block in PYTHON_BLOCKS if block.needs is None})
OTHER_TOOLS = [block for block in PYTHON_BLOCKS if block.needs is not None]
#: What a tool says of a negated entity.
NEGATED = {"negspacy": "negex", "medspacy": "is_negated", "edsnlp": "negation"}
#: The sentences that other tools read there, and their signs.
SIGNS = {
    "The patient had a fever.": "fever",
    "No cough was found.": "cough",
    "His mother had pain.": "pain",
    "Le patient n'a pas de fièvre.": "fièvre",
    "Il a une toux.": "toux",
}
SHELL_BLOCKS = [block for page in PAGES for block in blocks(page, "bash")]
SPANS = [
    (page, span)
    for page in PAGES
    for span in re.findall(r"`((?:clinical-ner|python -m spacy project run) [^`]+)`", prose(page))
]


@pytest.fixture
def installed(tok2vec_model: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The packaged model under its name, in a folder of its own."""
    (wheel,) = (path for path in tok2vec_model.wheels if path.name.startswith(MODEL))
    shutil.unpack_archive(wheel, tmp_path / "site", "zip")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.delitem(sys.modules, MODEL, raising=False)
    monkeypatch.chdir(tmp_path)


def execute(block: Block, names: dict[str, Any]) -> None:
    """Run a block, with as many empty lines before it as in the page, for a traceback's sake."""
    exec(compile("\n" * block.line + block.text, str(block.page), "exec"), names)


@pytest.mark.slow
@pytest.mark.parametrize("page", PYTHON_PAGES, ids=lambda page: page.name)
def test_python_of_a_page_runs(page: Path, installed: None, tmp_path: Path) -> None:
    # Recipes are found by name in the folder of the repository, where a reader works.
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    (tmp_path / "corpus").mkdir()
    (tmp_path / "my_notes").mkdir()
    for text in sorted((ROOT / "corpus" / "case_reports").glob("*.txt"))[:NOTES]:
        shutil.copy(text, tmp_path / "my_notes")
        shutil.copy(text.with_suffix(".ann"), tmp_path / "my_notes")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page, "python"):
        if block.reason is None and block.needs is None:
            execute(block, names)


def model_of_signs(folder: Path) -> Path:
    """A model that finds the signs of the notes in the page, however they are negated."""
    nlp, docs = spacy.blank("en"), []
    for text, sign in SIGNS.items():
        doc = nlp.make_doc(text)
        start = text.index(sign)
        doc.set_ents([doc.char_span(start, start + len(sign), "Sign")], default="outside")
        docs.append(doc)
    train_pipeline(docs, steps=60).to_disk(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("block", OTHER_TOOLS, ids=lambda block: block.needs)
def test_python_beside_another_tool_runs(
    block: Block,
    installed: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    if importlib.util.find_spec(str(block.needs)) is None:
        pytest.skip(f"{block.needs} is not installed")
    (tmp_path / "notes.csv").write_text("note_id,note_text\n7,The patient had a fever.\n8,\n")
    if block.needs in NEGATED:
        load, model = spacy.load, model_of_signs(tmp_path / "signs")
        monkeypatch.setattr(spacy, "load", lambda name: load(model if name == MODEL else name))
    names: dict[str, Any] = {"__name__": "__main__"}
    execute(block, names)
    assert "fever" not in capfd.readouterr().err
    if block.needs not in NEGATED:
        assert len(names["entities"]) > 0 and len(names["status"]) == 2
        return
    doc = names["doc"]
    alone = spacy.load(MODEL)(doc.text)
    assert [(e.text, e.label_, e._.probability) for e in doc.ents] == [
        (e.text, e.label_, e._.probability) for e in alone.ents
    ]
    assert None not in [e._.probability for e in doc.ents]
    found = {e.text: getattr(e._, NEGATED[block.needs]) for e in doc.ents}
    negated, other = ("fièvre", "toux") if block.needs == "edsnlp" else ("cough", "fever")
    assert found[negated] is True and found[other] is False


def test_few_python_blocks_are_not_run() -> None:
    found = Counter(
        page.name for page in PAGES for block in blocks(page, "python") if block.reason is not None
    )
    assert found == NOT_RUN


@pytest.mark.parametrize("block", SHELL_BLOCKS, ids=str)
def test_commands_of_a_block_exist(block: Block) -> None:
    for words in shell_commands(block):
        check_command(words)


@pytest.mark.parametrize(("page", "span"), SPANS, ids=lambda value: getattr(value, "name", value))
def test_commands_in_prose_exist(page: Path, span: str) -> None:
    words = shlex.split(span)
    if words[0] == "python":
        check_command(words)
    elif words[1] != "--help":
        name, *rest = words[1:]
        options = {option for parameter in command(name).params for option in parameter.opts}
        for word in rest:
            if word.startswith("--"):
                assert word in options or is_setting(name, word), f"{name} has no option {word}"


def check_command(words: list[str]) -> None:
    """Check that a command exists and takes these arguments; nothing is run."""
    if words[0] == "clinical-ner":
        check_call(words[1:])
    elif words[:3] == ["python", "-m", "clinical_ner"]:
        check_call(words[3:])
    elif words[:4] == ["python", "-m", "spacy", "project"]:
        check_project(words[4:])
    elif words[:4] == ["python", "-m", "spacy", "train"]:
        assert (ROOT / words[4]).is_file()
    elif words[:2] == ["python", "-m"]:
        path = ROOT.joinpath(*words[2].split("."))
        exists = path.with_suffix(".py").is_file() or (path / "__main__.py").is_file()
        assert words[2] in MODULES or exists, f"no module {words[2]}"
    elif words[0] == "python":
        assert (ROOT / words[1]).is_file(), f"no file {words[1]}"
    else:
        assert words[0] in PROGRAMS, f"unknown program {words[0]}"


def check_call(words: list[str]) -> None:
    """Parse a call of ``clinical-ner``; a wrong one raises click's error."""
    name, *rest = words
    context = command(name).make_context(name, list(rest), parent=root_context())
    for word in context.args:
        assert not word.startswith("--") or is_setting(name, word), f"{name} has no option {word}"


def check_project(words: list[str]) -> None:
    """Check the names of steps and of variables in a call of ``spacy project``."""
    project = yaml.safe_load((ROOT / "project.yml").read_text(encoding="utf-8"))
    if words[0] != "run":
        assert words[0] in {"assets", "document"}
        return
    steps = {step["name"] for step in project["commands"]} | set(project["workflows"])
    assert words[1] in steps, f"project.yml has no step {words[1]}"
    overrides = [word for word in words[2:] if word.startswith("--vars.")]
    assert not overrides or words[2] == ".", "overrides need the folder before them"
    for word in overrides:
        assert word.removeprefix("--vars.") in project["vars"], f"project.yml has no {word}"


def root_context() -> Any:
    return get_command(app).make_context("clinical-ner", [], resilient_parsing=True)


def command(name: str) -> Any:
    group: Any = get_command(app)
    found = group.get_command(root_context(), name)
    assert found is not None, f"clinical-ner has no command {name}"
    return found


def is_setting(name: str, word: str) -> bool:
    """Whether an option is a setting of a recipe, which ``train`` takes."""
    return name == "train" and "." in word


def named_functions() -> list[str]:
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    return re.findall(r"`(clinical_ner[\w.]*:[\w.]+)`", text)


def resolve(name: str) -> Any:
    module, _, attributes = name.partition(":")
    found: Any = importlib.import_module(module)
    for attribute in attributes.split("."):
        found = getattr(found, attribute)
    return found


@pytest.mark.parametrize("name", named_functions())
def test_functions_of_the_design_exist(name: str) -> None:
    assert callable(resolve(name))


def ways() -> list[list[str]]:
    """The numbered lists of functions in docs/design.md."""
    text = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    sections = re.split(r"^## ", text, flags=re.M)
    found = [re.findall(r"^\d+\. `(clinical_ner[\w.]*:[\w.]+)`", part, re.M) for part in sections]
    return [functions for functions in found if functions]


def test_ways_of_a_note_and_of_a_logit_never_go_back() -> None:
    assert len(ways()) == 2
    for functions in ways():
        rooms = [ROOMS.index(name.split(".")[1]) for name in functions]
        assert rooms == sorted(rooms)


@pytest.mark.parametrize(
    "path",
    re.findall(r"^::: (\S+)$", (ROOT / "docs" / "api.md").read_text(encoding="utf-8"), re.M),
)
def test_names_of_the_reference_exist(path: str) -> None:
    module, _, attribute = path.rpartition(".")
    assert resolve(f"{module}:{attribute}").__doc__


def test_config_page_has_every_registered_name() -> None:
    parser = configparser.ConfigParser(delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    page = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    for group, text in parser["options.entry_points"].items():
        if group == "console_scripts":
            continue
        for line in text.strip().splitlines():
            assert f"`{line.split('=')[0].strip()}`" in page
