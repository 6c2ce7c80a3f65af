"""Cross-entropy on logits adjusted by the log prior."""

from dataclasses import dataclass

import numpy as np

from ..arrays import as_like
from ..errors import number
from ..tags.statistics import TagStatistics
from ..types import Logits
from .base import TokenLoss


@dataclass(kw_only=True, eq=False)
class LogitAdjusted(TokenLoss):
    """Cross-entropy on z + t log pi (Menon et al. 2021, arXiv 2007.07314, eq. 10).

    The prior is put in by hand, so that the network has only to learn what the text adds to it.
    What is trained is softmax(z + t log pi), which is therefore the empirical probability.

    Attributes:
        tau: the factor t >= 0. 0 is plain cross-entropy, 1 the balanced loss of the source.
    """

    tau: float = number(1.0, least=0)

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute t log pi from the counts. See the base class."""
        super().initialize(statistics)
        prior = np.where(statistics.seen, statistics.prior, 1.0)
        self._offset = self.tau * np.log(prior)

    def trained(self, logits: Logits) -> Logits:
        """Logits plus t log pi. *Shape:* ``(n, K)``."""
        return logits + as_like(self._offset, logits)
