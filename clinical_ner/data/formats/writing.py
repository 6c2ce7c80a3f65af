"""One writer for all formats: which format an output's name means, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from spacy.tokens import Doc

from ..mentions import AnnotatedText
from .brat import write_brat
from .conll import write_conll
from .detect import Format
from .docbin import write_entities, write_entities_in_parts
from .jsonl import write_jsonl

#: Formats of flat entities over tokens; the others hold mentions as they are.
FLAT: tuple[Format, ...] = ("docbin", "conll")
WRITTEN: tuple[Format, ...] = ("brat", "conll", "jsonl", "docbin")
#: Endings that belong to one format only, so not .json, .txt and .tsv. What is written is IOB2.
ENDINGS: dict[str, Format] = {
    ".spacy": "docbin",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
}


def format_of(output: Path) -> Format | None:
    """The format that an output's ending means; without one, and of a folder, brat.

    Returns:
        None for an ending that belongs to no format that is written, or to several.
    """
    found = ENDINGS.get(output.suffix.lower())
    return "brat" if found is None and (output.is_dir() or not output.suffix) else found


def write_docs(docs: Iterable[Doc], output: Path, to: Format, *, docs_per_file: int | None) -> None:
    """Write Docs in a format of FLAT, as they come."""
    if to == "conll":
        write_conll(docs, output)
    elif docs_per_file is not None:
        write_entities_in_parts(docs, output, docs_per_file=docs_per_file)
    else:
        write_entities(docs, output)


def write_texts(documents: Iterable[AnnotatedText], output: Path, to: Format) -> None:
    """Write texts in a format that is not of FLAT, as they come."""
    {"brat": write_brat, "jsonl": write_jsonl}[to](documents, output)
