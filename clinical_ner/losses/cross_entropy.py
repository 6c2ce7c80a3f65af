"""Cross-entropy with class weights."""

from ..types import Logits, TagIds
from .base import cross_entropy
from .weighted import WeightedLoss


class WeightedCrossEntropy(WeightedLoss):
    """Cross-entropy in which the tokens of class c weigh w_c.

    With no signal its optimum is p_c proportional to w_c pi_c, so that the empirical probability is
    softmax(z - log w): weights move what is learned first and best, not what is handed out.

    weights: one of the schemes none, paper (1 - N_c/N, arXiv 2409.03238), inverse, sqrt_inverse,
        effective_number (arXiv 1901.05555), or a table {label or "O": weight}.
    beta: b of the scheme effective_number, in [0, 1).
    reduction, tokens_per_batch: see ``EntityLoss``.

    Raises:
        ClinicalNerError: an unknown scheme or a weight that is not positive and finite.
    """

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits minus log w. *Shape:* ``(n, K)``."""
        return self._without_unseen(logits) - self._log_weights(logits)

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """-r log softmax(z)[y]; the weight is in r."""
        return cross_entropy(logits, gold, factors)
