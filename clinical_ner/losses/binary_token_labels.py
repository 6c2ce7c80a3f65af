"""Binary token labels (BTL): for each entity type, a problem of its own against everything else."""

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from thinc.api import get_array_module

from ..arrays import as_like
from ..errors import ConfigError, check_choice, check_number
from ..tags.batch_sampling import BatchSampling
from ..tags.problems import with_outside
from ..tags.scheme import MASKED, OUTSIDE, begin_id, inside_id
from ..tags.statistics import TagStatistics
from ..types import Logits, TagIds
from .base import EntityLoss

PROBLEMS = ("all", "batch")
WEIGHTS = ("paper", "none", "power")


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

    The problems are independent, so p(O), which is 1 minus the sum of the types, may come out as 0
    or less; it is raised to ``tags.problems.LEAST_OUTSIDE``. For the same reason a token may have
    tags of several types: gold may have the shape ``(n, K // 2)``, one column per type.

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
        of_types = _pair_sums(statistics.counts[1:])
        if (of_types == statistics.total).any():
            label = statistics.labels[int(of_types.argmax())]
            raise ConfigError(
                f"BTL cannot learn '{label}': all labelled tokens of the corpus are of that type. "
                "Leave the type out of the corpus, or choose another loss."
            )

    def training_odds(self) -> NDArray[np.float64] | None:
        """None: ``posterior_logits`` undoes the sampling, whose shift differs by problem."""
        return None

    def posterior_logits(self, logits: Logits) -> Logits:
        """Log-probabilities of each tag in the problem of its type, and of O (``tags.problems``).

        Their softmax is p(tag | text) where a token has one tag. *Shape:* ``(n, K)``.
        """
        return self._log_probs(logits, self._log_prior_odds()[1:])

    def trained(self, logits: Logits) -> Logits:
        """``posterior_logits`` without the inverse: under the weights, and as tokens are drawn.

        *Shape:* ``(n, K)``.
        """
        odds = self._training_odds()[1:]
        of_own, of_rest = self._pair_weights(_pair_sums(odds))
        return self._log_probs(logits, _log(odds) + np.repeat(np.log(of_own / of_rest), 2))

    def _log_probs(self, logits: Logits, log_odds: NDArray[np.float64]) -> Logits:
        """Log-probabilities, where logits of 0 mean these odds of all tags but O."""
        # In double precision, for the sake of what is left of 1.
        logits_64 = logits.astype("float64")
        log_p = logits_64[:, 1:] - logits_64[:, :1]
        log_p += as_like(log_odds, logits_64)
        log_totals = _normalised(log_p)[2]
        log_p[:, ::2] -= log_totals
        log_p[:, 1::2] -= log_totals
        return self._without_unseen(with_outside(log_p).astype(logits.dtype))

    def _gradient_and_loss(
        self,
        guesses: Logits,
        truths: TagIds,
        lengths: NDArray[Any] | None,
        batch: BatchSampling | None,
    ) -> tuple[Logits, float]:
        xp = get_array_module(guesses)
        columns = self._columns(batch)
        odds = self._training_odds()[columns]
        of_own, of_rest = self._pair_weights(_pair_sums(odds))
        offsets = _log(odds) + np.repeat(np.log(of_own / of_rest), 2)
        gold = truths if truths.ndim == 2 else truths[:, None]
        # All that is not masked is O here, and weighs 1: the weights of the problems come below.
        known = xp.where(gold.min(axis=1) > MASKED, OUTSIDE, MASKED)
        factors = as_like(self._token_scales(known, lengths, np.ones(1)), guesses)
        ratios = guesses[:, columns] - guesses[:, :1]
        ratios += as_like(offsets, guesses)
        exponentials, totals, log_totals = _normalised(ratios)
        weights = factors[:, None] * as_like(of_rest, guesses)
        # The tags of these problems that gold has.
        position = xp.flatnonzero((gold >= columns.start) & (gold < columns.stop))
        token, tag = position // gold.shape[1], gold.ravel()[position] - columns.start
        own = as_like(of_own, guesses)[tag // 2] * factors[token]
        weights[token, tag // 2] = own
        loss = (weights * log_totals).sum() - (own * ratios[token, tag]).sum()
        weights /= totals
        d_ratios = exponentials
        d_ratios[:, ::2] *= weights
        d_ratios[:, 1::2] *= weights
        d_ratios[token, tag] -= own
        gradient = xp.zeros_like(guesses)
        gradient[:, columns] = d_ratios
        gradient[:, OUTSIDE] = -d_ratios.sum(axis=1)
        return gradient, float(loss)

    def _columns(self, batch: BatchSampling | None) -> slice:
        """Ids of the tags, but O, whose problems a batch trains."""
        if self.problems == "all":
            return slice(OUTSIDE + 1, len(self.statistics.counts))
        if batch is None or batch["type"] is None:
            raise ConfigError(
                'BTL with problems = "batch" needs batches for one entity type: set '
                'training.batcher to clinical_ner.batch_by_entity.v1, or problems = "all".'
            )
        label = batch["type"]
        if label not in self.statistics.labels:
            known = ", ".join(self.statistics.labels)
            raise ConfigError(
                f"BTL was given a batch for the entity type '{label}', which the corpus lacks. "
                f"Its types are: {known}."
            )
        index = self.statistics.labels.index(label)
        return slice(begin_id(index), inside_id(index) + 1)

    def _training_odds(self) -> NDArray[np.float64]:
        """Odds of each tag in training against all but its type; 1 for O. *Shape:* ``(K,)``."""
        statistics = self.statistics
        if self.problems == "batch":
            by_document = self.reduction == "documents"
            odds = statistics.type_document_odds if by_document else statistics.type_odds
            assert odds is not None
            return odds
        shares = super().training_odds()
        return _odds(statistics.prior if shares is None else shares)

    def _log_prior_odds(self) -> NDArray[np.float64]:
        """Log pi_c / (1 - pi_m); -inf for what was never trained. *Shape:* ``(K,)``."""
        odds = _odds(self.statistics.prior)
        if self.problems == "batch":
            drawn = self.statistics.type_odds
            odds = np.where(False if drawn is None else drawn > 0, odds, 0.0)
        return _log(odds)

    def _pair_weights(
        self, odds: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Weights of the tokens of types, and of the rest, from the types' odds in training."""
        ones = np.ones_like(odds)
        # A type without a token has no gradient, and any weight.
        odds = np.where(odds > 0, odds, 1.0)
        if self.power is not None:
            return odds**-self.power, ones
        if self.weights == "none":
            return ones, ones
        return 1.0 / (1.0 + odds), odds / (1.0 + odds)


def _pair_sums(of_tags: Any) -> Any:
    """Sums over the two tags of each type. *Shape:* ``(..., 2 M)`` to ``(..., M)``."""
    return of_tags[..., ::2] + of_tags[..., 1::2]


def _odds(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Odds of each tag against all but its type, from shares; 1 for O. *Shape:* ``(K,)``."""
    return np.concatenate(([1.0], shares[1:] / (1.0 - np.repeat(_pair_sums(shares[1:]), 2))))


def _log(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(divide="ignore"):
        return np.log(odds)


def _normalised(ratios: Logits) -> tuple[Logits, Logits, Logits]:
    """Exponentials of the log odds of B and I, and their sum with 1, that of everything else.

    Args:
        ratios: log odds of both tags of each type. *Shape:* ``(n, 2 M)``.

    Returns:
        The exponentials, *shape* ``(n, 2 M)``, and their sums, *shape* ``(n, M)``, both divided by
        a factor for each token and type where they would overflow; and the logarithms of the sums
        themselves, *shape* ``(n, M)``.
    """
    xp = get_array_module(ratios)
    # Up to here neither an exponential nor the sum of two overflows.
    if not (ratios > 0.9 * np.log(xp.finfo(ratios.dtype).max)).any():
        exponentials = xp.exp(ratios)
        totals = _pair_sums(exponentials) + 1.0
        return exponentials, totals, xp.log(totals)
    largest = xp.maximum(xp.maximum(ratios[:, ::2], ratios[:, 1::2]), 0.0)
    exponentials = xp.exp(ratios - xp.repeat(largest, 2, axis=1))
    totals = _pair_sums(exponentials) + xp.exp(-largest)
    return exponentials, totals, largest + xp.log(totals)
