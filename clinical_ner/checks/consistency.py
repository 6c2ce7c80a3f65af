"""The same text treated differently: under another label, or under none.

Two mentions have the same text if their texts are equal up to case and whitespace. Much of it is
right: a word may have two senses. So each text is judged by what is usual for it in this corpus.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..data.flattening import joined
from ..data.mentions import AnnotatedText
from .corpus import Part, Token, all_documents, mention_text, normalised, tokens
from .findings import Finding, Place, found, mention_place

#: A majority is clear from this share of a text's mentions on, and from this many of them.
CLEAR_SHARE = 0.8
CLEAR_MENTIONS = 5
#: Mentions from which a text counts as one that is labelled.
LABELLED = 2


@dataclass
class _Repeats:
    """Where a labelled text occurs: its mentions by label, and places that no mention touches."""

    labels: Counter[str] = field(default_factory=Counter)
    unlabelled: list[Place] = field(default_factory=list)


def find_other_labels(parts: Sequence[Part]) -> list[Finding]:
    """Find mentions with another label than most mentions of the same text.

    The majority is clear if it has CLEAR_SHARE of the text's mentions, which are CLEAR_MENTIONS at
    least; then the others are likely slips. Otherwise the guideline may be unclear. Of labels that
    are used equally often, the one first in the alphabet is taken for the majority.
    """
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    number = 0
    for _, document in all_documents(parts):
        for mention in document.mentions:
            number += 1
            labels[normalised(mention_text(document.text, mention))][mention.label] += 1
    usual = {
        text: min(counts, key=lambda label: (-counts[label], label))
        for text, counts in labels.items()
        if text and len(counts) > 1
    }
    places: dict[str, list[Place]] = {"C050": [], "C051": []}
    texts: dict[str, set[str]] = {"C050": set(), "C051": set()}
    for part, document in all_documents(parts):
        for mention in document.mentions:
            text = normalised(mention_text(document.text, mention))
            if mention.label == usual.get(text, mention.label):
                continue
            total, most = labels[text].total(), labels[text][usual[text]]
            is_clear = total >= CLEAR_MENTIONS and most >= CLEAR_SHARE * total
            code = "C050" if is_clear else "C051"
            texts[code].add(text)
            note = f"{usual[text]} in {most} of {total}"
            places[code].append(mention_place(part, document, mention, note))
    clear = f"at least {CLEAR_SHARE:.0%} of {CLEAR_MENTIONS} or more"
    return [
        *found("C050", places["C050"], of=number, detail=f"{len(texts['C050'])} texts; {clear}"),
        *found("C051", places["C051"], of=number, detail=f"{len(texts['C051'])} texts"),
    ]


def find_unlabelled(parts: Sequence[Part]) -> list[Finding]:
    """Find places where a text that is labelled elsewhere is not.

    Only texts with a letter and at least LABELLED mentions count. A place is a run of the same
    tokens (corpus.tokens) that no mention touches and that does not belong to a decimal number or a
    word with a hyphen; of places that share a token, the one that starts first counts, and of those
    the longest. A text is labelled mostly if its mentions are at least as many as these places.
    """
    repeats: dict[tuple[str, ...], _Repeats] = defaultdict(_Repeats)
    for _, document in all_documents(parts):
        for mention in document.mentions:
            run = tuple(token.text for token in tokens(mention_text(document.text, mention)))
            if any(char.isalpha() for text in run for char in text):
                repeats[run].labels[mention.label] += 1
    labelled = {run: of for run, of in repeats.items() if of.labels.total() >= LABELLED}
    lengths = _lengths(labelled)
    for part, document in all_documents(parts):
        row = tokens(document.text)
        for first, last in _runs(document, row, lengths, labelled):
            run = tuple(token.text for token in row[first : last + 1])
            place = Place(part.name, document.id, row[first].start, row[last].end)
            labelled[run].unlabelled.append(place)
    places: dict[str, list[Place]] = {"C052": [], "C053": []}
    details = {}
    for code, is_mostly in (("C052", True), ("C053", False)):
        chosen = [
            of
            for of in labelled.values()
            if of.unlabelled and (of.labels.total() >= len(of.unlabelled)) == is_mostly
        ]
        for of in chosen:
            label = min(of.labels, key=lambda label: (-of.labels[label], label))
            total = of.labels.total()
            note = f"labelled {total} of {total + len(of.unlabelled)} times"
            places[code] += [place._replace(label=label, note=note) for place in of.unlabelled]
        labelled_times = sum(of.labels.total() for of in chosen)
        details[code] = f"{len(chosen)} texts, labelled {labelled_times} times"
    order = {
        (part.name, document.id): index
        for index, (part, document) in enumerate(all_documents(parts))
    }
    return [
        finding
        for code, chosen_places in places.items()
        for finding in found(
            code,
            sorted(chosen_places, key=lambda p: (order[p.part, p.document or ""], p.start)),
            detail=details[code],
        )
    ]


def _lengths(runs: Mapping[tuple[str, ...], object]) -> dict[str, list[int]]:
    """Lengths of the runs that start with a token, the longest first."""
    lengths: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        lengths[run[0]].add(len(run))
    return {token: sorted(of, reverse=True) for token, of in lengths.items()}


def _runs(
    document: AnnotatedText,
    row: Sequence[Token],
    lengths: Mapping[str, Sequence[int]],
    known: Mapping[tuple[str, ...], object],
) -> Iterator[tuple[int, int]]:
    """First and last token of each run that is known and free in a document."""
    covered = bytearray(len(document.text))
    for mention in document.mentions:
        for start, end in joined(document.text, mention.fragments):
            covered[start:end] = b"\1" * (end - start)
    # How many of the tokens before each are touched by a mention.
    touched = [0]
    for token in row:
        touched.append(touched[-1] + any(covered[token.start : token.end]))
    index = 0
    while index < len(row):
        for length in lengths.get(row[index].text, ()):
            end = index + length
            if (
                end <= len(row)
                and touched[end] == touched[index]
                and tuple(token.text for token in row[index:end]) in known
                and not _is_compound(document.text, row[index].start, row[end - 1].end)
            ):
                yield index, end - 1
                index = end
                break
        else:
            index += 1


def _is_compound(text: str, start: int, end: int) -> bool:
    """Whether a place is a part of something: "ablation" of "post-ablation", "4 mm" of "2.4 mm"."""
    before, after = text[max(start - 2, 0) : start + 1], text[end - 1 : end + 2]
    return any(
        len(around) == 3
        and (
            (around[1] == "-" and around[0].isalnum() and around[2].isalnum())
            or (around[1] in ".," and around[0].isdigit() and around[2].isdigit())
        )
        for around in (before, after)
    )
