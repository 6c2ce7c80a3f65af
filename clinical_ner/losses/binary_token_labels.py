"""Binary token labels (BTL): for each entity type, a problem of its own against everything else."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from ..arrays import as_like
from ..errors import ConfigError, check_choice, check_number
from ..tags.batch_sampling import BatchSampling
from ..tags.scheme import MASKED, OUTSIDE
from ..tags.statistics import TagStatistics
from ..types import Logits, LogProbs, TagIds
from .base import EntityLoss

PROBLEMS = ("all", "batch")
WEIGHTS = ("paper", "none", "power")
#: Smallest p(O) of ``posterior_logits``, also where the types' probabilities sum to 1 or more.
LEAST_OUTSIDE = 1e-6


@dataclass(kw_only=True, eq=False)
class BinaryTokenLabels(EntityLoss):
    """The sum over the entity types m of weighted cross-entropy on O, B-m and I-m (after arXiv
    2409.03238; what becomes of the other types is our definition).

    In the problem of m, tokens of all other types count as O, so that z_O is a threshold which all
    types share (compare arXiv 2010.11304). Each tag's logit has a constant added to it,

        log(q_c / (1 - q_m) * w_m / w_rest),

    q the shares in training and w the weights: without signal the optimum is then z_c = z_O, where
    training starts. With signal, the odds of c against all but m are exp(z_c - z_O) pi_c / (1 -
    pi_m) under the prior pi, whatever the weights and however documents were drawn: the constant
    and the weights cancel, and the shift of each binary prior is pi over q.

    The problems are independent. p(O), which is 1 minus the sum of the types, is therefore raised
    to ``LEAST_OUTSIDE`` where that is less. For the same reason a token may have tags of several
    types: gold may have the shape ``(n, K // 2)``, one column per type.

    Attributes:
        problems: all (every type in every batch), or batch (only the type that the batch is for, as
            in the paper, with ``clinical_ner.batch_by_entity.v1``; a type that never had a batch
            has probability 0).
        weights: of the tokens of m and of the rest: paper (w_m = 1 - q_m and w_rest = q_m, which
            pull alike), none (1 and 1), or power (((1 - q_m) / q_m)^a and 1).
        power: the exponent a in [0, 1], with weights = "power" and only then.
        reduction: see ``EntityLoss``: tokens or documents.

    Raises:
        ClinicalNerError: an unknown setting, or a power without its weights.
    """

    reductions: ClassVar[tuple[str, ...]] = ("tokens", "documents")

    problems: str = "all"
    weights: str = "paper"
    power: float | None = None

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        check_choice("problems", self.problems, PROBLEMS)
        check_choice("weights", self.weights, WEIGHTS)
        if (self.weights == "power") != (self.power is not None):
            raise ConfigError(
                'BTL has a power with weights = "power", and only then: set both, or neither.'
            )
        if self.power is not None:
            check_number("power", self.power, least=0, most=1)

    def initialize(self, statistics: TagStatistics) -> None:
        """See the base class.

        Raises:
            ClinicalNerError: all tokens of the corpus are of one type.
        """
        super().initialize(statistics)
        of_types = _by_type(statistics.counts[1:])
        if (of_types == statistics.total).any():
            raise _nothing_else(statistics.labels[int(of_types.argmax())])

    def training_odds(self) -> NDArray[np.float64] | None:
        """None: ``posterior_logits`` undoes the sampling, whose shift differs by problem."""
        return None

    def posterior_logits(self, logits: Logits) -> Logits:
        """Log p(tag | text), up to a constant per token. *Shape:* ``(n, K)``."""
        xp = get_array_module(logits)
        # In double precision, for the sake of what is left of 1.
        log_p, _ = self.log_problems(logits.astype("float64"))
        outside = 1.0 - xp.exp(log_p).sum(axis=1, keepdims=True)
        log_outside = xp.log(xp.maximum(outside, LEAST_OUTSIDE))
        posterior = xp.concatenate((log_outside, log_p), axis=1)
        return self._without_unseen(posterior.astype(logits.dtype))

    def log_problems(self, logits: Logits) -> tuple[LogProbs, LogProbs]:
        """Log-probabilities of the binary problems, under the prior.

        Returns:
            Those of all tags but O, each in the problem of its type, *shape* ``(n, K - 1)``, and of
            everything else in each problem, *shape* ``(n, K // 2)``.
        """
        xp = get_array_module(logits)
        ratios = logits[:, 1:] - logits[:, :1] + as_like(self._log_prior_odds(), logits)
        largest, _, total = _normalised(ratios)
        log_total = largest + xp.log(total)
        return ratios - xp.repeat(log_total, 2, axis=1), -log_total

    def _log_prior_odds(self) -> NDArray[np.float64]:
        """Log pi_c / (1 - pi_m); -inf for what was never trained. *Shape:* ``(K - 1,)``."""
        odds = _odds(self.statistics.prior)
        if self.problems == "batch":
            drawn = self.statistics.type_odds
            odds = np.where(False if drawn is None else drawn[1:] > 0, odds, 0.0)
        with np.errstate(divide="ignore"):
            return np.log(odds)

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        xp = get_array_module(guesses)
        types = self._types_of(batch)
        odds = self._training_odds_of(types)
        weights_own, weights_rest = self._pair_weights(_by_type(odds))
        with np.errstate(divide="ignore"):
            offsets = np.log(odds) + np.repeat(np.log(weights_own / weights_rest), 2)
        known = truths > MASKED if truths.ndim == 1 else (truths > MASKED).all(axis=1)
        # One weight for all tags: those of the problems come below.
        factors = self._token_scales(
            xp.where(known, OUTSIDE, MASKED), lengths, np.ones(len(self.statistics.counts))
        )
        rows = xp.nonzero(known)[0]
        columns = xp.asarray(np.stack((2 * types + 1, 2 * types + 2), axis=1).ravel())
        logits = guesses[rows]
        ratios = logits[:, columns] - logits[:, :1] + as_like(offsets, guesses)
        # Where gold has tags of the types, by row and column of these ratios.
        gold = truths[rows] if truths.ndim == 2 else truths[rows][:, None]
        position = np.full(len(self.statistics.counts), -1)
        position[2 * types + 1] = 2 * np.arange(len(types))
        position[2 * types + 2] = 2 * np.arange(len(types)) + 1
        at = xp.asarray(position)[gold]
        tagged, which = xp.nonzero(at >= 0)
        tag = at[tagged, which]
        kind = tag // 2

        factors = as_like(factors, guesses)[rows]
        largest, exponentials, total = _normalised(ratios)
        log_total = largest + xp.log(total)
        weights = as_like(weights_rest, guesses) * factors[:, None]
        own = as_like(weights_own, guesses)[kind] * factors[tagged]
        weights[tagged, kind] = own
        loss = (weights * log_total).sum() - (own * ratios[tagged, tag]).sum()
        d_ratios = exponentials * xp.repeat(weights / total, 2, axis=1)
        d_ratios[tagged, tag] -= own
        gradient = xp.zeros_like(guesses)
        d_logits = xp.zeros_like(logits)
        d_logits[:, columns] = d_ratios
        d_logits[:, OUTSIDE] = -d_ratios.sum(axis=1)
        gradient[rows] = d_logits
        return gradient, float(loss)

    def _types_of(self, batch: BatchSampling | None) -> NDArray[np.int64]:
        """Indices of the types whose problems a batch trains."""
        if self.problems == "all":
            return np.arange(len(self.statistics.labels))
        if batch is None or batch["type"] is None:
            raise ConfigError(
                'BTL with problems = "batch" needs batches for one entity type: set '
                "training.batcher to clinical_ner.batch_by_entity.v1, or problems = \"all\"."
            )
        label = batch["type"]
        if label not in self.statistics.labels:
            known = ", ".join(self.statistics.labels)
            raise ConfigError(
                f"BTL was given a batch for the entity type '{label}', which the corpus lacks. "
                f"Its types are: {known}."
            )
        return np.array([self.statistics.labels.index(label)])

    def _training_odds_of(self, types: NDArray[np.int64]) -> NDArray[np.float64]:
        """Odds of the tags of types in training, each against all but its type.

        *Shape:* ``(2 len(types),)``.
        """
        statistics = self.statistics
        by_document = self.reduction == "documents"
        if self.problems == "batch":
            odds = statistics.type_document_odds if by_document else statistics.type_odds
            assert odds is not None
            odds = odds[1:]
        else:
            shares = super().training_odds()
            odds = _odds(statistics.prior if shares is None else shares)
        return odds.reshape(-1, 2)[types].ravel()

    def _pair_weights(
        self, odds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights of the tokens of each type, and of the rest, from the type's odds in training."""
        ones = np.ones_like(odds)
        if self.weights == "none":
            return ones, ones
        # A type without a token has no gradient, and any weight.
        odds = np.where(odds > 0, odds, 1.0)
        if self.weights == "power":
            return odds**-self.power, ones
        return 1.0 / (1.0 + odds), odds / (1.0 + odds)


def _normalised(ratios: Logits) -> tuple[Logits, Logits, Logits]:
    """Exponentials of log ratios to "everything else", and their sum with its 1, by problem.

    Args:
        ratios: of B and I of each of m types. *Shape:* ``(n, 2 m)``.

    Returns:
        A constant which was subtracted before, *shape* ``(n, m)``; the exponentials, *shape* ``(n,
        2 m)``; their sums, *shape* ``(n, m)``.
    """
    xp = get_array_module(ratios)
    largest = xp.maximum(xp.maximum(ratios[:, ::2], ratios[:, 1::2]), 0.0)
    exponentials = xp.exp(ratios - xp.repeat(largest, 2, axis=1))
    total = exponentials[:, ::2] + exponentials[:, 1::2]
    total += xp.exp(-largest)
    return largest, exponentials, total


def _by_type(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over B and I of each type, of values of all tags but O."""
    return np.asarray(values.reshape(-1, 2).sum(axis=1))


def _odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Odds of every tag but O against all but its type, from shares. *Shape:* ``(K - 1,)``."""
    with np.errstate(divide="ignore"):
        return shares[1:] / np.repeat(1.0 - _by_type(shares[1:]), 2)


def _nothing_else(label: str) -> ConfigError:
    return ConfigError(
        f"BTL cannot learn '{label}': all tokens that it is compared on are of that type. Leave the "
        "type out of the corpus, or choose another loss."
    )
