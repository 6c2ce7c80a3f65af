"""Files of a corpus: found in a folder, decoded line by line, and folders written whole or not."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from .errors import InputError, cannot_be_read, cannot_be_written, reason_of
from .locks import held, lock

BOM = "\ufeff"
#: Names of what is being written, whatever it is: long names have one too, and no two are alike.
_TEMPORARY = re.compile(r"\.clinical-ner-[0-9a-f]{32}\.tmp")
#: Name of a folder while another one takes its place.
_REPLACED = re.compile(r"\.(.+)\.clinical-ner-[0-9a-f]{32}\.old", re.DOTALL)
#: Seconds after which what has no lock is taken for left behind.
_ABANDONED = 86_400
#: Bytes at the beginning and end of a file that may name its writer.
_ENDS = 1_000


def corpus_files(path: Path, suffixes: Iterable[str]) -> list[Path]:
    """Give the files of a corpus: `path` itself, or the files of a flat folder, sorted by name.

    Args:
        path: the file or folder.
        suffixes: endings, with their dots, in lower case, of the files that count in a folder;
            others, hidden files and subfolders are ignored. Pipes, and links to nothing, count:
            reading them is an error.

    Raises:
        ClinicalNerError: there is nothing at `path`, or no such file in the folder.
    """
    if not path.is_dir():
        if not path.exists():
            raise InputError(f"{path}: no such file or folder. Check the path.")
        return [path]
    endings = tuple(suffixes)
    files = sorted(
        file
        for file in path.iterdir()
        if file.suffix.lower() in endings and not file.name.startswith(".") and not file.is_dir()
    )
    if not files:
        raise InputError(
            f"{path}: holds no {' or '.join(endings)} file. Name the file, or the folder in which "
            "the files lie; subfolders are not searched."
        )
    return files


def regular(path: Path) -> Path:
    """Give a path back, unless it is a pipe, a device or the like, which may have no end.

    Raises:
        InputError: it is one.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise cannot_be_read(path, "it is a pipe or a device")
    return path


def read_text(path: Path) -> str:
    """Decode a UTF-8 file without touching its line ends or its byte order mark.

    Raises:
        ClinicalNerError: the file cannot be read, or is not UTF-8.
    """
    try:
        data = regular(path).read_bytes()
    except OSError as error:
        raise cannot_be_read(path, error.strerror) from error
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        # "from None": the decoder's own error carries the bytes of the note.
        raise _not_utf8(path, data.count(b"\n", 0, error.start) + 1) from None


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Give the lines of a UTF-8 file, numbered from 1, without LF or CRLF and byte order mark.

    One line at a time is held in memory. Only LF and CRLF end a line: form feeds, line separators
    and the like may be inside a note.

    Raises:
        ClinicalNerError: the file cannot be read, or a line is not UTF-8.
    """
    try:
        with regular(path).open("rb") as file:
            for number, data in enumerate(file, start=1):
                try:
                    line = data.decode("utf-8")
                except UnicodeDecodeError:
                    raise _not_utf8(path, number) from None
                if number == 1:
                    line = line.removeprefix(BOM)
                yield number, line.removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise cannot_be_read(path, error.strerror) from error


def _not_utf8(path: Path, line: int) -> InputError:
    return InputError(
        f"{path}, line {line}: not UTF-8. Save the file as UTF-8; offsets count characters."
    )


def sha256(data: bytes) -> str:
    """SHA-256 in hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def check_not_read(path: Path, *inputs: Path) -> None:
    """Raise InputError if a file that is to be written is one that is read."""
    for other in inputs:
        if path.exists() and other.exists() and path.samefile(other):
            raise InputError(f"{path}: is {other}, which is read. Name another file to write.")


def check_replaceable(path: Path, *, own: bool, overwrite: bool = False) -> None:
    """Raise InputError if writing a file would destroy what somebody else wrote.

    Args:
        path: the file to write.
        own: whether what is there was written by the same command; see `is_written_by`.
        overwrite: whether the user wants it to be replaced, whatever it is. An empty file is
            replaced too.
    """
    if path.is_file() and path.stat().st_size and not (own or overwrite):
        raise InputError(
            f"{path}: exists, and this command did not write it. Name another file, remove this "
            "one, or give --overwrite where the command has it."
        )


def written_by(command: str) -> dict[str, str]:
    """The entry of a JSON report that names the command which wrote it."""
    return {"written_by": f"clinical-ner {command}"}


def mark(command: str = "") -> str:
    """What names the writing command in a file that is not JSON."""
    return f"written by clinical-ner {command}".rstrip()


def is_written_by(path: Path, command: str = "") -> bool:
    """Whether a file names a command, or any of ours, as its writer, at its beginning or end."""
    try:
        with path.open("rb") as file:
            ends = file.read(_ENDS)
            file.seek(max(0, path.stat().st_size - _ENDS))
            ends += file.read()
    except OSError:
        return False
    entry = json.dumps(written_by(command))[1:-1]
    return mark(command).encode() in ends or entry.encode() in ends


