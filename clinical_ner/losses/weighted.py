"""What losses with class weights share: the settings, and the weights of the tags."""

from ..tags.statistics import TagStatistics
from .base import TokenLoss
from .weights import check_weights, tag_weights


class WeightedLoss(TokenLoss):
    """Base of the losses in which the tokens of class c weigh w_c.

    Attributes:
        weights: one of the schemes none, paper (1 - N_c/N, arXiv 2409.03238), inverse,
            sqrt_inverse, effective_number (arXiv 1901.05555), or a table {label or "O": weight}.
        beta: b of the scheme effective_number, in [0, 1).
        reduction: see ``EntityLoss``.
        tokens_per_batch: see ``EntityLoss``.

    Raises:
        ClinicalNerError: an unknown scheme or a weight that is not positive and finite.
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

    def initialize(self, statistics: TagStatistics) -> None:
        """Compute the weights from the counts. See the base class."""
        super().initialize(statistics)
        self._tag_weights = tag_weights(statistics, self.weights, beta=self.beta)
