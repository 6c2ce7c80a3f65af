"""Cross-entropy on logits adjusted by the log prior."""

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from ..errors import check_number
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import TokenLoss, cross_entropy


class LogitAdjusted(TokenLoss):
    """Cross-entropy on z + t log pi (Menon et al. 2021, arXiv 2007.07314, eq. 10).

    The prior is put in by hand, so that the network has only to learn what the text adds to it.
    What is trained is softmax(z + t log pi), which is therefore the empirical probability.

    Attributes:
        tau: the factor t >= 0. 0 is plain cross-entropy, 1 the balanced loss of the source.
        reduction: see ``EntityLoss``.
        tokens_per_batch: see ``EntityLoss``.

    Raises:
        ClinicalNerError: tau is negative or not finite.
    """

    def __init__(
        self, *, tau: float = 1.0, reduction: str = "tokens", tokens_per_batch: float = 500.0
    ):
        super().__init__(reduction=reduction, tokens_per_batch=tokens_per_batch)
        check_number("tau", tau, least=0)
        self.tau = tau
        self._offset: NDArray[np.float64] = np.zeros(1)

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute t log pi from the counts. See the base class."""
        super().initialize(statistics)
        prior = np.where(statistics.seen, statistics.prior, 1.0)
        self._offset = self.tau * np.log(prior)

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits plus t log pi. *Shape:* ``(n, K)``."""
        return self._adjusted(self._without_unseen(logits))

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """-r log softmax(z + t log pi)[y]."""
        return cross_entropy(self._adjusted(logits), gold, factors)

    def _adjusted(self, logits: Logits) -> Logits:
        return logits + get_array_module(logits).asarray(self._offset, dtype=logits.dtype)
