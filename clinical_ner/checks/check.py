"""Checks of a corpus: its parts are read, and what is wrong with them is reported."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from ..data.formats.detect import Format
from ..data.formats.reading import read_texts
from ..data.mentions import AnnotatedText
from ..errors import InputError, check_number, one_line, shown, shown_label
from .corpus import Part
from .duplicates import THRESHOLD
from .lengths import MAX_WORDS
from .long_notes import ENCODER
from .report import Report, check_parts


def check(
    paths: str | Path | Sequence[str | Path],
    *,
    format: Format | Literal["auto"] = "auto",
    near_duplicate: float = THRESHOLD,
    max_words: int = MAX_WORDS,
    encoder: str | None = ENCODER,
    **settings: Any,
) -> Report:
    """Check annotated notes of any readable format before training on them.

    Args:
        paths: A file or flat folder for each part of the corpus; see `read_parts`.
        format: Their format; by default detected from what is in the files.
        near_duplicate: Share in (0, 1] of runs of three words (Jaccard index) from which on two
            documents are nearly the same.
        max_words: Mentions with more words are reported as too long.
        encoder: Transformer, by name or folder, whose window documents are measured against, if
            it is installed; None leaves that check out.
        **settings: Those of the format's reader; see `read_texts`.

    Returns:
        Findings with their places, and counts of parts, labels and imbalance; no text of a note.

    Raises:
        InputError: A path cannot be read, or two of them have one name.
        ConfigError: A setting is out of range.
    """
    check_number("near_duplicate", near_duplicate, above=0, most=1)
    check_number("max_words", max_words, least=1)
    parts = read_parts([paths] if isinstance(paths, str | Path) else paths, format, **settings)
    return check_parts(parts, near_duplicate=near_duplicate, max_words=max_words, encoder=encoder)


def read_parts(
    paths: Sequence[str | Path],
    format: Format | Literal["auto"] = "auto",
    *,
    say: Callable[[str], object] = lambda message: None,
    **settings: Any,
) -> list[Part]:
    """Read the parts of a corpus, each named after its file without the ending, or its folder.

    ``say`` is called with what comes next.

    Raises:
        InputError: A path cannot be read, or two of them have one name.
    """
    named: dict[str, Path] = {}
    for path in map(Path, paths):
        # Resolved, since "." has no name.
        name = path.resolve().name if path.is_dir() else path.stem
        if name in named:
            raise InputError(
                f"{named[name]} and {path}: both would be the part '{name}'. Rename one, so that "
                "a report can tell them apart."
            )
        named[name] = path
    parts = []
    for name, path in named.items():
        say(f"reading {one_line(name)}")
        documents = [_named(text) for text in read_texts(path, format=format, **settings)]
        usable = tuple(document for document in documents if document.unusable is None)
        unusable = tuple(document for document in documents if document.unusable is not None)
        parts.append(Part(name, usable, unusable))
    return parts


def _named(document: AnnotatedText) -> AnnotatedText:
    """A document whose id and labels are as reports show them, which is all they are used for."""
    mentions = tuple(replace(of, label=shown_label(of.label)) for of in document.mentions)
    return replace(document, id=shown(document.id), mentions=mentions)
