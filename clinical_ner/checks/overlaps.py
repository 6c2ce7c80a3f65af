"""Mentions that share text with others, which flat entities cannot hold."""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import groupby

from ..data.flattening import joined, trimmed
from ..data.gold import GOLD_ALL
from ..data.mentions import AnnotatedText
from ..errors import ClinicalNerWarning, shown
from .corpus import Part, all_documents
from .findings import Finding, Place, document_place, found, mention_place

Span = tuple[tuple[int, int], ...]
#: Pieces of mentions that are compared in one document. Where thousands of mentions in pieces lie
#: in each other, the time would grow with the square of their number.
MOST_PIECES = 1_000_000


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
    nested, crossing, complete = _related(filled)
    if not complete:
        warnings.warn(
            f"Document {shown(document.id)}: its mentions in pieces share text with so many others "
            "that not all were compared. C062 and C063 may be more than are counted.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    chosen += [("C062", index, "") for index, span in enumerate(spans) if span in nested]
    chosen += [("C063", index, "") for index, span in enumerate(spans) if span in crossing]
    return sorted(chosen)


def _related(spans: Sequence[Span]) -> tuple[set[Span], set[Span], bool]:
    """Spans that are nested in another, and those that cross another; all are different.

    Returns:
        Both, and whether all that share text were compared; see `_sharing`.
    """
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
    pairs, complete = _sharing(spans)
    for first, second in ((spans[i], spans[j]) for i, j in pairs):
        if _lies_in(first, second):
            nested.add(first)
        elif _lies_in(second, first):
            nested.add(second)
        else:
            crossing |= {first, second}
    return nested, crossing, complete


def _sharing(spans: Sequence[Span]) -> tuple[set[tuple[int, int]], bool]:
    """The pairs of spans that share text, of which one or both are in pieces.

    Returns:
        Indices of the pairs, and whether these are all: their pieces are no more than MOST_PIECES.
    """
    pairs: set[tuple[int, int]] = set()
    pieces = 0
    # Ends of the pieces before, those of spans in pieces by themselves too; some ended since.
    before: list[tuple[int, int]] = []
    before_in_pieces: list[tuple[int, int]] = []
    edges = ((*piece, index) for index, span in enumerate(spans) for piece in span)
    for start, end, index in sorted(edges):
        if start == end:
            continue
        is_in_pieces = len(spans[index]) > 1
        among = before if is_in_pieces else before_in_pieces
        among[:] = [of for of in among if of[0] > start]
        for _, other in among:
            pair = min(index, other), max(index, other)
            if other != index and pair not in pairs:
                pairs.add(pair)
                pieces += len(spans[index]) + len(spans[other])
                if pieces > MOST_PIECES:
                    return pairs, False
        before.append((end, index))
        if is_in_pieces:
            before_in_pieces.append((end, index))
    return pairs, True


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
    """Whether each piece lies in one of another span; a span's pieces share nothing."""
    starts = [start for start, _ in outer]
    places = ((bisect_right(starts, start) - 1, end) for start, end in inner)
    return all(place >= 0 and end <= outer[place][1] for place, end in places)
