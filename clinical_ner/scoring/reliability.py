"""How far probabilities are from frequencies: calibration errors and log likelihood of tokens.

The expected calibration error is that of Naeini, Cooper and Hauskrecht 2015 (Obtaining Well
Calibrated Probabilities Using Bayesian Binning), with bins of equal mass as in Nguyen and O'Connor
2015 (Posterior Calibration and Exploratory Analysis for NLP Models): bins of equal width leave most
of them empty where nearly every token is an O that the model is sure of.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..types import LogProbs, TagIds
from .counts import DocumentCounts, ratio

BINS = 15

#: Kinds of counts of a bin, in the order of the last axis: tokens (or other cases) of the bin, the
#: sum of their confidences, those whose top label is gold's (or that are right).
TOKENS, CONFIDENCE, CORRECT = range(3)
KINDS = 3

#: Kinds of counts of the likelihood: tokens whose gold tag has a probability above 0, the sum of
#: their -log p(gold), and the other tokens, whose -log p would be infinite.
POSSIBLE, SURPRISE, IMPOSSIBLE = range(3)


def equal_mass_bins(confidence: NDArray[np.float64], *, bins: int = BINS) -> NDArray[np.int64]:
    """Bin of every token, such that each bin holds as many tokens as the others.

    Equal confidences stand in one bin, that of their mean rank, so that the order of the tokens
    decides nothing; bins may then be unequal, or empty.

    Args:
        confidence: *Shape:* ``(n,)``.
        bins: their number, at least 1.

    Returns:
        From 0 (the least sure) to ``bins - 1``. *Shape:* ``(n,)``.
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

    Args:
        confidence: per document, the probability of every token's top label, without masked tokens.
            *Shape of each:* ``(n,)``.
        correct: whether that label is gold's. *Shape of each:* ``(n,)``.
        bins: their number, at least 1.

    Returns:
        *Shape of its counts:* ``(documents, bins, 3)``.
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

    Args:
        totals: counts by bin. *Shape:* ``(..., bins, 3)``.

    Returns:
        In [0, 1], NaN without a token. *Shape:* ``(...)``.
    """
    gaps = np.abs(totals[..., CONFIDENCE] - totals[..., CORRECT]).sum(axis=-1)
    return ratio(gaps, totals[..., TOKENS].sum(axis=-1))


def bin_means(totals: NDArray[np.float64]) -> list[dict[str, float | int]]:
    """The bins of a reliability diagram, the least sure first; empty bins are left out.

    Args:
        totals: counts by bin. *Shape:* ``(bins, 3)``.

    Returns:
        For each bin its mean ``confidence``, its ``accuracy`` and its ``count``.
    """
    return [
        {"confidence": sure / count, "accuracy": right / count, "count": int(count)}
        for count, sure, right in totals.tolist()
        if count
    ]


@dataclass(frozen=True)
class TokenReliability:
    """What the scores of the probabilities of tokens are computed from.

    Attributes:
        bins: of the top label; see ``count_reliability``. *Shape:* ``(documents, bins, 3)``.
        classwise: of every tag; p_c is the confidence, and correct is whether gold is c. *Shape:*
            ``(documents, K, bins, 3)``.
        likelihood: *Shape:* ``(documents, 1, 3)``.
    """

    bins: DocumentCounts
    classwise: DocumentCounts
    likelihood: DocumentCounts


def count_tokens(
    log_probs: Sequence[LogProbs], truths: Sequence[TagIds], *, tags: Sequence[str]
) -> TokenReliability:
    """Count the tokens of all documents.

    Args:
        log_probs: per document, log p(tag | text) of the unmasked tokens. *Shape of each:* ``(n,
            K)``.
        truths: their gold tag ids; K or above for a gold tag that the model has not. *Shape of
            each:* ``(n,)``.
        tags: names of the K tags.
    """
    lengths = [len(ids) for ids in truths]
    document = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.concatenate([np.zeros((0, len(tags)), dtype=np.float32), *log_probs])
    gold = np.concatenate([np.zeros(0, dtype=np.int64), *truths])
    likelihood = np.zeros((len(lengths), 1, 3))
    known = gold < len(tags)
    surprise = np.full(len(gold), np.inf)
    surprise[known] = -rows[np.flatnonzero(known), gold[known]].astype(np.float64)
    finite = np.isfinite(surprise)
    kinds = np.stack([finite, np.where(finite, surprise, 0.0), ~finite], axis=1)
    np.add.at(likelihood[:, 0], document, kinds)
    ends = np.cumsum(lengths)[:-1]
    classwise = np.zeros((len(lengths), len(tags), BINS, KINDS))
    # One column at a time: all of them in double precision would be the largest array there is.
    confidence, top = np.zeros(len(rows)), np.full(len(rows), -1)
    for tag in range(len(tags)):
        column = np.exp(rows[:, tag].astype(np.float64))
        top[column > confidence] = tag
        confidence = np.maximum(confidence, column)
        classwise[:, tag] = count_reliability(
            np.split(column, ends), np.split(gold == tag, ends)
        ).counts
    bins = count_reliability(np.split(confidence, ends), np.split(top == gold, ends))
    return TokenReliability(
        bins=bins,
        classwise=DocumentCounts(tuple(tags), classwise),
        likelihood=DocumentCounts(("gold",), likelihood),
    )


def token_statistics(
    counts: TokenReliability, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Scores of the probabilities of tokens, of the documents as they are or of every resample.

    ``token_ece``: of the top label. ``token_classwise_ece``: the mean, over the tags with gold
    tokens, of the expected calibration error of p_c against whether gold is c, each with bins of
    equal mass of p_c over all tokens (Kull et al. 2019, Beyond temperature scaling, section 2, who
    have bins of equal width and all classes). ``token_nll``: the mean of -log p(gold tag), in nats,
    over the tokens whose gold tag has a probability above 0.

    Args:
        counts: of the tokens.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        By name, NaN where undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    by_tag = counts.classwise.totals(weights)
    in_gold = by_tag[..., CORRECT].sum(axis=-1) > 0
    errors = np.where(in_gold, expected_calibration_error(by_tag), 0.0)
    likelihood = counts.likelihood.totals(weights)[..., 0, :]
    return {
        "token_ece": expected_calibration_error(counts.bins.totals(weights)),
        "token_classwise_ece": ratio(errors.sum(axis=-1), in_gold.sum(axis=-1)),
        "token_nll": ratio(likelihood[..., SURPRISE], likelihood[..., POSSIBLE]),
    }


def token_calibration_error(
    probabilities: NDArray[np.float64], truths: NDArray[np.int64], *, bins: int = BINS
) -> float:
    """Token ECE: the expected calibration error of the top label.

    Args:
        probabilities: p(tag | text) of every token, before the lattice. *Shape:* ``(n, K)``.
        truths: gold tag ids; below 0 where masked, which leaves the token out. *Shape:* ``(n,)``.
        bins: their number, at least 1.

    Returns:
        In [0, 1], NaN without an unmasked token.
    """
    labelled = truths >= 0
    top = probabilities[labelled]
    correct = top.argmax(axis=1) == truths[labelled]
    counts = count_reliability([top.max(axis=1)], [correct], bins=bins)
    return float(expected_calibration_error(counts.totals()))
