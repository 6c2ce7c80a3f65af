"""All legal tag sequences of short texts, one by one, and random texts to try them on."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from clinical_ner.tags.scheme import OUTSIDE, tag_names

LABELS = ["a", "b"]
K = 5
Span = tuple[int, int, int]


@dataclass(frozen=True)
class BruteForce:
    """All legal tag sequences of a text, one by one.

    log_total: log of the sum of their weights.
    spans: probability of every span and type.
    outside: probability of O for every token.
    """

    log_total: float
    spans: dict[Span, float]
    outside: NDArray[np.float64]


def spans_of(path: tuple[int, ...]) -> set[Span] | None:
    """What a sequence says by the names of its tags; None where it is illegal."""
    names = [tag_names(LABELS)[tag] for tag in path]
    found: list[list[int]] = []
    for i, name in enumerate(names):
        if name[0] == "B":
            found.append([i, i + 1, LABELS.index(name[2:])])
        elif name[0] == "I":
            if i == 0 or names[i - 1] not in (f"B-{name[2:]}", name):
                return None
            found[-1][1] = i + 1
    return {(start, end, type_) for start, end, type_ in found}


#: Legal sequences by length: their tags, one row each, and the spans that each holds.
LEGAL = {
    n: [
        (path, spans)
        for path in itertools.product(range(K), repeat=n)
        if (spans := spans_of(path)) is not None
    ]
    for n in range(7)
}


def sequence_scores(
    log_probs: NDArray[np.floating], transitions: NDArray[np.float64] | None = None
) -> dict[tuple[int, ...], float]:
    """The sum of every legal sequence: of its tags, and of its pairs of neighbouring tags."""
    pairs = np.zeros((K, K)) if transitions is None else transitions
    rows, places = log_probs.astype(np.float64), np.arange(len(log_probs))
    return {
        path: float(rows[places, path].sum() + pairs[path[:-1], path[1:]].sum())
        for path, _ in LEGAL[len(log_probs)]
    }


def brute_force(
    log_probs: NDArray[np.floating], transitions: NDArray[np.float64] | None = None
) -> BruteForce:
    n = len(log_probs)
    sums = sequence_scores(log_probs, transitions)
    paths = np.array(list(sums), dtype=int).reshape(-1, n)
    scores = np.array(list(sums.values()))
    best = scores.max()
    weights = np.exp(scores - best)
    total = weights.sum()
    spans = {
        (start, end, type_): 0.0
        for start in range(n)
        for end in range(start + 1, n + 1)
        for type_ in range(len(LABELS))
    }
    for (_, found), weight in zip(LEGAL[n], weights, strict=True):
        for span in found:
            spans[span] += weight / total
    outside = (weights[:, None] * (paths == OUTSIDE)).sum(axis=0) / total
    return BruteForce(float(best + np.log(total)), spans, outside)


def best_path(
    scores: NDArray[np.floating], transitions: NDArray[np.float64] | None = None
) -> tuple[float, tuple[int, ...]]:
    """The highest sum of scores that a legal sequence has, and the first sequence that has it."""
    sums = sequence_scores(scores, transitions)
    best = max(sums, key=lambda path: sums[path])
    return sums[best], best


def normalised(logits: NDArray[np.floating]) -> NDArray[np.floating]:
    """Log-softmax of every row, -inf staying -inf."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def text(kind: str, seed: int) -> NDArray[np.floating]:
    """Random log-probabilities of 1 to 6 tokens."""
    rng = np.random.default_rng(seed)
    n = 1 + seed % 6
    if kind == "flat":
        return np.log(rng.dirichlet(np.full(K, 5.0), size=n))
    if kind == "peaked":
        return np.log(rng.dirichlet(np.full(K, 0.3), size=n))
    if kind == "float32":
        return normalised(rng.normal(scale=4.0, size=(n, K)).astype(np.float32))
    if kind == "impossible":
        logits = rng.normal(scale=2.0, size=(n, K))
        # Tags without a training token, and single places where one cannot stand.
        logits[:, rng.integers(1, K)] = -np.inf
        logits[:, 1:][rng.random((n, K - 1)) < 0.2] = -np.inf
        return normalised(logits)
    if kind == "never begins":
        logits = rng.normal(size=(n, K))
        logits[:, 1] = -np.inf
        logits[:, 2] += 20.0
        return normalised(logits)
    if kind == "hard":
        return normalised(rng.choice([-1e4, 0.0, 1.0, 1e4], size=(n, K)))
    assert kind == "extreme"
    return normalised(rng.uniform(-1e4, 1e4, size=(n, K)))


KINDS = ("flat", "peaked", "float32", "impossible", "never begins", "hard", "extreme")
