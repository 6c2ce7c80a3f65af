"""Thresholds with a promise: a precision on new documents, with a stated confidence.

Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052). The promise for a group of labels is

    sum of E[right_d(t)] / sum of E[kept_d(t)] >= P

over documents d like the held-out ones, at the group's threshold t. It is broken, in any group and
at any prior strength that was tried, with a probability of at most 1 - confidence: each test has an
equal share of that (Bonferroni). So it holds for all promised groups at once, and for their
entities together. It is not a promise for each label of a group.

Thresholds of a fixed grid are tested in one order, each lower than the one before, until a test
fails; the last one that passed is taken. Tested in this way, all of them cost no more than one. The
order begins where the probabilities say that evidence is strongest, at the largest

    (sum of probabilities - P kept) / sqrt(kept)

among thresholds that keep enough for a perfect record to pass. No gold is asked for that. The worse
the calibration, the more promises are refused; none is broken by it.

A test passes if the lower confidence bound of precision reaches P. Entities of one document depend
on each other, so documents are the sample, and precision is a ratio of two sums over them, with the
variance of its numerator around it (n documents, those that keep something)

    V = n / (n - 1) * sum of (right_d - p kept_d)^2,    p = sum of right_d / sum of kept_d.

How much larger V is than kept p (1 - p), that of independent entities, says how many of these the
entities are worth. The bound is Clopper and Pearson's for that number, corrected by Student's t for
few documents (Korn and Graubard 1998, Survey Methodology 24(2), 193-201). With independent entities
it is exact or wider; else it is an approximation: in simulations it was too high a little more
often than the risk where entities of a document depend on each other, and a t-test over documents,
or entities taken as independent, far more often. Bounds without any assumption (Hoeffding and
Bentkus, betting) must expect that one document's entities are all wrong, and promise next to
nothing from 160 documents.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, check_number, missing_extra
from .thresholds import DIGITS, LabelEntities, Objective, pool

#: The thresholds, from the strictest down; evenly spaced in log-odds.
GRID = np.append(1 / (1 + np.exp(-np.arange(6.0, -5.01, -0.05))), 0.0).round(DIGITS)
#: How many times the documents are tried for a promise that is refused.
TIMES = np.geomspace(1.0, 100.0, 233)


class Promise(NamedTuple):
    """What is promised for a group of labels.

    Attributes:
        labels: those of the group; the promise is for their entities together.
        threshold: None where the promise is refused.
        kept: held-out entities at the threshold, or at the first one tested where it is refused.
        precision: share of these that is right, 0 if there is none.
        bound: what precision is at least, with the confidence of this test.
        recall: share of gold that is kept, None if gold has none.
        more_documents: about how many documents beside those that there are would allow the
            promise, if they are like these; 0 for a promise that is made. None: not even 100
            times as many.
    """

    labels: tuple[str, ...]
    threshold: float | None
    kept: int
    precision: float
    bound: float
    recall: float | None
    more_documents: int | None

    @property
    def refusal(self) -> str:
        """Why there is no promise, in a few words."""
        if not self.kept:
            return "nothing is predicted"
        found = f"{self.precision:.0%} of {self.kept} are right"
        if self.more_documents is None:
            return f"{found}, and more documents like these would not help"
        return f"{found}; it takes about {self.more_documents} more documents"


def check_confidence(confidence: float, objective: Objective) -> None:
    """Check that a promise can be asked for.

    Raises:
        ConfigError: a confidence outside (0, 1), or an objective without a precision below 1.
    """
    check_number("The confidence", confidence, above=0, below=1)
    if objective.min_precision in (None, 1.0):
        raise ConfigError(
            f"A confidence needs an objective with a precision below 1, not {objective}: for "
            "instance recall@precision=0.9."
        )


def promise_thresholds(
    entities: Mapping[str, LabelEntities],
    groups: Sequence[Sequence[str]],
    *,
    documents: int,
    min_precision: float,
    risk: float,
) -> list[Promise]:
    """A promise for every group of labels, or why there is none.

    Args:
        entities: by label.
        groups: of labels. Those with too few entities for any promise take no share of the risk.
        documents: number of held-out documents, those without entities included.
        min_precision: what is promised, in (0, 1).
        risk: that any of the promises is broken, in (0, 1).
    """
    pooled = [pool([entities[label] for label in members]) for members in groups]
    tests = sum(len(of.scores) >= _fewest(min_precision, risk) for of in pooled)
    return [
        _promise(tuple(members), of, documents, min_precision, risk / max(tests, 1))
        for members, of in zip(groups, pooled, strict=True)
    ]


def precision_bound(
    kept: NDArray[np.float64],
    right: NDArray[np.float64],
    *,
    risk: float,
    times: float = 1.0,
) -> NDArray[np.float64]:
    """Lower confidence bound of precision, with documents as the sample; see the module.

    Args:
        kept: entities of each document at each threshold. *Shape:* ``(documents, thresholds)``.
        right: those that are right. *Shape:* ``(documents, thresholds)``.
        risk: that the precision is below the bound.
        times: as if there were so many of each document.

    Returns:
        0 where fewer than two documents keep something. *Shape:* ``(thresholds,)``.

    Raises:
        InputError: scipy is not installed.
    """
    try:
        from scipy.special import betaincinv, stdtrit
    except ImportError as error:
        raise missing_extra("tune --confidence", "scipy", "train") from error
    n, total = times * (kept > 0).sum(axis=0), times * kept.sum(axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = times * right.sum(axis=0) / total
        squares = times * ((right - share * kept) ** 2).sum(axis=0)
        design = n / (n - 1) * squares / (total * share * (1 - share))
        # Where all are right, or none, there is no variance to compare.
        design = np.where((share > 0) & (share < 1), np.maximum(design, 1.0), 1.0)
        design *= (stdtrit(n - 1, risk) / stdtrit(total - 1, risk)) ** 2
        worth = total / np.maximum(design, 1.0)
        bound = betaincinv(worth * share, worth * (1 - share) + 1, risk)
    return np.where((n > 1) & (share > 0), bound, 0.0)


def _promise(
    labels: tuple[str, ...],
    entities: LabelEntities,
    documents: int,
    min_precision: float,
    risk: float,
) -> Promise:
    at = np.searchsorted(-GRID, -entities.scores)
    counts = np.zeros((2, documents, len(GRID)))
    np.add.at(counts[0], (entities.documents, at), 1.0)
    np.add.at(counts[1], (entities.documents, at), entities.right)
    kept, right = counts.cumsum(axis=2)
    expected = np.bincount(at, weights=entities.scores, minlength=len(GRID)).cumsum()
    total = kept.sum(axis=0)

    def start(times: float) -> int:
        enough = times * total >= _fewest(min_precision, risk)
        with np.errstate(divide="ignore", invalid="ignore"):
            evidence = (expected - min_precision * total) / np.sqrt(total)
        evidence = np.where(enough & (evidence > 0), evidence, 0.0)
        if evidence.any():
            return int(evidence.argmax())
        # The strictest that has enough; the last one where none has.
        enough[-1] = True
        return int(enough.argmax())

    place, more, threshold = start(1.0), None, None
    bound = precision_bound(kept, right, risk=risk)
    failed = np.flatnonzero(np.append(bound[place:], 0.0) < min_precision)[0]
    if failed:
        place, more = place + int(failed) - 1, 0
        threshold = float(GRID[place])
    elif total[-1]:
        for times in TIMES.tolist():
            first = [start(times)]
            column = kept[:, first], right[:, first]
            if precision_bound(*column, risk=risk, times=times)[0] >= min_precision:
                more = math.ceil((times - 1) * documents)
                break
    found = float(right[:, place].sum())
    return Promise(
        labels=labels,
        threshold=threshold,
        kept=int(total[place]),
        precision=found / total[place] if total[place] else 0.0,
        bound=float(bound[place]),
        recall=found / entities.support if entities.support else None,
        more_documents=more,
    )


def _fewest(min_precision: float, risk: float) -> float:
    """How many independent entities, all right, let a test pass: P^n <= risk."""
    return math.log(risk) / math.log(min_precision)
