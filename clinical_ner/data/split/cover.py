"""Exchanges after the stratification, so that every label is in every part where they reach that.

Stratification aims at shares, and a label of few documents may end up with none in some part. Here
units (documents or groups) change places until no exchange puts a label into a part that lacks it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from .units import Units


def cover(units: Units, part_of: NDArray[np.intp], sizes: Sequence[int]) -> NDArray[np.intp]:
    """Change a division greedily so that labels are in every part.

    First, where the parts do not have the sizes wanted, moves and exchanges of two units bring them
    nearer. Then exchanges each put a label into a part that lacks it and take none away: of those,
    the one with the best sizes, and then with the least deviation from the stratification, in
    squares of documents relative to the label's. It ends where no single exchange helps: a label
    may still be missing somewhere, although another division would have it everywhere.

    Guaranteed: parts of documents get their sizes, no part is empty, and once the sizes are
    reached a label of every part stays in every part. A division that has the sizes and lacks
    nothing is returned as it is, and equal arguments give equal results.

    Args:
        units: at least as many as parts.
        part_of: the part of each unit, numbered from 0. *Shape:* ``(units,)``.
        sizes: documents that each part should have, with the sum of all.

    Returns:
        The part of each unit. *Shape:* ``(units,)``.
    """
    arrangement = _Arrangement(units, part_of, np.asarray(sizes, dtype=np.float64))
    while arrangement.off_size and arrangement.exchange(covering=False, keep_labels=False):
        pass
    while arrangement.open_labels and arrangement.exchange(covering=True, keep_labels=True):
        pass
    while arrangement.off_size and arrangement.exchange(covering=False, keep_labels=True):
        pass
    return arrangement.part_of


#: The change of the parts' distance from their sizes, in documents, and of the squared deviation
#: from the stratification; the units that move, each with the part that it goes to.
_Exchange = tuple[float, float, list[tuple[int, int]]]


class _Arrangement:
    """Units in parts, and the best exchange between two of them."""

    def __init__(self, units: Units, part_of: NDArray[np.intp], sizes: NDArray[np.float64]) -> None:
        self.units = units
        self._sizes = sizes
        of_label = units.holding.sum(axis=0)
        self._required = (units.holding > 0).sum(axis=0) >= len(sizes)
        self._wanted = np.outer(sizes / sizes.sum(), of_label)
        self._weights = 1 / np.maximum(of_label, 1)
        self._assign(part_of)

    def _assign(self, part_of: NDArray[np.intp]) -> None:
        """Take over a division, and count it. *Shape:* ``(units,)``."""
        self.part_of = np.array(part_of, dtype=np.intp)
        parts = len(self._sizes)
        self._documents = np.bincount(self.part_of, weights=self.units.documents, minlength=parts)
        self._held = np.zeros((parts, self.units.holding.shape[1]), dtype=np.int64)
        np.add.at(self._held, self.part_of, self.units.holding)

    @property
    def open_labels(self) -> int:
        """Number of labels that enough units hold, and that are not in every part."""
        return int((self._held[:, self._required] == 0).any(axis=0).sum())

    @property
    def off_size(self) -> float:
        """Documents that parts have too many or too few."""
        return float(np.abs(self._documents - self._sizes).sum())

    def exchange(self, *, covering: bool, keep_labels: bool) -> bool:
        """Make the best move or exchange; False if there is none.

        Args:
            covering: it lessens what parts lack; otherwise it brings the sizes nearer.
            keep_labels: it lets no label be in fewer parts than before.
        """
        parts = range(len(self._sizes))
        found = [
            exchange
            for p in parts
            for q in parts[p + 1 :]
            if (exchange := self._best_between(p, q, covering, keep_labels)) is not None
        ]
        if not found:
            return False
        part_of = self.part_of.copy()
        _, _, moves = min(found, key=lambda exchange: exchange[:2])
        for unit, part in moves:
            part_of[unit] = part
        self._assign(part_of)
        return True

    def _best_between(self, p: int, q: int, covering: bool, keep_labels: bool) -> _Exchange | None:
        """The best exchange of a unit of `p` against one of `q`.

        All arrays over exchanges have the *shape* ``(units of p, units of q)``, with a last row and
        column for nothing where moves are allowed.
        """
        with_moves = not (covering and self.units.are_documents)
        units_p, units_q = (np.flatnonzero(self.part_of == part) for part in (p, q))
        a, b = (self._with_nothing(self.units.holding[u], with_moves) for u in (units_p, units_q))
        size_a, size_b = (
            self._with_nothing(self.units.documents[u], with_moves) for u in (units_p, units_q)
        )
        shift = size_a[:, None] - size_b[None, :]
        sizes = (
            self._off(p, self._documents[p] - shift)
            + self._off(q, self._documents[q] + shift)
            - self._off(p, self._documents[p])
            - self._off(q, self._documents[q])
        )
        # No part may lose its last unit.
        allowed = (self._documents[p] > shift) & (self._documents[q] > -shift)
        gained, fallen = self._labels_changed(p, q, a, b)
        allowed &= (gained > 0) if covering else (sizes < -1e-9)
        if keep_labels:
            allowed &= fallen == 0
        if not allowed.any():
            return None
        # With d = a - b the deviations D of the two parts become D_p - d and D_q + d.
        lack = (self._held[q] - self._wanted[q]) - (self._held[p] - self._wanted[p])
        scaled_a, scaled_b = a * self._weights, b * self._weights
        squares = (
            (scaled_a * a).sum(axis=1)[:, None]
            + (scaled_b * b).sum(axis=1)[None, :]
            - 2 * scaled_a @ b.T
        )
        deviation = 2 * ((scaled_a @ lack)[:, None] - (scaled_b @ lack)[None, :] + squares)
        # Rounded, so that equal exchanges are equal whatever the order of the sums.
        candidates = np.argwhere(allowed)
        order = np.lexsort((deviation[allowed].round(9), sizes[allowed].round(9)))
        i, j = candidates[order[0]].tolist()
        moves = [(int(unit), q) for unit in units_p[i : i + 1]]
        moves += [(int(unit), p) for unit in units_q[j : j + 1]]
        return round(float(sizes[i, j]), 9), round(float(deviation[i, j]), 9), moves

    def _labels_changed(
        self, p: int, q: int, a: NDArray[np.int64], b: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """What exchanges of units of two parts do, given the documents by label of those units.

        Returns:
            By how many (part, label) more is covered of the labels that must be; number of labels,
            of all, that are in one part less.
        """
        in_p, in_q = self._held[p] > 0, self._held[q] > 0
        has_a, has_b = a > 0, b > 0
        # Labels that a part has from one unit alone: gone with it, unless the other brings them.
        sole_a, sole_b = has_a & (a == self._held[p]), has_b & (b == self._held[q])
        lacks_a, lacks_b = (~has_a).astype(np.float64), (~has_b).astype(np.float64)
        required = self._required
        gained = (
            (has_a & ~in_q & required).sum(axis=1)[:, None]
            + (has_b & ~in_p & required).sum(axis=1)[None, :]
            - (sole_a & required) @ lacks_b.T
            - ((sole_b & required) @ lacks_a.T).T
        )
        fallen = (sole_a & in_q) @ lacks_b.T + ((sole_b & in_p) @ lacks_a.T).T
        return gained, fallen

    def _off(self, part: int, documents: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distance of a part from its size; an empty part is worse than any."""
        return np.abs(documents - self._sizes[part]) + 2 * self._sizes.sum() * (documents == 0)

    @staticmethod
    def _with_nothing(values: NDArray[np.int64], moves: bool) -> NDArray[np.int64]:
        return np.pad(values, [(0, int(moves)), *[(0, 0)] * (values.ndim - 1)])
