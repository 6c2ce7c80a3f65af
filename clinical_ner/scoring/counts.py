"""Counts per document and name, from which every score is computed.

Scores are ratios of sums of counts over documents. Keeping the counts of each document apart lets
one matrix product turn a matrix of bootstrap weights into the counts of every resample.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DocumentCounts:
    """Counts of several kinds, such as true positives, for every document and name.

    Attributes:
        names: what is counted, such as entity labels or tags, sorted.
        counts: *Shape:* ``(documents, names, kinds)``.
    """

    names: tuple[str, ...]
    counts: NDArray[np.float64]

    @classmethod
    def stack(
        cls, documents: Sequence[Mapping[str, Sequence[int]]], *, kinds: int
    ) -> DocumentCounts:
        """Build the array from one table per document; a name that a table lacks counts 0.

        Args:
            documents: per document, the counts of each kind by name.
            kinds: number of kinds.
        """
        names = tuple(sorted({name for document in documents for name in document}))
        index = {name: i for i, name in enumerate(names)}
        counts = np.zeros((len(documents), len(names), kinds))
        for row, document in zip(counts, documents, strict=True):
            for name, values in document.items():
                row[index[name]] = values
        return cls(names, counts)

    @classmethod
    def concatenate(cls, parts: Sequence[DocumentCounts]) -> DocumentCounts:
        """The documents of one after those of the other; a name that one lacks counts 0 there."""
        names = sorted({name for part in parts for name in part.names})
        index = {name: i for i, name in enumerate(names)}
        rows = []
        for part in parts:
            counts = np.zeros((len(part.counts), len(names), part.counts.shape[2]))
            counts[:, [index[name] for name in part.names]] = part.counts
            rows.append(counts)
        return cls(tuple(names), np.concatenate(rows))

    def totals(self, weights: NDArray[Any] | None = None) -> NDArray[np.float64]:
        """Weighted sums over documents.

        Args:
            weights: how often each resample holds each document; one of each by default. *Shape:*
                ``(resamples, documents)``.

        Returns:
            *Shape:* ``(names, kinds)``, or with weights ``(resamples, names, kinds)``.
        """
        if weights is None:
            return self.counts.sum(axis=0)
        flat = self.counts.reshape(len(self.counts), -1)
        sums = weights.astype(np.float64) @ flat
        return sums.reshape(len(weights), *self.counts.shape[1:])


def ratio(numerator: NDArray[np.float64], denominator: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quotient of two arrays of one shape, NaN where the denominator is 0."""
    result = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator != 0)
