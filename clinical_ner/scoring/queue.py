"""Which notes to annotate next: how much each would tell, and how alike they are."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

#: What opening a note costs, in words that could be read instead. Without it, a line of three words
#: with one doubtful among them would come before every whole note.
OVERHEAD = 20


class Place(NamedTuple):
    """A place in the queue.

    Attributes:
        note: index of the note.
        score: its gain per word times how unlike it is to all before it.
        similarity: to the most similar note before it, in [0, 1]; 0 for the first.
    """

    note: int
    score: float
    similarity: float


def span_entropy(probabilities: NDArray[np.float64]) -> float:
    """Uncertainty about spans: the sum of -p log p - (1 - p) log(1 - p), in nats.

    It is 0 where every span is surely an entity or surely none, and log 2 for each toss-up.

    Args:
        probabilities: P(span | text) of the candidates. *Shape:* ``(n,)``.
    """
    p = np.clip(probabilities, 1e-12, 1 - 1e-12)
    return float(-(p * np.log(p) + (1 - p) * np.log1p(-p)).sum())


def expected_gain(
    uncertainty: NDArray[np.float64], rare: NDArray[np.float64], words: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What a note tells per word that is read.

    Uncertainty and expected rare entities, each per word and over its mean among the notes, added:
    without a weight to choose, both count alike.

    Args:
        uncertainty: see `span_entropy`.
        rare: expected number of entities of rare types.
        words: lengths of the notes.

    Returns:
        *Shape of each:* ``(notes,)``.
    """
    gain = np.zeros(len(words))
    for values in (uncertainty, rare):
        per_word = values / (words + OVERHEAD)
        if per_word.any():
            gain += per_word / per_word.mean()
    return gain


def queue(
    gain: NDArray[np.float64], vectors: NDArray[np.floating], *, limit: int | None = None
) -> list[Place]:
    """Order notes by gain, so that those alike do not follow each other.

    Greedily, the next note is that of the largest gain * (1 - its largest cosine similarity to a
    note before it): maximal marginal relevance (Carbonell and Goldstein 1998) as a product, which
    needs no weight between terms of different units. Of equals the first comes first.

    Args:
        gain: not negative. *Shape:* ``(notes,)``.
        vectors: of the notes. *Shape:* ``(notes, width)``.
        limit: length of the queue; None for all.

    Returns:
        The first `limit` places; the time grows with limit * notes * width.
    """
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = np.divide(vectors, norms, out=np.zeros_like(vectors), where=norms > 0)
    nearest, waits = np.zeros(len(gain)), np.ones(len(gain), dtype=bool)
    places = []
    for _ in range(len(gain) if limit is None else min(limit, len(gain))):
        scores = np.where(waits, gain * (1.0 - nearest), -1.0)
        note = int(scores.argmax())
        places.append(Place(note, float(scores[note]), float(nearest[note])))
        waits[note] = False
        nearest = np.maximum(nearest, np.clip(units @ units[note], 0.0, 1.0))
    return places
