"""The settings of the neighbours, by the likelihood of held-out tags."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import InputError
from ..neighbours.datastore import Datastore
from ..neighbours.mixing import Neighbours, kernel, log_mixture
from ..types import LogProbs, TagIds

#: Smallest number of neighbours that is tried; the others are its doubles.
MIN_K = 4
#: Values of r that are tried. 1 is not: one tag that no neighbour has would cost infinitely much.
MIXING = tuple(round(0.05 * step, 2) for step in range(19))
#: Temperatures that are tried, as multiples of the median squared distance to the nearest vector.
TEMPERATURES = tuple(2.0**power for power in range(-6, 7))


@dataclass(frozen=True)
class NeighboursFit:
    """The best settings.

    Attributes:
        neighbours: with them; ``mixing`` is 0 where the datastore does not help.
        nll_before: mean of -log p(gold tag) of the model alone, in nats per token; infinite where a
            gold tag has probability 0.
        nll_after: the same with the neighbours; nowhere larger.
        tokens: number of tokens that the means are over.
        unseen: tokens left out, since the model gives their tag probability 0 and none of their
            nearest neighbours has it, so that no setting could help.
    """

    neighbours: Neighbours
    nll_before: float
    nll_after: float
    tokens: int
    unseen: int


def k_grid(max_k: int) -> list[int]:
    """Numbers of neighbours that are tried: 4, 8, 16, ... and max_k itself."""
    doubles = [MIN_K * 2**i for i in range(max_k.bit_length()) if MIN_K * 2**i < max_k]
    return [*doubles, max_k]


def fit_neighbours(
    datastore: Datastore,
    log_probs: LogProbs,
    vectors: NDArray[np.floating],
    gold: TagIds,
    *,
    max_k: int = 64,
) -> NeighboursFit:
    """Choose k, r and T by the negative log-likelihood of gold tags, a proper score.

    Of settings that are equally good, that with the smallest T, then k, then r is taken, and r is
    0 unless a larger one is better.

    Args:
        datastore: vectors of tokens other than those below.
        log_probs: log p of the model for held-out tokens. *Shape:* ``(n, K)``.
        vectors: of the same tokens. *Shape:* ``(n, width)``.
        gold: their tag ids, none masked. *Shape:* ``(n,)``.
        max_k: the largest k to try.

    Raises:
        ClinicalNerError: max_k is larger than the datastore, or no token has a tag that the model
            or its nearest neighbours know.
    """
    if max_k > len(datastore):
        raise InputError(
            f"{max_k} neighbours were asked for, but the datastore has {len(datastore)} vectors: "
            "ask for fewer (--max-k), or give more training documents."
        )
    log_gold = np.asarray(log_probs, dtype=np.float64)[np.arange(len(gold)), gold]
    squared, rows = datastore.search(vectors, max_k)
    hits = datastore.tags[rows] == gold[:, None]
    # Of the others every setting has an infinite likelihood, which would hide what it gains.
    known = np.isfinite(log_gold) | hits.any(axis=1)
    if not known.any():
        raise InputError(
            "No held-out token has a tag that the model or its nearest neighbours know, so k, r "
            "and T cannot be fitted. Name documents annotated with the labels of the model."
        )
    log_gold, squared, rows, hits = log_gold[known], squared[known], rows[known], hits[known]
    votes = datastore.votes[rows]
    scale = _scale(squared)
    ks = k_grid(max_k)
    nll_before = -float(log_gold.mean())
    best = (nll_before, Neighbours(datastore, ks[0], 0.0, scale))
    for temperature in (factor * scale for factor in TEMPERATURES):
        # Neighbours are in order of distance, so sums over the first k are those for every k.
        weights = votes * kernel(squared, temperature)
        of_gold = np.cumsum(weights * hits, axis=1)
        of_all = np.cumsum(weights, axis=1)
        for k in ks:
            with np.errstate(divide="ignore"):
                log_knn = np.log(of_gold[:, k - 1] / of_all[:, k - 1])
            for mixing in MIXING[1:]:
                nll = -float(log_mixture(log_knn, log_gold, mixing).mean())
                if nll < best[0]:
                    best = (nll, Neighbours(datastore, k, mixing, temperature))
    return NeighboursFit(
        neighbours=best[1],
        nll_before=nll_before,
        nll_after=best[0],
        tokens=int(known.sum()),
        unseen=int((~known).sum()),
    )


def _scale(squared: NDArray[np.float64]) -> float:
    """Median squared distance to the nearest vector that is not the same. *squared:* ``(n, k)``."""
    nearest = squared[:, 0]
    apart = nearest[nearest > 0]
    # All stand on a vector of the datastore: any temperature sees them at distance 0.
    return float(np.median(apart)) if len(apart) else 1.0
