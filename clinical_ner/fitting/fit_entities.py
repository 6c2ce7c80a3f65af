"""The entity-level step by the likelihood of decoded spans."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..calibration.entity_step import EntityCalibration
from .minimum import minimum

#: Right and wrong spans that are needed, of each.
MIN_SPANS = 10
#: Keeps the logarithms of a probability that rounding made 0 or 1 finite.
SMALLEST = 1e-12


def fit_entities(
    probabilities: NDArray[np.float64],
    right: NDArray[np.bool_],
    *,
    min_spans: int = MIN_SPANS,
    sd: float = 1.0,
) -> EntityCalibration | None:
    """Fit by maximum likelihood: a logistic regression of right or wrong on log p and -log(1 - p).

    The likelihood is concave, so there is one maximum among coefficients of at least 0. A normal
    prior around the step that changes nothing keeps it finite where the spans are separable, and
    is outweighed by some dozens of others.

    Args:
        probabilities: of spans under the lattice, from tokens that did not fit their own step.
            *Shape:* ``(m,)``.
        right: whether gold holds exactly this span with this label. *Shape:* ``(m,)``.
        min_spans: right ones, and wrong ones, without which nothing is fitted.
        sd: standard deviation of the prior of every coefficient; infinite for none.

    Returns:
        None if there are too few of either.
    """
    if min(right.sum(), (~right).sum()) < min_spans:
        return None
    clipped = np.clip(np.asarray(probabilities, dtype=np.float64), SMALLEST, 1 - SMALLEST)
    inputs = np.stack([np.log(clipped), -np.log1p(-clipped), np.ones(len(clipped))], axis=1)
    identity = np.array([1.0, 1.0, 0.0])

    def objective(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        log_odds = inputs @ parameters
        away = (parameters - identity) / sd
        value = np.logaddexp(0.0, log_odds).sum() - log_odds[right].sum() + 0.5 * away @ away
        expected = np.exp(-np.logaddexp(0.0, -log_odds))
        return float(value), inputs.T @ (expected - right) + away / sd

    found = minimum(
        objective,
        identity,
        bounds=[(0.0, None), (0.0, None), (None, None)],
        options={"ftol": 1e-12, "gtol": 1e-7},
    )
    of_p, of_rest, intercept = (float(value) for value in found)
    return EntityCalibration((of_p + of_rest) / 2, intercept, (of_p - of_rest) / 2)
