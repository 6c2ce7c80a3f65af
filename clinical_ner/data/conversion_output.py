"""What conversion writes: which format an output's name stands for, and its writer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from spacy.tokens import Doc

from ..errors import InputError, cannot_be_written
from ..files import replacing
from .formats.bioc_json import SUFFIXES as BIOC_SUFFIXES
from .formats.bioc_json import write_bioc_json
from .formats.brat import write_brat
from .formats.conll import SUFFIXES as CONLL_SUFFIXES
from .formats.conll import write_conll
from .formats.detect import Format
from .formats.docbin import write_entities, write_entities_in_parts
from .formats.jsonl import SUFFIXES as JSONL_SUFFIXES
from .formats.jsonl import write_jsonl
from .formats.pubtator import SUFFIXES as PUBTATOR_SUFFIXES
from .formats.pubtator import write_pubtator
from .gold import SUFFIXES as DOCBIN_SUFFIXES
from .mentions import AnnotatedText

#: Formats of flat entities over tokens; the others hold mentions as they are.
FLAT: tuple[Format, ...] = ("docbin", "conll")
#: Endings that stand for one format only, so not .json, .txt and .tsv. What is written is IOB2.
ENDINGS: dict[str, Format] = {
    ".spacy": "docbin",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bio": "conll",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".pubtator": "pubtator",
    ".bioc.json": "bioc",
}
_READ: dict[Format, tuple[str, ...]] = {
    "brat": (".txt", ".ann"),
    "conll": CONLL_SUFFIXES,
    "jsonl": JSONL_SUFFIXES,
    "pubtator": PUBTATOR_SUFFIXES,
    "bioc": BIOC_SUFFIXES,
    "docbin": DOCBIN_SUFFIXES,
}


def format_of(output: Path) -> Format | None:
    """Tell the format from an output's ending; without any, and of a folder, it is brat.

    Returns None for an ending that stands for none, or for several.
    """
    for ending, found in ENDINGS.items():
        if output.name.lower().endswith(ending):
            return found
    return "brat" if output.is_dir() or not output.suffix else None


def check_apart(source: Path, found: Format, *outputs: Path) -> None:
    """Raise ClinicalNerError if a file to write is what is read, or would be in the next run.

    found: the format of the source.
    """
    for path in outputs:
        if path.exists() and source.exists() and path.samefile(source):
            raise InputError(f"{path}: is {source}, which is read. Name another file to write.")
        is_inside = source.is_dir() and path.absolute().parent.resolve() == source.resolve()
        if is_inside and path.suffix.lower() in _READ[found]:
            raise InputError(
                f"{path}: lies in {source}, whose files of this kind are read: the next run would "
                "read it too. Name a file elsewhere."
            )


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
    if to == "pubtator":
        left_out = write_pubtator(documents, output)
        assert not left_out, "mentions in several fragments were left out before"
    else:
        {"brat": write_brat, "jsonl": write_jsonl, "bioc": write_bioc_json}[to](documents, output)


@contextmanager
def writing_report(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None] | None]:
    """Give a function that writes one record a line; None without a path.

    Raises ClinicalNerError, without leaving a file, if it cannot be written.
    """
    if path is None:
        yield None
        return
    with replacing(path) as temporary, temporary.open("w", encoding="utf8") as file:

        def write(record: dict[str, Any]) -> None:
            try:
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
            except OSError as error:
                # Here, since the writer that asked for the record would take it for its own.
                raise cannot_be_written(path, error.strerror) from error

        yield write


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
