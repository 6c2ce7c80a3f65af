"""The command line as a whole: its help and what it imports."""

from __future__ import annotations

import subprocess
import sys

import pytest
from typer.main import get_command

from clinical_ner.cli import app, main
from clinical_ner.cli._app import COMMANDS

from ..conftest import ROOT


@pytest.mark.slow
def test_help_imports_neither_spacy_nor_torch() -> None:
    code = (
        "import sys; from clinical_ner.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: print({'spacy', 'torch', 'rich'} & {*sys.modules}, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stderr.strip() == "set()"
    assert all(f"\n  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_the_list_says_what_the_command_says(name: str) -> None:
    group = get_command(app)
    command = group.get_command(None, name)  # type: ignore[attr-defined]
    assert COMMANDS[name] == command.get_short_help_str(1000)


def test_every_module_of_a_command_is_listed() -> None:
    files = (ROOT / "clinical_ner" / "cli").glob("[!_]*.py")
    assert {path.stem.replace("_", "-") for path in files} == set(COMMANDS)


def test_a_misspelt_command_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["evalute"])
    assert stopped.value.code == 2
    assert "Did you mean 'evaluate'" in capsys.readouterr().err


def test_recipes_lists_those_of_the_project(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as stopped:
        main(["recipes"])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["minilm", "tok2vec", "asymmetric"]
    assert all(len(line.split()) > 3 for line in lines)


@pytest.mark.parametrize(
    "arguments",
    [
        "folds no.spacy out --config tok2vec --dev 1",
        "folds no.spacy out --config tok2vec --group-by (",
        "split no.spacy out --dev 0.5 --test 0.5",
        "split no.spacy out --folds 3 --dev nan",
        "compare tok2vec --corpus no --output out --dev 0.8",
        "compare tok2vec --corpus no --output out --test -0.1",
        "learning-curve no.spacy --output out --test 1",
        "final no out --seed 4294967296",
    ],
)
def test_a_setting_that_no_data_allow_is_a_usage_error(
    arguments: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments.split())
    assert stopped.value.code == 2
    option = next(part for part in reversed(arguments.split()) if part.startswith("--"))
    assert f"'{option}'" in capsys.readouterr().err
