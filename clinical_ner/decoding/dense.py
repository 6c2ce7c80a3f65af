"""The recursions of the lattice where every pair of neighbouring tags has a score of its own.

Only an I is tied to the tags before it (``tags.scheme.legal_transitions``). What arrives at O and
at the B tags may come from any tag: that part of a step is one matrix product of masses, relative
to the largest of their text. The scores of legal pairs are finite, so a mass that is too small for
float64 beside the largest one is too small beside every sum that it enters. What goes on, from the
B or I of a type to its I, is added as logarithms, which never underflow: an entity may be long.

Columns are in the order O, every B, every I here, so that each kind is a slice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ..tags.scheme import OUTSIDE
from ..types import LogProbs, Transitions
from .packing import Packing


class DenseLattice:
    """The recursions over texts of K = 2 T + 1 tags, side by side.

    Args:
        texts: log scores of the tags of each text's tokens, in the order of their ids, -inf where
            impossible; at least one. *Shape of each:* ``(n, K)``.
        transitions: log weight of a tag behind another, [from, to], finite where that is legal.
            *Shape:* ``(K, K)``.

    Attributes:
        packing: of the texts.
        emissions: their scores. *Shape:* ``(tokens, K)``.
        to_start: transitions from any tag to O and to every B. *Shape:* ``(K, T + 1)``.
        first: from the B of a type to its I. *Shape:* ``(T,)``.
        further: from the I of a type to its I. *Shape:* ``(T,)``.
    """

    def __init__(self, texts: Sequence[LogProbs], transitions: Transitions) -> None:
        n_tags = len(transitions)
        self._tags = np.r_[OUTSIDE, 1:n_tags:2, 2:n_tags:2]
        self._starts = n_tags // 2 + 1
        self.packing = Packing([len(text) for text in texts])
        self.emissions = self.packing.pack(texts)[:, self._tags]
        of_pairs = transitions[np.ix_(self._tags, self._tags)]
        types = np.arange(n_tags // 2)
        self.to_start = of_pairs[:, : self._starts]
        self.first = of_pairs[1 + types, self._starts + types]
        self.further = of_pairs[self._starts + types, self._starts + types]

    def forward(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The sums over what is before.

        Returns:
            The log mass of a text's first i + 1 tokens over that of its first i, -inf where there
            is none, *shape* ``(tokens,)``; and the log of what an O or a B gets from the latter, 0
            at the first token. *Shape:* ``(tokens, T + 1)``.
        """
        starts, weights = self._starts, np.exp(self.to_start)
        entering = np.zeros((len(self.emissions), starts))
        steps = np.empty(len(self.emissions))
        found = masses = top = step = np.zeros((0, 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            for i, (width, rows) in enumerate(self._by_place()):
                before, found = found[:width] - step[:width], self.emissions[rows].copy()
                if i:
                    entering[rows] = np.log(masses[:width] @ weights) + (top - step)[:width]
                    found[:, :starts] += entering[rows]
                    found[:, starts:] += np.logaddexp(
                        before[:, 1:starts] + self.first, before[:, starts:] + self.further
                    )
                else:
                    found[:, starts:] = -np.inf
                top, masses = _relative(found)
                step = np.log(masses.sum(axis=1, keepdims=True)) + top
                steps[rows] = step[:, 0]
        # No number from there on where a text has become impossible.
        steps[~np.isfinite(steps)] = -np.inf
        return steps, entering

    def backward(
        self, steps: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The sums over what is after, by the tag before.

        Args:
            steps: what ``forward`` returned; 0 where that is not finite.

        Returns:
            The mass of the tokens from i on, over their mass in the whole, behind each tag at
            i - 1: if they begin with O or a B, and in all. *Shape of both:* ``(tokens, K)``.
        """
        starts, weights = self._starts, np.exp(self.to_start).T
        ended, any_after = np.empty_like(self.emissions), np.empty_like(self.emissions)
        # 0 at the end, where a shorter text comes in on the way back.
        after_of_all = np.zeros((len(self.packing.lengths), len(self._tags)))
        with np.errstate(divide="ignore"):
            for width, rows in reversed(list(self._by_place())):
                arriving = self.emissions[rows] + after_of_all[:width]
                arriving -= steps[rows, None]
                top, masses = _relative(arriving[:, :starts])
                after = after_of_all[:width]
                np.log(masses @ weights, out=after)
                after += top
                ended[rows] = after
                goes_on = arriving[:, starts:]
                after[:, 1:starts] = np.logaddexp(after[:, 1:starts], goes_on + self.first)
                after[:, starts:] = np.logaddexp(after[:, starts:], goes_on + self.further)
                any_after[rows] = after
        return ended, any_after

    def best_sequences(self) -> list[NDArray[np.int64]]:
        """Viterbi: the sequence of each text with the largest sum, ties going to O, then to B.

        Returns:
            Tag ids. *Shape of each:* ``(n,)``.
        """
        starts, to_start = self._starts, np.ascontiguousarray(self.to_start.T)
        highest, lowest = to_start.max(axis=0), to_start.min(axis=0)
        origins = np.zeros(self.emissions.shape, dtype=np.int64)
        best_of_all = np.full((len(self.packing.lengths), len(self._tags)), -np.inf)
        inside = np.arange(starts, len(self._tags))
        for i, (width, rows) in enumerate(self._by_place()):
            best, before = best_of_all[:width], best_of_all[:width].copy()
            best[:] = self.emissions[rows]
            if not i:
                best[:, starts:] = -np.inf
                continue
            # Most tags are so far behind the best one that no transition can help them.
            in_reach = before + highest >= (before + lowest).max(axis=1, keepdims=True)
            kept = np.flatnonzero(in_reach.any(axis=0))
            arriving = before[:, None, kept] + to_start[:, kept]
            origin = arriving.argmax(axis=2)
            best[:, :starts] += np.take_along_axis(arriving, origin[:, :, None], axis=2)[:, :, 0]
            first, further = before[:, 1:starts] + self.first, before[:, starts:] + self.further
            best[:, starts:] += np.maximum(first, further)
            origins[rows, :starts] = kept[origin]
            origins[rows, starts:] = np.where(further > first, inside, inside - starts + 1)
        last = self.packing.unordered(best_of_all.argmax(axis=1)).tolist()
        return [
            self._tags[_path(tag, of_text)]
            for tag, of_text in zip(last, self.packing.unpack(origins), strict=True)
        ]

    def _by_place(self) -> Iterator[tuple[int, slice]]:
        """The number of texts that have an i-th token, and the rows of these, for every i."""
        return zip(self.packing.widths, self.packing.steps, strict=True)


def _relative(found: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The largest log mass of every row, 0 where there is none, and the masses relative to it."""
    top = found.max(axis=1, keepdims=True)
    top[~np.isfinite(top)] = 0.0
    return top, np.exp(found - top)


def _path(column: int, origins: NDArray[np.int64]) -> NDArray[np.int64]:
    """The way back from the column of the last token. *Shape:* ``(n,)``."""
    path = np.empty(len(origins), dtype=np.int64)
    for i in range(len(path) - 1, -1, -1):
        path[i] = column
        column = int(origins[i, column])
    return path
