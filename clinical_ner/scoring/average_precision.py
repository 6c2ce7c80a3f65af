"""How well probabilities rank the spans that might be entities: average precision.

    AP = sum over thresholds t of (R_t - R_(t - 1)) P_t

with precision P_t and recall R_t of the candidate spans of at least the probability t; spans of one
probability share a threshold. It is the sum that ``sklearn.metrics.average_precision_score`` takes,
but for recall, which is over all gold spans: those that are no candidate are never found. Unlike
F1 it is a score of the probabilities alone, at any decision.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .counts import DocumentCounts, ratio

#: Candidates below this probability are left out: each text has more of them than anything else,
#: and what they could add to the sum is next to nothing.
MIN_PROBABILITY = 0.01
#: Points of a precision-recall curve.
MOST_POINTS = 200
#: Numbers in one array of the bootstrap; it takes the resamples in parts that keep to it.
_MOST_NUMBERS = 500_000


@dataclass(frozen=True)
class RankedSpans:
    """Candidate spans of all documents, most probable first.

    Attributes:
        gold: number of gold spans by label, whether or not they are candidates. *Shape:*
            ``(documents, labels, 1)``.
        document: of each candidate. *Shape:* ``(n,)``.
        label: index into the labels of ``gold``. *Shape:* ``(n,)``.
        probability: *Shape:* ``(n,)``.
        right: *Shape:* ``(n,)``.
    """

    gold: DocumentCounts
    document: NDArray[np.int64]
    label: NDArray[np.int64]
    probability: NDArray[np.float64]
    right: NDArray[np.bool_]

    @classmethod
    def rank(
        cls,
        candidates: Sequence[Sequence[tuple[str, float, bool]]],
        support: Sequence[Mapping[str, int]],
    ) -> RankedSpans:
        """Sort the candidates of all documents.

        Args:
            candidates: per document, label, probability and whether it is right.
            support: per document, the number of gold spans by label.
        """
        names = {label for of in candidates for label, _, _ in of}
        zeros = dict.fromkeys(names, 0)
        gold = DocumentCounts.stack(
            [{label: [n] for label, n in {**zeros, **of}.items()} for of in support], kinds=1
        )
        index = {label: i for i, label in enumerate(gold.names)}
        lengths = [len(of) for of in candidates]
        flat = [candidate for of in candidates for candidate in of]
        probability = np.array([p for _, p, _ in flat], dtype=np.float64)
        order = np.argsort(-probability, kind="stable")
        return cls(
            gold=gold,
            document=np.repeat(np.arange(len(lengths)), lengths)[order],
            label=np.array([index[label] for label, _, _ in flat], dtype=np.int64)[order],
            probability=probability[order],
            right=np.array([right for _, _, right in flat], dtype=bool)[order],
        )

    def of(self, labels: Sequence[str]) -> RankedSpans:
        """Only the spans of some labels; others than those of ``gold`` have none."""
        kept = [i for i, name in enumerate(self.gold.names) if name in set(labels)]
        new = np.full(len(self.gold.names), -1)
        new[kept] = np.arange(len(kept))
        chosen = np.flatnonzero(new[self.label] >= 0)
        return RankedSpans(
            gold=DocumentCounts(tuple(self.gold.names[i] for i in kept), self.gold.counts[:, kept]),
            document=self.document[chosen],
            label=new[self.label[chosen]],
            probability=self.probability[chosen],
            right=self.right[chosen],
        )


def average_precision(
    spans: RankedSpans, weights: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Average precision of all the spans in one ranking, whatever their labels.

    Args:
        spans: the ranked spans.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        In [0, 1], NaN without a gold span. *Shape:* ``()``, or with weights ``(resamples,)``.
    """
    if weights is None:
        return average_precision(spans, np.ones((1, len(spans.gold.counts))))[0]
    gold = spans.gold.totals(weights).sum(axis=(-2, -1))
    found = np.zeros(len(weights))
    step = max(1, _MOST_NUMBERS // max(len(spans.document), 1))
    for start in range(0, len(weights), step):
        part = slice(start, start + step)
        found[part] = _precision_sums(spans, weights[part])
    return ratio(found, gold)


def average_precisions(
    spans: RankedSpans, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Average precision of each label that is in gold or among the candidates, by name.

    Args:
        spans: the ranked spans.
        weights: as in `average_precision`.
    """
    return {name: average_precision(spans.of([name]), weights) for name in spans.gold.names}


def macro_average(values: Mapping[str, NDArray[np.float64]], *, like: Any) -> NDArray[np.float64]:
    """Mean over the labels that gold has; those that it lacks have NaN.

    Args:
        values: by label, NaN where undefined.
        like: an array of the shape of each value, for the case that there is none.
    """
    if not values:
        return np.full_like(like, np.nan, dtype=np.float64)
    stacked = np.stack(list(values.values()))
    in_gold = ~np.isnan(stacked)
    return ratio(np.where(in_gold, stacked, 0.0).sum(axis=0), in_gold.sum(axis=0))


def precision_recall_points(
    spans: RankedSpans, *, most: int = MOST_POINTS
) -> dict[str, list[float]]:
    """Points of the precision-recall curve, the highest threshold first.

    Of more thresholds than points those are taken that first reach evenly spaced recalls.

    Returns:
        ``recall``, ``precision`` and ``threshold``, lists of one length; empty ones without a
        candidate or without a gold span.
    """
    gold = spans.gold.totals().sum()
    last = _threshold_ends(spans.probability)
    if not gold or not len(last):
        return {"recall": [], "precision": [], "threshold": []}
    found = np.cumsum(spans.right)[last]
    recall, precision = found / gold, found / (last + 1)
    if len(last) > most:
        levels = np.linspace(recall[0], recall[-1], most)
        # The search may overshoot by rounding; the last threshold has the largest recall.
        chosen = np.unique(np.minimum(np.searchsorted(recall, levels), len(last) - 1))
    else:
        chosen = np.arange(len(last))
    return {
        "recall": recall[chosen].tolist(),
        "precision": precision[chosen].tolist(),
        "threshold": spans.probability[last[chosen]].tolist(),
    }


def coverage_points(spans: RankedSpans, *, most: int = MOST_POINTS) -> dict[str, list[float]]:
    """Points of precision and recall over the share of the spans that a threshold keeps.

    One less precision over that share is the risk-coverage curve (El-Yaniv and Wiener 2010).

    Returns:
        ``share``, ``precision``, ``recall`` and ``threshold``, lists of one length, the highest
        threshold first; of more thresholds than points those at evenly spaced places, the lowest
        one always. Empty ones without a span, or without a gold span.
    """
    gold = spans.gold.totals().sum()
    last = _threshold_ends(spans.probability)
    if not gold or not len(last):
        return {"share": [], "precision": [], "recall": [], "threshold": []}
    last = last[np.unique(np.linspace(0, len(last) - 1, most).round().astype(np.int64))]
    found = np.cumsum(spans.right)[last]
    return {
        "share": ((last + 1) / len(spans.right)).tolist(),
        "precision": (found / (last + 1)).tolist(),
        "recall": (found / gold).tolist(),
        "threshold": spans.probability[last].tolist(),
    }


def _precision_sums(spans: RankedSpans, weights: NDArray[Any]) -> NDArray[np.float64]:
    """Sum over the right spans of the precision at their threshold.

    Args:
        spans: the ranked spans.
        weights: *Shape:* ``(resamples, documents)``.

    Returns:
        *Shape:* ``(resamples,)``.
    """
    right = np.flatnonzero(spans.right)
    last = _threshold_ends(spans.probability)
    # The last span, and the last right one, at the threshold of every right one.
    ends = last[np.searchsorted(last, right)]
    right_ends = np.searchsorted(right, ends, side="right") - 1
    drawn = weights[:, spans.document]
    taken = np.cumsum(drawn, axis=1)[:, ends]
    found = drawn[:, right]
    precision = ratio(np.cumsum(found, axis=1)[:, right_ends], taken)
    # Where nothing is taken, nothing is found.
    return (found * np.nan_to_num(precision, nan=0.0)).sum(axis=1)


def _threshold_ends(probability: NDArray[np.float64]) -> NDArray[np.int64]:
    """Positions of the last span of each probability, in falling order."""
    if not len(probability):
        return np.zeros(0, dtype=np.int64)
    return np.append(np.flatnonzero(np.diff(probability)), len(probability) - 1)
