"""Texts of different lengths side by side, so that a recursion over tokens runs on all at once.

NumPy takes a microsecond for a call whatever the size of a small array, so a step over the tokens
of many texts costs hardly more than one over a single token. Nothing is padded: the texts stand in
the order of their lengths, the longest first, and those that have an i-th token are the first of
them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Packing:
    """Where the tokens of texts stand: the first of each text, then the second of each, and so on.

    Attributes:
        lengths: tokens of each text.
    """

    def __init__(self, lengths: Sequence[int]) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self._order = np.argsort(-self.lengths, kind="stable")
        longest = int(self.lengths.max(initial=0))
        at_least = np.bincount(self.lengths, minlength=longest + 1)[::-1].cumsum()[::-1]
        #: The number of texts that have an i-th token, for every i.
        self.widths: list[int] = at_least[1:].tolist()
        self._starts = np.append(0, at_least[1:].cumsum())
        #: The rows of all i-th tokens, for every i.
        self.steps = [slice(*edges) for edges in zip(self._starts, self._starts[1:], strict=False)]

    def pack(self, texts: Sequence[NDArray]) -> NDArray[np.float64]:
        """The rows of all texts in one array.

        Args:
            texts: at least one. *Shape of each:* ``(n, ...)``.

        Returns:
            *Shape:* ``(all tokens, ...)``.
        """
        packed = np.empty((int(self._starts[-1]), *texts[0].shape[1:]))
        for rank, text in enumerate(self._order):
            packed[self._rows(rank)] = texts[text]
        return packed

    def unpack(self, packed: NDArray) -> list[NDArray]:
        """The rows of each text. *Shape of each:* ``(n, ...)``."""
        texts: list[NDArray] = [packed[:0]] * len(self._order)
        for rank, text in enumerate(self._order):
            texts[text] = packed[self._rows(rank)]
        return texts

    def unordered(self, values: NDArray) -> NDArray:
        """One value of each text, from the order of the lengths into that of the texts."""
        texts = np.empty_like(values)
        texts[self._order] = values
        return texts

    def _rows(self, rank: int) -> NDArray[np.int64]:
        return self._starts[: self.lengths[self._order[rank]]] + rank
