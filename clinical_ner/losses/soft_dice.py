"""Soft dice: the overlap of probability and gold, per tag over a batch or document."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module, to_numpy

from ..arrays import as_like, log_softmax
from ..errors import number
from ..tags.batch_sampling import BatchSampling
from ..types import Logits, TagIds
from .base import EntityLoss


@dataclass(kw_only=True, eq=False)
class SoftDice(EntityLoss):
    """1 - (2 sum p y + e) / (sum p^2 + sum y^2 + e), mean over tags (Milletari et al. 2016,
    arXiv 1606.04797, with its squares in the denominator).

    The sums run over the labelled tokens of the batch, or of one document, and the mean over the
    tags that its gold holds, so that each tag counts the same however rare. There is no way back to
    the empirical probability.

    Its scale: one batch gives at most 1, times its labelled tokens over ``tokens_per_batch``, so
    that a small last batch pulls less; that is the scale of a cross-entropy's mean. At equal
    probabilities of K tags its gradient is about 1/K of the cross-entropy's, as that of any
    function of the probabilities. Adam, which divides by the size of gradients, trains it at the
    same rates.

    Attributes:
        smoothing: e >= 0; the source has 0. It steadies tags with a handful of tokens.
        reduction: tokens (the batch as a whole) or documents (the sum over documents / the
            documents that a batch is expected to hold).
    """

    reductions: ClassVar[tuple[str, ...]] = ("tokens", "documents")
    has_posterior: ClassVar[bool] = False

    smoothing: float = number(1.0, least=0)

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        xp = get_array_module(guesses)
        members, group_scales = self._groups(truths, lengths)
        within = as_like(members, guesses)
        p = xp.exp(log_softmax(self._without_unseen(guesses)))
        y = as_like(truths[:, None] == xp.arange(guesses.shape[1]), guesses)
        gold = within @ y
        in_gold = gold > 0
        numerator = 2.0 * (within @ (p * y)) + self.smoothing
        denominator = within @ (p * p) + gold + self.smoothing
        # A tag that the group's gold lacks takes no part, and its denominator may be 0.
        denominator = xp.where(in_gold, denominator, xp.ones_like(denominator))
        dice = numerator / denominator
        n_tags = xp.maximum(in_gold.sum(axis=1, keepdims=True), 1)
        of_tag = as_like(group_scales, guesses)[:, None] / n_tags
        of_tag = xp.where(in_gold, of_tag, xp.zeros_like(dice)).astype(guesses.dtype)
        d_p = -2.0 * (
            y * (within.T @ (of_tag / denominator)) - p * (within.T @ (of_tag * dice / denominator))
        )
        gradient = p * (d_p - (d_p * p).sum(axis=1, keepdims=True))
        return gradient, float((of_tag * (1.0 - dice)).sum())

    def _groups(
        self, truths: TagIds, lengths: NDArray[Any] | None
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Which labelled tokens belong together, *shape* ``(G, n)``, and the factor of each group's
        loss, *shape* ``(G,)``."""
        labelled = to_numpy(truths) >= 0
        if self.reduction == "tokens":
            share = labelled.sum() / self.tokens_per_batch
            return labelled[None].astype(np.float64), np.asarray([share])
        document, n_documents = self._document_of_token(lengths)
        members = (document == np.arange(n_documents)[:, None]) & labelled
        scale = np.full(n_documents, 1.0 / self._documents_per_batch)
        return members.astype(np.float64), scale
