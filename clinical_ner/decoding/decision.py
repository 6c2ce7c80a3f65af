"""The decision, apart from the probability: how much of the prior decoding keeps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import check_number
from ..types import EntityOffsets, LogProbs, Transitions


class Decoded(NamedTuple):
    """The entities of a document under a decision.

    Attributes:
        spans: in the order of the text: by start, then, where they may overlap, end and label.
        scores: the probability of each, None where the loss has no posterior.
    """

    spans: list[EntityOffsets]
    scores: list[float] | None

    def most_probable_first(self) -> tuple[list[EntityOffsets], list[float]]:
        """Spans and scores, as ``GoldSpans.match`` asks for them; there must be scores."""
        assert self.scores is not None
        order = sorted(zip(self.scores, self.spans, strict=True), key=lambda of: -of[0])
        return [span for _, span in order], [score for score, _ in order]


@dataclass(frozen=True, eq=False)
class Decision:
    """Which entities are made of the same probabilities.

    Args:
        prior_strength: s in [0, 1]; see ``decision_scores``.
        thresholds: by label, the smallest probability of an entity that is made.
        prior: the smoothed prior of the tags. *Shape:* ``(K,)``.
        overlaps: whether entities of different types may overlap: each type is decoded by itself,
            from log-probabilities as in ``tags.problems``.
        transitions: log weight of a tag behind another, in every sequence and in the probability of
            every span, whatever the prior strength; None for 0. *Shape:* ``(K, K)``.
    """

    prior_strength: float
    thresholds: Mapping[str, float]
    prior: NDArray[np.float64]
    overlaps: bool = False
    transitions: Transitions | None = None

    def at(self, prior_strength: float) -> Decision:
        """All entities at another prior strength, without thresholds."""
        return replace(self, prior_strength=prior_strength, thresholds={})


def flat_choice(spans: Sequence[EntityOffsets], scores: Sequence[float]) -> list[bool]:
    """Which of spans that may overlap are made flat entities, as in ``doc.ents``.

    The longest first (ties: the more probable, then the earlier start, then the label), each unless
    it shares a token with one chosen before: the choice by which ``convert`` and spaCy's
    ``filter_spans`` make flat gold.

    Args:
        spans: in any order.
        scores: the probability of each.

    Returns:
        Whether each span is chosen.
    """
    order = sorted(
        range(len(spans)),
        key=lambda i: (spans[i][0] - spans[i][1], -scores[i], spans[i][0], spans[i][2]),
    )
    chosen = [False] * len(spans)
    taken = bytearray(max((end for _, end, _ in spans), default=0))
    for i in order:
        start, end, _ = spans[i]
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\x01" * (end - start)
            chosen[i] = True
    return chosen


def check_prior_strength(value: float) -> float:
    """Return a prior strength in [0, 1], or raise ClinicalNerError."""
    check_number("prior_strength", value, least=0, most=1)
    return float(value)


def check_prior_smoothing(value: float) -> float:
    """Return a finite prior smoothing >= 0, or raise ClinicalNerError."""
    check_number("prior_smoothing", value, least=0)
    return float(value)


def check_threshold(label: str, value: float) -> float:
    """Return the threshold of a label, a probability in [0, 1], or raise ClinicalNerError."""
    check_number(f"The threshold of '{label}'", value, least=0, most=1)
    return float(value)


def decision_scores(log_probs: LogProbs, decision: Decision) -> LogProbs:
    """Scores that decoding maximises: log p - (1 - s) log pi', up to a constant per token.

    s = 1 keeps the empirical prior; s = 0 treats all tags alike. pi' is the smoothed prior
    (n_c + a) / (N + a K). Subtracting a constant per token from log p, as normalising would,
    changes no sequence's rank, so it is left out.

    Args:
        log_probs: log p(tag | text). *Shape:* ``(n, K)``, or, of problems, ``(n, 3, M)``.
        decision: gives s and pi'. In the problem of a type, everything else has 1 minus the pi' of
            its B and I.

    Returns:
        *Shape:* that of ``log_probs``.
    """
    if decision.prior_strength == 1.0:
        return log_probs
    prior = decision.prior
    if decision.overlaps:
        of_type = prior[1:].reshape(-1, 2).T
        prior = np.concatenate((1.0 - of_type.sum(axis=0, keepdims=True), of_type))
    # Only a = 0 leaves a tag without prior; it has probability 0 and stays impossible.
    log_prior = np.log(np.where(prior > 0, prior, 1.0))
    return log_probs - (1.0 - decision.prior_strength) * log_prior
