"""Locks on files and folders that are written, and folders that are there for that alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError, cannot_be_written, reason_of

try:
    import fcntl
except ImportError:  # Windows.
    fcntl = None  # type: ignore[assignment]


def lock(path: Path) -> int | None:
    """Lock a file or folder, until the descriptor is closed or the process ends.

    Returns:
        The descriptor; None where the file system has no locks.

    Raises:
        BlockingIOError: another one holds it.
        OSError: it cannot be opened.
    """
    if fcntl is None:
        return None
    # A pipe of this name would be waited for.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        if isinstance(error, BlockingIOError):
            raise
        return None
    return descriptor


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Refuse a second process that would write into the same folder at the same time.

    Args:
        folder: made if it is missing, and removed again if it is left empty then.

    Raises:
        InputError: another process holds the folder, or it cannot be made.
    """
    with leaving_no_empty_folder(folder / "file"), _held(folder):
        yield


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK):
            raise PermissionError(None, "no permission to write into it")
        descriptor = lock(folder)
    except BlockingIOError as error:
        raise InputError(
            f"{folder}: another process is writing into it. Wait until it has ended, or name "
            "another output folder."
        ) from error
    except OSError as error:
        raise cannot_be_written(folder, reason_of(error), "folder") from error
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


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
