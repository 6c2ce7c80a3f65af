"""Notes as they lie in files: read one after the other, with a mark on those that cannot be."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import pyarrow as pa
import pyarrow.parquet as pq

from ..errors import ClinicalNerError, InputError, cannot_be_read, close_matches
from ..files import corpus_files, regular

#: The input that stands for stdin, one JSON object a line.
STDIN = "-"
SUFFIXES = (".jsonl", ".ndjson", ".csv", ".parquet")
#: What decoding puts in place of bytes that are not UTF-8, so that only their note fails.
_NOT_UTF8 = "surrogateescape"


class Note(NamedTuple):
    """A record of the input.

    Attributes:
        id: whatever is in the column; the file's name without its ending in a folder of texts.
        text: whatever is in the column.
        fault: type of the exception if the record cannot be read; None if it can.
    """

    id: object
    text: object
    fault: str | None = None


def read_notes(source: str | Path, *, id: str = "id", text: str = "text") -> Iterator[Note]:
    """Read the notes of an input in their order, one at a time or a few.

    Args:
        source: a folder of .txt files, sorted by name; a .jsonl, .csv or .parquet file; "-" for
            lines of JSON on stdin.
        id: column, or key, of the ids.
        text: of the texts.

    Raises:
        InputError: there is no such input, it is not readable any further, or has no such column.
    """
    if str(source) == STDIN:
        yield from _json_lines(sys.stdin.buffer, "stdin", id, text)
        return
    path = Path(source)
    if path.is_dir():
        yield from _texts(path)
        return
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: not a folder of .txt files nor one of {', '.join(SUFFIXES)}. Name one of "
            "these, or - for JSON lines on stdin."
        )
    try:
        if suffix == ".parquet":
            yield from _parquet(path, id, text)
        elif suffix == ".csv":
            yield from _csv(path, id, text)
        else:
            with path.open("rb") as file:
                yield from _json_lines(file, str(path), id, text)
    except OSError as error:
        # pyarrow's errors of a damaged file quote no more than its format.
        raise cannot_be_read(path, error.strerror or type(error).__name__) from error


def count_notes(source: str | Path) -> int | None:
    """How many notes there are; None if that cannot be told, as of a damaged file."""
    path, suffix = Path(source), Path(source).suffix.lower()
    try:
        if path.is_dir():
            return len(corpus_files(path, (".txt",)))
        if suffix == ".parquet":
            return int(pq.read_metadata(regular(path)).num_rows)
        if suffix == ".csv":
            with _csv_file(regular(path)) as file:
                return sum(1 for row in csv.reader(file) if row) - 1
        with regular(path).open("rb") as file:
            return sum(1 for line in file if line.strip())
    except (OSError, ClinicalNerError, pa.ArrowException, csv.Error):
        return None


def digest(source: str | Path) -> str:
    """SHA-256 of all that an input holds: names and contents of a folder's files, or one file.

    Raises:
        InputError: it cannot be read.
    """
    path, found = Path(source), hashlib.sha256()
    for file in corpus_files(path, (".txt",)) if path.is_dir() else [path]:
        if path.is_dir():
            found.update(os.fsencode(file.name) + b"\0")
        try:
            with regular(file).open("rb") as opened:
                of_file = hashlib.sha256()
                while block := opened.read(2**20):
                    of_file.update(block)
                found.update(of_file.digest())
        except OSError as error:
            raise cannot_be_read(file, error.strerror) from error
    return found.hexdigest()


def _texts(folder: Path) -> Iterator[Note]:
    for file in corpus_files(folder, (".txt",)):
        try:
            yield Note(file.stem, regular(file).read_bytes().decode("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            yield Note(file.stem, None, type(error).__name__)


def _json_lines(file: BinaryIO, name: str, id: str, text: str) -> Iterator[Note]:
    seen: set[str] | None = None
    for line in file:
        if not line.strip():
            continue
        try:
            record = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            yield Note(None, None, type(error).__name__)
            continue
        if not isinstance(record, dict):
            yield Note(None, None, "TypeError")
            continue
        # A key that the first record lacks is a wrong name; one that a later one lacks, a fault.
        if seen is None:
            seen = set(record)
            _check_columns(name, seen, id, text)
        fault = None if id in record and text in record else "KeyError"
        yield Note(record.get(id), record.get(text), fault)


def _csv(path: Path, id: str, text: str) -> Iterator[Note]:
    with _csv_file(path) as file:
        rows = csv.DictReader(file, strict=True)
        try:
            _check_columns(str(path), set(rows.fieldnames or ()), id, text)
            for row in rows:
                # None stands for cells without a column, and for columns without a cell.
                fault = "ValueError" if None in row or None in row.values() else None
                values = row.get(id), row.get(text)
                bad = [_is_undecoded(value) for value in values]
                id_, text_ = (None if b else of for b, of in zip(bad, values, strict=True))
                yield Note(id_, text_, "UnicodeDecodeError" if any(bad) else fault)
        except csv.Error as error:
            raise InputError(
                f"{path}, line {rows.line_num}: not CSV ({error}). Quote fields that hold quotes "
                "or line breaks, and double the quotes in them."
            ) from error


def _csv_file(path: Path) -> TextIO:
    csv.field_size_limit(2**31 - 1)
    return path.open(encoding="utf-8-sig", errors=_NOT_UTF8, newline="")


def _is_undecoded(value: str | None) -> bool:
    return value is not None and any("\udc80" <= letter <= "\udcff" for letter in value)


def _parquet(path: Path, id: str, text: str) -> Iterator[Note]:
    try:
        with pq.ParquetFile(path) as file:
            _check_columns(str(path), set(file.schema_arrow.names), id, text)
            for batch in file.iter_batches(batch_size=256, columns=[id, text]):
                for of in zip(*(_values(batch.column(name)) for name in (id, text)), strict=True):
                    bad = [isinstance(value, UnicodeDecodeError) for value in of]
                    id_, text_ = (None if b else value for b, value in zip(bad, of, strict=True))
                    yield Note(id_, text_, "UnicodeDecodeError" if any(bad) else None)
    except pa.ArrowException as error:
        raise InputError(
            f"{path}: not a readable Parquet file ({type(error).__name__}). Write it again."
        ) from error


def _values(column: pa.Array) -> list[Any]:
    try:
        return list(column.to_pylist())
    except UnicodeDecodeError:
        # Arrow does not look at the bytes of a string.
        return [_value(of) for of in column]


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except UnicodeDecodeError as error:
        return error


def _check_columns(name: str, columns: set[str], id: str, text: str) -> None:
    # Without a line of names the first note would be quoted here.
    are_names = all(of.isidentifier() for of in columns)
    for column, option in ((id, "--id"), (text, "--text")):
        if column not in columns:
            known = "Its first row does not look like names of columns, and is not shown."
            if are_names:
                known = close_matches(column, sorted(columns))
            raise InputError(f"{name}: has no column {column!r}. {known} Name it with {option}.")
