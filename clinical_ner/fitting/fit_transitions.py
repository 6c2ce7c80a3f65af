"""How much neighbouring tags weigh, by the likelihood of held-out gold.

The gold of a text is cut into segments, its entities and its tokens of O, and each is judged by its
own probability under the lattice: a composite likelihood (Varin, Reid and Firth 2011, An overview
of composite likelihood methods). The likelihood of whole sequences is largest at about four times
the weight: it gains from tokens that depend on each other, even where single entities become less
likely. What the component reports and decides by is the probability of entities.

An entity counts once. Counted once for each of its tokens, which would make the estimate consistent
if the lattice were the truth, the few long entities that a model has no idea of decide alone, and
the weight grows to its bound. So it is a little too small on texts drawn from the lattice.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..decoding.lattice import Lattice
from ..tags.scheme import MASKED, OUTSIDE
from ..types import LogProbs, TagIds, Transitions

#: Weights that are tried; at 1 the lattice is that of a hidden Markov model whose emissions are
#: scaled likelihoods (Bourlard and Morgan 1994, Connectionist Speech Recognition, chapter 7).
WEIGHTS = np.arange(21) / 20


def segment_likelihoods(
    log_probs: Sequence[LogProbs], gold: Sequence[TagIds], information: Sequence[Transitions]
) -> list[NDArray[np.float64]]:
    """Log-likelihood of the segments of every document, at each of ``WEIGHTS``.

    A segment with, or beside, a masked token has no known end, and is left out; so is one that the
    model gives no probability, which no weight changes.

    Args:
        log_probs: log p of the tokens that carry a tag. *Shape of each:* ``(n, K)``.
        gold: their tag ids, below 0 where masked. *Shape of each:* ``(n,)``.
        information: ``TagStatistics.pair_information`` of other documents than this one. *Shape of
            each:* ``(K, K)``.

    Returns:
        In nats. *Shape of each:* ``(weights,)``.
    """
    rows = [np.asarray(of, dtype=np.float64) for of in log_probs]
    segments = [_segments(ids) for ids in gold]
    found = np.zeros((len(rows), len(WEIGHTS)))
    # Of most documents it is one and the same, and their lattices are made together.
    alike: defaultdict[int, list[int]] = defaultdict(list)
    for row, of in enumerate(information):
        alike[id(of)].append(row)
    for together in alike.values():
        pairs = information[together[0]]
        legal = np.isfinite(pairs)
        for column, weight in enumerate(WEIGHTS):
            transitions = np.where(legal, weight * np.where(legal, pairs, 0.0), -np.inf)
            lattices = Lattice.of_all([rows[row] for row in together], transitions)
            for row, lattice in zip(together, lattices, strict=True):
                outside, spans = segments[row]
                values = [*np.exp(lattice.log_outside[outside])]
                values += [lattice.probability(*span) for span in spans]
                found[row, column] = sum(np.log(value) for value in values if value > 0)
    return list(found)


def best_weight(likelihoods: Sequence[NDArray[np.float64]]) -> float:
    """The smallest of ``WEIGHTS`` at which documents are most likely together."""
    return float(WEIGHTS[np.sum(likelihoods, axis=0).argmax()])


def gain_at(weight: float, likelihoods: NDArray[np.float64]) -> float:
    """What one of ``WEIGHTS`` adds to the log-likelihood of a document, in nats."""
    return float(likelihoods[weight == WEIGHTS][0] - likelihoods[0])


def _segments(ids: TagIds) -> tuple[NDArray[np.intp], list[tuple[int, int, int]]]:
    """Tokens of O, and entities as (start, end, type index), whose edges are known."""
    spans = []
    starts = np.flatnonzero((ids > OUTSIDE) & (ids % 2 == 1))
    for start in starts.tolist():
        end = start + 1
        while end < len(ids) and ids[end] == ids[start] + 1:
            end += 1
        if end == len(ids) or ids[end] > MASKED:
            spans.append((start, end, int(ids[start] // 2)))
    return np.flatnonzero(ids == OUTSIDE), spans
