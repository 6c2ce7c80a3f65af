"""Runs that are stopped, in whatever way, and go on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy

from clinical_ner import predict
from clinical_ner.annotate import predict as module
from clinical_ner.annotate.annotator import Settings
from clinical_ner.errors import ClinicalNerError

from .conftest import COUNT, lines


@pytest.fixture(scope="module")
def whole(model: Path, notes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that nothing stopped, in every format."""
    folder = tmp_path_factory.mktemp("whole")
    for name in ("out.jsonl", "brat", "out.spacy"):
        predict(model, notes, folder / name, shard=5)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    """The contents of all files below a folder."""
    paths = sorted(of for of in folder.rglob("*") if of.is_file())
    return {str(of.relative_to(folder)): of.read_bytes() for of in paths}


def wait_for(true: Callable[[], object]) -> None:
    """Wait, as long as a loaded machine may need."""
    end = time.monotonic() + 300
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.slow
def test_a_killed_run_goes_on_and_gives_the_same(
    model: Path, notes: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    code = (
        "import sys, time; from clinical_ner import predict\n"
        f"predict({str(model)!r}, {str(notes)!r}, {str(output)!r}, shard=5, resume=True,"
        " tell=lambda *of: time.sleep(0.5))"
    )
    parts = tmp_path / "out.jsonl.parts"
    for shards in (1, 4, 6):
        process = subprocess.Popen([sys.executable, "-c", code])
        while len(list(parts.glob("status-*"))) < shards and process.poll() is None:
            time.sleep(0.01)
        assert process.poll() is None, "ended before it was killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not output.exists()
    with pytest.raises(ClinicalNerError, match="not finished. Go on with it by --resume"):
        predict(model, notes, output, shard=5)
    for changed, what in (
        ({"settings": Settings(min_probability=0.5)}, "settings"),
        ({"include_text": True}, "include_text"),
    ):
        with pytest.raises(ClinicalNerError, match=f"with another {what}"):
            predict(model, notes, output, shard=5, resume=True, **changed)
    other = tmp_path / "other.jsonl"
    other.write_text(notes.read_text() + json.dumps({"id": "more", "text": "x"}))
    with pytest.raises(ClinicalNerError, match="with another input"):
        predict(model, other, output, shard=5, resume=True)
    changed_model = tmp_path / "model"
    nlp = spacy.load(model)
    nlp.get_pipe("ner").threshold = 0.1
    nlp.to_disk(changed_model)
    with pytest.raises(ClinicalNerError, match="with another model"):
        predict(changed_model, notes, output, shard=5, resume=True)
    predict(model, notes, output, shard=5, resume=True)
    for name in ("out.jsonl", "out.status.jsonl"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes()
    assert not parts.exists()


#: A run of the command in short shards, each of which takes a second.
SLOW = """
import sys, time
import clinical_ner.annotate.predict as module
from clinical_ner.cli import main

do = module._do
module.predict.__kwdefaults__["shard"] = 5

def slow(*args):
    time.sleep(1)
    return do(*args)

module._do = slow
main(["predict", *sys.argv[1:]])
"""


#: Of two processes, one holds on to a shard for an hour.
HELD = """
import sys
import clinical_ner.annotate.predict as module
from clinical_ner.cli import main

class Held(str):
    def __reduce__(self):
        return eval, ("__import__('time').sleep(3600)",)

shards, held = module._shards, int(sys.argv.pop(1))
module.predict.__kwdefaults__["shard"] = 5
module._shards = lambda *of: (
    (number, [note._replace(text=Held()) for note in notes] if number == held else notes)
    for number, notes in shards(*of)
)
main(["predict", *sys.argv[1:]])
"""


def start(*args: object, code: str = SLOW) -> subprocess.Popen[str]:
    """Start the command as the first process of a group, as a terminal does."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # Tests that run in the background may have it ignored, which processes inherit.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def alive(group: int) -> bool:
    """Whether there is any process in a group."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.slow
def test_ctrl_c_in_a_shard_is_a_stop_that_goes_on(
    model: Path, notes: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"
    process = start(model, notes, "-o", output)
    wait_for(lambda: list((tmp_path / "out.jsonl.parts").glob("status-*")) or process.poll())
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=600)
    assert process.returncode == 130
    assert "out.jsonl.parts: --resume goes on" in told and "Traceback" not in told
    predict(model, notes, output, shard=5, resume=True)
    assert (tmp_path / "out.status.jsonl").read_bytes() == (whole / "out.status.jsonl").read_bytes()


def test_ctrl_c_while_the_model_is_loaded_leaves_nothing(
    model: Path, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from .test_predict import run

    def interrupted(*args: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "text_annotator", interrupted)
    assert run(model, notes, "-o", tmp_path / "new" / "out.jsonl") == 130
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_processes_end_with_the_command_at_once(
    model: Path, notes: Path, whole: Path, tmp_path: Path
) -> None:
    output, parts = tmp_path / "out.jsonl", tmp_path / "out.jsonl.parts"
    args = (model, notes, "-o", output, "--n-process", 2)

    def stopped(sign: int, *more: object, held: int, done: int) -> None:
        process = start(held, *args, *more, code=HELD)
        wait_for(lambda: len(list(parts.glob("status-*"))) == done or process.poll())
        os.kill(process.pid, sign) if sign == signal.SIGKILL else os.killpg(process.pid, sign)
        _, told = process.communicate(timeout=600)
        assert process.returncode == (-9 if sign == signal.SIGKILL else 130)
        assert "Traceback" not in told
        wait_for(lambda: not alive(process.pid))

    # While one process has shard 3, the other can do those after it as far as they are handed out.
    stopped(signal.SIGINT, held=3, done=6)
    stopped(signal.SIGKILL, "--resume", held=8, done=8)
    predict(model, notes, output, shard=5, resume=True, n_process=2)
    assert files(tmp_path) == {of: files(whole)[of] for of in ("out.jsonl", "out.status.jsonl")}


class Killed(BaseException):
    """What nothing catches."""


@pytest.mark.parametrize("name", ["out.jsonl", "brat", "out.spacy"])
@pytest.mark.parametrize("at", ["write_table", "_clear"])
def test_a_kill_while_the_output_is_written_is_one_too(
    model: Path, notes: Path, whole: Path, tmp_path: Path, name: str, at: str
) -> None:
    output = tmp_path / name
    own = getattr(module, at)
    calls: list[int] = []

    def killed(*args: Any) -> None:
        calls.append(1)
        # Both are called twice with a table: the output and the status; at the beginning, the end.
        if len(calls) == (1 if at == "write_table" and name != "out.jsonl" else 2):
            raise Killed
        own(*args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, at, killed)
        with pytest.raises(Killed):
            predict(model, notes, output, shard=5)
    assert output.exists()
    with pytest.raises(ClinicalNerError, match="not finished. Go on with it by --resume"):
        predict(model, notes, output, shard=5)
    predict(model, notes, output, shard=5, resume=True)
    found = files(tmp_path)
    assert len(found) > 1 and found == {of: files(whole)[of] for of in found}


def test_a_run_that_replaces_goes_on_and_one_that_does_not_never_replaces(
    model: Path, notes: Path, whole: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out.jsonl"

    def stop(notes: int, words: int) -> None:
        raise Killed

    with pytest.raises(Killed):
        predict(model, notes, output, shard=5, tell=stop)
    output.write_text("of somebody, meanwhile")
    with pytest.raises(ClinicalNerError, match=r"out.jsonl: exists"):
        predict(model, notes, output, shard=5, resume=True)
    with pytest.raises(Killed):
        predict(model, notes, output, shard=5, overwrite=True, tell=stop)
    assert output.read_text() == "of somebody, meanwhile"
    predict(model, notes, output, shard=5, resume=True)
    assert output.read_bytes() == (whole / "out.jsonl").read_bytes()

    def write(notes: int, words: int) -> None:
        (tmp_path / "new.jsonl").write_text("of somebody, while it ran")

    with pytest.raises(ClinicalNerError, match=r"new.jsonl: exists"):
        predict(model, notes, tmp_path / "new.jsonl", tell=write)
    assert (tmp_path / "new.jsonl").read_text() == "of somebody, while it ran"


def test_a_run_killed_as_it_began_is_none_and_two_at_once_are_refused(
    model: Path, notes: Path, tmp_path: Path
) -> None:
    output, parts = tmp_path / "out.jsonl", tmp_path / "out.jsonl.parts"
    parts.mkdir()
    (parts / f".clinical-ner-{'0' * 32}.tmp").touch()

    def second(notes_: int, words: int) -> None:
        with pytest.raises(ClinicalNerError, match="another process is writing into it"):
            predict(model, notes, output, resume=True)

    predict(model, notes, output, tell=second)
    assert len(lines(tmp_path / "out.status.jsonl")) == COUNT and not parts.exists()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    path = tmp_path / "disk"
    path.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        pytest.skip("only root mounts a file system")
    done = subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", path], check=False)
    if done.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_a_full_disk_is_one_line_and_with_room_the_run_goes_on(
    model: Path, notes: Path, whole: Path, disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from .test_predict import run

    output = disk / "out.jsonl"
    with pytest.raises(ClinicalNerError, match=r"cannot be written \(No space left on device\)"):
        predict(model, notes, output, shard=5)
    assert not output.exists() and list((disk / "out.jsonl.parts").glob("status-*"))
    subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
    predict(model, notes, output, shard=5, resume=True)
    assert files(disk)["out.jsonl"] == files(whole)["out.jsonl"]
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    assert run(model, notes, "-o", disk / "more.jsonl") == 1
    told = capsys.readouterr().err
    assert "cannot be written" in told and len(told.splitlines()) == 1
