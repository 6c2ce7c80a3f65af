"""The labels: how often each is used, in which parts, and which ones are spelled alike."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .corpus import TRAIN, Part, all_documents, count_words, mention_text
from .findings import Finding, Place, found
from .overlaps import held

#: Documents that a label needs so that each of train, dev and test can have one.
SPLIT_PARTS = 3


@dataclass(frozen=True)
class LabelCounts:
    """How a label is used.

    Attributes:
        documents: that hold it.
        by_part: mentions in each part.
        flat: mentions that flat entities hold; overlapping: those that a pipeline with overlaps
            learns (overlaps.held).
        median_words: of the lengths of its mentions in words.
    """

    mentions: int
    documents: int
    by_part: dict[str, int]
    flat: int
    overlapping: int
    median_words: float
    max_words: int

    @property
    def shares(self) -> dict[str, float]:
        """Share of the label's mentions that each part has; they sum to 1."""
        return {part: count / self.mentions for part, count in self.by_part.items()}


def count_labels(parts: Sequence[Part]) -> dict[str, LabelCounts]:
    """Count each label, the commonest first."""
    by_part: dict[str, Counter[str]] = defaultdict(Counter)
    lengths: dict[str, list[int]] = defaultdict(list)
    documents: Counter[str] = Counter()
    flat: Counter[str] = Counter()
    overlapping: Counter[str] = Counter()
    for part, document in all_documents(parts):
        documents.update({mention.label for mention in document.mentions})
        for mention in document.mentions:
            by_part[mention.label][part.name] += 1
            lengths[mention.label].append(count_words(mention_text(document.text, mention)))
        for number, indices in zip((flat, overlapping), held(document), strict=True):
            number.update(document.mentions[index].label for index in indices)
    return {
        label: LabelCounts(
            mentions=len(lengths[label]),
            documents=documents[label],
            by_part={part.name: by_part[label][part.name] for part in parts},
            flat=flat[label],
            overlapping=overlapping[label],
            median_words=median(lengths[label]),
            max_words=max(lengths[label]),
        )
        for label in sorted(lengths, key=lambda label: (-len(lengths[label]), label))
    }


def find_label_faults(parts: Sequence[Part], labels: Mapping[str, LabelCounts]) -> list[Finding]:
    """Find labels that cannot be learned or scored, and those that are one label spelled twice."""
    needed = max(SPLIT_PARTS, len(parts))
    commonest: dict[str, str] = {}
    places: dict[str, list[Place]] = defaultdict(list)
    for label, counts in labels.items():
        holders = ", ".join(name for name, count in counts.by_part.items() if count)
        lacking = [name for name, count in counts.by_part.items() if not count]
        mentions = f"{counts.mentions} mentions"
        notes: dict[str, str] = {}
        # The commonest label of each spelling comes first.
        first = commonest.setdefault(re.sub(r"[\s_-]+", "", label).casefold(), label)
        if first != label:
            notes["C010"] = f"{mentions}; as {first} {labels[first].mentions}"
        if TRAIN in lacking:
            notes["C011"] = mentions
        elif lacking:
            notes["C014"] = f"not in {', '.join(lacking)}"
        if counts.documents < needed:
            notes["C012"] = f"{counts.documents} documents"
        if counts.mentions == 1:
            notes["C013"] = ""
        for code, note in notes.items():
            places[code].append(Place(holders, label=label, note=note))
    details = {"C012": f"in fewer than {needed}"}
    return found(places, of=len(labels), details=details)
