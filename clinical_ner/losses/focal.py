"""Focal loss: less for tokens that are right already."""

from dataclasses import dataclass

from thinc.api import get_array_module

from ..errors import number
from ..types import Logits, TagIds
from .log_space import backprop_log_odds, focal_factor_slope, log_focal_factor, log_probabilities
from .weights import WeightedLoss


@dataclass(kw_only=True, eq=False)
class Focal(WeightedLoss):
    """-w (1 - p)^g log p of the gold tag (Lin et al. 2017, arXiv 1708.02002), p the softmax.

    The gradient is A(p) = (1-p)^g - g p (1-p)^(g-1) log p times that of the cross-entropy. With no
    signal it is 0 where w_c pi_c A(p_c) is proportional to p_c, so that the empirical probability
    is proportional to p_c / (w_c A(p_c)) (without weights: Charoenphakdee et al. 2021,
    arXiv 2011.09172).

    Attributes:
        gamma: exponent g >= 0; 0 is weighted cross-entropy, 2 the source's choice.
    """

    gamma: float = number(2.0, least=0)

    def posterior_logits(self, logits: Logits) -> Logits:
        """log p - log A(p) - log w. *Shape:* ``(n, K)``."""
        log_p, log_not_p = log_probabilities(self._without_unseen(logits))
        factor = log_focal_factor(log_p, log_not_p, self.gamma)
        return log_p - factor - self._log_weights(logits)

    def backprop_posterior(self, logits: Logits, d_posterior: Logits) -> Logits:
        """See the base class."""
        xp = get_array_module(logits)
        log_p, log_not_p = log_probabilities(self._without_unseen(logits))
        # Of log p with respect to the log-odds, the slope is 1 - p.
        slope = xp.exp(log_not_p) - focal_factor_slope(log_p, log_not_p, self.gamma)
        d_odds = super().backprop_posterior(logits, d_posterior) * slope
        return backprop_log_odds(log_p, log_not_p, d_odds)

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """-r (1 - p)^g log p, gradient r A(p) (p - onehot(y)); the weight is in r."""
        xp = get_array_module(logits)
        at_gold = (xp.arange(len(gold)), gold)
        log_p, log_not_p = log_probabilities(logits)
        gold_p, gold_not_p = log_p[at_gold], log_not_p[at_gold]
        pull = factors * xp.exp(log_focal_factor(gold_p, gold_not_p, self.gamma))
        gradient = xp.exp(log_p)
        gradient[at_gold] = -xp.exp(gold_not_p)
        loss = -(factors * xp.exp(self.gamma * gold_not_p) * gold_p).sum()
        return gradient * pull[:, None], float(loss)
