"""How far new documents are from others: shares of classes, and tests by permutation."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import check_number

PERMUTATIONS = 1999


class Shares(NamedTuple):
    """Shares of classes, estimated.

    Attributes:
        shares: they sum to 1. *Shape:* ``(classes,)``.
        iterations: that were made.
        converged: whether the last one changed less than the tolerance.
    """

    shares: NDArray[np.float64]
    iterations: int
    converged: bool


def estimate_shares(
    probabilities: NDArray[np.floating],
    prior: NDArray[np.float64],
    *,
    tolerance: float = 1e-6,
    most: int = 1000,
) -> Shares:
    """Shares of the classes where they are other ones than in training, of maximum likelihood.

    Where only the shares have changed, and not what a class looks like, the text's likelihood as a
    function of new shares q is, up to a constant, the product over the tokens of

        sum over c of p(c | x) q_c / pi_c

    It is maximised by expectation-maximisation (Saerens, Latinne and Decaestecker 2002, Adjusting
    the outputs of a classifier to new a priori probabilities, Neural Computation 14, eq. 2.9):
    q starts as pi, and becomes the mean of p(c | x) q_c / pi_c, normalised for each token. The mean
    of p(c | x), without that, lies between pi and the truth.

    Args:
        probabilities: p(c | x) of at least one token, calibrated under `prior`. *Shape:*
            ``(n, classes)``.
        prior: pi, the shares in training; of a class without any, the estimate is 0.
        tolerance: no share changes more in the last iteration.
        most: of iterations.
    """
    check_number("tokens", len(probabilities), least=1)
    seen = prior > 0
    ratios = np.asarray(probabilities[:, seen], dtype=np.float64) / prior[seen]
    shares, converged, iterations = prior[seen] / prior[seen].sum(), False, 0
    while not converged and iterations < most:
        # The mean of ratios * shares / (their sum), as a product of a vector and a matrix.
        updated = shares * ((1.0 / (ratios @ shares)) @ ratios) / len(ratios)
        converged = bool(np.abs(updated - shares).max() <= tolerance)
        shares, iterations = updated, iterations + 1
    estimate = np.zeros(len(prior))
    estimate[seen] = shares
    return Shares(estimate, iterations, converged)


def rise(others: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """By how much the mean of new documents is above that of the others."""
    return float((new.mean(axis=0) - others.mean(axis=0)).sum())


def distance(others: NDArray[np.float64], new: NDArray[np.float64]) -> float:
    """Half the absolute differences of the means, summed: of shares, their total variation."""
    return float(np.abs(new.mean(axis=0) - others.mean(axis=0)).sum() / 2)


def permutation_test(
    others: NDArray[np.float64],
    new: NDArray[np.float64],
    statistic: Callable[[NDArray[np.float64], NDArray[np.float64]], float],
    *,
    permutations: int = PERMUTATIONS,
    seed: int = 0,
) -> float:
    """P-value of the hypothesis that two groups of documents are draws of one kind.

    The share of divisions of all documents into groups of these sizes, drawn at random and with the
    one that there is, whose statistic is at least as large (Phipson and Smyth 2010, Permutation
    p-values should never be zero).

    Args:
        others: a row for each document. *Shape:* ``(m, columns)``.
        new: likewise. *Shape:* ``(n, columns)``.
        statistic: of both; large where they differ.
        permutations: number of draws.
        seed: of the draws.
    """
    rng, both, m = np.random.default_rng(seed), np.concatenate([others, new]), len(others)
    # A sum in another order may differ in its last digit.
    limit = statistic(others, new) - 1e-12
    reached = 1
    for _ in range(permutations):
        order = rng.permutation(len(both))
        reached += statistic(both[order[:m]], both[order[m:]]) >= limit
    return reached / (permutations + 1)
