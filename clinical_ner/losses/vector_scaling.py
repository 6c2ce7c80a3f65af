"""Cross-entropy on logits scaled and shifted per class."""

from dataclasses import dataclass

import numpy as np

from ..arrays import as_like
from ..errors import number
from ..tags.scheme import class_index
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .weights import WeightedLoss


@dataclass(kw_only=True, eq=False)
class VectorScaling(WeightedLoss):
    """-w log softmax(D z + i)[y] (Kini et al. 2021, arXiv 2103.01550).

    D_c = (n_c / n_max)^gamma over the tokens of O and of each type, so that B and I share it and no
    boundary moves; i_c = tau log pi_c per tag. What is trained is softmax(D z + i), so that the
    empirical probability is softmax(D z + i - log w).

    Attributes:
        gamma: exponent >= 0 of the scaling; 0 leaves the logits as they are.
        tau: factor >= 0 of the log prior; with gamma = 0, ``LogitAdjusted``.
    """

    gamma: float = number(0.1, least=0)
    tau: float = number(1.0, least=0)

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute D and i from the counts. See the base class."""
        super().initialize(statistics)
        counts = statistics.class_counts
        share_of_largest = np.where(counts > 0, counts, counts.max()) / counts.max()
        self._factor = (share_of_largest**self.gamma)[class_index(len(statistics.counts))]
        prior = np.where(statistics.seen, statistics.prior, 1.0)
        self._offset = self.tau * np.log(prior)

    def backprop_posterior(self, logits: Logits, d_posterior: Logits) -> Logits:
        """See the base class."""
        return super().backprop_posterior(logits, d_posterior) * as_like(self._factor, logits)

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """See the base class."""
        gradient, loss = super().formula(logits, gold, factors)
        return gradient * as_like(self._factor, logits), loss

    def trained(self, logits: Logits) -> Logits:
        """D z + i. *Shape:* ``(n, K)``."""
        return logits * as_like(self._factor, logits) + as_like(self._offset, logits)
