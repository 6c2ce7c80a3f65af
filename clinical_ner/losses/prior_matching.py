"""Prior matching: a penalty on mean probabilities that stray from the prior."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module, to_numpy

from ..arrays import as_like, log_softmax
from ..errors import ConfigError, number
from ..tags.batch_sampling import BatchSampling
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import EntityLoss, TokenLoss
from .log_space import LOG_ZERO


@dataclass(kw_only=True, eq=False)
class PriorMatching(EntityLoss):
    """Another loss, plus b KL(pi || q), q the mean over tokens of softmax(posterior_logits(z)).

    The penalty is on the empirical probability, not on softmax(z), which weights move on purpose.
    Its target pi are the shares that the base averages over: the prior, the mean shares per
    document with the base's reduction documents, or under a sampling batcher the expected shares of
    the batch; per-document means of q go with per-document shares.

    A batch says little of rare tags, so q is a running mean m q_old + (1-m) q_batch, one for each
    type that batches are for, starting from the first batch. The gradient flows through q_batch and
    is divided by (1-m): it is that of b KL(pi || mean over all batches) as far as this batch takes
    part in it, and b means the same at any m. The running mean is a matter of training only:
    it is not saved, and ``initialize`` resets it. ``get_grad`` and ``get_loss`` leave it alone.

    The scale: KL is in nats per batch, whatever the batch's size, next to a base whose loss
    is about one mean over tokens (its sum / ``tokens_per_batch``). b = 1 lets a nat of
    divergence weigh as much as a nat of mean token loss.

    Attributes:
        base: the loss, a ``TokenLoss`` with a way back to the empirical probability; reduction and
            tokens_per_batch are its settings.
        strength: the factor b >= 0.
        momentum: m in [0, 1).

    Raises:
        ClinicalNerError: a base that is not a ``TokenLoss`` or has no posterior, or a number
            outside its range.
    """

    base: TokenLoss
    strength: float = number(0.1, least=0)
    momentum: float = number(0.9, least=0, below=1)
    reduction: str = field(init=False)
    tokens_per_batch: float = field(init=False)

    def __post_init__(self) -> None:
        """Check the settings."""
        if not isinstance(self.base, TokenLoss):
            raise ConfigError(
                "Prior matching needs a base that is a sum over tokens of one loss over all tags, "
                f"which '{type(self.base).__name__}' is not: choose another base, such as "
                "clinical_ner.WeightedCrossEntropy.v1."
            )
        if not self.base.has_posterior:
            raise ConfigError(
                "Prior matching needs a loss that leads back to the empirical probability, which "
                f"'{type(self.base).__name__}' lacks with its settings: choose another base, or "
                "its reduction tokens or documents."
            )
        self.reduction = self.base.reduction
        self.tokens_per_batch = self.base.tokens_per_batch
        super().__post_init__()

    def initialize(self, statistics: TagStatistics) -> None:
        """Initialize the base and forget the running means. See the base class."""
        super().initialize(statistics)
        self.base.initialize(statistics)
        self._log_means: dict[str | None, Logits] = {}

    def training_odds(self) -> NDArray[np.float64] | None:
        """Those of the base."""
        return self.base.training_odds()

    def posterior_logits(self, logits: Logits) -> Logits:
        """Those of the base. *Shape:* ``(n, K)``."""
        return self.base.posterior_logits(logits)

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        xp = get_array_module(guesses)
        gradient, loss = self.base(guesses, truths, lengths, batch)
        rows = xp.nonzero(truths >= 0)[0]
        if len(rows) == 0:
            return gradient, loss
        logits = guesses[rows]
        log_p = log_softmax(self.base.posterior_logits(logits))
        token_shares = self._token_shares(to_numpy(truths) >= 0, lengths)
        log_part = log_p + as_like(np.log(token_shares), log_p)[:, None]
        log_mean = self._running_log_mean(log_part, None if batch is None else batch["type"])
        shares = self._target(batch)
        drawn = shares > 0
        target = as_like(shares, log_p)
        entropy = -float((shares[drawn] * np.log(shares[drawn])).sum())
        divergence = -float((target * log_mean).sum()) - entropy
        d_log_p = -self.strength * target * xp.exp(log_part - log_mean)
        d_posterior = d_log_p - xp.exp(log_p) * d_log_p.sum(axis=1, keepdims=True)
        gradient[rows] += self.base.backprop_posterior(logits, d_posterior)
        return gradient, loss + self.strength * divergence

    def _running_log_mean(self, log_part: Logits, batch_type: str | None) -> Logits:
        """Take a batch into the running mean of its type, None without one.

        ``log_part`` is the log of each token's probabilities times its share of the mean.

        Returns:
            Log q, ``LOG_ZERO`` for tags without a training token. *Shape:* ``(K,)``.
        """
        xp = get_array_module(log_part)
        largest = xp.maximum(log_part.max(axis=0), LOG_ZERO)
        # log 0 is meant here: columns of tags without a training token.
        with np.errstate(divide="ignore"):
            log_mean = largest + xp.log(xp.exp(log_part - largest).sum(axis=0))
        log_mean = xp.maximum(log_mean, LOG_ZERO)
        before = self._log_means.get(batch_type)
        if before is not None and self.momentum > 0:
            log_mean = xp.logaddexp(
                float(np.log(self.momentum)) + before, float(np.log1p(-self.momentum)) + log_mean
            )
        # A new dict: see ``get_grad``.
        self._log_means = {**self._log_means, batch_type: log_mean}
        return log_mean

    def _target(self, batch: BatchSampling | None) -> NDArray[np.float64]:
        """Shares pi that the mean should have, 0 for tags without a training token.

        *Shape:* ``(K,)``.
        """
        if batch is not None:
            shares = self._batch_shares(batch)
        else:
            expected = self.base.training_odds()
            shares = self.statistics.prior if expected is None else expected
        shares = np.where(self.statistics.seen, shares, 0.0)
        return shares / shares.sum()

    def _token_shares(
        self, labelled: NDArray[np.bool_], lengths: NDArray[Any] | None
    ) -> NDArray[np.float64]:
        """Share of each labelled token in the mean. *Shape:* ``(labelled.sum(),)``."""
        if self.reduction == "tokens":
            return np.full(labelled.sum(), 1.0 / labelled.sum())
        document = self._document_of_token(lengths)[0][labelled]
        in_document = np.bincount(document)
        return 1.0 / (in_document[document] * np.count_nonzero(in_document))
