"""The matching of spans with gold, strict counts, and precision, recall and F1 of them.

A span, as that of an entity, counts as found if its label and both its boundaries agree with gold.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Span
from spacy.training import Example

from ..tags.encode import alignment_of
from ..types import EntityOffsets
from .counts import ratio

#: Kinds of counts, in the order of the last axis: true positives, false positives, false negatives.
TP, FP, FN = range(3)
KINDS = 3


class GoldSpans:
    """The gold spans of one document, against which spans of the predicted tokens are held.

    Attributes:
        example: gold, and the tokens of the prediction; its entities are ignored.
        spans: of the gold document, which may overlap; by default its entities. Those that touch a
            token of unknown entity status are left out.
    """

    def __init__(self, example: Example, spans: Iterable[Span] | None = None) -> None:
        gold = example.reference
        annotated = gold.has_annotation("ENT_IOB")
        alignment = alignment_of(example)
        self._to_gold = _ranges(alignment.x2y)
        self._alignment = alignment
        unknown = [not annotated or token.ent_iob == 0 for token in gold]
        #: Number of tokens of unknown entity status before each. *Shape:* ``(n + 1,)``.
        self._unknown = np.concatenate([[0], np.cumsum(unknown, dtype=np.int64)]).tolist()
        #: The gold spans, in the tokens of gold.
        self.spans: set[EntityOffsets] = {
            (span.start, span.end, span.label_)
            for span in (gold.ents if spans is None else spans)
            if self._unknown[span.end] == self._unknown[span.start]
        }

    @property
    def support(self) -> Counter[str]:
        """Number of gold spans by label."""
        return Counter(label for _, _, label in self.spans)

    def in_gold(self, span: EntityOffsets) -> EntityOffsets | None:
        """A span of the predicted tokens in the tokens of gold; it is right if it is in `spans`.

        Returns:
            None for one that counts as neither right nor wrong, since it touches a gold token of
            unknown entity status or aligns with no gold token.
        """
        start, end, label = span
        aligned = _aligned(self._to_gold, start, end)
        if aligned is None or self._unknown[aligned[1]] > self._unknown[aligned[0]]:
            return None
        return (*aligned, label)

    def match(self, spans: Iterable[EntityOffsets]) -> tuple[list[bool | None], set[EntityOffsets]]:
        """Hold spans against gold; a gold span is found by the first one that agrees with it.

        Args:
            spans: of the predicted tokens; the more probable of two that align with one gold span
                is to stand first.

        Returns:
            Whether each span is right, None for one that counts as neither (see `in_gold`). And
            the gold spans that none of them finds, in the tokens of gold.
        """
        left = set(self.spans)
        verdicts: list[bool | None] = []
        for key in map(self.in_gold, spans):
            verdicts.append(None if key is None else key in left)
            left.discard(key)  # type: ignore[arg-type]
        return verdicts, left

    def judge_scored(
        self, spans: Sequence[EntityOffsets], scores: Sequence[float]
    ) -> list[tuple[str, float, bool]]:
        """Label and score of the spans that are right or wrong, and whether they are right.

        Args:
            spans: see ``match``.
            scores: the probability of each. *Shape:* ``(len(spans),)``.

        Returns:
            In the order of ``spans``, without those that count as neither.
        """
        return [
            (label, score, right)
            for (_, _, label), score, right in zip(spans, scores, self.match(spans)[0], strict=True)
            if right is not None
        ]

    def missed(self, spans: Iterable[EntityOffsets]) -> list[EntityOffsets]:
        """Gold spans that none of the spans finds, as spans of the predicted tokens, sorted.

        A gold span is left out if no span of the predicted tokens could find it, since they are
        cut otherwise.
        """
        aligned = []
        to_predicted = _ranges(self._alignment.y2x)
        for start, end, label in self.match(spans)[1]:
            span = _aligned(to_predicted, start, end)
            if span is not None and _aligned(self._to_gold, *span) == (start, end):
                aligned.append((*span, label))
        return sorted(aligned)

    def count(self, spans: Sequence[EntityOffsets]) -> dict[str, list[int]]:
        """Count spans of the predicted tokens per label.

        Returns:
            [true positives, false positives, false negatives] by label; a label whose spans are all
            ignored is listed with zeros.
        """
        verdicts, missed = self.match(spans)
        labels = {label for _, _, label in (*spans, *missed)}
        counts: dict[str, list[int]] = {label: [0] * KINDS for label in labels}
        for (_, _, label), right in zip(spans, verdicts, strict=True):
            if right is not None:
                counts[label][TP if right else FP] += 1
        for _, _, label in missed:
            counts[label][FN] += 1
        return counts


def count_spans(example: Example) -> dict[str, list[int]]:
    """Count the entities of one document per label, as ``spacy.scorer.get_ner_prf`` does.

    A document without any gold annotation counts nothing.

    Args:
        example: predictions and gold, possibly tokenized differently.

    Returns:
        See ``GoldSpans.count``.
    """
    if not example.reference.has_annotation("ENT_IOB"):
        return {}
    return GoldSpans(example).count([(e.start, e.end, e.label_) for e in example.predicted.ents])


def micro_scores(
    totals: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Micro-averaged precision, recall and F1 over all labels.

    As in spaCy they are undefined (NaN) only if there is nothing to count, neither gold nor
    predicted; otherwise a ratio with an empty denominator is 0.

    Args:
        totals: counts by label. *Shape:* ``(..., labels, 3)``.

    Returns:
        Three arrays. *Shape of each:* ``(...)``.
    """
    sums = totals.sum(axis=-2)
    tp, fp, fn = sums[..., TP], sums[..., FP], sums[..., FN]
    undefined = tp + fp + fn == 0

    def share(numerator: NDArray[np.float64], of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.where(undefined, np.nan, np.nan_to_num(ratio(numerator, of), nan=0.0))

    return share(tp, tp + fp), share(tp, tp + fn), share(2 * tp, 2 * tp + fp + fn)


def label_f(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """F1 = 2 TP / (2 TP + FP + FN) of each label, NaN where gold has none of it.

    Args:
        totals: counts by label. *Shape:* ``(..., labels, 3)``.

    Returns:
        *Shape:* ``(..., labels)``.
    """
    tp, fp, fn = totals[..., TP], totals[..., FP], totals[..., FN]
    return np.where(tp + fn > 0, ratio(2 * tp, 2 * tp + fp + fn), np.nan)


def macro_f(
    totals: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean F1 over the labels that gold has, and their number.

    Args:
        totals: counts by label. *Shape:* ``(..., labels, 3)``.

    Returns:
        Mean F1, NaN where gold has no entity; number of labels. *Shape of each:* ``(...)``.
    """
    f = label_f(totals)
    in_gold = ~np.isnan(f)
    number = in_gold.sum(axis=-1)
    return ratio(np.where(in_gold, f, 0.0).sum(axis=-1), number), number


def label_scores(labels: tuple[str, ...], totals: NDArray[np.float64]) -> dict[str, dict[str, Any]]:
    """Scores of each label.

    Args:
        labels: names of the labels.
        totals: their counts. *Shape:* ``(labels, 3)``.

    Returns:
        By label, precision ``p`` (0 where nothing is predicted), recall ``r`` and F1 ``f`` (both
        None where gold has none), ``support`` and ``predicted`` as numbers of entities.
    """
    scores: dict[str, dict[str, Any]] = {}
    for label, (tp, fp, fn) in zip(labels, totals.astype(int).tolist(), strict=True):
        support, predicted = tp + fn, tp + fp
        scores[label] = {
            "p": tp / predicted if predicted else 0.0,
            "r": tp / support if support else None,
            "f": 2 * tp / (2 * tp + fp + fn) if support else None,
            "support": support,
            "predicted": predicted,
        }
    return scores


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
