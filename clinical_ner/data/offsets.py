"""Offsets as tools count them: in code points, in UTF-16 units (JavaScript, Java), or in bytes.

They differ only behind the first character outside ASCII (bytes) or outside the Basic Multilingual
Plane (UTF-16), so that a corpus may be read for months before one of them shows.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Literal, get_args

from ..errors import ClinicalNerError
from .mentions import AnnotatedText, Mention, Place

Unit = Literal["code-points", "utf-16", "bytes"]
UNITS: tuple[Unit, ...] = get_args(Unit)


@dataclass(frozen=True)
class QuotedMention:
    """A mention as a file gives it.

    Attributes:
        mention: its offsets are not checked yet, and may count something else than code points.
        quote: what the file says that its text is, None if it gives none.
        line: where it is in its file, counted from 1; None if the format has no lines.
    """

    mention: Mention
    quote: str | None = None
    line: int | None = None

    def moved(self, new: Callable[[int], int]) -> QuotedMention:
        """The mention with every offset replaced by another."""
        fragments = tuple((new(start), new(end)) for start, end in self.mention.fragments)
        return replace(self, mention=replace(self.mention, fragments=fragments))


@dataclass
class Draft:
    """A document as a file gives it: an AnnotatedText whose mentions' offsets are not checked yet.

    Attributes:
        unit: what the offsets count, None if the file does not say.
    """

    id: str
    text: str
    mentions: list[QuotedMention] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unusable: str | None = None
    unit: Unit | None = None


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
    ends = [0, *accumulate(width(character, unit) for character in text)]

    def code_point(offset: int) -> int:
        index = bisect_left(ends, offset)
        return index if index < len(ends) and ends[index] == offset else -1

    return [item.moved(code_point) for item in quoted]


def settled(draft: Draft, place: Place, unit: Unit | None = None) -> AnnotatedText:
    """Check a document's mentions against its text, and count their offsets in code points.

    Args:
        draft: the document.
        place: where it is, for messages; a mention's own line, if it has one, is named instead.
        unit: what the offsets count, if the draft does not say; None for code points, unless quotes
            show that it is another unit: one under which every mention fits, while under code
            points one does not.

    Raises:
        InputError: the first mention that lies outside the text, ends before it starts, or does not
            stand where its quote says.
    """
    unit = draft.unit or unit
    has_quotes = any(item.quote is not None for item in draft.mentions)
    is_open = unit is None and has_quotes and not draft.text.isascii()
    units: tuple[Unit, ...] = UNITS if is_open else (unit or "code-points",)
    faults: list[ClinicalNerError] = []
    for candidate in units:
        converted = in_code_points(draft.text, draft.mentions, candidate)
        for given, item in zip(draft.mentions, converted, strict=True):
            if problem := _problem(draft, given, item, candidate):
                faults.append(Place(place.path, item.line or place.line).fault(*problem))
                break
        else:
            mentions = tuple(item.mention for item in converted)
            return AnnotatedText(
                draft.id, draft.text, mentions, dict(+draft.skipped), draft.unusable
            )
    raise faults[0]


def _problem(
    draft: Draft, given: QuotedMention, item: QuotedMention, unit: Unit
) -> tuple[str, str] | None:
    """What is wrong with a mention, given in a unit and counted in code points, and a hint."""
    text, mention = draft.text, item.mention
    if not fits(text, mention.fragments):
        length, other = width(text, unit), ""
        if draft.unit is None:
            other = ", or say what the offsets count (code-points, utf-16 or bytes)"
        return (
            f"offsets {written(given.mention.fragments)} of {mention.id} do not fit the text of "
            f"document {draft.id}, which counts {length} {unit}",
            f"Write 0 <= START <= END <= {length}{other}",
        )
    if item.quote is not None and not agrees(text, mention.fragments, item.quote):
        return (
            f"the text of {mention.id} does not match document {draft.id} at "
            f"{written(given.mention.fragments)}, counted in {unit}",
            "Check that the text is the one annotated, with the same line ends",
        )
    return None


def is_unicode(text: str) -> bool:
    """Whether a text has no half of a UTF-16 pair, which JSON and file names can hold."""
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def written(fragments: Iterable[tuple[int, int]]) -> str:
    """Fragments as messages show them: START END, several separated by semicolons."""
    return ";".join(f"{start} {end}" for start, end in fragments)


def fits(text: str, fragments: Iterable[tuple[int, int]]) -> bool:
    """Whether offsets in code points lie within a text, none ending before it starts."""
    return all(0 <= start <= end <= len(text) for start, end in fragments)


def agrees(text: str, fragments: Iterable[tuple[int, int]], quote: str) -> bool:
    """Whether a quote is what stands at its offsets, any run of whitespace being one space."""
    pieces = list(fragments)
    words = " ".join(text[start:end] for start, end in pieces).split()
    return fits(text, pieces) and words == quote.split()
