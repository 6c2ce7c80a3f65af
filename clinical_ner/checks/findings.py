"""What a check reports: how much of what, where; never the text of a note."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from ..data.mentions import AnnotatedText, Mention
from .corpus import Part

Severity = Literal["error", "warning", "info"]
#: The gravest first. An error makes training or its scores wrong whatever the notes are about; a
#: warning is a likely fault that someone should look at; an info is to be known.
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")


class Kind(NamedTuple):
    """A kind of finding: how grave it is, what is counted, and what makes it one."""

    severity: Severity
    unit: str
    title: str


KINDS: dict[str, Kind] = {
    "C001": Kind("error", "parts", "without a mention: nothing to learn or to score"),
    "C002": Kind("warning", "documents", "without text"),
    "C003": Kind("warning", "documents", "with text and without a mention"),
    "C004": Kind(
        "info", "documents", "not accepted or unannotated in their own file: left out below"
    ),
    "C010": Kind("error", "labels", "equal to another up to case, spaces, hyphens, underscores"),
    "C011": Kind("warning", "labels", "of other parts that train lacks: they cannot be learned"),
    "C012": Kind("info", "labels", "in fewer documents than train, dev and test need"),
    "C013": Kind("warning", "labels", "with a single mention"),
    "C014": Kind("info", "labels", "that some part lacks: it cannot score them"),
    "C020": Kind("error", "documents", "that an earlier part holds too: a leak"),
    "C021": Kind("error", "documents", "nearly the same as one of an earlier part: a leak"),
    "C022": Kind("warning", "documents", "that their own part holds before"),
    "C023": Kind("warning", "documents", "nearly the same as one before in their own part"),
    "C024": Kind("warning", "documents", "with the id of another text in an earlier part"),
    "C030": Kind("warning", "characters", "that replace lost ones (U+FFFD)"),
    "C031": Kind("warning", "characters", "of UTF-8 decoded as Windows-1252 (mojibake)"),
    "C032": Kind("warning", "characters", "that are controls, other than tab and line ends"),
    "C033": Kind("warning", "characters", "that are invisible (zero width, byte order mark, ...)"),
    "C034": Kind("warning", "characters", "without a meaning (private use, unassigned)"),
    "C035": Kind("info", "characters", "that are whitespace, but no space, tab or line end"),
    "C040": Kind("warning", "mentions", "of nothing but whitespace"),
    "C041": Kind("warning", "mentions", "with whitespace at an edge"),
    "C042": Kind("warning", "mentions", "that cut a word"),
    "C043": Kind("warning", "mentions", "of very many words"),
    "C044": Kind("info", "mentions", "over a line break"),
    "C045": Kind("info", "mentions", "of one character"),
    "C046": Kind("info", "mentions", "without a letter or digit"),
    "C047": Kind("info", "mentions", "with digits and without a letter"),
    "C050": Kind("warning", "mentions", "labelled against a clear majority of the same text"),
    "C051": Kind(
        "warning", "mentions", "labelled unlike others of the same text, with no clear majority"
    ),
    "C052": Kind("warning", "places", "without a label, of a text that mostly has one"),
    "C053": Kind("info", "places", "without a label, of a text that has one now and then"),
    "C060": Kind("warning", "mentions", "with the span and the label of an earlier one"),
    "C061": Kind("warning", "mentions", "with the span of an earlier one and another label"),
    "C062": Kind("info", "mentions", "nested in a longer one"),
    "C063": Kind("info", "mentions", "that cross another"),
    "C064": Kind("info", "mentions", "in several pieces"),
    "C065": Kind(
        "warning", "documents", "with flat entities only, beside others with all their mentions"
    ),
    "C070": Kind("info", "documents", "longer than the encoder's window: to be read in several"),
    "C071": Kind("warning", "checks", "not made: the lengths of documents in wordpieces"),
    "C080": Kind("warning", "labels", "with few mentions to learn from"),
}


class Place(NamedTuple):
    """Where a finding is; what does not apply is None or empty.

    Attributes:
        start: offsets in code points; of a mention, from its first piece to its last.
        note: what else there is to say, without text of the document.
    """

    part: str
    document: str | None = None
    start: int | None = None
    end: int | None = None
    label: str | None = None
    note: str = ""


@dataclass(frozen=True)
class Finding:
    """One kind of finding in a corpus.

    Attributes:
        code: a key of KINDS.
        count: in the kind's unit.
        places: all of them, in the order of the parts and their documents; one per counted thing.
        of: how many there are at all, None if that has no meaning.
        detail: what the count needs to be understood: thresholds, or how the places spread.
    """

    code: str
    count: int
    places: tuple[Place, ...] = ()
    of: int | None = None
    detail: str = ""

    @property
    def kind(self) -> Kind:
        """The kind's severity, unit and title."""
        return KINDS[self.code]


def document_place(part: Part, document: AnnotatedText, note: str = "") -> Place:
    """Give the place of a document."""
    return Place(part.name, document.id, note=note)


def mention_place(part: Part, document: AnnotatedText, mention: Mention, note: str = "") -> Place:
    """Give the place of a mention."""
    return Place(part.name, document.id, mention.start, mention.end, mention.label, note)


def found(
    places: Mapping[str, Sequence[Place]],
    *,
    of: int | None = None,
    details: Mapping[str, str] | None = None,
) -> list[Finding]:
    """Give the findings of several codes, sorted, with one place per counted thing."""
    return [
        Finding(code, len(at), tuple(at), of, (details or {}).get(code, ""))
        for code, at in sorted(places.items())
        if at
    ]
