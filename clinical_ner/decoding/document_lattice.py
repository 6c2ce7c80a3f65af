"""The lattice of a document, in terms of its tokens and of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..types import LogProbs, TokenMask
from .lattice import Lattice


class Candidate(NamedTuple):
    """A span that may be an entity.

    Attributes:
        start: first token and one past the last.
        end: see `start`.
        label: the entity type.
        probability: P(exactly this span with this label | text), of the lattice.
    """

    start: int
    end: int
    label: str
    probability: float


class DocumentLattice:
    """Probabilities of the spans of a document.

    Attributes:
        tokens: True for the tokens that carry a tag. *Shape:* ``(n,)``.
        lattice: that of these tokens.
        labels: the entity types, in the order of their tags.
    """

    def __init__(self, tokens: TokenMask, lattice: Lattice, labels: Sequence[str]) -> None:
        self._lattice = lattice
        self._tokens = np.flatnonzero(tokens).tolist()
        self._positions = {token: position for position, token in enumerate(self._tokens)}
        self._labels = labels
        self._indices = {label: index for index, label in enumerate(labels)}
        self.length = len(tokens)

    @classmethod
    def of(cls, tokens: TokenMask, log_probs: LogProbs, labels: Sequence[str]) -> DocumentLattice:
        """The lattice of a document from the probabilities of its tokens.

        Args:
            tokens: True for the tokens that carry a tag.
            log_probs: log p(tag | text), on the CPU. *Shape:* ``(n, K)``.
            labels: the entity types, in the order of their tags.
        """
        return cls(tokens, Lattice.of(log_probs[tokens]), labels)

    def probability(self, start: int, end: int, label: str) -> float:
        """P(exactly this span is an entity with this label | text).

        Args:
            start: first token and one past the last.
            end: see `start`.
            label: the entity type.

        Returns:
            0 for a label that there is not, and for a span that begins or ends with whitespace,
            which no entity does.
        """
        first, last = self._positions.get(start), self._positions.get(end - 1)
        index = self._indices.get(label)
        if first is None or last is None or index is None:
            return 0.0
        return self._lattice.probability(first, last + 1, index)

    def candidates(self, min_probability: float) -> list[Candidate]:
        """Every span with at least this probability, by start, then label, then end."""
        tokens = self._tokens
        return [
            Candidate(tokens[start], tokens[end - 1] + 1, self._labels[index], probability)
            for start, end, index, probability in self._lattice.candidates(min_probability)
        ]
