"""What every loss shares: the call in thinc's order, masking, and the state it is bound to."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module
from thinc.loss import Loss

from ..errors import ClinicalNerError, Errors
from ..labels.statistics import TagStatistics
from ..types import Logits, TagIds


class EntityLoss(Loss):
    """Base of the losses on tag logits.

    A loss is bound to the tag statistics with ``initialize`` and has no other state. Tags without a
    training token are left out of every softmax: their gradient is 0 and their posterior -inf.

    tokens_per_batch: the constant that sums over tokens are divided by. A constant, because
        dividing by what the batch holds would change the optimum, and with it the way back to
        the prior.
    """

    #: Whether ``posterior_logits`` leads back to the empirical probability.
    has_posterior: bool = True

    def __init__(self, *, tokens_per_batch: float = 500.0):
        if not (np.isfinite(tokens_per_batch) and tokens_per_batch > 0):
            raise ClinicalNerError(
                Errors.E004.format(
                    setting="tokens_per_batch", range="above 0", value=tokens_per_batch
                )
            )
        self.tokens_per_batch = float(tokens_per_batch)
        self._unseen: NDArray[np.bool_] | None = None

    def initialize(self, statistics: TagStatistics) -> None:
        """Bind the loss to the counts of the training data, at training and again after loading.

        statistics: counts per tag; see ``TagStatistics``.

        RAISES ClinicalNerError: the settings do not fit the labels.
        """
        self._unseen = ~statistics.seen

    def __call__(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None = None,
        batch: dict[str, Any] | None = None,
    ) -> tuple[Logits, float]:
        """Gradient and loss, in thinc's order.

        guesses: logits. *Shape:* ``(n, K)``.
        truths: gold tag ids, -1 where masked. *Shape:* ``(n,)``.
        lengths: tokens per document, for losses that average per document. *Shape:* ``(D,)``.
        batch: what a sampling batcher said of the batch.

        RETURNS: the gradient with respect to the logits in their dtype, *shape* ``(n, K)``, and the
        loss.
        """
        xp = get_array_module(guesses)
        if guesses.shape[0] == 0:
            return xp.zeros_like(guesses), 0.0
        return self._gradient_and_loss(guesses, truths, lengths, batch)

    def get_grad(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None = None,
        batch: dict[str, Any] | None = None,
    ) -> Logits:
        """Only the gradient of ``__call__``. *Shape:* ``(n, K)``."""
        return self(guesses, truths, lengths, batch)[0]

    def get_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None = None,
        batch: dict[str, Any] | None = None,
    ) -> float:
        """Only the loss of ``__call__``."""
        return self(guesses, truths, lengths, batch)[1]

    @abstractmethod
    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits whose softmax is the empirical p(tag | text). *Shape:* ``(n, K)``."""

    @abstractmethod
    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: dict[str, Any] | None,
    ) -> tuple[Logits, float]:
        """``__call__`` for at least one token."""

    def _without_unseen(self, logits: Logits) -> Logits:
        """Copy of the logits with -inf in the columns of tags without a training token."""
        if self._unseen is None:
            raise ClinicalNerError(Errors.E034.format(loss=type(self).__name__))
        xp = get_array_module(logits)
        result = logits.copy()
        result[:, xp.asarray(self._unseen)] = -xp.inf
        return result


def log_softmax(logits: Logits) -> Logits:
    """Logarithm of the softmax over the last axis; finite logits of any size are safe.

    Columns of -inf stay -inf. A row without a finite entry cannot occur: the statistics have at
    least one seen tag. *Shape:* ``(n, K)``.
    """
    xp = get_array_module(logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def weighted_negative_log_likelihood(
    logits: Logits, truths: TagIds, weights: NDArray[Any], divisor: float
) -> tuple[Logits, float]:
    """Sum over unmasked tokens of -w[y] log softmax(z)[y], divided by a constant, and its gradient.

    The derivative with respect to z is w[y] (softmax(z) - onehot(y)) / divisor.

    logits: -inf in columns that take no part. *Shape:* ``(n, K)``.
    truths: gold tag ids, -1 where masked. *Shape:* ``(n,)``.
    weights: weight of each tag. *Shape:* ``(K,)``.

    RETURNS: gradient, *shape* ``(n, K)``, and loss.
    """
    xp = get_array_module(logits)
    rows = xp.nonzero(xp.asarray(truths) >= 0)[0]
    gold = xp.asarray(truths)[rows]
    log_p = log_softmax(logits[rows])
    scale = (xp.asarray(weights, dtype=logits.dtype)[gold] / divisor).astype(logits.dtype)
    d_rows = xp.exp(log_p)
    d_rows[xp.arange(len(rows)), gold] -= 1.0
    gradient = xp.zeros_like(logits)
    gradient[rows] = d_rows * scale[:, None]
    loss = -(log_p[xp.arange(len(rows)), gold] * scale).sum()
    return gradient, float(loss)
