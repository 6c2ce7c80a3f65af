"""How much of what is annotated spans of tokens can state, and how much of it is found.

Entities neither overlap nor have gaps, nor do they cut tokens. Scores against the gold entities
leave the mentions out that these cannot hold; here they count. Spans that may overlap state more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Set
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import EntityOffsets
from .counts import DocumentCounts, ratio
from .spans import GoldSpans

#: A label and the offsets of the fragments that it is said of.
Statement = tuple[str, tuple[tuple[int, int], ...]]

MENTIONS, STATED, FOUND = range(3)
KINDS = 3
#: Kinds of counts of `count_beyond_flat`, in the order of the last axis.
BEYOND, BEYOND_FOUND = range(2)
BEYOND_KINDS = 2


def count_mentions(
    mentions: Set[Statement], gold: Set[Statement], predicted: Set[Statement]
) -> dict[str, list[int]]:
    """Count the mentions of a document.

    Args:
        mentions: all that is annotated.
        gold: entities, or spans that may overlap; those that are no mention, such as one moved to
            the edges of tokens, count nothing.
        predicted: see `gold`.

    Returns:
        By label, the numbers of mentions, of those that one of gold states, and of those that a
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
        ``recall_ceiling``, the share that gold states, which no prediction that agrees with it can
        exceed, and ``recall_all_mentions``, the share that is found; NaN where
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


def count_beyond_flat(
    gold: GoldSpans, entities: Set[EntityOffsets], found: Iterable[EntityOffsets]
) -> dict[str, list[int]]:
    """Count the gold spans of a document that its flat entities leave out.

    Args:
        gold: all mentions, which may overlap.
        entities: those of gold, in its tokens.
        found: spans of the predicted tokens; see ``GoldSpans.match``.

    Returns:
        By label, the number of these spans, and of those of them that are found.
    """
    counts: dict[str, list[int]] = {}
    missed = gold.match(found)[1]
    for span in gold.spans - entities:
        of_label = counts.setdefault(span[2], [0] * BEYOND_KINDS)
        of_label[BEYOND] += 1
        of_label[BEYOND_FOUND] += span not in missed
    return counts


def beyond_flat_statistics(
    counts: DocumentCounts, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Recall of the mentions that flat entities leave out.

    Args:
        counts: from `count_beyond_flat`. *Shape of its counts:* ``(documents, labels, 2)``.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        ``recall_beyond_flat``, NaN where gold has none. *Shape:* ``()``, or with weights
        ``(resamples,)``.
    """
    totals = counts.totals(weights).sum(axis=-2)
    return {"recall_beyond_flat": ratio(totals[..., BEYOND_FOUND], totals[..., BEYOND])}


def beyond_flat_scores(counts: DocumentCounts) -> dict[str, Any]:
    """Scores as plain numbers, ready for JSON.

    Returns:
        The numbers ``beyond_flat_mentions`` and ``found_beyond_flat``, and ``recall_beyond_flat``,
        None where gold has none; in ``beyond_flat_per_type`` the three for each label.
    """
    totals = counts.totals()
    of_labels = zip(counts.names, totals, strict=True)
    return {
        **_beyond_flat(totals.sum(axis=0)),
        "beyond_flat_per_type": {label: _beyond_flat(of_label) for label, of_label in of_labels},
    }


def _beyond_flat(totals: NDArray[np.float64]) -> dict[str, float | None]:
    mentions, found = totals.astype(int).tolist()
    return {
        "beyond_flat_mentions": mentions,
        "found_beyond_flat": found,
        "recall_beyond_flat": found / mentions if mentions else None,
    }
