"""Asymmetric loss: one sigmoid per tag, with a focus of its own for presence and absence."""

from dataclasses import dataclass
from typing import ClassVar

from thinc.api import get_array_module

from ..errors import number
from ..types import Logits, TagIds
from .base import TokenLoss
from .log_space import LOG_ZERO, focal_factor_slope, log_focal_factor, log_sigmoid


@dataclass(kw_only=True, eq=False)
class Asymmetric(TokenLoss):
    """Sum over tags of a focal loss on p = sigmoid(z) (Ben-Baruch et al. 2021, arXiv 2009.14119).

    -(1 - p)^a log p for the gold tag, -r^b log(1 - r) with r = max(p - margin, 0) for all others.
    With no signal and no margin, the gradient of a tag is 0 where
    pi A = (1 - pi) B, with A = (1-p) [(1-p)^a - a p (1-p)^(a-1) log p] and
    B = p [p^b - b (1-p) p^(b-1) log(1-p)], so that log pi = log sigmoid(log B - log A) exactly. A
    margin leaves p below it without gradient, hence no way back.

    Attributes:
        gamma_positive: a and b, >= 0. Of the source's values, 0 and 4.
        gamma_negative: see `gamma_positive`.
        margin: in [0, 1); above 0 the loss has no posterior. The source has 0.05.
    """

    #: A sigmoid of 0 for which, unlike at -inf, gradient and loss come out as 0.
    unseen_logit: ClassVar[float] = LOG_ZERO

    gamma_positive: float = number(0.0, least=0)
    gamma_negative: float = number(4.0, least=0)
    margin: float = number(0.0, least=0, below=1)

    @property
    def has_posterior(self) -> bool:
        """Only without a margin; see also the base class."""
        return super().has_posterior and self.margin == 0.0

    def posterior_logits(self, logits: Logits) -> Logits:
        """log pi of each tag, not normalised over the tags. *Shape:* ``(n, K)``.

        Raises:
            ClinicalNerError: the loss has a margin.
        """
        return self._without_unseen(log_sigmoid(self._posterior_odds(logits)))

    def backprop_posterior(self, logits: Logits, d_posterior: Logits) -> Logits:
        """See the base class."""
        xp = get_array_module(logits)
        log_p, log_not_p = log_sigmoid(logits), log_sigmoid(-logits)
        # log B - log A has 1 from the factors p and 1 - p; B's log-odds run the other way.
        slope = (
            1.0
            - focal_factor_slope(log_not_p, log_p, self.gamma_negative)
            - focal_factor_slope(log_p, log_not_p, self.gamma_positive)
        )
        of_odds = xp.exp(log_sigmoid(-self._posterior_odds(logits)))
        return super().backprop_posterior(logits, d_posterior) * slope * of_odds

    def _posterior_odds(self, logits: Logits) -> Logits:
        """log B - log A. *Shape:* ``(n, K)``."""
        if self.margin > 0:
            raise self._no_posterior()
        log_p, log_not_p = log_sigmoid(logits), log_sigmoid(-logits)
        log_a = log_not_p + log_focal_factor(log_p, log_not_p, self.gamma_positive)
        log_b = log_p + log_focal_factor(log_not_p, log_p, self.gamma_negative)
        return log_b - log_a

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """r times the sum over tags of the class's terms."""
        xp = get_array_module(logits)
        at_gold = (xp.arange(len(gold)), gold)
        log_p, log_not_p = log_sigmoid(logits), log_sigmoid(-logits)
        gradient, losses = self._of_absent(log_p, log_not_p)
        gold_p, gold_not_p = log_p[at_gold], log_not_p[at_gold]
        pull = log_focal_factor(gold_p, gold_not_p, self.gamma_positive)
        gradient[at_gold] = -xp.exp(gold_not_p + pull)
        losses[at_gold] = -xp.exp(self.gamma_positive * gold_not_p) * gold_p
        return gradient * factors[:, None], float((losses.sum(axis=-1) * factors).sum())

    def _of_absent(self, log_p: Logits, log_not_p: Logits) -> tuple[Logits, Logits]:
        """Gradient and loss of tags that a token has not. *Shape of each:* ``(n, K)``."""
        xp = get_array_module(log_p)
        if self.margin == 0.0:
            log_r, log_not_r, outer = log_p, log_not_p, log_p
        else:
            r = xp.exp(log_p) - self.margin
            above = r > 0
            r = xp.where(above, r, xp.ones_like(r) * 0.5)
            log_not_r = xp.log1p(-r)
            log_r = xp.where(above, xp.log(r), xp.full_like(r, LOG_ZERO))
            log_not_r = xp.where(above, log_not_r, xp.zeros_like(r))
            # d r / d z = p (1 - p), and the pull of r is per 1 - r.
            outer = xp.where(above, log_p + log_not_p - log_not_r, xp.full_like(r, LOG_ZERO))
        gradient = xp.exp(outer + log_focal_factor(log_not_r, log_r, self.gamma_negative))
        losses = -xp.exp(self.gamma_negative * log_r) * log_not_r
        return gradient, losses
