"""Token counts per BIO tag, and the unweighted accuracy computed from them.

Unweighted accuracy is the mean recall over tags: every tag counts alike, however rare it is.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example

from ..tags.encode import gold_tags, predicted_tags
from .counts import ratio

#: Kinds of counts, in the order of the last axis: tokens with the tag in gold, those found.
SUPPORT, FOUND = range(2)
KINDS = 2

OUTSIDE = "O"


def count_tokens(example: Example) -> dict[str, list[int]]:
    """Count the tokens of one document per gold tag; masked tokens count nowhere.

    Args:
        example: predictions and gold, possibly tokenized differently.

    Returns:
        [tokens with this gold tag, those of them with the same predicted tag] by tag.
    """
    counts: dict[str, list[int]] = {}
    pairs = zip(gold_tags(example), predicted_tags(example.predicted), strict=True)
    for gold, predicted in pairs:
        if gold is None:
            continue
        of_tag = counts.setdefault(gold, [0] * KINDS)
        of_tag[SUPPORT] += 1
        of_tag[FOUND] += gold == predicted
    return counts


def count_confusions(example: Example) -> Counter[tuple[str, str]]:
    """Count the tokens of one document per type in gold and predicted type, where these differ.

    Args:
        example: see `count_tokens`.

    Returns:
        Tokens by (gold, predicted), each a type or "O". Masked tokens count nowhere, and B and I
        of one type are not told apart.
    """
    pairs = zip(gold_tags(example), predicted_tags(example.predicted), strict=True)
    found = Counter((_type(gold), _type(predicted)) for gold, predicted in pairs if gold)
    return Counter({pair: count for pair, count in found.items() if pair[0] != pair[1]})


def _type(tag: str | None) -> str:
    return OUTSIDE if tag is None else tag[2:] or OUTSIDE


def unweighted_accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall over the tags that gold has.

    Args:
        totals: counts by tag; leave out the row of O to leave it out of the mean. *Shape:* ``(...,
            tags, 2)``.

    Returns:
        NaN where gold has none of the tags. *Shape:* ``(...)``.
    """
    recall = ratio(totals[..., FOUND], totals[..., SUPPORT])
    in_gold = ~np.isnan(recall)
    return ratio(np.where(in_gold, recall, 0.0).sum(axis=-1), in_gold.sum(axis=-1))
