"""Cross-entropy with class weights."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from ..labels.sampling import BatchSampling
from ..labels.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import EntityLoss, scaled_negative_log_likelihood
from .weights import check_weights, tag_weights


class WeightedCrossEntropy(EntityLoss):
    """Cross-entropy in which the tokens of class c weigh w_c.

    With no signal its optimum is p_c proportional to w_c pi_c, so that the empirical probability is
    softmax(z - log w): weights move what is learned first and best, not what is handed out.

    weights: one of the schemes none, paper (1 - N_c/N, arXiv 2409.03238), inverse, sqrt_inverse,
        effective_number (arXiv 1901.05555), or a table {label or "O": weight}.
    beta: b of the scheme effective_number, in [0, 1).
    reduction, tokens_per_batch: see ``EntityLoss``.

    RAISES ClinicalNerError: an unknown scheme or a weight that is not positive and finite.
    """

    def __init__(
        self,
        *,
        weights: str | dict[str, float] = "none",
        beta: float = 0.999,
        reduction: str = "tokens",
        tokens_per_batch: float = 500.0,
    ):
        super().__init__(reduction=reduction, tokens_per_batch=tokens_per_batch)
        check_weights(weights, beta)
        self.weights = weights
        self.beta = beta
        self._tag_weights: NDArray[np.float64] = np.ones(1)

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute the weights from the counts. See the base class."""
        super().initialize(statistics)
        self._tag_weights = tag_weights(statistics, self.weights, beta=self.beta)

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits minus log w. *Shape:* ``(n, K)``."""
        xp = get_array_module(logits)
        log_weights = xp.asarray(np.log(self._tag_weights), dtype=logits.dtype)
        return self._without_unseen(logits) - log_weights

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        return scaled_negative_log_likelihood(
            self._without_unseen(guesses),
            truths,
            self._token_scales(truths, lengths, self._tag_weights),
        )
