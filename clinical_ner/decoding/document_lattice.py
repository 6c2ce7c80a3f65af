"""The lattice of a document, in terms of its tokens and of labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..tags.problems import by_type
from ..types import LogProbs, TokenMask, Transitions
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
        lattices: of these tokens: one of all types, or, where entities may overlap, one for each.
        labels: the entity types, in the order of their tags.
    """

    def __init__(
        self, tokens: TokenMask, lattices: Sequence[Lattice], labels: Sequence[str]
    ) -> None:
        self._lattices = lattices
        self._tokens = np.flatnonzero(tokens).tolist()
        self._positions = {token: position for position, token in enumerate(self._tokens)}
        self._labels = labels
        self._indices = {label: index for index, label in enumerate(labels)}
        self.length = len(tokens)

    @classmethod
    def of(
        cls,
        tokens: TokenMask,
        log_probs: LogProbs,
        labels: Sequence[str],
        overlaps: bool = False,
        transitions: Transitions | None = None,
    ) -> DocumentLattice:
        """The lattice of a document from the probabilities of its tokens.

        Args:
            tokens: True for the tokens that carry a tag.
            log_probs: log p(tag | text), on the CPU. *Shape:* ``(n, K)``.
            labels: the entity types, in the order of their tags.
            overlaps: whether entities of different types may overlap; ``log_probs`` are as in
                ``tags.problems`` then, and there are no transitions.
            transitions: see ``Lattice.of_all``.
        """
        rows = log_probs[tokens]
        lattices = (
            Lattice.of_all_problems([by_type(rows).transpose(0, 2, 1)])[0]
            if overlaps
            else [Lattice.of(rows, transitions)]
        )
        return cls(tokens, lattices, labels)

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
        if len(self._lattices) == 1:
            return self._lattices[0].probability(first, last + 1, index)
        return self._lattices[index].probability(first, last + 1, 0)

    def expected_entities(self) -> NDArray[np.float64]:
        """Expected number of entities of each type. *Shape:* ``(len(labels),)``."""
        return np.concatenate([lattice.expected_entities() for lattice in self._lattices])

    def candidates(self, min_probability: float) -> list[Candidate]:
        """Every span with at least this probability, by start, then label, then end."""
        tokens = self._tokens
        found = sorted(
            (start, offset + index, end, probability)
            for offset, lattice in enumerate(self._lattices)
            for start, end, index, probability in lattice.candidates(min_probability)
        )
        return [
            Candidate(tokens[start], tokens[end - 1] + 1, self._labels[index], probability)
            for start, index, end, probability in found
        ]
