"""How far the confidence of tokens is from their accuracy: the expected calibration error.

After Naeini, Cooper and Hauskrecht 2015 (Obtaining Well Calibrated Probabilities Using Bayesian
Binning), with bins of equal mass as in Nguyen and O'Connor 2015 (Posterior Calibration and
Exploratory Analysis for NLP Models): bins of equal width leave most of them empty where nearly
every token is an O that the model is sure of.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .counts import DocumentCounts, ratio

BINS = 15

#: Kinds of counts, in the order of the last axis: tokens of the bin, the sum of their confidences,
#: those whose top label is gold's.
TOKENS, CONFIDENCE, CORRECT = range(3)
KINDS = 3


def equal_mass_bins(confidence: NDArray[np.float64], *, bins: int = BINS) -> NDArray[np.int64]:
    """Bin of every token, such that each bin holds as many tokens as the others.

    Equal confidences stand in one bin, that of their mean rank, so that the order of the tokens
    decides nothing; bins may then be unequal, or empty.

    confidence: *Shape:* ``(n,)``.
    bins: their number, at least 1.

    RETURNS: from 0 (the least sure) to ``bins - 1``. *Shape:* ``(n,)``.
    """
    _, group, sizes = np.unique(confidence, return_inverse=True, return_counts=True)
    mean_ranks = np.cumsum(sizes) - (sizes + 1) / 2
    return np.floor(mean_ranks[group] * bins / max(len(confidence), 1)).astype(np.int64)


def count_reliability(
    confidence: Sequence[NDArray[np.float64]],
    correct: Sequence[NDArray[np.bool_]],
    *,
    bins: int = BINS,
) -> DocumentCounts:
    """Count per document and bin; the bins are of equal mass over all documents together.

    Resamples of the documents keep these bins, so that the error of every resample is a function
    of the counts.

    confidence: per document, the probability of every token's top label, without masked tokens.
        *Shape of each:* ``(n,)``.
    correct: whether that label is gold's. *Shape of each:* ``(n,)``.
    bins: their number, at least 1.

    RETURNS: *Shape of its counts:* ``(documents, bins, 3)``.
    """
    lengths = [len(values) for values in confidence]
    document = np.repeat(np.arange(len(lengths)), lengths)
    sure = np.concatenate([np.zeros(0), *confidence])
    right = np.concatenate([np.zeros(0, dtype=bool), *correct])
    counts = np.zeros((len(lengths), bins, KINDS))
    values = np.stack([np.ones(len(sure)), sure, right.astype(np.float64)], axis=1)
    np.add.at(counts, (document, equal_mass_bins(sure, bins=bins)), values)
    return DocumentCounts(tuple(f"bin {number:02}" for number in range(1, bins + 1)), counts)


def expected_calibration_error(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean over tokens of |mean confidence - accuracy| of their bin.

    totals: counts by bin. *Shape:* ``(..., bins, 3)``.

    RETURNS: in [0, 1], NaN without a token. *Shape:* ``(...)``.
    """
    gaps = np.abs(totals[..., CONFIDENCE] - totals[..., CORRECT]).sum(axis=-1)
    return ratio(gaps, totals[..., TOKENS].sum(axis=-1))


def token_calibration_error(
    probabilities: NDArray[np.float64], truths: NDArray[np.int64], *, bins: int = BINS
) -> float:
    """Token ECE: the expected calibration error of the top label.

    probabilities: p(tag | text) of every token, before the lattice. *Shape:* ``(n, K)``.
    truths: gold tag ids; below 0 where masked, which leaves the token out. *Shape:* ``(n,)``.
    bins: their number, at least 1.

    RETURNS: in [0, 1], NaN without an unmasked token.
    """
    labelled = truths >= 0
    top = probabilities[labelled]
    correct = top.argmax(axis=1) == truths[labelled]
    counts = count_reliability([top.max(axis=1)], [correct], bins=bins)
    return float(expected_calibration_error(counts.totals()))
