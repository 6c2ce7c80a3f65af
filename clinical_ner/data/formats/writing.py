"""What writers have in common: what a format cannot hold is told, never left out in silence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import ClinicalNerError, InputError
from ..conversion import ConversionRow, dropped_row
from ..mentions import AnnotatedText, Mention


def cannot_hold(path: Path, document: str, problem: str, hint: str) -> ClinicalNerError:
    """Say that a file cannot hold a document; `hint` says what to do."""
    return InputError(f"{path}: cannot hold document {document}: {problem}. {hint}")


def checked(documents: Iterable[AnnotatedText], path: Path) -> Iterator[AnnotatedText]:
    """Give documents on as they come, one being held at a time.

    path: the file or folder to write, for messages.
    Raises ClinicalNerError for two documents of one id, which no reader would take back, and for a
    text whose annotation is unusable, which no format here can say.
    """
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise cannot_hold(path, document.id, "another has its id", "Give it its own id.")
        if document.unusable is not None:
            raise cannot_hold(path, document.id, f"it is {document.unusable}", "Leave it away.")
        seen.add(document.id)
        yield document


def left_out(document: str, mention: Mention, code: str) -> ConversionRow:
    """Record a mention that a format cannot hold."""
    return dropped_row(document, mention, code)
