"""The legal tag sequences of a text: the best of them, and the probability of every span.

Tokens are rows, tags are columns in the order of ``labels.scheme``. An I tag continues an entity of
its own type; everything else may follow anything, so a step needs one maximum (one sum) over all
tags and one comparison (one addition) per type, not K x K of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from ..labels.scheme import OUTSIDE
from ..types import EntityOffsets, LogProbs, TokenMask


class Lattice:
    """The distribution over the legal tag sequences of one text.

    A sequence has the product of its tokens' tag probabilities as its weight, and its weight over
    the sum of all of them as its probability. The forward-backward algorithm (Rabiner 1989, A
    Tutorial on Hidden Markov Models, section III.A) gives every sum over sequences in time linear
    in the tokens. A span is an entity of a type exactly if the tag at its start is B, those after
    it are I, and the one after its end is no I; the type alone tells the latter I from others. So
    all that a span's probability needs of the tokens outside is the mass before its start, and that
    after its end of sequences which begin with O or a B.

    log_probs: log p(tag | text) of the tokens that carry a tag; -inf where it is impossible.
        *Shape:* ``(n, K)``, K = 2 T + 1 for T types.
    """

    def __init__(self, log_probs: LogProbs) -> None:
        emissions = np.asarray(log_probs, dtype=np.float64)
        n, n_types = len(emissions), emissions.shape[1] // 2
        self._begin = emissions[:, 1::2].copy()
        self._inside = emissions[:, 2::2].copy()
        #: Log mass of the first i + 1 tokens over that of the first i. Kept apart, since
        #: differences of their sums would lose digits in a long text. *Shape:* ``(n,)``.
        self._steps = np.zeros(n)
        #: Log mass of the tokens from i on, if they begin with O or a B, over their mass in the
        #: whole (the total over the mass of the first i tokens). *Shape:* ``(n + 1,)``.
        self._after = np.zeros(n + 1)
        #: The same where an entity of the type is open, which may go on. *Shape:* ``(n + 1, T)``.
        self._open_after = np.zeros((n + 1, n_types))
        self._sum(emissions[:, OUTSIDE].tolist())
        #: Log of the sum of the weights of all legal sequences; 0 for a text without tokens.
        self.log_total = float(self._steps.sum())
        if self.log_total == -np.inf:
            # No legal sequence is possible, so no span has any mass.
            self._begin[:], self._steps[:] = -np.inf, 0.0

    def _sum(self, outside: list[float]) -> None:
        """Fill the masses, forward and then backward, with logarithms, which never underflow.

        outside: log-probability of O of each token.
        """
        begin, inside = self._begin, self._inside
        ends_open = np.full(begin.shape[1], -np.inf)
        for i, log_outside in enumerate(outside):
            ends_open = np.logaddexp(begin[i], ends_open + inside[i])
            self._steps[i] = step = np.logaddexp.reduce(ends_open, initial=log_outside)
            if step == -np.inf:
                return
            ends_open -= step
        after, follows = 0.0, np.zeros(begin.shape[1])
        for i in range(len(outside) - 1, -1, -1):
            step = self._steps[i]
            after = np.logaddexp.reduce(begin[i] + follows, initial=outside[i] + after) - step
            follows = np.logaddexp(inside[i] + follows - step, after)
            self._after[i], self._open_after[i] = after, follows

    def probability(self, start: int, end: int, type_index: int) -> float:
        """P(exactly this span is an entity of exactly this type | text).

        start, end: first token and one past the last, 0 <= start < end <= n.
        type_index: position of the type among the labels.
        """
        log_weight = self._begin[start, type_index] - self._steps[start]
        log_weight += (
            self._inside[start + 1 : end, type_index] - self._steps[start + 1 : end]
        ).sum()
        # Rounding may put a sure span above 1.
        return math.exp(min(log_weight + self._after[end], 0.0))

    def candidates(self, min_probability: float) -> Iterator[tuple[int, int, int, float]]:
        """Every span and type with at least this probability.

        The probability that an entity of a type begins at a token and holds another one only falls
        with their distance, and bounds that of every longer span: the search ends there.

        min_probability: above 0; at most 1 / min_probability spans of a token can reach it.

        YIELDS: start, end, type index and probability, by start, then type, then end.
        """
        n = len(self._begin)
        log_weights = self._begin - self._steps[:, None]
        log_min = math.log(min_probability)
        for start, type_index in np.argwhere(
            log_weights + self._open_after[1:] >= log_min
        ).tolist():
            log_weight = log_weights[start, type_index]
            for end in range(start + 1, n + 1):
                probability = math.exp(min(log_weight + self._after[end], 0.0))
                if probability >= min_probability:
                    yield start, end, type_index, probability
                if end == n:
                    break
                log_weight += self._inside[end, type_index] - self._steps[end]
                if log_weight + self._open_after[end + 1, type_index] < log_min:
                    break


def best_sequence(scores: LogProbs) -> NDArray[np.int64]:
    """Viterbi over the legal BIO sequences: the one with the largest sum of scores.

    Ties go to the smaller tag id at the earliest position from the end, so the result is one and
    the same on every run.

    scores: log scores of each token's tags; -inf forbids a tag. *Shape:* ``(n, K)``.

    RETURNS: tag ids. *Shape:* ``(n,)``.
    """
    n, n_tags = scores.shape
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    emissions = np.asarray(scores, dtype=np.float64)
    # The best tag before each token, and, by type, whether an I before it beats a B.
    origins = np.zeros(n, dtype=np.int64)
    continues = np.zeros((n, n_tags // 2), dtype=bool)
    best = emissions[0].copy()
    best[2::2] = -np.inf
    for i in range(1, n):
        # From any tag to O and to every B ...
        origins[i] = origin = best.argmax()
        total = emissions[i] + best[origin]
        # ... and from the B or I of a type to its I.
        from_begin, from_inside = best[1::2], best[2::2]
        np.greater(from_inside, from_begin, out=continues[i])
        np.add(emissions[i, 2::2], np.maximum(from_begin, from_inside), out=total[2::2])
        best = total
    path = np.empty(n, dtype=np.int64)
    path[-1] = tag = int(best.argmax())
    for i in range(n - 1, 0, -1):
        if tag == OUTSIDE or tag % 2:
            tag = int(origins[i])
        elif not continues[i, tag // 2 - 1]:
            tag -= 1
        path[i - 1] = tag
    return path


def entities_of(
    path: NDArray[np.int64], labels: list[str], tokens: TokenMask
) -> list[EntityOffsets]:
    """Entities of a legal tag sequence over the taggable tokens of a document.

    An entity may hold whitespace tokens inside, never at an edge.

    path: tag ids of the taggable tokens. *Shape:* ``(tokens.sum(),)``.
    labels: the entity types, in the order of their tags.
    tokens: True for the tokens that carry a tag. *Shape:* ``(n,)``.

    RETURNS: (first token, one past the last, label) in the order of the text.
    """
    entities: list[EntityOffsets] = []
    positions = np.flatnonzero(tokens)
    start, last, label = -1, -1, ""
    for position, tag in zip(positions.tolist(), path.tolist(), strict=True):
        continues = tag != OUTSIDE and tag % 2 == 0
        if start >= 0 and not continues:
            entities.append((start, last + 1, label))
            start = -1
        if tag != OUTSIDE and not continues:
            start, label = position, labels[(tag - 1) // 2]
        last = position
    if start >= 0:
        entities.append((start, last + 1, label))
    return entities
