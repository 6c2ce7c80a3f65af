"""Self-adjusting dice: a dice per token whose probabilities are damped where they are high."""

from dataclasses import dataclass
from typing import ClassVar

from thinc.api import get_array_module

from ..arrays import as_like
from ..errors import number
from ..types import Logits, TagIds
from .base import TokenLoss
from .log_space import backprop_log_odds, log_probabilities


@dataclass(kw_only=True, eq=False)
class SelfAdjustingDice(TokenLoss):
    """1 - (2 x y + g) / (x + y + g), x = (1 - p)^a p (Li et al. 2020, arXiv 1911.02855).

    The source states it for one token and two classes. The reading here: p is the softmax over all
    tags, the loss of a token is the sum over every tag, with y = 1 for the gold tag and 0 for
    the others, and the gradient flows through the damping. Of the gold tag alone, the loss would
    be least at p = 1/(1 + a), since x falls beyond it; the others' terms take the rest of the
    mass to the gold tag. There is no way back to the empirical probability.

    Its scale is that of a sum of token losses, each at most about 1 once the mass lies on few tags.

    Attributes:
        alpha: exponent a >= 0 of the damping. At 1, a gold probability of 0 costs as much as one of
            1, and training from equal probabilities stayed at O (tried on real reports).
        smoothing: g > 0; without it the terms of y = 0 have no gradient.
    """

    has_posterior: ClassVar[bool] = False

    alpha: float = number(0.1, least=0)
    smoothing: float = number(1.0, above=0)

    def posterior_logits(self, logits: Logits) -> Logits:
        """There are none; see ``EntityLoss``."""
        raise self._no_posterior()

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """r times the sum over tags of (x + y - 2 x y) / (x + y + g), which is the class's form."""
        xp = get_array_module(logits)
        log_p, log_not_p = log_probabilities(logits)
        y = as_like(gold[:, None] == xp.arange(logits.shape[1]), logits)
        p = xp.exp(log_p)
        x = xp.exp(self.alpha * log_not_p) * p
        denominator = x + y + self.smoothing
        # 1 - (2 x y + g) / d, without the difference of two numbers close to 1.
        losses = (x + y - 2.0 * x * y) / denominator
        d_x = ((1.0 - 2.0 * y) * denominator - (x + y - 2.0 * x * y)) / denominator**2
        # dx / d(log-odds) = p (1-p)^a [(1 - p) - a p]
        d_odds = d_x * x * (xp.exp(log_not_p) - self.alpha * p) * factors[:, None]
        gradient = backprop_log_odds(log_p, log_not_p, d_odds)
        return gradient, float((losses.sum(axis=1) * factors).sum())
