"""The decision, apart from the probability: how much of the prior decoding keeps."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..errors import check_number
from ..tags.statistics import TagStatistics
from ..types import EntityOffsets, LogProbs


class Decoded(NamedTuple):
    """The entities of a document under a decision.

    spans: in the order of the text.
    scores: the probability of each, None where the loss has no posterior.
    """

    spans: list[EntityOffsets]
    scores: list[float] | None


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


def decision_scores(
    log_probs: LogProbs,
    statistics: TagStatistics,
    *,
    prior_strength: float,
    prior_smoothing: float,
) -> LogProbs:
    """Scores that decoding maximises: log p - (1 - s) log pi', up to a constant per token.

    s = 1 keeps the empirical prior; s = 0 treats all tags alike. pi' is the smoothed prior
    (n_c + a) / (N + a K). Subtracting a constant per token from log p, as normalising would,
    changes no sequence's rank, so it is left out.

    log_probs: log p(tag | text). *Shape:* ``(n, K)``.
    prior_strength: s in [0, 1].
    prior_smoothing: a >= 0, in tokens.

    RETURNS: *Shape:* ``(n, K)``.
    """
    if prior_strength == 1.0:
        return log_probs
    prior = statistics.smoothed_prior(prior_smoothing)
    # Only a = 0 leaves a tag without prior; it has probability 0 and stays impossible.
    log_prior = np.log(np.where(prior > 0, prior, 1.0))
    return log_probs - (1.0 - prior_strength) * log_prior
