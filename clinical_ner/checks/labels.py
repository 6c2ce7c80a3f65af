"""The labels: how often each is used, in which parts, and which ones are spelled alike."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from .corpus import TRAIN, Part, all_documents, count_words, mention_text
from .findings import Finding, Place, found

#: Documents that a label needs so that each of train, dev and test can have one.
SPLIT_PARTS = 3


@dataclass(frozen=True)
class LabelCounts:
    """How a label is used.

    Attributes:
        documents: that hold it.
        by_part: mentions in each part.
        median_words: lengths of its mentions in words.
        max_words: see `median_words`.
    """

    mentions: int
    documents: int
    by_part: dict[str, int]
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
    for part, document in all_documents(parts):
        documents.update({mention.label for mention in document.mentions})
        for mention in document.mentions:
            by_part[mention.label][part.name] += 1
            lengths[mention.label].append(count_words(mention_text(document.text, mention)))
    return {
        label: LabelCounts(
            mentions=len(lengths[label]),
            documents=documents[label],
            by_part={part.name: by_part[label][part.name] for part in parts},
            median_words=median(lengths[label]),
            max_words=max(lengths[label]),
        )
        for label in sorted(lengths, key=lambda label: (-len(lengths[label]), label))
    }


def find_label_faults(parts: Sequence[Part], labels: Mapping[str, LabelCounts]) -> list[Finding]:
    """Find labels that cannot be learned or scored, and those that are one label spelled twice.

    Args:
        parts: of the corpus.
        labels: what count_labels gave.
    """
    names = [part.name for part in parts]
    needed = max(SPLIT_PARTS, len(parts))
    lacking = {
        label: [name for name in names if not counts.by_part[name]]
        for label, counts in labels.items()
    }

    def places(chosen: Mapping[str, str]) -> list[Place]:
        return [
            Place(_holders(labels[label]), label=label, note=note) for label, note in chosen.items()
        ]

    def mentions(label: str) -> str:
        return f"{labels[label].mentions} mentions"

    unlearned = {label: mentions(label) for label in labels if TRAIN in lacking[label]}
    narrow = {
        label: f"{counts.documents} documents"
        for label, counts in labels.items()
        if counts.documents < needed
    }
    single = {label: "" for label, counts in labels.items() if counts.mentions == 1}
    unscored = {
        label: f"not in {', '.join(lacking[label])}"
        for label in labels
        if lacking[label] and TRAIN not in lacking[label]
    }
    number = len(labels)
    return [
        *found("C010", places(_alike(labels)), of=number),
        *found("C011", places(unlearned), of=number),
        *found("C012", places(narrow), of=number, detail=f"in fewer than {needed}"),
        *found("C013", places(single), of=number),
        *found("C014", places(unscored), of=number),
    ]


def _holders(counts: LabelCounts) -> str:
    return ", ".join(name for name, count in counts.by_part.items() if count)


def _alike(labels: Mapping[str, LabelCounts]) -> dict[str, str]:
    """Labels that are another's spelling: all but the commonest of each group, with that one."""
    commonest: dict[str, str] = {}
    alike = {}
    for label in labels:
        key = re.sub(r"[\s_-]+", "", label).casefold()
        first = commonest.setdefault(key, label)
        if first != label:
            alike[label] = f"{labels[label].mentions} mentions; as {first} {labels[first].mentions}"
    return alike
