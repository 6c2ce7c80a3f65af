"""Strict entity counts, and precision, recall and F1 computed from them.

An entity counts as found if its label and both its boundaries agree with gold.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example

from .counts import ratio

#: Kinds of counts, in the order of the last axis: true positives, false positives, false negatives.
TP, FP, FN = range(3)
KINDS = 3


def count_spans(example: Example) -> dict[str, list[int]]:
    """Count the entities of one document per label, as ``spacy.scorer.get_ner_prf`` does.

    A document without any gold annotation counts nothing. A predicted entity that touches a gold
    token of unknown entity status, or that aligns with no gold token, is neither right nor wrong.

    Args:
        example: predictions and gold, possibly tokenized differently.

    Returns:
        [true positives, false positives, false negatives] by label; a label whose predictions are
        all ignored is listed with zeros.
    """
    counts: dict[str, list[int]] = {}
    predicted, gold = example.predicted, example.reference
    if not gold.has_annotation("ENT_IOB"):
        return counts
    missed = {(ent.label_, ent.start, ent.end) for ent in gold.ents}
    to_gold = example.alignment.x2y
    for ent in predicted.ents:
        of_label = counts.setdefault(ent.label_, [0] * KINDS)
        aligned = to_gold[ent.start : ent.end]
        if not len(aligned):
            continue
        start, end = int(aligned[0]), int(aligned[-1]) + 1
        if any(token.ent_iob == 0 for token in gold[start:end]):
            continue
        key = (ent.label_, start, end)
        of_label[TP if key in missed else FP] += 1
        # Two predictions may align with one gold entity; only the first finds it.
        missed.discard(key)
    for label, _, _ in missed:
        counts.setdefault(label, [0] * KINDS)[FN] += 1
    return counts


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
