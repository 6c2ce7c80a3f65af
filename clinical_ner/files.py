"""Files of a corpus: found in a folder, decoded line by line, and folders written whole or not."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError, cannot_be_read, cannot_be_written

BOM = "\ufeff"


def corpus_files(path: Path, suffixes: Iterable[str]) -> list[Path]:
    """Give the files of a corpus: `path` itself, or the files of a flat folder, sorted by name.

    Args:
        path: the file or folder.
        suffixes: endings, with their dots, in lower case, of the files that count in a folder;
            others, hidden files and subfolders are ignored.

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
        if file.is_file() and file.suffix.lower() in endings and not file.name.startswith(".")
    )
    if not files:
        raise InputError(
            f"{path}: holds no {' or '.join(endings)} file. Name the file, or the folder in which "
            "the files lie; subfolders are not searched."
        )
    return files


def read_text(path: Path) -> str:
    """Decode a UTF-8 file without touching its line ends or its byte order mark.

    Raises:
        ClinicalNerError: the file cannot be read, or is not UTF-8.
    """
    try:
        data = path.read_bytes()
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
        with path.open("rb") as file:
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
    # Not tempfile: its files are readable by their owner only, and keep that when renamed.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_be_written(path, error.strerror or type(error).__name__) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


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
    # Absolute, since "." has no name to put anything beside.
    target = Path(os.path.abspath(path))
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        if target.exists() and not target.is_dir():
            raise NotADirectoryError(None, "it is a file")
        if target.is_dir() and any(target.iterdir()):
            raise InputError(
                f"{path}: is not empty. Name another folder, so that no file of two corpora is "
                "mixed."
            )
        temporary.mkdir(parents=True)
        yield temporary
        if target.is_dir():
            target.rmdir()
        os.replace(temporary, target)
    except OSError as error:
        raise cannot_be_written(path, error.strerror or type(error).__name__) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def replaced_folder(path: Path) -> Iterator[Path]:
    """Write a folder beside another one, and put it in its place if the block succeeds.

    If the block fails the temporary folder is removed and `path` is what it was before. Missing
    parent folders are created.

    Args:
        path: the folder to write; what it holds is removed at the end.

    Yields:
        The temporary folder.

    Raises:
        InputError: the system does not let the folder be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    replaced = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        if path.exists():
            path.rename(replaced)
        try:
            temporary.rename(path)
        except OSError:
            if replaced.exists():
                replaced.rename(path)
            raise
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise InputError(
            f"{path}: cannot be written ({reason}). Name another output folder."
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


@contextmanager
def leaving_no_empty_folder(*files: Path) -> Iterator[None]:
    """Remove folders that the block made for files that it did not write after all."""
    missing = {
        folder for file in files for folder in file.absolute().parents if not folder.exists()
    }
    try:
        yield
    finally:
        for folder in sorted(missing, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):
                folder.rmdir()
