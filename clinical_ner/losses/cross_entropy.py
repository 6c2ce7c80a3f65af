"""Cross-entropy with class weights."""

from typing import Any

from numpy.typing import NDArray

from ..tags.batch_sampling import BatchSampling
from ..types import Logits, TagIds
from .base import scaled_negative_log_likelihood
from .weighted import WeightedLoss


class WeightedCrossEntropy(WeightedLoss):
    """Cross-entropy in which the tokens of class c weigh w_c.

    With no signal its optimum is p_c proportional to w_c pi_c, so that the empirical probability is
    softmax(z - log w): weights move what is learned first and best, not what is handed out.

    weights: one of the schemes none, paper (1 - N_c/N, arXiv 2409.03238), inverse, sqrt_inverse,
        effective_number (arXiv 1901.05555), or a table {label or "O": weight}.
    beta: b of the scheme effective_number, in [0, 1).
    reduction, tokens_per_batch: see ``EntityLoss``.

    RAISES ClinicalNerError: an unknown scheme or a weight that is not positive and finite.
    """

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits minus log w. *Shape:* ``(n, K)``."""
        return self._without_unseen(logits) - self._log_weights(logits)

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