def tidy(folder: Path) -> None:
    """Remove what killed processes left in a folder; what they were replacing is put back.

    Who writes holds a lock on its temporary files, which the system releases however its process
    ends, in whatever container. On a file system without locks they are left for a day.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            replaced = _REPLACED.fullmatch(name)
            if replaced or _TEMPORARY.fullmatch(name):
                with suppress(OSError):
                    _remove_left(folder / name, folder / replaced[1] if replaced else None)


def _remove_left(path: Path, replaced: Path | None) -> None:
    descriptor = lock(path)
    if descriptor is None:
        if time.time() - path.stat().st_mtime > _ABANDONED:
            _remove(path, replaced)
        return
    try:
        _remove(path, replaced)
    finally:
        os.close(descriptor)


def _remove(path: Path, replaced: Path | None) -> None:
    if replaced is not None and not replaced.exists():
        path.rename(replaced)
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


@contextmanager
def _temporary(target: Path, *, folder: bool) -> Iterator[Path]:
    """Make an empty file or folder beside another, which is gone at the end unless renamed."""
    tidy(target.parent)
    descriptor = None
    while True:
        # Not tempfile: its files are readable by their owner only, and keep that when renamed.
        path = target.with_name(f".clinical-ner-{uuid4().hex}.tmp")
        path.mkdir() if folder else path.touch(exist_ok=False)
        # Another process may have taken it for left behind, as it was not locked yet.
        with suppress(BlockingIOError, FileNotFoundError):
            descriptor = lock(path)
            if path.exists():
                break
    try:
        yield path
    finally:
        if folder:
            shutil.rmtree(path, ignore_errors=True)
        else:
            with suppress(OSError):
                path.unlink()
        if descriptor is not None:
            os.close(descriptor)


@contextmanager
def scratch_folder(target: Path) -> Iterator[Path]:
    """Make a folder beside a file or folder to write, for what is not kept.

    Not in the system's temporary folder: what is made of notes stays where its user wants it.

    Raises:
        InputError: the system does not let it be made, or something in the block be written.
    """
    absolute = Path(os.path.abspath(target))
    try:
        absolute.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(absolute, folder=True) as folder:
            yield folder
    except OSError as error:
        raise cannot_be_written(target, reason_of(error), "folder") from error


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`, and rename it to `path` if the block succeeds.

    If the block fails the temporary file is removed and `path` is what it was before. The missing
    parent folders of `path` are created.

    Args:
        path: the file to write.

    Raises:
        ClinicalNerError: the system does not let the file be written.
    """
    try:
        if path.exists() and not path.is_file():
            raise OSError(None, "it is a folder" if path.is_dir() else "it is not a file")
        path.parent.mkdir(parents=True, exist_ok=True)
        with _temporary(path, folder=False) as temporary:
            yield temporary
            os.replace(temporary, path)
    except OSError as error:
        raise cannot_be_written(path, reason_of(error)) from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 file, completely or not at all; see `replacing`."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside `path`, and rename it to `path` if the block succeeds.

    If the block fails the temporary folder is removed. Missing parent folders are created.

    Args:
        path: the folder to write; it must be absent or empty, so that no file of another corpus is
            left among those written.

    Raises:
        ClinicalNerError: `path` is a file or holds something, or cannot be written.
    """
    try:
        if path.exists() and not path.is_dir():
            raise NotADirectoryError(None, "it is a file")
        if path.is_dir() and any(path.iterdir()):
            raise InputError(
                f"{path}: is not empty. Name another folder, so that no file of two corpora is "
                "mixed."
            )
        with scratch_folder(path) as temporary:
            yield temporary
            if path.is_dir():
                path.rmdir()
            os.replace(temporary, path)
    except OSError as error:
        raise cannot_be_written(path, reason_of(error), "folder") from error


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Write a folder beside another one, and put it in its place if the block succeeds.

    If the block fails the temporary folder is removed and `path` is what it was before. If the
    process is killed between the two renames, `tidy` puts back what was there. Missing parent
    folders are created.

    Args:
        path: the folder to write; what it holds is removed at the end.

    Yields:
        The temporary folder.

    Raises:
        InputError: the system does not let the folder be written.
    """
    with scratch_folder(path) as temporary:
        yield temporary
        target = Path(os.path.abspath(path))
        if not target.exists():
            temporary.rename(target)
            return
        with held(target):
            replaced = target.with_name(f".{target.name}.clinical-ner-{uuid4().hex}.old")
            target.rename(replaced)
            try:
                temporary.rename(target)
            except OSError:
                replaced.rename(target)
                raise
            shutil.rmtree(replaced, ignore_errors=True)
