from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from clinical_ner import files, locks
from clinical_ner.errors import InputError
from clinical_ner.files import (
    check_replaceable,
    is_written_by,
    new_folder,
    replaced_folder,
    replacing,
    tidy,
)
from clinical_ner.locks import held

#: Kills itself at the second rename of a folder, when neither is in its place.
SWAP = """
with files.replaced_folder(path) as folder:
    (folder / "content").write_text("new")
    first = Path.rename
    def second(self, target):
        os.kill(os.getpid(), signal.SIGKILL)
    def rename(self, target):
        Path.rename = second
        return first(self, target)
    Path.rename = rename
"""
WRITES = """
with files.replacing(path) as temporary:
    temporary.write_text("note")
    print("begun", flush=True)
    time.sleep(60)
"""
HOLDS = """
with locks.held(path):
    print("begun", flush=True)
    time.sleep(60)
"""


def started(code: str, path: Path) -> subprocess.Popen[str]:
    """Run lines in another process, until it says that it has begun or it ends."""
    start = f"import os, signal, sys, time; from pathlib import Path; path = Path({str(path)!r})"
    lines = f"{start}\nfrom clinical_ner import files, locks\n{code}"
    process = subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    return process


def killed(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_half_written_file_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "x.jsonl") as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "x.jsonl"
    for content in ("first", "second"):
        with replacing(path) as temporary:
            temporary.write_text(content)
    assert path.read_text() == "second"
    assert list(path.parent.iterdir()) == [path]


def test_a_folder_that_holds_something_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "a.txt").write_text("")
    with pytest.raises(InputError, match="is not empty"), new_folder(tmp_path / "notes"):
        raise AssertionError("not reached")
    assert [path.name for path in tmp_path.iterdir()] == ["notes"]


def test_a_half_written_folder_is_removed(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "notes") as temporary:
        (temporary / "a.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_next_write_removes_what_the_dead_left_and_nothing_of_the_living(
    tmp_path: Path,
) -> None:
    dead, living = started(WRITES, tmp_path / "a"), started(WRITES, tmp_path / "b")
    killed(dead)
    assert len(list(tmp_path.iterdir())) == 2
    (tmp_path / ".clinical-ner-notes.tmp").write_text("of somebody else")
    with replacing(tmp_path / "c") as temporary:
        temporary.write_text("c")
    (left,) = tmp_path.glob(".clinical-ner-?*[0-9a-f].tmp")
    assert left.read_text() == "note"
    killed(living)
    tidy(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"c", ".clinical-ner-notes.tmp"}


def test_without_locks_what_is_a_day_old_was_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "fcntl", None)
    with replacing(tmp_path / "a") as temporary:
        tidy(tmp_path)
        assert temporary.exists()
        os.utime(temporary, (time.time() - 90_000,) * 2)
        tidy(tmp_path)
        assert not temporary.exists()
        temporary.write_text("")


def test_a_kill_between_two_renames_is_undone(tmp_path: Path) -> None:
    path = tmp_path / "model"
    path.mkdir()
    (path / "content").write_text("old")
    killed(started(SWAP, path))
    assert not path.exists() and len(list(tmp_path.iterdir())) == 2
    tidy(tmp_path)
    assert list(tmp_path.iterdir()) == [path] and (path / "content").read_text() == "old"
    with replaced_folder(path) as folder:
        (folder / "content").write_text("new")
    assert list(tmp_path.iterdir()) == [path] and (path / "content").read_text() == "new"


def test_a_folder_is_held_by_one_process_until_that_ends(tmp_path: Path) -> None:
    other = started(HOLDS, tmp_path)
    with pytest.raises(InputError, match="another process is writing"), held(tmp_path):
        raise AssertionError("not reached")
    killed(other)
    with held(tmp_path):
        pass


@pytest.mark.parametrize(
    "content", ['{"f": 0.5, "written_by": "clinical-ner check"}', "x" * 3000 + files.mark("check")]
)
def test_only_what_its_command_wrote_is_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "file"
    path.write_text(content)
    assert is_written_by(path, "check") and not is_written_by(path, "split")
    check_replaceable(path, own=True)
    check_replaceable(path, own=False, overwrite=True)
    with pytest.raises(InputError, match="did not write it"):
        check_replaceable(path, own=False)


@pytest.mark.parametrize(("name", "reason"), [("pipe", "not a file"), ("n" * 300, "too long")])
def test_what_cannot_be_a_file_is_one_line(tmp_path: Path, name: str, reason: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=reason), replacing(tmp_path / name):
        raise AssertionError("not reached")


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path: Path) -> None:
    with replacing(tmp_path / ("n" * 255)) as temporary:
        temporary.write_text("x")
    assert [len(path.name) for path in tmp_path.iterdir()] == [255]
