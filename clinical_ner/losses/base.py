"""What every loss shares: the call in thinc's order, masking, and the state it is bound to."""

import copy
from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from thinc.loss import Loss
from thinc.util import get_array_module, to_numpy

from ..arrays import as_like, log_softmax
from ..errors import ConfigError, NotFittedError, check_numbers, number
from ..tags.batch_sampling import BatchSampling
from ..tags.scheme import MASKED, OUTSIDE
from ..tags.soft_targets import mixed_tags
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds

#: How the losses of tokens become one number, and whether the optimum without signal stays known:
#:   tokens     sum over tokens / tokens_per_batch: the optimum is that of the tokens' shares
#:   documents  sum over documents of the mean over their tokens / expected documents per batch:
#:              that of the mean shares per document, which the sampling shift turns back
#:   classes    mean over the tags in the batch of the mean over their tokens: unknown
#:   weights    sum over tokens / sum of their weights in the batch: unknown
REDUCTIONS = {"tokens": True, "documents": True, "classes": False, "weights": False}


@dataclass(kw_only=True, eq=False)
class EntityLoss(Loss):
    """Base of the losses on tag logits; every loss has its settings too.

    A loss is bound to the tag statistics with ``initialize`` and has no other state. Tags without a
    training token are left out of every softmax: their gradient is 0 and their posterior -inf.
    Tokens with such a tag in gold, which only data that was not counted can hold, are masked: a
    probability that is 0 by definition cannot be learned.

    Attributes:
        reduction: tokens, documents, classes or weights; see ``REDUCTIONS``. The last two have no
            way back to the empirical probability.
        tokens_per_batch: the labelled tokens that a batch is expected to hold: sums are divided by
            this constant, because dividing by what the batch holds would change the optimum, and
            with it the way back to the prior.

    Raises:
        ClinicalNerError: an unknown reduction, one that the loss cannot have, or a number outside
            its range.
    """

    #: The reductions that the loss can have.
    reductions: ClassVar[tuple[str, ...]] = tuple(REDUCTIONS)

    reduction: str = "tokens"
    tokens_per_batch: float = number(500.0, above=0)

    def __post_init__(self) -> None:
        """Check the settings."""
        check_numbers(self)
        if self.reduction not in self.reductions:
            raise ConfigError(
                f"The loss '{type(self).__name__}' cannot have the reduction '{self.reduction}': "
                f"choose one of {', '.join(self.reductions)}."
            )
        self.tokens_per_batch = float(self.tokens_per_batch)
        self._statistics: TagStatistics | None = None

    @property
    def has_posterior(self) -> bool:
        """Whether ``posterior_logits`` leads back to the empirical probability."""
        return REDUCTIONS[self.reduction]

    @property
    def statistics(self) -> TagStatistics:
        """The live statistics that the loss is bound to.

        Raises:
            ClinicalNerError: the loss was not initialized.
        """
        if self._statistics is None:
            raise NotFittedError(
                f"The loss '{type(self).__name__}' was not initialized with tag statistics: call "
                "initialize() first."
            )
        return self._statistics

    def initialize(self, statistics: TagStatistics) -> None:
        """Bind the loss to the counts of the training data, at training and again after loading.

        Raises:
            ClinicalNerError: the settings do not fit the labels.
        """
        self._statistics = statistics

    def training_odds(self) -> NDArray[np.float64] | None:
        """Shares of the tags in what the loss averages over, None where nothing is left to undo.

        The component shifts the probabilities learned under them back to the prior. *Shape:*
        ``(K,)``.
        """
        if self.reduction == "documents":
            sampled = self.statistics.sampled_document_shares
            return self.statistics.document_shares if sampled is None else sampled
        return self.statistics.sampled_shares

    def __call__(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None = None,
        batch: BatchSampling | None = None,
    ) -> tuple[Logits, float]:
        """Gradient and loss, in thinc's order.

        Args:
            guesses: logits. *Shape:* ``(n, K)``.
            truths: gold tag ids, -1 where masked. *Shape:* ``(n,)``, or, where the loss allows it,
                ``(n, K // 2)``: a column for each type.
            lengths: tokens per document, for losses that average per document. *Shape:* ``(D,)``.
            batch: what a sampling batcher said of the batch.

        Returns:
            The gradient with respect to the logits in their dtype, *shape* ``(n, K)``, and the
            loss.
        """
        xp = get_array_module(guesses)
        if guesses.shape[0] == 0:
            return xp.zeros_like(guesses), 0.0
        gold = xp.asarray(truths)
        seen = self.statistics.seen
        if gold.ndim == 2:
            # In a type's column O is everything else, not only the tokens of no type.
            seen = seen | (np.arange(len(seen)) == OUTSIDE)
        if not seen.all():
            gold = xp.where(xp.asarray(seen)[gold], gold, MASKED)
        return self._gradient_and_loss(guesses, gold, lengths, batch)

    # On copies, so that what a loss keeps of the batches it was called on stays.
    def get_grad(self, *args: Any, **kwargs: Any) -> Logits:
        """Only the gradient of ``__call__``. *Shape:* ``(n, K)``."""
        return copy.copy(self)(*args, **kwargs)[0]

    def get_loss(self, *args: Any, **kwargs: Any) -> float:
        """Only the loss of ``__call__``."""
        return copy.copy(self)(*args, **kwargs)[1]

    def posterior_logits(self, logits: Logits) -> Logits:
        """Logits whose softmax is p(tag | text) under ``training_odds``. *Shape:* ``(n, K)``.

        Raises:
            ClinicalNerError: the loss has no way back to the empirical probability.
        """
        raise self._no_posterior()

    @abstractmethod
    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        """``__call__`` for at least one token, with tokens masked whose gold tag is unseen."""

    def _no_posterior(self) -> ConfigError:
        """What ``posterior_logits`` raises where there is no way back."""
        return ConfigError(
            f"Loss '{type(self).__name__}' does not lead back, with these settings, to the "
            "empirical probability: choose another loss, or settings that keep one, where "
            "probabilities are needed."
        )

    def _without_unseen(self, logits: Logits, value: float = -np.inf) -> Logits:
        """Copy of the logits with a value in the columns of tags without a training token."""
        xp = get_array_module(logits)
        result = logits.copy()
        result[:, xp.asarray(~self.statistics.seen)] = value
        return result

    def _token_scales(
        self,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        weights: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """Factor of every token's loss that the tags' weights and the reduction make.

        0 where masked. *Shape:* ``(n,)``, on the CPU.
        """
        gold = to_numpy(truths)
        labelled = gold >= 0
        weight = np.where(labelled, weights[gold], 0.0)
        if self.reduction == "tokens":
            return weight / self.tokens_per_batch
        if self.reduction == "documents":
            document, n_documents = self._document_of_token(lengths)
            in_document = np.bincount(document, weights=labelled, minlength=n_documents)
            return weight / (np.maximum(in_document, 1.0)[document] * self._documents_per_batch)
        if self.reduction == "classes":
            of_tag = np.bincount(gold[labelled], minlength=1)
            per_tag = np.where(labelled, of_tag[np.where(labelled, gold, 0)], 1)
            return weight / (per_tag * max(np.count_nonzero(of_tag), 1))
        return weight / max(weight.sum(), np.finfo(np.float64).tiny)

    def _document_of_token(self, lengths: NDArray[Any] | None) -> tuple[NDArray[np.int64], int]:
        """Index of every token's document, *shape* ``(n,)``, and the number of documents."""
        if lengths is None:
            raise ConfigError(
                f"The loss '{type(self).__name__}' averages per document, so it must be called "
                "with the lengths of the documents."
            )
        return np.repeat(np.arange(len(lengths)), to_numpy(lengths)), len(lengths)

    def _batch_shares(self, batch: BatchSampling) -> NDArray[np.float64]:
        """Expected shares of the tags that the loss averages over in a batch. *Shape:* ``(K,)``."""
        by_document = self.reduction == "documents"
        shares = batch["batch_document_shares" if by_document else "batch_shares"]
        return self.statistics.by_tag(shares)

    @property
    def _documents_per_batch(self) -> float:
        """Documents that hold as many labelled tokens as a batch is expected to."""
        return self.tokens_per_batch * self.statistics.documents / self.statistics.total


@dataclass(kw_only=True, eq=False)
class TokenLoss(EntityLoss):
    """Base of the losses that are a sum over tokens.

    It hides the columns of tags without a training token, picks the unmasked tokens, and computes
    the factor of each from its weight and the reduction. By itself it is cross-entropy with
    weights: without signal its optimum is p_c proportional to w_c pi_c. Other losses have a
    ``formula`` and ``posterior_logits``, or only ``trained``, of their own.
    """

    #: What logits of tags without a training token become in the formula.
    unseen_logit: ClassVar[float] = -np.inf

    def initialize(self, statistics: TagStatistics) -> None:
        """See the base class; every tag weighs 1."""
        super().initialize(statistics)
        self._tag_weights = np.ones(len(statistics.counts))

    def posterior_logits(self, logits: Logits) -> Logits:
        """What is trained, minus log w; see the base class. *Shape:* ``(n, K)``."""
        return self.trained(self._without_unseen(logits)) - self._log_weights(logits)

    def backprop_posterior(self, logits: Logits, d_posterior: Logits) -> Logits:
        """Gradient with respect to the logits, from that with respect to ``posterior_logits``.

        Here for an inverse that only adds constants. *Shape of all:* ``(n, K)``.
        """
        xp = get_array_module(logits)
        return xp.where(xp.asarray(self.statistics.seen), d_posterior, xp.zeros_like(d_posterior))

    def trained(self, logits: Logits) -> Logits:
        """Logits whose softmax is trained, here z itself. *Shape:* ``(n, K)``."""
        return logits

    def formula(self, logits: Logits, gold: TagIds, factors: Logits) -> tuple[Logits, float]:
        """Gradient and loss of the unmasked tokens: here of -r log softmax(trained(z))[y].

        The weight is in r, and ``trained`` is taken to have a slope of 1.

        Args:
            logits: ``unseen_logit`` in columns that take no part. *Shape:* ``(m, K)``.
            gold: tag ids. *Shape:* ``(m,)``.
            factors: the factor r of each token's loss. *Shape:* ``(m,)``.

        Returns:
            The gradient, *shape* ``(m, K)``, and the sum of r times the tokens' losses.
        """
        at_gold = (get_array_module(logits).arange(len(gold)), gold)
        log_p = log_softmax(self.trained(logits))
        gradient = get_array_module(logits).exp(log_p)
        gradient[at_gold] -= 1.0
        return gradient * factors[:, None], float(-(log_p[at_gold] * factors).sum())

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        xp = get_array_module(guesses)
        rows = xp.nonzero(truths >= 0)[0]
        factors = self._token_scales(truths, lengths, self._weights_in(batch))
        gradient = xp.zeros_like(guesses)
        gradient[rows], loss = self.formula(
            self._without_unseen(guesses[rows], self.unseen_logit),
            truths[rows],
            as_like(factors, guesses)[rows],
        )
        return gradient, loss

    @property
    def takes_soft_targets(self) -> bool:
        """Whether there is ``mixed``: it needs cross-entropy, whose inverse shifts the logits."""
        return self.has_posterior and type(self).formula is TokenLoss.formula

    def mixed(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        targets: NDArray[np.float64],
        weights: NDArray[np.float64],
    ) -> tuple[Logits, float]:
        """Gradient and loss where gold is mixed with soft targets q (``tags.soft_targets``).

        The loss of a token is (1 - a) l(y) + a sum_c q_c l(c), l(c) being what gold c costs: the
        mean over q of the loss of gold. So a q that is one-hot is gold, and both terms have one
        scale. With weights w the gradient of the second is r (s softmax(z) - w q), s = sum_c w_c
        q_c: its optimum is p(tag | text) = q, whatever the weights. Without weights it is the
        cross-entropy between q and the posterior, with the gradient r (p - q).

        q is p(tag | text) under the prior; what the loss learns under other shares (those of
        documents), it is moved to first. It has no part in tags without a training token.

        Args:
            guesses: see ``__call__``; so `truths` and `lengths`.
            truths: *Shape:* ``(n,)``.
            lengths: *Shape:* ``(D,)``.
            targets: q, a row of zeros where it is not known. *Shape:* ``(n, K)``.
            weights: a. *Shape:* ``(n,)``.

        Returns:
            See ``__call__``.
        """
        xp = get_array_module(guesses)
        gold, seen = to_numpy(truths), self.statistics.seen
        learned = self.training_odds()
        shift = (
            seen if learned is None else seen * learned / np.where(seen, self.statistics.prior, 1)
        )
        q = targets * shift
        q /= np.maximum(q.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
        tags = mixed_tags(np.where(seen[gold], gold, MASKED), q, weights)
        present = np.where(tags.any(axis=1), OUTSIDE, MASKED)
        tags *= (
            self._tag_weights * self._token_scales(present, lengths, np.ones(len(seen)))[:, None]
        )
        wanted = as_like(tags, guesses)
        log_p = log_softmax(self.trained(self._without_unseen(guesses)))
        gradient = xp.exp(log_p) * wanted.sum(axis=1, keepdims=True) - wanted
        return gradient, -float((wanted * xp.where(wanted > 0, log_p, 0.0)).sum())

    def _weights_in(self, batch: BatchSampling | None) -> NDArray[np.float64]:
        """Weight of each tag in a batch. *Shape:* ``(K,)``."""
        return self._tag_weights

    def _log_weights(self, like: Logits) -> Any:
        """Logarithm of every tag's weight. *Shape:* ``(K,)``."""
        return as_like(np.log(self._tag_weights), like)
