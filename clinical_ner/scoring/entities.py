"""How far the probabilities of entities are from how often they are right.

What is right is what `spans.GoldSpans` says. Predicted entities and missed ones are
apart: the decision selects the former by their probability, so an error over both would speak of
the decision.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .counts import DocumentCounts, ratio
from .reliability import count_reliability, expected_calibration_error

#: Names and kinds of the sums of `EntityReliability`: the number of entities, the sum of their
#: probabilities, the sum of the squared differences from 1 where right and 0 where wrong.
PREDICTED, MISSED = "predicted", "missed"
NUMBER, PROBABILITY, SQUARED = range(3)


@dataclass(frozen=True)
class DocumentEntities:
    """The probabilities of the entities of one document.

    Attributes:
        scores: calibrated probabilities of the predicted entities that are right or wrong.
        right: which of them are right. *Shape of both:* ``(n,)``.
        missed: lattice probabilities of the gold spans that were missed; a score calibrated for
            decoded spans says nothing of these. *Shape:* ``(m,)``.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    missed: NDArray[np.float64]


@dataclass(frozen=True)
class EntityReliability:
    """What the scores of the probabilities of entities are computed from.

    Attributes:
        bins: of the predicted entities; see `reliability.count_reliability`. *Shape:* ``(documents,
            bins, 3)``.
        sums: of the predicted entities and of those missed. *Shape:* ``(documents, 2, 3)``.
    """

    bins: DocumentCounts
    sums: DocumentCounts


def score_arrays(
    judged: Sequence[tuple[str, float, bool]],
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scores of what ``GoldSpans.judge_scored`` gave, and which are right. *Shape:* ``(n,)``."""
    return (
        np.array([score for _, score, _ in judged], dtype=np.float64),
        np.array([right for _, _, right in judged], dtype=bool),
    )


def count_entity_reliability(documents: Sequence[DocumentEntities]) -> EntityReliability:
    """Count the entities of all documents."""
    sums = np.zeros((len(documents), 2, 3))
    for row, of in zip(sums, documents, strict=True):
        row[0] = len(of.scores), of.scores.sum(), ((of.scores - of.right) ** 2).sum()
        row[1] = len(of.missed), of.missed.sum(), ((1.0 - of.missed) ** 2).sum()
    return EntityReliability(
        bins=count_reliability([of.scores for of in documents], [of.right for of in documents]),
        sums=DocumentCounts((PREDICTED, MISSED), sums),
    )


def entity_reliability_statistics(
    counts: EntityReliability, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Scores of the probabilities of entities, of the documents as they are or of every resample.

    Over the predicted entities, ``ents_ece``, the expected calibration error, and ``ents_brier``,
    the mean of (score - right)^2 (Brier 1950). Over the gold spans that were missed, their mean
    ``ents_missed_probability``; ``ents_missed_brier``; and ``ents_missed_ece``, which is 1 less the
    former, since every one of them is right.

    Args:
        counts: of the entities.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        By name, NaN where undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    sums = counts.sums.totals(weights)
    number = sums[..., NUMBER]
    brier = ratio(sums[..., SQUARED], number)
    missed = ratio(sums[..., 1, PROBABILITY], number[..., 1])
    return {
        "ents_ece": expected_calibration_error(counts.bins.totals(weights)),
        "ents_brier": brier[..., 0],
        "ents_missed_brier": brier[..., 1],
        "ents_missed_probability": missed,
        "ents_missed_ece": 1.0 - missed,
    }
