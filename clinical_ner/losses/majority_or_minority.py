"""Majority-or-minority learning: more of the loss for the tokens outside entities."""

import numpy as np

from ..errors import check_number
from ..tags.scheme import OUTSIDE
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import TokenLoss, cross_entropy


class MajorityOrMinority(TokenLoss):
    """l CE(all tokens) + (1 - l) CE(tokens outside entities).

    After Nemoto et al. 2024, arXiv 2401.11431. Both terms have the same divisor here, so that a
    token outside weighs 1 and one of an entity l: the loss guards the majority. The inverse is that
    of any weights, log p = z - log w.

    Attributes:
        lam: the share l of the loss of all tokens, in (0, 1]; 1 is plain cross-entropy.
        reduction: see ``EntityLoss``.
        tokens_per_batch: see ``EntityLoss``.

    Raises:
        ClinicalNerError: lam outside (0, 1].
    """

    def __init__(
        self, *, lam: float = 0.5, reduction: str = "tokens", tokens_per_batch: float = 500.0
    ):
        super().__init__(reduction=reduction, tokens_per_batch=tokens_per_batch)
        check_number("lam", lam, above=0, most=1)
        self.lam = lam

    def initialize(self, statistics: TagStatistics) -> None:
        """Lay out the weights. See the base class."""
        super().initialize(statistics)
        self._tag_weights = np.full(len(statistics.counts), self.lam)
        self._tag_weights[OUTSIDE] = 1.0

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits minus log l in the columns of entities. *Shape:* ``(n, K)``."""
        return self._without_unseen(logits) - self._log_weights(logits)

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """-r log softmax(z)[y]; the weight is in r."""
        return cross_entropy(logits, gold, factors)
