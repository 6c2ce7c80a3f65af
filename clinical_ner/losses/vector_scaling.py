"""Cross-entropy on logits scaled and shifted per class."""

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from ..errors import check_number
from ..tags.scheme import class_index
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import cross_entropy
from .weighted import WeightedLoss


class VectorScaling(WeightedLoss):
    """-w log softmax(D z + i)[y] (Kini et al. 2021, arXiv 2103.01550).

    D_c = (n_c / n_max)^gamma over the tokens of O and of each type, so that B and I share it and no
    boundary moves; i_c = tau log pi_c per tag. What is trained is softmax(D z + i), so that the
    empirical probability is softmax(D z + i - log w).

    Attributes:
        gamma: exponent >= 0 of the scaling; 0 leaves the logits as they are.
        tau: factor >= 0 of the log prior; with gamma = 0, ``LogitAdjusted``.
        weights: see ``WeightedLoss``.
        beta: see ``WeightedLoss``.
        reduction: see ``EntityLoss``.
        tokens_per_batch: see ``EntityLoss``.

    Raises:
        ClinicalNerError: gamma or tau is negative or not finite, or see ``WeightedLoss``.
    """

    def __init__(
        self,
        *,
        gamma: float = 0.1,
        tau: float = 1.0,
        weights: str | dict[str, float] = "none",
        beta: float = 0.999,
        reduction: str = "tokens",
        tokens_per_batch: float = 500.0,
    ):
        super().__init__(
            weights=weights, beta=beta, reduction=reduction, tokens_per_batch=tokens_per_batch
        )
        for setting, value in (("gamma", gamma), ("tau", tau)):
            check_number(setting, value, least=0)
        self.gamma = gamma
        self.tau = tau
        self._factor: NDArray[np.float64] = np.ones(1)
        self._offset: NDArray[np.float64] = np.zeros(1)

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute D and i from the counts. See the base class."""
        super().initialize(statistics)
        counts = statistics.class_counts
        share_of_largest = np.where(counts > 0, counts, counts.max()) / counts.max()
        self._factor = (share_of_largest**self.gamma)[class_index(len(statistics.counts))]
        prior = np.where(statistics.seen, statistics.prior, 1.0)
        self._offset = self.tau * np.log(prior)

    def posterior_logits(self, logits: Logits) -> Logits:
        """D z + i - log w. *Shape:* ``(n, K)``."""
        return self._trained(self._without_unseen(logits)) - self._log_weights(logits)

    def backprop_posterior(self, logits: Logits, d_posterior: Logits) -> Logits:
        """See the base class."""
        factor = self._as(self._factor, logits)
        return super().backprop_posterior(logits, d_posterior) * factor

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """-r log softmax(D z + i)[y]; the weight is in r."""
        gradient, loss = cross_entropy(self._trained(logits), gold, factors)
        return gradient * self._as(self._factor, logits), loss

    def _trained(self, logits: Logits) -> Logits:
        """D z + i. *Shape:* ``(n, K)``."""
        return logits * self._as(self._factor, logits) + self._as(self._offset, logits)

    @staticmethod
    def _as(values: NDArray[np.float64], like: Logits) -> Logits:
        return get_array_module(like).asarray(values, dtype=like.dtype)
