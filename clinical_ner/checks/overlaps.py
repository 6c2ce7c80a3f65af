"""Mentions that share text with others, which flat entities cannot hold."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from ..data.flattening import joined
from ..data.mentions import AnnotatedText
from .corpus import Part, all_documents
from .findings import Finding, Place, found, mention_place

Span = tuple[tuple[int, int], ...]


def find_overlaps(parts: Sequence[Part]) -> list[Finding]:
    """Find mentions with another's span, nested ones, crossing ones and those in pieces.

    Of several mentions with one span all but the first count. A mention is nested if all of its
    pieces lie in another's, whose span is longer; it crosses another if they share text and neither
    is nested in the other. Fragments that only whitespace separates are one piece.
    """
    places: dict[str, list[Place]] = defaultdict(list)
    number = 0
    for part, document in all_documents(parts):
        number += len(document.mentions)
        for code, index, note in overlaps(document):
            places[code].append(mention_place(part, document, document.mentions[index], note))
    return found(places, of=number)


def overlaps(document: AnnotatedText) -> list[tuple[str, int, str]]:
    """Give the code (a key of KINDS) and the index of each mention that is one, and a note."""
    spans: list[Span] = [
        tuple(joined(document.text, mention.fragments)) for mention in document.mentions
    ]
    chosen = [
        ("C064", index, f"{len(span)} pieces") for index, span in enumerate(spans) if len(span) > 1
    ]
    labels: dict[Span, list[str]] = defaultdict(list)
    for index, span in enumerate(spans):
        label = document.mentions[index].label
        if label in labels[span]:
            chosen.append(("C060", index, ""))
        elif labels[span]:
            chosen.append(("C061", index, f"also {labels[span][0]}"))
        labels[span].append(label)
    # What is empty shares no text.
    filled = [span for span in labels if any(start < end for start, end in span)]
    nested, crossing = _related(sorted(filled, key=lambda span: (span[0][0], -_end(span))))
    chosen += [("C062", index, "") for index, span in enumerate(spans) if span in nested]
    chosen += [("C063", index, "") for index, span in enumerate(spans) if span in crossing]
    return sorted(chosen)


def _related(ordered: Sequence[Span]) -> tuple[set[Span], set[Span]]:
    """Spans that are nested in another, and those that cross another.

    Args:
        ordered: different spans, by their start.
    """
    nested: set[Span] = set()
    crossing: set[Span] = set()
    open_spans: list[Span] = []
    for span in ordered:
        open_spans = [other for other in open_spans if _end(other) > span[0][0]]
        for other in open_spans:
            if _lies_in(span, other):
                nested.add(span)
            elif _lies_in(other, span):
                nested.add(other)
            elif _share(span, other):
                crossing |= {span, other}
        open_spans.append(span)
    return nested, crossing


def _end(span: Span) -> int:
    return max(end for _, end in span)


def _lies_in(inner: Span, outer: Span) -> bool:
    return all(any(a <= start and end <= b for a, b in outer) for start, end in inner)


def _share(first: Span, second: Span) -> bool:
    return any(a < end and start < b for a, b in first for start, end in second)
