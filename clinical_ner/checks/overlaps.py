"""Mentions that share text with others, which flat entities cannot hold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby

from ..data.flattening import joined, trimmed
from ..data.gold import GOLD_ALL
from ..data.mentions import AnnotatedText
from .corpus import Part, all_documents
from .findings import Finding, Place, document_place, found, mention_place

Span = tuple[tuple[int, int], ...]


def find_overlaps(parts: Sequence[Part]) -> list[Finding]:
    """Find mentions with another's span, nested ones, crossing ones and those in pieces.

    Of several mentions with one span all but the first count. A mention is nested if all of its
    pieces lie in another's, whose span is longer; it crosses another if they share text and neither
    is nested in the other. Fragments that only whitespace separates are one piece.

    Documents with flat entities only are found beside those of the same format with all mentions.
    """
    places: dict[str, list[Place]] = defaultdict(list)
    kept: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    number = 0
    flat_documents = [document_place(*of) for of in all_documents(parts) if of[1].only_flat]
    documents = sum(len(part.documents) for part in parts)
    for part, document in all_documents(parts):
        number += len(document.mentions)
        holders = held(document)
        for code, index, note in overlaps(document):
            places[code].append(mention_place(part, document, document.mentions[index], note))
            for holder, indices in enumerate(holders):
                kept[code][holder] += index in indices
    details = {
        code: f"flat entities hold {flat}, overlaps = true {all_}"
        for code, (flat, all_) in kept.items()
        if code != "C064"
    }
    findings = found(places, of=number, details=details)
    if 0 < len(flat_documents) < documents:
        detail = f"no doc.spans['{GOLD_ALL}'], or changed entities"
        findings += found({"C065": flat_documents}, of=documents, details={"C065": detail})
    return findings


def held(document: AnnotatedText) -> tuple[set[int], set[int]]:
    """Indices of the mentions that flat entities hold, and of those that overlapping ones do.

    As `convert` chooses by default, with lengths in characters: of a mention in pieces its longest,
    and of those that share text the longest; with overlaps, of those of one label.
    """
    spans = []
    for index, mention in enumerate(document.mentions):
        pieces = [trimmed(document.text, *of) for of in joined(document.text, mention.fragments)]
        start, end = max(pieces, key=lambda piece: piece[1] - piece[0])
        if start < end:
            spans.append((start - end, start, index, mention.label))
    flat: set[int] = set()
    overlapping: set[int] = set()
    # The spans chosen so far, which share nothing, by their starts; of all and of each label.
    taken: list[tuple[int, int]] = []
    taken_by: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for minus_length, start, index, label in sorted(spans):
        end = start - minus_length
        for chosen, where in ((flat, taken), (overlapping, taken_by[label])):
            before = bisect_left(where, (end,))
            if before == 0 or where[before - 1][1] <= start:
                where.insert(before, (start, end))
                chosen.add(index)
    return flat, overlapping


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
    nested, crossing = _related(filled)
    chosen += [("C062", index, "") for index, span in enumerate(spans) if span in nested]
    chosen += [("C063", index, "") for index, span in enumerate(spans) if span in crossing]
    return sorted(chosen)


def _related(spans: Sequence[Span]) -> tuple[set[Span], set[Span]]:
    """Spans that are nested in another, and those that cross another; all are different."""
    whole: dict[tuple[int, int], Span] = {span[0]: span for span in spans if len(span) == 1}
    nested: set[Span] = set()
    furthest = 0
    for start, end in sorted(whole, key=lambda edges: (edges[0], -edges[1])):
        if end <= furthest:
            nested.add(whole[start, end])
        furthest = max(furthest, end)
    crossing: set[Span] = {whole[edges] for edges in _cutting(whole)}
    mirrored = _cutting((-end, -start) for start, end in whole)
    crossing |= {whole[-end, -start] for start, end in mirrored}
    for span in (of for of in spans if len(of) > 1):
        for other in spans:
            if other is span:
                continue
            if _lies_in(span, other):
                nested.add(span)
            elif _lies_in(other, span):
                nested.add(other)
            elif _share(span, other):
                crossing |= {span, other}
    return nested, crossing


def _cutting(edges: Iterable[tuple[int, int]]) -> set[tuple[int, int]]:
    """Of (start, end), those that one with an earlier start ends inside of."""
    found: set[tuple[int, int]] = set()
    ends: list[int] = []
    for start, group in groupby(sorted(edges), key=lambda of: of[0]):
        same_start = [end for _, end in group]
        first = bisect_right(ends, start)
        if first < len(ends):
            found |= {(start, end) for end in same_start if ends[first] < end}
        for end in same_start:
            insort(ends, end)
    return found


def _lies_in(inner: Span, outer: Span) -> bool:
    return all(any(a <= start and end <= b for a, b in outer) for start, end in inner)


def _share(first: Span, second: Span) -> bool:
    return any(a < end and start < b for a, b in first for start, end in second)
