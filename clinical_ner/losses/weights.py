"""Class weights from counts. A weight belongs to an entity type: B and I share it, so that it
never moves a boundary."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, check_number, close_matches
from ..tags.scheme import class_index
from ..tags.statistics import TagStatistics

Counts = NDArray[np.float64]


def no_weights(counts: Counts, *, beta: float) -> Counts:
    """1 for every class."""
    return np.ones_like(counts)


def paper_weights(counts: Counts, *, beta: float) -> Counts:
    """1 - N_c / N, as in arXiv 2409.03238."""
    return 1.0 - counts / counts.sum()


def inverse_weights(counts: Counts, *, beta: float) -> Counts:
    """N / (C N_c), with C classes: the expected weight of a token is 1."""
    return counts.sum() / (len(counts) * counts)


def sqrt_inverse_weights(counts: Counts, *, beta: float) -> Counts:
    """The square root of ``inverse_weights``."""
    return np.sqrt(inverse_weights(counts, beta=beta))


def effective_number_weights(counts: Counts, *, beta: float) -> Counts:
    """(1 - b) / (1 - b^n), scaled to a mean of 1 (Cui et al. 2019, arXiv 1901.05555)."""
    # expm1 keeps 1 - b^n exact where b^n is close to 1.
    log_beta = np.log(beta) if beta > 0 else -np.inf
    weights = (1.0 - beta) / -np.expm1(counts * log_beta)
    return weights / weights.mean()


SCHEMES: dict[str, Callable[..., Counts]] = {
    "none": no_weights,
    "paper": paper_weights,
    "inverse": inverse_weights,
    "sqrt_inverse": sqrt_inverse_weights,
    "effective_number": effective_number_weights,
}


def check_weights(weights: str | Mapping[str, float], beta: float) -> None:
    """Check what can be checked before the corpus is known.

    Raises:
        ClinicalNerError: an unknown scheme, a weight that is not positive and finite, or a beta
            outside [0, 1).
    """
    check_number("beta", beta, least=0, below=1)
    if isinstance(weights, str):
        if weights not in SCHEMES:
            raise ConfigError(
                f"Unknown weight scheme '{weights}': choose one of {', '.join(SCHEMES)}, or give "
                "a table {label: weight}."
            )
        return
    for label, weight in weights.items():
        if not (np.isfinite(weight) and weight > 0):
            raise ConfigError(
                f"The weight of '{label}' must be a positive finite number, got {weight!r}."
            )


def tag_weights(
    statistics: TagStatistics, weights: str | Mapping[str, float], *, beta: float
) -> Counts:
    """Weight of every tag.

    Args:
        statistics: counts of the training data.
        weights: the name of a scheme, or a table {label or "O": weight}; what the table leaves out
            has 1.
        beta: b of the scheme effective_number, in [0, 1).

    Returns:
        1 for tags without a training token, which take no part in the loss. *Shape:* ``(K,)``.

    Raises:
        ClinicalNerError: an unknown label in the table, or a scheme that leaves a class no weight.
    """
    check_weights(weights, beta)
    names = ["O", *statistics.labels]
    counts = statistics.class_counts
    present = counts > 0
    per_class = np.ones(len(names))
    if isinstance(weights, str):
        per_class[present] = SCHEMES[weights](counts[present], beta=beta)
        for name, smallest in zip(names, per_class, strict=True):
            if smallest <= 0:
                raise ConfigError(
                    f"Weight scheme '{weights}' gives '{name}' the weight 0: no other class is "
                    'left in the corpus. Choose weights = "none".'
                )
    else:
        for label, weight in weights.items():
            if label not in names:
                raise ConfigError(
                    f"The weight table names '{label}', which the corpus lacks. "
                    f"{close_matches(label, names)}"
                )
            per_class[names.index(label)] = weight
    return per_class[class_index(len(statistics.counts))]
