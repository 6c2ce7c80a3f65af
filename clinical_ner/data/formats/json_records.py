"""JSON as annotation tools write it: one record a line, one big array, or records over many lines.

Records are handed out one at a time, each with the line on which it starts.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ...errors import ClinicalNerError, InputError
from ...files import BOM, read_lines, read_text
from ..mentions import Place

_WHITESPACE = " \t\r\n"


def read_records(path: Path) -> Iterator[tuple[int, Any]]:
    """Give the records of a file: those of an array, or the values that follow each other.

    Where every line is a value, one line at a time is held in memory; otherwise the file's text is.

    Args:
        path: a UTF-8 file; empty lines between records are ignored.

    A line that is not JSON where every line is a record gives the error that says so, since those
    behind it can be read.

    Raises:
        ClinicalNerError: it cannot be read, is not UTF-8, or holds no record, and for what else is
            not JSON when its turn comes; it names the line.
    """
    for _, line in read_lines(path):
        if line.strip():
            yield from _by_line(path) if _is_whole(line) else _by_value(path)
            return
    raise InputError(f"{path}, line 1: no record. Is the file whole?")


def _is_whole(line: str) -> bool:
    """Whether a file's first line that is not empty is a record, as far as one can tell.

    A line may be at fault, so this cannot be whether it is JSON. Those who break a record into
    lines do it after a bracket or a comma, and an array of records is not a record, unless it is
    spaCy's pair of a text and its annotations.
    """
    stripped = line.strip()
    if stripped.startswith("["):
        try:
            value = json.loads(stripped)
        except (ValueError, RecursionError):
            return False
        return len(value) == 2 and isinstance(value[0], str)
    return stripped[-1] not in "{[,:"


def _by_line(path: Path) -> Iterator[tuple[int, Any]]:
    for number, line in read_lines(path):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        # ValueError beside JSONDecodeError: a number of thousands of digits.
        except (ValueError, RecursionError) as error:
            column = error.colno if isinstance(error, json.JSONDecodeError) else 1
            yield number, _not_json(path, number, column)


def _by_value(path: Path) -> Iterator[tuple[int, Any]]:
    text = read_text(path).removeprefix(BOM)
    decoder = json.JSONDecoder()
    line, counted = 1, 0

    def line_of(position: int) -> int:
        nonlocal line, counted
        line += text.count("\n", counted, position)
        counted = position
        return line

    def fault(position: int) -> ClinicalNerError:
        return _not_json(path, line_of(position), position - text.rfind("\n", 0, position))

    position = _skip(text, 0)
    is_array = text.startswith("[", position)
    if is_array:
        position = _skip(text, position + 1)
        if text.startswith("]", position):
            position = _skip(text, position + 1)
            is_array = False
    while position < len(text):
        start = line_of(position)
        try:
            value, position = decoder.raw_decode(text, position)
        except json.JSONDecodeError as error:
            raise fault(error.pos) from None
        except (ValueError, RecursionError):
            raise fault(position) from None
        yield start, value
        position = _skip(text, position)
        if not is_array:
            continue
        if not text.startswith((",", "]"), position):
            raise fault(position)
        is_array = text[position] == ","
        position = _skip(text, position + 1)
        if not is_array and position < len(text):
            raise fault(position)
    if is_array:
        raise fault(position)


def _not_json(path: Path, line: int, column: int) -> ClinicalNerError:
    return Place(path, line).fault(f"not JSON, from column {column} on", "Fix or remove it")


def _skip(text: str, position: int) -> int:
    while position < len(text) and text[position] in _WHITESPACE:
        position += 1
    return position
