"""No command writes over what it reads, or over what it did not write."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

from clinical_ner.cli import main
from clinical_ner.data.split.split import split
from clinical_ner.files import replacing
from clinical_ner.locks import held

from ..conftest import ROOT

TOK2VEC = ROOT / "configs" / "tok2vec.cfg"

NOTE = "Fever and cough."
ANNOTATION = "T1\tSign 0 5\tFever\nT2\tSign 10 15\tcough\n"


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, args)])
    return int(ended.value.code or 0)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.txt").write_text(NOTE)
        (folder / f"{number}.ann").write_text(ANNOTATION)
    assert run("convert", folder, tmp_path / "all.spacy") == 0
    return tmp_path / "all.spacy"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What of a model's wheel is asked before it is loaded."""
    model = tmp_path / "site" / "en_zq_model"
    (model / "en_zq_model-1.0" / "ruler").mkdir(parents=True)
    for name in ("__init__.py", "meta.json", "en_zq_model-1.0/ruler/patterns.jsonl"):
        (model / name).write_text("{}")
    about = tmp_path / "site" / "en_zq_model-1.0.dist-info" / "METADATA"
    about.parent.mkdir()
    about.write_text("Metadata-Version: 2.1\nName: en_zq_model\nVersion: 1.0\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    # That of another test.
    monkeypatch.delitem(sys.modules, model.name, raising=False)
    return model


@pytest.mark.parametrize(
    "args",
    [
        "evaluate en_zq_model {corpus} --output {model}/meta.json",
        "audit en_zq_model --corpus {notes} --output {model}/meta.json",
        "audit en_zq_model --corpus {notes} --output {notes}/1.txt",
        "card en_zq_model --output {model}/meta.json",
        "predict en_zq_model {notes} --output {model}/en_zq_model-1.0/ruler/patterns.jsonl",
        "review en_zq_model {notes} --output {model}/en_zq_model-1.0/ruler/patterns.jsonl "
        "--to doccano",
    ],
)
def test_what_is_read_of_a_package_or_a_folder_is_not_overwritten(
    installed: Path, tmp_path: Path, corpus: Path, args: str, capsys: pytest.CaptureFixture[str]
) -> None:
    places = {"model": installed, "corpus": corpus, "notes": tmp_path / "notes"}
    filled = args.format(**places).split()
    output = Path(filled[filled.index("--output") + 1])
    before = output.read_bytes()
    assert run(*filled, "--overwrite") == 1
    printed = capsys.readouterr().err
    assert f"{output}: is {output}, which is read" in printed and printed.count("\n") == 1
    assert output.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("out.spacy", "convert {notes} {out}"),
        ("out.jsonl", "convert {notes} {folder}/x.spacy --report {out}"),
        ("out.json", "check {corpus} --encoder none --output {out}"),
        ("masked.spacy", "check {corpus} --encoder none --write-masked {out}"),
        ("parts/dev.spacy", "split {corpus} {folder}/parts --dev 0.25 --test 0.25"),
        ("folds/fold-2/split.json", "split {corpus} {folder}/folds --folds 2"),
    ],
)
def test_only_what_the_command_wrote_is_replaced(
    tmp_path: Path, corpus: Path, name: str, args: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / name
    places = {"notes": tmp_path / "notes", "corpus": corpus, "folder": tmp_path, "out": out}
    command = [part.format(**places) for part in args.split()]
    assert run(*command) == run(*command) == 0
    written = out.read_bytes()
    for foreign in (b"mine", corpus.read_bytes() if name == "masked.spacy" else b"{}"):
        out.write_bytes(foreign)
        assert run(*command) == 1
        assert f"{out}: exists, and this command did not write it" in capsys.readouterr().err
        assert out.read_bytes() == foreign
    assert run(*command, "--overwrite") == 0
    assert out.read_bytes() == written


def content(of: Path) -> dict[str, bytes]:
    files = (file for file in of.rglob("*") if file.is_file())
    return {str(file.relative_to(of)): file.read_bytes() for file in files}


def killed_at_rename(number: int, command: list[object]) -> None:
    """Run a command in a process that is killed when it is about to rename a file or folder."""
    if (child := os.fork()) == 0:
        done, rename = 0, os.replace

        def replace(source: str, target: str) -> None:
            nonlocal done
            if done == number:
                os.kill(os.getpid(), signal.SIGKILL)
            done += 1
            rename(source, target)

        os.replace = replace  # type: ignore[assignment]
        with contextlib.suppress(BaseException):
            main([*map(str, command)])
        os._exit(1)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL


@pytest.mark.parametrize("renames", [0, 1])
@pytest.mark.parametrize(
    ("name", "existing"),
    [("new.spacy", False), ("new.spacy", True), ("new.jsonl", True), ("brat", False)],
)
def test_after_a_kill_of_convert_the_next_run_completes(
    tmp_path: Path, corpus: Path, name: str, existing: bool, renames: int
) -> None:
    def command(into: Path) -> list[object]:
        overwrite = ["--overwrite"] if name == "new.jsonl" else []
        report = ["--report", into / "report.jsonl", *overwrite]
        return ["convert", tmp_path / "notes", into / name, *report]

    here, undisturbed = tmp_path / "here", tmp_path / "undisturbed"
    assert run(*command(undisturbed)) == 0
    whole = content(undisturbed)
    if existing:
        # Of other settings, so that what was there differs from what is to come.
        names = tmp_path / "names.yml"
        names.write_text("Sign: Finding")
        assert run("convert", tmp_path / "notes", here / name, "--label-map", names) == 0
    before = content(here)
    killed_at_rename(renames, command(here))
    left = content(here)
    hidden = {path for path in left if path.startswith(".clinical-ner-")}
    data = {path for path in whole if path != "report.jsonl"}
    assert hidden
    # First the data, then its report: what has its name is whole.
    expected = before if renames == 0 else {path: whole[path] for path in data}
    assert {path: left[path] for path in left.keys() - hidden} == expected
    if name == "brat" and renames == 1:
        # A folder that holds something is not written, killed or not.
        assert run(*command(here)) == 1
        shutil.rmtree(here / name)
    assert run(*command(here)) == 0
    assert content(here) == whole


def test_a_label_map_is_not_replaced(tmp_path: Path, corpus: Path) -> None:
    names = tmp_path / "names.jsonl"
    names.write_text("Sign: Symptom")
    options = ["--label-map", names, "--report", names, "--overwrite"]
    assert run("convert", tmp_path / "notes", corpus, *options) == 1
    assert names.read_text() == "Sign: Symptom"


def test_parts_of_another_corpus_are_not_replaced(tmp_path: Path, corpus: Path) -> None:
    out, other = tmp_path / "parts", tmp_path / "other.spacy"
    other.write_bytes(corpus.read_bytes())
    assert run("split", corpus, out) == 0
    assert run("split", other, out) == 1
    assert json.loads((out / "split.json").read_text())["source"] == "../all.spacy"
    assert run("split", other, out, "--overwrite") == 0


def test_a_kill_between_the_renames_of_a_division_leaves_no_parts_of_two(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "parts"
    assert run("split", corpus, out, "--dev", 0.25, "--test", 0.25) == 0
    replace, seen = os.replace, list[Path]()

    def killed(source: Path, target: Path) -> None:
        seen.append(target)
        if len(seen) > 2:
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("clinical_ner.files.os.replace", killed)
        split(corpus, out, dev=0.25, test=0.25, seed=1)
    assert sorted(path.name for path in out.iterdir()) == ["split.json", "test.spacy"]
    assert run("split", corpus, out, "--dev", 0.25, "--test", 0.25) == 0
    assert len(list(out.iterdir())) == 4


def training(corpus: Path, out: Path) -> list[object]:
    return ["train", TOK2VEC, out, "--train", corpus, "--dev", corpus, "--epochs", 1]


def test_two_trainings_do_not_share_a_folder(
    tmp_path: Path, corpus: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with held(tmp_path / "out"):
        (tmp_path / "out" / "of-the-first").write_text("")
        assert run(*training(corpus, tmp_path / "out")) == 1
    assert "another process is writing into it" in capsys.readouterr().err
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_a_model_that_no_training_wrote_is_not_replaced(tmp_path: Path, corpus: Path) -> None:
    best = tmp_path / "out" / "model-best"
    best.parent.mkdir()
    spacy.blank("en").to_disk(best)
    assert run(*training(corpus, tmp_path / "out")) == 1
    assert (best / "meta.json").is_file()


def test_a_full_disk_leaves_no_half_model(
    tmp_path: Path,
    corpus: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(self: Language, path: Path, **settings: object) -> None:
        (path / "meta.json").write_text("{")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Language, "to_disk", full)
    assert run(*training(corpus, tmp_path / "out")) == 1
    error = capsys.readouterr().err
    assert "No space left" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_process_that_is_asked_to_end_leaves_nothing(
    tmp_path: Path, corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def ending(docs: object, path: Path) -> None:
        with replacing(path) as temporary:
            temporary.write_text(NOTE)
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(10)

    monkeypatch.setattr("clinical_ner.data.formats.writing.write_entities", ending)
    before, default = sorted(tmp_path.iterdir()), signal.getsignal(signal.SIGTERM)
    assert run("convert", tmp_path / "notes", tmp_path / "new.spacy") == 143
    assert signal.getsignal(signal.SIGTERM) == default
    assert sorted(tmp_path.iterdir()) == before
