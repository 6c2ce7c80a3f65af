"""The format of a corpus, detected from what is in its files; names only choose which count.

A .spacy file that holds JSON is JSON: people rename files.
"""

from __future__ import annotations

import re
from codecs import getincrementaldecoder
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Literal, get_args

from ...errors import ClinicalNerError, InputError, cannot_be_read
from ...files import check_not_read, corpus_files, read_lines, regular
from .bioc_json import is_bioc
from .conll import looks_like_columns
from .huggingface import is_tagged
from .json_records import read_records
from .json_shapes import MENTIONS, as_object, keys, kind
from .label_studio import is_task
from .ner_annotator import is_project
from .pubtator import follows, is_title
from .spacy_json import is_training_document
from .unread import LINES, known_columns, known_head, known_record, known_text, root
from .webanno import is_webanno

Format = Literal["brat", "conll", "jsonl", "huggingface", "webanno", "pubtator", "bioc", "docbin"]
FORMATS: tuple[Format, ...] = get_args(Format)
#: Endings, in lower case, of the files that are read in a folder.
SUFFIXES: dict[Format, tuple[str, ...]] = {
    "brat": (".txt", ".ann"),
    "conll": (".conll", ".iob", ".iob2", ".bio", ".bioes", ".bilou", ".biluo", ".tsv", ".txt"),
    "jsonl": (".jsonl", ".json", ".ndjson"),
    "huggingface": (".jsonl", ".json", ".ndjson"),
    "webanno": (".tsv",),
    "pubtator": (".pubtator", ".txt"),
    "bioc": (".json", ".jsonl", ".xml"),
    "docbin": (".spacy",),
}

_SUFFIXES = sorted({suffix for name in FORMATS if name != "brat" for suffix in SUFFIXES[name]})
#: How data of zlib, in which DocBin packs everything, starts: one for each grade (RFC 1950).
_ZLIB = (b"\x78\x01", b"\x78\x5e", b"\x78\x9c", b"\x78\xda")
#: How JSON starts, and no word.
_JSON = re.compile(r'\{\s*"|\[\s*[{\["]')


def detect_format(path: Path) -> Format:
    """Detect the format of a file, or of the files in a flat folder.

    A folder with .ann files is brat; of others, every file with a known ending must be of one
    format. Only the beginning of a file is looked at, but for JSON of one big value.

    Raises:
        ClinicalNerError: a file or folder that is missing, unreadable or in no known format, with
            what was seen in it, and for a folder of several formats.
    """
    if path.is_dir():
        return _of_folder(path)
    [file] = corpus_files(path, _SUFFIXES)
    return _of_file(file) or "jsonl"


def check_apart(source: Path, format: Format, *outputs: Path) -> None:
    """Raise InputError if a file to write is what is read, or would be in the next run."""
    for path in outputs:
        check_not_read(path, source)
        if lies_in(path, source) and path.suffix.lower() in SUFFIXES[format]:
            raise InputError(
                f"{path}: lies in {source}, whose files of this kind are read: the next run would "
                "read it too. Name a file elsewhere."
            )


def lies_in(path: Path, folder: Path) -> bool:
    """Whether a file is, or would be, one of those in a folder."""
    return folder.is_dir() and path.absolute().parent.resolve() == folder.resolve()


def _of_folder(folder: Path) -> Format:
    endings = Counter(file.suffix for file in folder.iterdir() if file.is_file())
    if endings[".ann"]:
        return "brat"
    found: dict[Format, Path] = {}
    for file in corpus_files(folder, _SUFFIXES):
        if (format := _of_file(file)) is not None:
            found.setdefault(format, file)
    if len(found) > 1:
        seen = ", ".join(f"{file.name}: {name}" for name, file in found.items())
        raise InputError(
            f"{folder}: holds files of several formats ({seen}). Put each format's files into a "
            "folder of its own."
        )
    return next(iter(found), "jsonl")


def _of_file(path: Path) -> Format | None:
    """Detect the format of a file, None for an empty list in JSON, which may be of several."""
    if path.suffix == ".ann":
        raise _unknown(path, "brat standoff: name the folder of the file, with its .txt files")
    head = _head(path)
    # "x^" is such a start too, as in "x^2".
    if not _is_text(head):
        if head[:2] in _ZLIB:
            return "docbin"
        if known := known_head(head):
            raise _unread(path, *known)
    lines = [line for _, line in islice(read_lines(path), LINES)]
    filled = [line for line in lines if line.strip()]
    if not filled:
        raise _unknown(path, "an empty file" if len(lines) < LINES else "empty lines")
    columns = looks_like_columns(lines)
    first = filled[0].lstrip()
    if is_webanno(first):
        return "webanno"
    if root(lines) == "collection":
        return "bioc"
    # JSON first, since a note in it may hold what another format begins with. A word of columns may
    # be a bracket, though.
    if _JSON.match(first) or (first[0] in "{[" and not columns):
        return _of_json(path)
    if is_title(filled[0]) and not (columns and filled[1:] and not follows(*filled[:2])):
        return "pubtator"
    if known := known_columns(lines):
        raise _unread(path, *known)
    if columns:
        return "conll"
    if "\x00" in "".join(lines):
        raise _unknown(path, "a binary file")
    if known := known_text(lines):
        raise _unread(path, *known)
    if looks_like_columns(filled[1:]):
        raise _unknown(path, "columns whose first line holds no tag: remove a header")
    seen = "text whose lines are neither columns with a tag nor JSON nor PubTator's"
    if path.suffix == ".txt":
        seen += "; brat's NAME.txt needs a NAME.ann beside it, which may be empty"
    raise _unknown(path, seen)


def _head(path: Path) -> bytes:
    try:
        with regular(path).open("rb") as file:
            return file.read(1000)
    except OSError as error:
        raise cannot_be_read(path, error.strerror) from error


def _is_text(head: bytes) -> bool:
    try:
        return "\x00" not in getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False


def _of_json(path: Path) -> Format | None:
    first = None
    for _, record in read_records(path):
        first = first or record
        if not isinstance(record, ClinicalNerError):
            break
    else:
        if isinstance(first, ClinicalNerError):
            raise first
        return None
    if is_bioc(record):
        return "bioc"
    is_pair = isinstance(record, list) and isinstance(as_object(record), dict)
    if is_pair or is_task(record) or is_training_document(record) or is_project(record):
        return "jsonl"
    if is_tagged(record):
        return "huggingface"
    if not isinstance(record, dict):
        raise _unknown(path, f"JSON, of which the first record is {kind(record)}")
    if any(key in record for key in (*MENTIONS, "answer", "_input_hash")):
        return "jsonl"
    if known := known_record(record):
        raise _unread(path, *known)
    raise _unknown(path, f"JSON, a record of unknown shape; {keys(record)}")


def _unread(path: Path, name: str, hint: str) -> ClinicalNerError:
    return InputError(f"{path}: is {name}, which is not read. {hint}.")


def _unknown(path: Path, seen: str) -> ClinicalNerError:
    return InputError(
        f"{path}: in no format known here ({seen}). Known are {', '.join(FORMATS)}; name one with "
        "--format."
    )
