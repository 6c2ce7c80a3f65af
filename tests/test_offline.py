"""Without a network every step works, and none asks for one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import CORPUS, ROOT, write_tiny_recipe

#: Read by every Python process, those that build the wheels too.
GUARD = """
import os, socket

def refuse(*arguments, **settings):
    with open(os.environ["ATTEMPTS"], "a") as file:
        print(arguments[1:], file=file)
    raise OSError("no network")

class Guarded(socket.socket):
    def connect(self, address):
        if self.family != socket.AF_UNIX:
            refuse(self, address)
        super().connect(address)
    connect_ex = connect

socket.socket = Guarded
socket.getaddrinfo = socket.create_connection = refuse
"""
#: All commands in one process, which takes long to start.
RUN = """
import socket, sys
from clinical_ner.cli import main
assert socket.socket.__name__ == "Guarded"
for line in open(sys.argv[1]):
    try:
        main(line.split())
    except SystemExit as end:
        assert end.code == 0, (line, end.code)
"""


@pytest.mark.slow
@pytest.mark.parametrize("recipe", ["tiny", "minilm"])
def test_no_step_asks_for_a_network(tmp_path: Path, recipe: str) -> None:
    notes, guard, config = tmp_path / "notes", tmp_path / "guard", recipe
    notes.mkdir()
    guard.mkdir()
    (guard / "sitecustomize.py").write_text(GUARD)
    for text in sorted(CORPUS.glob("*.txt"))[:6]:
        shutil.copy(text, notes)
        shutil.copy(text.with_suffix(".ann"), notes)
    shutil.copy(CORPUS / "README.md", notes)
    shutil.copy(CORPUS.parent / "GUIDELINE.md", tmp_path)
    if recipe == "tiny":
        config = str(write_tiny_recipe(tmp_path / "tiny.cfg"))
    m = "m/model-best"
    commands = [
        "convert notes all.spacy",
        "split all.spacy s --dev 0.2 --test 0.2",
        "check s/train.spacy s/dev.spacy",
        f"train {config} m --train all.spacy --dev s/dev.spacy --epochs 1 "
        f"--base {ROOT}/configs/minilm.cfg",
    ]
    if recipe == "tiny":
        commands += [
            f"calibrate {m} s/dev.spacy c",
            "tune c s/dev.spacy t",
            "evaluate t s/test.spacy --output metrics.json --resamples 10",
            f"package t p --metrics metrics.json --corpus notes --library {ROOT} "
            "--allow-training-strings",
        ]
    (tmp_path / "commands").write_text("\n".join(commands))
    env = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "PIP_"))}
    env |= {"PYTHONPATH": str(guard), "ATTEMPTS": str(tmp_path / "attempts")}
    env |= {"HF_HOME": str(tmp_path / "hub")}
    done = subprocess.run(
        [sys.executable, "-c", RUN, "commands"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    attempts = tmp_path / "attempts"
    assert done.returncode == 0, done.stderr
    assert not attempts.exists(), attempts.read_text()
