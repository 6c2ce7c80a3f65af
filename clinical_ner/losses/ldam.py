"""Label-distribution-aware margins: rarer types must win by more."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from thinc.api import get_array_module

from ..arrays import as_like
from ..errors import number
from ..tags.scheme import class_index
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .log_space import backprop_log_odds, log_probabilities
from .weights import WeightedLoss


@dataclass(kw_only=True, eq=False)
class LDAM(WeightedLoss):
    """-w log softmax(s (z - D_y onehot(y)))[y] (Cao et al. 2019, arXiv 1906.07413).

    D_c = C / n_c^(1/4) over the tokens of O and of each type, so that B and I share it; C makes the
    largest D equal to ``max_margin``. The source has cosines between unit vectors as logits and
    s = 30 to spread them; the logits here have no bound, so s is 1 unless set. With no signal
    the empirical probability is proportional to p_c [1 - p_c (1 - exp(-s D_c))] / w_c, p the
    softmax of s z.

    Attributes:
        max_margin: the largest D, >= 0; 0 with s = 1 is weighted cross-entropy.
        scale: the factor s > 0.
    """

    max_margin: float = number(0.5, least=0)
    scale: float = number(1.0, above=0)

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute the margins from the counts. See the base class."""
        super().initialize(statistics)
        counts = statistics.class_counts
        rarest = counts[counts > 0].min()
        margins = np.where(counts > 0, (rarest / np.maximum(counts, rarest)) ** 0.25, 0.0)
        self._margins = self.max_margin * margins[class_index(len(statistics.counts))]

    def posterior_logits(self, logits: Logits) -> Logits:
        """log p + log[1 - p (1 - exp(-s D))] - log w. *Shape:* ``(n, K)``."""
        log_p, log_not_p = log_probabilities(self._scaled(logits))
        return log_p + self._log_rest(log_p, log_not_p) - self._log_weights(logits)

    def backprop_posterior(self, logits: Logits, d_posterior: Logits) -> Logits:
        """See the base class."""
        xp = get_array_module(logits)
        log_p, log_not_p = log_probabilities(self._scaled(logits))
        lost = -xp.expm1(-self._scaled_margins(logits))
        # With q = 1 - p and N = 1 - p lost: d(log p + log N) / d(log-odds) = q (1 - p lost / N),
        # that is (q / N)(1 - 2 p lost).
        slope = xp.exp(log_not_p - self._log_rest(log_p, log_not_p))
        slope *= 1.0 - 2.0 * xp.exp(log_p) * lost
        d_odds = super().backprop_posterior(logits, d_posterior) * slope
        return backprop_log_odds(log_p, log_not_p, d_odds) * self.scale

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """-r log softmax(s (z - D_y onehot(y)))[y]; the weight is in r."""
        scaled = logits * self.scale
        rows = get_array_module(logits).arange(len(gold))
        scaled[rows, gold] -= self._scaled_margins(logits)[gold]
        gradient, loss = super().formula(scaled, gold, factors)
        return gradient * self.scale, loss

    def _scaled(self, logits: Logits) -> Logits:
        return self._without_unseen(logits) * self.scale

    def _scaled_margins(self, like: Logits) -> Any:
        return as_like(self.scale * self._margins, like)

    def _log_rest(self, log_p: Logits, log_not_p: Logits) -> Logits:
        """log(1 - p + p exp(-s D)), the share that the margin leaves. *Shape:* ``(n, K)``."""
        xp = get_array_module(log_p)
        return xp.logaddexp(log_not_p, log_p - self._scaled_margins(log_p))
