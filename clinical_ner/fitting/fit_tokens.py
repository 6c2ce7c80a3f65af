"""Temperature and biases by the likelihood of held-out tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..calibration.token_step import TokenCalibration
from ..errors import InputError
from ..tags.problems import by_type, problem_tags
from ..tags.scheme import MASKED, OUTSIDE
from ..types import LogProbs, TagIds
from .frequency import frequency_groups, merge_small_groups
from .minimum import minimum

#: Gold tokens that a tag needs for a bias of its own, and a group for a shared one.
MIN_SUPPORT = 50
#: Standard deviations, in nats, of the normal priors of the bias of a group around 0, and of that
#: of a tag around its group's. Tokens of a document are alike, so they tell less of other documents
#: than their number says: the looser priors tried raise the likelihood of documents that were
#: fitted, and lower that of others.
GROUP_SD = 0.2
OWN_SD = 0.02
#: That of 1 / T around 1.
SHARPNESS_SD = 1.0
#: Bounds of 1 / T, which keep a model that has every tag right from a temperature of 0.
SHARPNESS_BOUNDS = (1e-2, 1e2)


@dataclass(frozen=True)
class TokenFit:
    """What was fitted.

    Attributes:
        calibration: the temperature, and the biases.
        tokens: gold tokens that it was fitted on.
        left_out: gold tokens with a tag of probability 0, which no calibration changes.
        nll_before: mean over these tokens of -log p(gold tag), summed over the problems of tags
            that may overlap, in nats per token.
        nll_after: the same, calibrated.
        own_biases: tags with a bias of their own.
        shared_biases: biases of groups of tags.
    """

    calibration: TokenCalibration
    tokens: int
    left_out: int
    nll_before: float
    nll_after: float
    own_biases: int
    shared_biases: int


@dataclass(frozen=True)
class BiasTerms:
    """What the bias of every tag is the sum of.

    Attributes:
        membership: which free terms each tag has, those of groups first. *Shape:* ``(K, terms)``.
        shared: number of groups.
    """

    membership: NDArray[np.float64]
    shared: int

    @property
    def own(self) -> int:
        """Number of tags with a term of their own."""
        return self.membership.shape[1] - self.shared

    @classmethod
    def none(cls, n_tags: int) -> BiasTerms:
        """Every bias is 0."""
        return cls(np.zeros((n_tags, 0)), 0)

    @classmethod
    def by_support(
        cls, counts: NDArray[np.float64], support: NDArray[np.float64], *, min_support: int
    ) -> BiasTerms:
        """A term for every group of tags that are about as common in training, and own terms.

        Groups with too few gold tokens join the next commoner; if all together have too few, no
        tag but O's, which is 0, is known well enough to differ from it.

        Args:
            counts: training tokens by tag. *Shape:* ``(K,)``.
            support: gold tokens to fit on. *Shape:* ``(K,)``.
            min_support: what a tag, or a group, needs.
        """
        tags = {str(tag): tag for tag in range(len(counts)) if tag != OUTSIDE}
        groups = merge_small_groups(
            frequency_groups({name: float(counts[tag]) for name, tag in tags.items()}),
            {name: float(support[tag]) for name, tag in tags.items()},
            min_support=min_support,
        )
        own = [tag for tag in tags.values() if support[tag] >= min_support]
        membership = np.zeros((len(counts), len(groups) + len(own)))
        for column, group in enumerate(groups):
            membership[[tags[name] for name in group], column] = 1.0
        membership[own, len(groups) + np.arange(len(own))] = 1.0
        return cls(membership, len(groups))


def fit_tokens(
    log_probs: Sequence[LogProbs],
    gold: Sequence[TagIds],
    counts: NDArray[np.float64],
    *,
    min_support: int = MIN_SUPPORT,
    biases: bool = True,
    group_sd: float = GROUP_SD,
    own_sd: float = OWN_SD,
) -> TokenFit:
    """Fit by maximum likelihood with normal priors, that is, the maximum a posteriori.

    In 1 / T and the biases the likelihood is that of a softmax of linear functions, or of one for
    each problem of tags that may overlap (``tags.problems``), so it is concave and has one maximum,
    whatever the start. A tag with enough gold tokens has a bias of its own, drawn towards that of
    the tags about as common in training; the others have theirs. The prior of 1 / T around 1 weighs
    as much as one token, and keeps a model that has every tag right from a temperature of 0.

    Args:
        log_probs: log p of held-out tokens, by document. *Shape of each:* ``(n, K)``.
        gold: their tag ids, below 0 where masked, which leaves a token out. *Shape of each:*
            ``(n,)``, or ``(n, M)`` where tags of the M types may overlap.
        counts: training tokens by tag. *Shape:* ``(K,)``.
        min_support: gold tokens that a tag needs for a bias of its own, and a group for a shared
            one.
        biases: False fits the temperature only.
        group_sd: see ``GROUP_SD`` and ``OWN_SD``; infinite for no prior.
        own_sd: see ``GROUP_SD`` and ``OWN_SD``; infinite for no prior.

    Raises:
        ClinicalNerError: no gold token has a tag of positive probability.
    """
    if not len(log_probs):
        raise InputError(
            "No held-out token has a gold tag that the model gives a probability above 0, so "
            "nothing can be calibrated. Name documents annotated with the labels of the model."
        )
    rows = np.concatenate([np.asarray(of, dtype=np.float64) for of in log_probs])
    ids = np.concatenate([np.asarray(of, dtype=np.int64) for of in gold])
    n_tags = rows.shape[1]
    overlaps = ids.ndim == 2
    # One problem with all tags, or one of three tags for each type.
    if overlaps:
        tags, scores = problem_tags(ids.shape[1]), by_type(rows)
    else:
        tags, scores, ids = np.arange(n_tags)[None], rows[:, None], ids[:, None]
    chosen = (ids[:, :, None] == tags).argmax(axis=2)
    labelled = (ids > MASKED).all(axis=1)
    scores, ids, chosen = scores[labelled], ids[labelled], chosen[labelled]
    of_gold = np.take_along_axis(scores, chosen[:, :, None], axis=2)[:, :, 0].sum(axis=1)
    known = np.isfinite(of_gold)
    if not known.any():
        raise InputError(
            "No held-out token has a gold tag that the model gives a probability above 0, so "
            "nothing can be calibrated. Name documents annotated with the labels of the model."
        )
    scores, ids, chosen = scores[known], ids[known], chosen[known]
    terms = BiasTerms.none(n_tags)
    if biases:
        support = np.bincount(ids.ravel(), minlength=n_tags).astype(np.float64)
        terms = BiasTerms.by_support(counts, support, min_support=min_support)
    sds = np.r_[SHARPNESS_SD, np.full(terms.shared, group_sd), np.full(terms.own, own_sd)]
    objective = Objective(scores, chosen, terms.membership[tags], sds)
    found = minimum(
        objective,
        objective.means,
        bounds=[SHARPNESS_BOUNDS] + [(None, None)] * (len(sds) - 1),
        options={"maxiter": 1000, "ftol": 1e-10, "gtol": 1e-6},
    )
    return TokenFit(
        calibration=TokenCalibration(
            1.0 / float(found[0]),
            tuple((terms.membership @ found[1:]).tolist()),
            overlaps=overlaps,
        ),
        tokens=len(ids),
        left_out=int((~known).sum()),
        nll_before=-float(of_gold[known].mean()),
        nll_after=objective.nll(found),
        own_biases=terms.own,
        shared_biases=terms.shared,
    )


class Objective:
    """The mean negative log-likelihood with its priors, and its gradient; convex.

    Its argument is 1 / T and then the terms of the biases. *Shape:* ``(1 + terms,)``. A token has G
    softmaxes over C tags: one over all tags, or one for each problem of tags that may overlap.

    Attributes:
        scores: log p. *Shape:* ``(n, G, C)``.
        gold: which of the C tags, each of positive probability. *Shape:* ``(n, G)``.
        membership: ``BiasTerms.membership`` of these tags. *Shape:* ``(G, C, terms)``.
        sds: standard deviation of the prior of every parameter. *Shape:* ``(1 + terms,)``.
    """

    def __init__(
        self,
        scores: NDArray[np.float64],
        gold: NDArray[np.int64],
        membership: NDArray[np.float64],
        sds: NDArray[np.float64],
    ) -> None:
        self._possible = np.isfinite(scores)
        self._scores = np.where(self._possible, scores, 0.0)
        self._shape = scores.shape[1:]
        self._gold = np.arange(self._shape[0]), gold
        self._tokens = len(gold)
        of_gold = np.take_along_axis(scores, gold[:, :, None], axis=2)
        self._of_gold = of_gold[:, :, 0]
        self._membership = np.concatenate(membership)
        # Gold tokens by problem and tag.
        places = np.ravel_multi_index(np.broadcast_arrays(*self._gold), self._shape)
        number = np.bincount(places.ravel(), minlength=len(self._membership))
        self._shares = number / self._tokens
        #: Mean of the prior of every parameter: those that change no probability.
        self.means = np.r_[1.0, np.zeros(membership.shape[2])]
        # Per token, as the likelihood is.
        self._precision = 1.0 / (sds**2 * self._tokens)

    def nll(self, parameters: NDArray[np.float64]) -> float:
        """The mean negative log-likelihood alone, in nats per token."""
        return self._nll(parameters)[0]

    def __call__(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Value and gradient. *Shape of the gradient:* ``(1 + terms,)``."""
        nll, probabilities = self._nll(parameters)
        # As for every log-linear model, what is expected less what was seen.
        by_tag = probabilities.mean(axis=0).ravel() - self._shares
        sharpness = np.vdot(probabilities, self._scores) / self._tokens - self._mean(self._of_gold)
        gradient = np.r_[sharpness, self._membership.T @ by_tag]
        away = parameters - self.means
        value = nll + 0.5 * float(self._precision @ away**2)
        return value, gradient + self._precision * away

    def _nll(self, parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        bias = (self._membership @ parameters[1:]).reshape(self._shape)
        logits = np.where(self._possible, parameters[0] * self._scores + bias, -np.inf)
        highest = logits.max(axis=2, keepdims=True)
        weights = np.exp(logits - highest)
        totals = weights.sum(axis=2, keepdims=True)
        of_gold = parameters[0] * self._of_gold + bias[self._gold]
        nll = self._mean((np.log(totals) + highest)[:, :, 0]) - self._mean(of_gold)
        return float(nll), weights / totals

    def _mean(self, values: NDArray[np.float64]) -> float:
        """Mean over tokens of sums over problems. *Shape:* ``(n, G)`` to ``()``."""
        return float(values.sum(axis=1).mean())
