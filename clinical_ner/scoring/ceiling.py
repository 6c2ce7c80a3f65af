"""How much of what is annotated flat entities can state, and how much of it is found.

Entities neither overlap nor have gaps, nor do they cut tokens. Scores against the gold entities
leave the mentions out that these cannot hold; here they count.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .counts import DocumentCounts, ratio

#: A label and the offsets of the fragments that it is said of.
Statement = tuple[str, tuple[tuple[int, int], ...]]

MENTIONS, STATED, FOUND = range(3)
KINDS = 3


def count_mentions(
    mentions: Set[Statement], gold: Set[Statement], predicted: Set[Statement]
) -> dict[str, list[int]]:
    """Count the mentions of a document.

    Args:
        mentions: all that is annotated.
        gold: entities; those that are no mention, such as one moved to the edges of tokens, count
            nothing.
        predicted: see `gold`.

    Returns:
        By label, the numbers of mentions, of those that a gold entity states, and of those that a
        predicted one does.
    """
    counts: dict[str, list[int]] = {}
    for mention in mentions:
        of_label = counts.setdefault(mention[0], [0] * KINDS)
        of_label[MENTIONS] += 1
        of_label[STATED] += mention in gold
        of_label[FOUND] += mention in predicted
    return counts


def mention_statistics(
    counts: DocumentCounts | None, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Shares of all mentions, of the documents as they are or of every resample of them.

    Args:
        counts: from `count_mentions`. *Shape of its counts:* ``(documents, labels, 3)``. None if it
            is not known what is annotated beside the gold entities.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        ``recall_ceiling``, the share that gold entities state, which no flat prediction that agrees
        with them can exceed, and ``recall_all_mentions``, the share that is found; NaN where
        undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    if counts is None:
        unknown = np.full(() if weights is None else len(weights), np.nan)
        return {"recall_ceiling": unknown, "recall_all_mentions": unknown}
    totals = counts.totals(weights).sum(axis=-2)
    mentions = totals[..., MENTIONS]
    return {
        "recall_ceiling": ratio(totals[..., STATED], mentions),
        "recall_all_mentions": ratio(totals[..., FOUND], mentions),
    }


def mention_scores(counts: DocumentCounts | None) -> dict[str, Any]:
    """Scores as plain numbers, ready for JSON.

    Returns:
        What `mention_statistics` names, and the numbers ``gold_mentions``, ``stated_mentions`` and
        ``found_mentions``; in ``mentions_per_type`` the five for each label. None where undefined
        or unknown.
    """
    if counts is None:
        return {**_scores(None), "mentions_per_type": None}
    totals = counts.totals()
    of_labels = zip(counts.names, totals, strict=True)
    return {
        **_scores(totals.sum(axis=0)),
        "mentions_per_type": {label: _scores(of_label) for label, of_label in of_labels},
    }


def _scores(totals: NDArray[np.float64] | None) -> Mapping[str, float | None]:
    numbers = [None] * KINDS if totals is None else totals.astype(int).tolist()
    mentions, stated, found = numbers
    return {
        "gold_mentions": mentions,
        "stated_mentions": stated,
        "found_mentions": found,
        "recall_ceiling": stated / mentions if mentions else None,
        "recall_all_mentions": found / mentions if mentions else None,
    }
