"""Checks of a corpus: its parts are read, and what is wrong with them is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

from ..data.formats.detect import Format
from ..data.formats.reading import read_texts
from ..errors import InputError
from .corpus import Part
from .duplicates import THRESHOLD
from .lengths import MAX_WORDS
from .long_notes import ENCODER
from .report import Report, check_parts


def check(
    corpus: Sequence[Path],
    *,
    format: Format | Literal["auto"] = "auto",
    near_duplicate: float = THRESHOLD,
    max_words: int = MAX_WORDS,
    encoder: str | None = ENCODER,
    say: Callable[[str], object] = lambda message: None,
    **settings: Any,
) -> tuple[list[Part], Report]:
    """Read a corpus and check it.

    corpus: a file or flat folder for each part.
    format, settings: see formats.reading.read_texts; they hold for all parts.
    near_duplicate, max_words, encoder: see checks.report.check_parts.
    say: is told what comes next.

    RETURNS: the parts, each named after its file without the ending, or after its folder; and the
        report, which holds no text of theirs.
    RAISES ClinicalNerError: a path cannot be read, or two of them have one name.
    """
    paths: dict[str, Path] = {}
    for path in corpus:
        # Resolved, since "." has no name.
        name = path.resolve().name if path.is_dir() else path.stem
        if name in paths:
            raise InputError(
                f"{paths[name]} and {path}: both would be the part '{name}'. Rename one, so that "
                "a report can tell them apart."
            )
        paths[name] = path
    parts = []
    for name, path in paths.items():
        say(f"reading {name}")
        documents = list(read_texts(path, format=format, **settings))
        parts.append(
            Part(
                name,
                tuple(document for document in documents if document.unusable is None),
                tuple(document for document in documents if document.unusable is not None),
            )
        )
    return parts, check_parts(
        parts, near_duplicate=near_duplicate, max_words=max_words, encoder=encoder, say=say
    )
