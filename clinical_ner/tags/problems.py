"""Tags of mentions that may overlap: each entity type is a problem of its own, with three tags.

Log-probabilities of such tags have the usual shape ``(n, K)`` and another meaning: log p(B-m) and
log p(I-m) are those of the problem of m, where p(everything else) is 1 minus their sum, and log
p(O) is that of no type at all. Rows sum to more than 1 where types overlap.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from thinc.util import get_array_module

from ..types import LogProbs

#: Smallest p(O), and smallest p(everything else) of a problem: what is left of 1 after rounding, or
#: where the types' probabilities sum to 1 or more.
LEAST_OUTSIDE = 1e-6
#: Tags of a problem.
REST, BEGIN, INSIDE = range(3)


def problem_tags(n_types: int) -> NDArray[np.intp]:
    """Ids of the tags of every problem, O for everything else. *Shape:* ``(M, 3)``."""
    begin = 2 * np.arange(n_types) + 1
    return np.stack((np.zeros_like(begin), begin, begin + 1), axis=1)


def by_type(log_probs: LogProbs) -> LogProbs:
    """Log-probabilities of everything else, B and I of each problem.

    Args:
        log_probs: of tags that may overlap. *Shape:* ``(n, K)``.

    Returns:
        In double precision; each row of a problem sums to 1. *Shape:* ``(n, M, 3)``.
    """
    xp = get_array_module(log_probs)
    n, n_tags = log_probs.shape
    tags = log_probs[:, 1:].astype("float64").reshape(n, n_tags // 2, 2)
    of_tags = xp.exp(tags)
    of_type = of_tags[:, :, :1] + of_tags[:, :, 1:]
    rest = xp.maximum(1.0 - of_type, LEAST_OUTSIDE)
    problems = xp.concatenate((xp.log(rest), tags), axis=2)
    problems -= xp.log(rest + of_type)
    return problems


def with_outside(log_p: LogProbs) -> LogProbs:
    """Put log p(O) before the log-probabilities of all other tags.

    Args:
        log_p: of B and I of each type, in double precision for the sake of what is left of 1.
            *Shape:* ``(n, K - 1)``.

    Returns:
        *Shape:* ``(n, K)``.
    """
    xp = get_array_module(log_p)
    outside = 1.0 - xp.exp(log_p).sum(axis=1, keepdims=True)
    return xp.concatenate((xp.log(xp.maximum(outside, LEAST_OUTSIDE)), log_p), axis=1)


def of_problems(problems: LogProbs) -> LogProbs:
    """The inverse of ``by_type``. *Shape:* ``(n, M, 3)`` to ``(n, K)``."""
    n, n_types, _ = problems.shape
    return with_outside(problems[:, :, 1:].reshape(n, 2 * n_types))


def exceeds_one(log_probs: LogProbs) -> NDArray[np.bool_]:
    """Whether the probabilities that a token is of each type sum to more than 1.

    For tokens of one tag each, such probabilities contradict each other: p(O) was raised to
    ``LEAST_OUTSIDE``, and the softmax of the log-probabilities lowers all of them. What single
    precision makes of a sum of 1 does not count.

    Args:
        log_probs: of tags that may overlap, before any softmax. *Shape:* ``(n, K)``.

    Returns:
        *Shape:* ``(n,)``.
    """
    xp = get_array_module(log_probs)
    exceeds: NDArray[np.bool_] = (
        xp.exp(log_probs[:, 1:].astype("float64")).sum(axis=1) > 1.0 + LEAST_OUTSIDE
    )
    return exceeds
