"""Whether tags get the probability mass that is theirs: ratios to reference shares.

mass_c = mean p_c / share_c and argmax_c = share of tokens whose top label is c / share_c. A
calibrated model with no signal has mass 1 for every tag, and argmax 0 for all but the commonest.
The reference shares are explicit: those of the training data show what a loss did to the prior;
those of gold in the evaluated documents show calibration in the large.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
from numpy.typing import NDArray

from .counts import ratio

#: Kinds of counts of a tag, in the order of the last axis: gold tokens, the sum of p over all
#: tokens, tokens whose top label it is.
GOLD, MASS, ARGMAX = range(3)
KINDS = 3


def count_prior(
    probabilities: NDArray[np.float64], truths: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Count the unmasked tokens of one document per tag.

    Args:
        probabilities: p(tag | text). *Shape:* ``(n, K)``.
        truths: gold tag ids; below 0 where masked, K or above for a gold tag that the model has
            not. *Shape:* ``(n,)``.

    Returns:
        *Shape:* ``(K, 3)``.
    """
    n_tags = probabilities.shape[1]
    kept = probabilities[truths >= 0]
    gold = np.bincount(truths[truths >= 0], minlength=n_tags)[:n_tags]
    argmax = np.bincount(kept.argmax(axis=1), minlength=n_tags)
    return np.stack([gold, kept.sum(axis=0), argmax], axis=1).astype(np.float64)


def prior_ratios(
    probabilities: NDArray[np.float64], shares: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mass and argmax ratio of every tag against given shares.

    Args:
        probabilities: p(tag | text) of the tokens, at least one. *Shape:* ``(n, K)``.
        shares: reference shares of the tags. *Shape:* ``(K,)``.

    Returns:
        Mass and argmax ratios, NaN where the share is 0. *Shape of each:* ``(K,)``.
    """
    argmax = np.bincount(probabilities.argmax(axis=1), minlength=len(shares)) / len(probabilities)
    return ratio(probabilities.mean(axis=0), shares), ratio(argmax, shares)


def pooled_mass_ratio(
    probabilities: NDArray[np.float64], shares: NDArray[np.float64], tags: Collection[int]
) -> float:
    """Mass ratio of a group of tags taken as one: sum of mean p_c / sum of share_c.

    Args:
        probabilities: p(tag | text) of the tokens, at least one. *Shape:* ``(n, K)``.
        shares: reference shares of the tags. *Shape:* ``(K,)``.
        tags: ids of the group.

    Returns:
        NaN where the shares of the group are 0.
    """
    group = sorted(tags)
    mass = probabilities.mean(axis=0)[group].sum()
    return float(ratio(mass, shares[group].sum()))


def rarest_third(tokens: Mapping[str, float]) -> tuple[str, ...]:
    """The rarest third (rounded down, at least one) of the types seen in training.

    Args:
        tokens: training tokens by type, B and I together; a type with none was not seen.

    Returns:
        The types, the rarest first, of equals in the order of their names.
    """
    seen = sorted((count, name) for name, count in tokens.items() if count > 0)
    return tuple(name for _, name in seen[: max(1, len(seen) // 3)])
