"""The best legal tag sequence.

Tokens are rows, tags are columns in the order of ``labels.scheme``. An I tag continues an entity of
its own type; everything else may follow anything, so a step needs one maximum over all tags and one
comparison per type, not K x K of them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..labels.scheme import OUTSIDE
from ..types import EntityOffsets, LogProbs, TokenMask


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
    origins = np.empty((n, n_tags), dtype=np.int64)
    best = emissions[0].copy()
    best[2::2] = -np.inf
    begin_ids = np.arange(1, n_tags, 2)
    inside_ids = begin_ids + 1
    for i in range(1, n):
        # From any tag to O and to every B ...
        origin = int(best.argmax())
        row = origins[i]
        row[:] = origin
        total = emissions[i] + best[origin]
        # ... and from the B or I of a type to its I.
        from_begin, from_inside = best[begin_ids], best[inside_ids]
        continues = from_inside > from_begin
        row[inside_ids] = np.where(continues, inside_ids, begin_ids)
        total[inside_ids] = emissions[i, inside_ids] + np.maximum(from_begin, from_inside)
        best = total
    path = np.empty(n, dtype=np.int64)
    path[-1] = best.argmax()
    for i in range(n - 1, 0, -1):
        path[i - 1] = origins[i, path[i]]
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
