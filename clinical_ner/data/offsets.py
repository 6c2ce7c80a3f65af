"""Offsets as tools count them: in code points, in UTF-16 units (JavaScript, Java), or in bytes.

They differ only behind the first character outside ASCII (bytes) or outside the Basic Multilingual
Plane (UTF-16), so that a corpus may be read for months before one of them shows. Tools that read a
note with its line ends made equal count a CRLF as one: these are the units that end in -lf.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate, chain
from typing import Literal, get_args

from ..errors import ClinicalNerError, InputError, shown
from .mentions import FAULTY, AnnotatedText, Mention, Place

Unit = Literal["code-points", "utf-16", "bytes", "code-points-lf", "utf-16-lf"]
#: The likeliest first.
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
        unit: what the offsets count, whatever the user says; None if that is open.
        units: if it is open: what they may count as far as the format lets one say, the likeliest
            first. A quote may show that it is another unit.
        sentences: where sentences start, as the offsets count.
        has_id: whether the file gives the id.
        annotator: who annotated it, None if the file does not say.
        task: what the annotator was asked, of tools that ask several times about a text.
        is_true: whether of several annotations this one was declared the right one.
        faults: what is wrong with annotations that are left out; see AnnotatedText.
    """

    id: str
    text: str
    mentions: list[QuotedMention] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    unusable: str | None = None
    unit: Unit | None = None
    units: tuple[Unit, ...] = UNITS
    sentences: tuple[int, ...] = ()
    has_id: bool = True
    annotator: str | None = None
    task: Hashable = None
    is_true: bool = False
    faults: list[ClinicalNerError] = field(default_factory=list)

    @classmethod
    def faulty(cls, id: str, fault: ClinicalNerError) -> Draft:
        """A document whose record cannot be read."""
        return cls(id, "", unusable=FAULTY, faults=[fault])


def depends_on_unit(text: str) -> bool:
    """Whether an offset over a text may say another place in another unit."""
    return not text.isascii() or "\r\n" in text


def width(text: str, unit: Unit) -> int:
    """Count a text in a unit."""
    if unit.endswith("-lf"):
        text = text.replace("\r\n", "\n")
    if unit.startswith("code-points"):
        return len(text)
    if unit == "bytes":
        return len(text.encode("utf-8", "surrogatepass"))
    return len(text.encode("utf-16-le", "surrogatepass")) // 2


def in_code_points(text: str, quoted: Sequence[QuotedMention], unit: Unit) -> list[QuotedMention]:
    """Count the offsets of mentions in code points, given those in another unit.

    An offset that lies in no place between two characters of the text, nor at its ends, becomes
    -1, which fits no text.
    """
    if unit == "code-points" or not depends_on_unit(text):
        return list(quoted)
    # Of a CRLF that counts as one, the CR counts nothing: an offset there lies before it.
    widths = (width(character, unit) for character in text)
    if unit.endswith("-lf"):
        following = chain(text[1:], " ")
        pairs = zip(text, following, widths, strict=True)
        widths = (0 if (here, then) == ("\r", "\n") else size for here, then, size in pairs)
    ends = [0, *accumulate(widths)]

    def code_point(offset: int) -> int:
        index = bisect_left(ends, offset)
        return index if index < len(ends) and ends[index] == offset else -1

    return [item.moved(code_point) for item in quoted]


def settled(draft: Draft, place: Place, unit: Unit | None = None) -> AnnotatedText:
    """Check a document's mentions against its text, and count their offsets in code points.

    Mentions that lie outside the text, end before they start, or do not stand where their quotes
    say are left out, and are `faults` of the text.

    Args:
        draft: the document.
        place: where it is, for messages; a mention's own line, if it has one, is named instead.
        unit: what the offsets count, if the draft leaves it open; None for the likeliest of the
            draft's units, unless quotes show that it is another: one with fewer faults.
    """
    best: tuple[list[Mention], list[ClinicalNerError], Unit] | None = None
    for candidate in _candidates(draft, unit):
        mentions, faults = _checked(draft, place, candidate)
        if best is None or len(faults) < len(best[1]):
            best = mentions, faults, candidate
        if not faults:
            break
    assert best is not None
    mentions, faults, counted = best
    try:
        sentences = _sentences(draft, place, counted)
    except InputError as error:
        sentences, faults = (), [*faults, error]
    return AnnotatedText(
        draft.id,
        draft.text,
        tuple(mentions),
        dict(+draft.skipped),
        draft.unusable,
        sentences,
        (*draft.faults, *faults),
    )


def _checked(
    draft: Draft, place: Place, unit: Unit
) -> tuple[list[Mention], list[ClinicalNerError]]:
    """Give the mentions that fit under a unit, and what is wrong with the others."""
    mentions: list[Mention] = []
    faults: list[ClinicalNerError] = []
    converted = in_code_points(draft.text, draft.mentions, unit)
    for given, item in zip(draft.mentions, converted, strict=True):
        if problem := _problem(draft, given, item, unit):
            faults.append(Place(place.path, item.line or place.line).fault(*problem))
        else:
            mentions.append(item.mention)
    return mentions, faults


def _candidates(draft: Draft, unit: Unit | None) -> tuple[Unit, ...]:
    """The units that a document's offsets may count, the likeliest first."""
    if given := draft.unit or unit:
        return (given,)
    if any(item.quote is not None for item in draft.mentions) and depends_on_unit(draft.text):
        return tuple(dict.fromkeys((*draft.units, *UNITS)))
    return draft.units[:1]


def _sentences(draft: Draft, place: Place, unit: Unit) -> tuple[int, ...]:
    """Count the starts of sentences in code points."""
    starts = [QuotedMention(Mention("", "", ((start, start),))) for start in draft.sentences]
    found = [item.mention for item in in_code_points(draft.text, starts, unit)]
    if not all(fits(draft.text, start.fragments) for start in found):
        raise place.fault(f"a sentence of document {shown(draft.id)} starts outside of its text")
    return tuple(start.start for start in found)


def _problem(
    draft: Draft, given: QuotedMention, item: QuotedMention, unit: Unit
) -> tuple[str, str] | None:
    """What is wrong with a mention, given in a unit and counted in code points, and a hint."""
    text, mention = draft.text, item.mention
    if not fits(text, mention.fragments):
        length, other = width(text, unit), ""
        if draft.unit is None:
            other = f", or say what the offsets count ({', '.join(UNITS)})"
        return (
            f"offsets {written(given.mention.fragments)} of {shown(mention.id)} do not fit the "
            "text of "
            f"document {shown(draft.id)}, which counts {length} {unit}",
            f"Write 0 <= START <= END <= {length}{other}",
        )
    if item.quote is not None and not agrees(text, mention.fragments, item.quote):
        return (
            f"the text of {shown(mention.id)} does not match document {shown(draft.id)} at "
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
