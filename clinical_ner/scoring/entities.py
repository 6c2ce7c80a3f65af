"""How far the probabilities of entities are from how often they are right.

What is right is what `spans.count_spans` counts as found. Predicted entities and missed ones are
apart: the decision selects the former by their probability, so an error over both would speak of
the decision.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example

from ..types import EntityOffsets
from .counts import DocumentCounts, ratio
from .reliability import count_reliability, expected_calibration_error

#: Names and kinds of the sums of `EntityReliability`: the number of entities, the sum of their
#: probabilities, the sum of the squared differences from 1 where right and 0 where wrong.
PREDICTED, MISSED = "predicted", "missed"
NUMBER, PROBABILITY, SQUARED = range(3)


class GoldSpans:
    """The gold entities of one document, against which spans of the predicted tokens are held.

    Attributes:
        example: gold, and the tokens of the prediction; its entities are ignored.
    """

    def __init__(self, example: Example) -> None:
        gold = example.reference
        annotated = gold.has_annotation("ENT_IOB")
        alignment = example.alignment
        self._to_gold = _ranges(alignment.x2y)
        self._to_predicted = _ranges(alignment.y2x)
        unknown = [not annotated or token.ent_iob == 0 for token in gold]
        #: Number of tokens of unknown entity status before each. *Shape:* ``(n + 1,)``.
        self._unknown = np.concatenate([[0], np.cumsum(unknown, dtype=np.int64)]).tolist()
        self._spans = {(e.start, e.end, e.label_) for e in gold.ents} if annotated else set()

    @property
    def support(self) -> Counter[str]:
        """Number of gold entities by label."""
        return Counter(label for _, _, label in self._spans)

    def judge(self, spans: Iterable[EntityOffsets]) -> list[bool | None]:
        """Whether spans are right; a gold entity is found by the first that agrees with it.

        Args:
            spans: of the predicted tokens; the more probable of two that align with one gold entity
                is to stand first.

        Returns:
            None for a span that counts as neither, since it touches a gold token of unknown entity
            status or aligns with no gold token.
        """
        return self._judge(spans)[0]

    def judge_scored(
        self, spans: Sequence[EntityOffsets], scores: Sequence[float]
    ) -> list[tuple[str, float, bool]]:
        """Label and score of the spans that are right or wrong, and whether they are right.

        Args:
            spans: see ``judge``.
            scores: the probability of each. *Shape:* ``(len(spans),)``.

        Returns:
            In the order of ``spans``, without those that count as neither.
        """
        return [
            (label, score, right)
            for (_, _, label), score, right in zip(spans, scores, self.judge(spans), strict=True)
            if right is not None
        ]

    def missed(self, spans: Iterable[EntityOffsets]) -> list[EntityOffsets]:
        """Gold entities that none of the spans finds, as spans of the predicted tokens, sorted.

        A gold entity is left out if no span of the predicted tokens could find it, since they are
        cut otherwise.
        """
        aligned = []
        for start, end, label in self._judge(spans)[1]:
            span = _aligned(self._to_predicted, start, end)
            if span is not None and _aligned(self._to_gold, *span) == (start, end):
                aligned.append((*span, label))
        return sorted(aligned)

    def _judge(
        self, spans: Iterable[EntityOffsets]
    ) -> tuple[list[bool | None], set[EntityOffsets]]:
        left = set(self._spans)
        verdicts: list[bool | None] = []
        for start, end, label in spans:
            aligned = _aligned(self._to_gold, start, end)
            if aligned is None or self._unknown[aligned[1]] > self._unknown[aligned[0]]:
                verdicts.append(None)
                continue
            key = (*aligned, label)
            verdicts.append(key in left)
            left.discard(key)
        return verdicts, left


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


def _ranges(alignment: Any) -> tuple[list[int], list[int], list[int]]:
    """Where each token's aligned ones begin and end in the list of all, and that list."""
    ends = np.cumsum(alignment.lengths, dtype=np.int64)
    starts = ends - np.asarray(alignment.lengths, dtype=np.int64)
    return starts.tolist(), ends.tolist(), alignment.data.tolist()


def _aligned(
    ranges: tuple[list[int], list[int], list[int]], start: int, end: int
) -> tuple[int, int] | None:
    """The span of the other tokenization from the first aligned token to the last, if any."""
    starts, ends, tokens = ranges
    first, last = starts[start], ends[end - 1]
    return (tokens[first], tokens[last - 1] + 1) if last > first else None
