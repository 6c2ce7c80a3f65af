"""Class weights. A weight belongs to an entity type: B and I share it, so that it never moves a
boundary."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, close_matches, number
from ..tags.scheme import class_index
from ..tags.statistics import TagStatistics
from .base import TokenLoss

Counts = NDArray[np.float64]


@dataclass(kw_only=True, eq=False)
class WeightedLoss(TokenLoss):
    """Base of the losses in which the tokens of class c weigh w_c.

    Attributes:
        weights: one of the schemes none, paper (1 - N_c/N, arXiv 2409.03238), inverse,
            sqrt_inverse, effective_number (arXiv 1901.05555), or a table {label or "O": weight}.
        beta: b of the scheme effective_number, in [0, 1).

    Raises:
        ClinicalNerError: an unknown scheme or a weight that is not positive and finite.
    """

    weights: str | dict[str, float] = "none"
    beta: float = number(0.999, least=0, below=1)

    def __post_init__(self) -> None:
        """Check what can be checked before the corpus is known."""
        super().__post_init__()
        if isinstance(self.weights, str):
            if self.weights not in SCHEMES:
                raise ConfigError(
                    f"Unknown weight scheme '{self.weights}': choose one of {', '.join(SCHEMES)}, "
                    "or give a table {label: weight}."
                )
            return
        for label, weight in self.weights.items():
            if not (np.isfinite(weight) and weight > 0):
                raise ConfigError(
                    f"The weight of '{label}' must be a positive finite number, got {weight!r}."
                )

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute the weights from the counts. See the base class."""
        super().initialize(statistics)
        self._tag_weights = tag_weights(statistics, self.weights, beta=self.beta)


def inverse_weights(counts: Counts, beta: float) -> Counts:
    """N / (C N_c), with C classes: the expected weight of a token is 1."""
    return counts.sum() / (len(counts) * counts)


def effective_number_weights(counts: Counts, beta: float) -> Counts:
    """(1 - b) / (1 - b^n), scaled to a mean of 1 (Cui et al. 2019, arXiv 1901.05555)."""
    # expm1 keeps 1 - b^n exact where b^n is close to 1.
    log_beta = np.log(beta) if beta > 0 else -np.inf
    weights = (1.0 - beta) / -np.expm1(counts * log_beta)
    return weights / weights.mean()


#: Weights of the classes, from their counts and b.
SCHEMES: dict[str, Callable[[Counts, float], Counts]] = {
    "none": lambda counts, beta: np.ones_like(counts),
    "paper": lambda counts, beta: 1.0 - counts / counts.sum(),
    "inverse": inverse_weights,
    "sqrt_inverse": lambda counts, beta: np.sqrt(inverse_weights(counts, beta)),
    "effective_number": effective_number_weights,
}


def tag_weights(
    statistics: TagStatistics, weights: str | Mapping[str, float], *, beta: float
) -> Counts:
    """Weight of every tag, by the settings of ``WeightedLoss``.

    Returns:
        1 for what a table leaves out, and for tags without a training token, which take no part in
        the loss. *Shape:* ``(K,)``.

    Raises:
        ClinicalNerError: an unknown label in the table, or a scheme that leaves a class no weight.
    """
    names = ["O", *statistics.labels]
    per_class = np.ones(len(names))
    if isinstance(weights, str):
        present = statistics.class_counts > 0
        per_class[present] = SCHEMES[weights](statistics.class_counts[present], beta)
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
