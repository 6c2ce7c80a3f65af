"""The same text treated differently: under another label, or under none.

Two mentions have the same text if their texts are equal up to case and whitespace. Much of it is
right: a word may have two senses. So each text is judged by what is usual for it in this corpus.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from ..data.flattening import joined
from ..data.mentions import AnnotatedText
from .corpus import Part, all_documents, all_mentions, mention_text, normalised, tokens
from .findings import Finding, Place, found, mention_place

#: Tokens in a row.
Run: TypeAlias = tuple[str, ...]
#: A majority is clear from this share of a text's mentions on, and from this many of them.
CLEAR_SHARE = 0.8
CLEAR_MENTIONS = 5
#: Mentions from which a text counts as one that is labelled.
LABELLED = 2


def find_other_labels(parts: Sequence[Part]) -> list[Finding]:
    """Find mentions with another label than most mentions of the same text.

    The majority is clear if it has CLEAR_SHARE of the text's mentions, which are CLEAR_MENTIONS at
    least; then the others are likely slips. Otherwise the guideline may be unclear.
    """
    mentions = [
        (part, document, mention, normalised(mention_text(document.text, mention)))
        for part, document, mention in all_mentions(parts)
    ]
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    for _, _, mention, text in mentions:
        labels[text][mention.label] += 1
    places: dict[str, list[Place]] = {"C050": [], "C051": []}
    texts: dict[str, set[str]] = {"C050": set(), "C051": set()}
    for part, document, mention, text in mentions:
        usual = _usual(labels[text])
        if not text or mention.label == usual:
            continue
        total, most = labels[text].total(), labels[text][usual]
        is_clear = total >= CLEAR_MENTIONS and most >= CLEAR_SHARE * total
        code = "C050" if is_clear else "C051"
        texts[code].add(text)
        places[code].append(mention_place(part, document, mention, f"{usual} in {most} of {total}"))
    clear = f"at least {CLEAR_SHARE:.0%} of {CLEAR_MENTIONS} or more"
    details = {
        "C050": f"{len(texts['C050'])} texts; {clear}",
        "C051": f"{len(texts['C051'])} texts",
    }
    return found(places, of=len(mentions), details=details)


def find_unlabelled(parts: Sequence[Part]) -> list[Finding]:
    """Find places where a text that is labelled elsewhere is not.

    Only texts with a letter and at least LABELLED mentions count. A place is a run of the same
    tokens (corpus.tokens) that no mention touches, whose gold is known, and that does not belong to
    a decimal number or a word with a hyphen; of places that share a token, the one that starts
    first counts, and of those the longest. A text is labelled mostly if its mentions are at least
    as many as these places.
    """
    labels: dict[Run, Counter[str]] = defaultdict(Counter)
    for _, document, mention in all_mentions(parts):
        run = tuple(token.text for token in tokens(mention_text(document.text, mention)))
        if any(char.isalpha() for text in run for char in text):
            labels[run][mention.label] += 1
    labelled = {run: counts for run, counts in labels.items() if counts.total() >= LABELLED}
    lengths = _lengths(labelled)
    unlabelled: list[tuple[Run, Place]] = []
    for part, document in all_documents(parts):
        for run, start, end in _free_runs(document, lengths, labelled):
            unlabelled.append((run, Place(part.name, document.id, start, end)))
    number = Counter(run for run, _ in unlabelled)
    places: dict[str, list[Place]] = {"C052": [], "C053": []}
    runs: dict[str, set[Run]] = {"C052": set(), "C053": set()}
    for run, place in unlabelled:
        total = labelled[run].total()
        code = "C052" if total >= number[run] else "C053"
        note = f"labelled {total} of {total + number[run]} times"
        places[code].append(place._replace(label=_usual(labelled[run]), note=note))
        runs[code].add(run)
    details = {
        code: f"{len(of)} texts, labelled {sum(labelled[run].total() for run in of)} times"
        for code, of in runs.items()
    }
    return found(places, details=details)


def _usual(labels: Counter[str]) -> str:
    """The label that is used most often; of several, the one first in the alphabet."""
    return min(labels, key=lambda label: (-labels[label], label))


def _lengths(runs: Mapping[Run, object]) -> dict[str, list[int]]:
    """Lengths of the runs that start with a token, the longest first."""
    lengths: dict[str, set[int]] = defaultdict(set)
    for run in runs:
        lengths[run[0]].add(len(run))
    return {token: sorted(of, reverse=True) for token, of in lengths.items()}


def _free_runs(
    document: AnnotatedText, lengths: Mapping[str, Sequence[int]], known: Mapping[Run, object]
) -> Iterator[tuple[Run, int, int]]:
    """Each run of a document that is known and that no mention touches, and where it is."""
    row = tokens(document.text)
    covered = bytearray(len(document.text))
    for mention in document.mentions:
        for start, end in joined(document.text, mention.fragments):
            covered[start:end] = b"\1" * (end - start)
    for start, end in document.unknown:
        covered[start:end] = b"\1" * (end - start)
    # How many of the tokens before each are touched by a mention.
    touched = [0]
    for token in row:
        touched.append(touched[-1] + any(covered[token.start : token.end]))
    index = 0
    while index < len(row):
        for length in lengths.get(row[index].text, ()):
            end = min(index + length, len(row))
            run = tuple(token.text for token in row[index:end])
            place = row[index].start, row[end - 1].end
            is_free = touched[end] == touched[index]
            if run in known and is_free and not _is_compound(document.text, *place):
                yield run, *place
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
