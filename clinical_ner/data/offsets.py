"""Offsets as tools count them: in code points, in UTF-16 units (JavaScript, Java), or in bytes.

They differ only behind the first character outside ASCII (bytes) or outside the Basic Multilingual
Plane (UTF-16), so that a corpus may be read for months before one of them shows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from pathlib import Path
from typing import Literal, get_args

from ..errors import InputError, check_choice
from .mentions import Mention

Unit = Literal["code-points", "utf-16", "bytes"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True)
class QuotedMention:
    """A mention as a file gives it.

    Attributes:
        mention: its offsets are not checked yet, and may count something else than code points.
        quote: what the file says that its text is, None if it gives none.
    """

    mention: Mention
    quote: str | None = None


def check_unit(unit: str | None) -> None:
    """Raise ClinicalNerError if `unit` is neither None nor one of UNITS."""
    if unit is not None:
        check_choice("offsets", unit, UNITS)


def width(text: str, unit: Unit) -> int:
    """Count a text in a unit."""
    if unit == "code-points":
        return len(text)
    return len(text.encode("utf-8")) if unit == "bytes" else len(text.encode("utf-16-le")) // 2


def in_code_points(text: str, quoted: Sequence[QuotedMention], unit: Unit) -> list[QuotedMention]:
    """Count the offsets of mentions in code points, given those in another unit.

    An offset that lies in no place between two characters of the text, nor at its ends, becomes
    -1, which fits no text.
    """
    if unit == "code-points" or text.isascii():
        return list(quoted)
    size = _utf16_size if unit == "utf-16" else _utf8_size
    ends = [0, *accumulate(map(size, text))]

    def code_point(offset: int) -> int:
        index = bisect_left(ends, offset)
        return index if index < len(ends) and ends[index] == offset else -1

    return [
        replace(
            item,
            mention=replace(
                item.mention,
                fragments=tuple(
                    (code_point(start), code_point(end)) for start, end in item.mention.fragments
                ),
            ),
        )
        for item in quoted
    ]


def settled(
    text: str,
    quoted: Sequence[QuotedMention],
    unit: Unit | None,
    *,
    path: Path,
    line: int,
    document: str,
) -> tuple[Mention, ...]:
    """Check mentions against their text, and count their offsets in code points.

    Args:
        text: of the document.
        quoted: the mentions as the file gives them.
        unit: what the offsets count; None for code points, unless quotes show that it is another
            unit: one under which every mention fits, while under code points one does not.
        path: for messages; a mention's own line, if it has one, is named instead.
        line: see `path`.
        document: see `path`.

    Raises:
        InputError: the first mention that lies outside the text, ends before it starts, or does not
            stand where its quote says.
    """
    units: tuple[Unit, ...] = (unit,) if unit is not None else ("code-points",)
    if unit is None and not text.isascii() and any(item.quote is not None for item in quoted):
        units = UNITS
    for candidate in units:
        converted = in_code_points(text, quoted, candidate)
        if all(_fault(text, item) is None for item in converted):
            return tuple(item.mention for item in converted)
    for given, item in zip(quoted, in_code_points(text, quoted, units[0]), strict=True):
        fault = _fault(text, item)
        if fault is None:
            continue
        line = item.mention.line or line
        at, unit = written(given.mention.fragments), units[0]
        if fault == "fit":
            length = width(text, unit)
            raise InputError(
                f"{path}, line {line}: offsets {at} of {item.mention.id} do not fit the text of "
                f"document {document}, which counts {length} {unit}. Write 0 <= START <= END <= "
                f"{length}, or say what the offsets count (code-points, utf-16 or bytes)."
            )
        raise InputError(
            f"{path}, line {line}: the text of {item.mention.id} does not match document "
            f"{document} at {at}, counted in {unit}. Check that the text is the one annotated, "
            "with the same line ends."
        )
    raise AssertionError("one mention at least does not fit")


def written(fragments: Iterable[tuple[int, int]]) -> str:
    """Fragments as messages show them: START END, several separated by semicolons."""
    return ";".join(f"{start} {end}" for start, end in fragments)


def fits(text: str, fragments: Iterable[tuple[int, int]]) -> bool:
    """Whether offsets in code points lie within a text, none ending before it starts."""
    return all(0 <= start <= end <= len(text) for start, end in fragments)


def agrees(text: str, fragments: Iterable[tuple[int, int]], quote: str) -> bool:
    """Whether a quote is what stands at its offsets, any run of whitespace being one space."""
    pieces = list(fragments)
    return fits(text, pieces) and normalized(text[s:e] for s, e in pieces) == normalized([quote])


def normalized(parts: Iterable[str]) -> str:
    """Join parts, any run of whitespace being one space, none at the edges."""
    return " ".join(" ".join(parts).split())


def _fault(text: str, item: QuotedMention) -> Literal["fit", "quote"] | None:
    if not fits(text, item.mention.fragments):
        return "fit"
    if item.quote is None or agrees(text, item.mention.fragments, item.quote):
        return None
    return "quote"


def _utf16_size(character: str) -> int:
    return 1 if character <= "\uffff" else 2


def _utf8_size(character: str) -> int:
    code = ord(character)
    return 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
