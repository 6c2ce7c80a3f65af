"""How unequal the types are: the figures that choose a recipe, and what was measured for it."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..data.flattening import joined
from ..data.mentions import AnnotatedText
from .corpus import Part, all_documents, learned, tokens
from .findings import Finding, Place, found
from .labels import LabelCounts

OUTSIDE = "O"
#: Mentions below which a type is hardly learned.
FEW = 20
#: Share of the mentions below which a type is rare.
RARE = 0.01
#: Share of the mentions from which on those that flat entities cannot hold choose the recipe.
LOST = 0.1
#: From this ratio of the commonest to the rarest type on, types are called imbalanced.
RATIO = 10.0


@dataclass(frozen=True)
class Imbalance:
    """The types in what is learned from.

    Attributes:
        token_shares: share of the tokens (corpus.tokens) of each type and of O; they sum to 1. A
            token is of the longest mention that touches it.
        commonest: type by its mentions, as `rarest`, None without mentions.
        ratio: of their mentions.
        rare_types: with less than RARE of the mentions.
        effective_types: exp of the entropy of the mentions' shares: as many types, if all were
            equally common (Hill 1973, Diversity and evenness, number of order 1).
        few: types with fewer than FEW mentions, and how many they have.
    """

    parts: tuple[str, ...]
    tokens: int
    token_shares: dict[str, float]
    mentions: int
    types: int
    commonest: str | None
    rarest: str | None
    ratio: float | None
    rare_types: int
    effective_types: float
    few: dict[str, int]


def measure_imbalance(parts: Sequence[Part]) -> Imbalance:
    """Measure the types in the part named train, or in all parts if none has this name."""
    chosen = learned(parts)
    mentions: Counter[str] = Counter()
    by_type: Counter[str] = Counter()
    for _, document in all_documents(chosen):
        mentions.update(mention.label for mention in document.mentions)
        by_type.update(_token_types(document))
    total, number = mentions.total(), by_type.total()
    ordered = sorted(mentions, key=lambda label: (-mentions[label], label))
    shares = [count / total for count in mentions.values()]
    return Imbalance(
        parts=tuple(part.name for part in chosen),
        tokens=number,
        token_shares={label: by_type[label] / number for label in sorted(by_type)},
        mentions=total,
        types=len(mentions),
        commonest=ordered[0] if ordered else None,
        rarest=ordered[-1] if ordered else None,
        ratio=mentions[ordered[0]] / mentions[ordered[-1]] if ordered else None,
        rare_types=sum(share < RARE for share in shares),
        effective_types=math.exp(-sum(share * math.log(share) for share in shares))
        if shares
        else 0.0,
        few={label: mentions[label] for label in ordered if mentions[label] < FEW},
    )


def find_few(imbalance: Imbalance) -> list[Finding]:
    """Find types with too few mentions to learn from; one without any is not a type."""
    name = ", ".join(imbalance.parts)
    places = [
        Place(name, label=label, note=f"{count} mentions") for label, count in imbalance.few.items()
    ]
    return found({"C080": places}, of=imbalance.types, details={"C080": f"under {FEW}"})


def recommendation(imbalance: Imbalance, labels: Mapping[str, LabelCounts]) -> list[str]:
    """Say which recipe the figures choose; only what this project has measured is claimed.

    Args:
        imbalance: of the types.
        labels: as ``count_labels`` counts them.
    """
    if imbalance.ratio is None:
        return ["No recipe: there is no mention to learn from."]
    flat = sum(counts.flat for counts in labels.values())
    overlapping = sum(counts.overlapping for counts in labels.values())
    if flat < (1 - LOST) * overlapping:
        total = sum(counts.mentions for counts in labels.values())
        return [
            "Start with the recipe overlaps: it learns mentions that share tokens with those of "
            f"other types, {overlapping} of {total}, and flat entities hold {flat} (rare_types.md "
            "in the documentation, Mentions that overlap)."
        ]
    if imbalance.ratio < RATIO:
        return [
            "Types are about equally common. No recipe was measured on such a corpus: the default "
            "(configs/minilm.cfg) is a start, and clinical-ner compare measures others."
        ]
    return [
        "Start with the default recipe, configs/minilm.cfg (square-root inverse weights). It was "
        "chosen on dev, on 160 case reports of MACCROBAT with 41 types; on test its micro-F and "
        "macro-F were not reliably different from those of plain cross-entropy.",
        "To find more of the rare types, lower prior_strength at decoding, without training again: "
        "on those case reports 0.75 and 0.5 raised the unweighted accuracy and cost micro-F. "
        "clinical-ner compare measures both on your own notes.",
    ]


def _token_types(document: AnnotatedText) -> list[str]:
    row = tokens(document.text)
    types = [OUTSIDE] * len(row)
    starts = [token.start for token in row]
    ends = [token.end for token in row]
    spans = [
        (-_length(span), number, span, mention.label)
        for number, mention in enumerate(document.mentions)
        if (span := joined(document.text, mention.fragments))
    ]
    # Longer mentions are written over shorter ones; of equally long ones the first comes last.
    for _, _, span, label in sorted(spans, reverse=True):
        for start, end in span:
            first, last = bisect_right(ends, start), bisect_left(starts, end)
            types[first:last] = [label] * max(last - first, 0)
    return types


def _length(span: Sequence[tuple[int, int]]) -> int:
    return sum(end - start for start, end in span)
