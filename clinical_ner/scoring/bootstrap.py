"""Percentile bootstrap over documents.

Tokens and entities of one document depend on each other, so whole documents are drawn. The draws
are a matrix of weights: methods scored on the same documents are compared on the same resamples by
using one matrix for all of them, and the interval of a difference is that of the paired
differences. See Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import check_number

RESAMPLES = 1000
COVERAGE = 0.95


def resample_weights(
    documents: int, *, resamples: int = RESAMPLES, seed: int = 0
) -> NDArray[np.int64]:
    """Draw as many documents as there are, with replacement, for each resample.

    Args:
        documents: number of documents, at least 1.
        resamples: number of resamples, at least 1.
        seed: of ``numpy.random.default_rng``; equal arguments give equal resamples.

    Returns:
        How often each resample holds each document; rows sum to ``documents``. *Shape:*
        ``(resamples, documents)``.

    Raises:
        ClinicalNerError: a number is out of range.
    """
    check_number("documents", documents, least=1)
    check_number("resamples", resamples, least=1)
    rng = np.random.default_rng(seed)
    return rng.multinomial(documents, np.full(documents, 1 / documents), size=resamples)


def percentile_interval(
    values: NDArray[Any], *, coverage: float = COVERAGE
) -> tuple[float, float] | None:
    """Interval between the percentiles that leave (1 - coverage) / 2 on either side.

    Args:
        values: a statistic of each resample, or the difference of two methods' statistics on the
            same resamples; NaN where a resample does not define it. *Shape:* ``(resamples,)``.
        coverage: share of the resamples inside, between 0 and 1.

    Returns:
        Low and high end over the resamples that define the statistic, None if none does.
    """
    defined = values[~np.isnan(values)]
    if not len(defined):
        return None
    tail = (1 - coverage) / 2
    low, high = np.quantile(defined, [tail, 1 - tail])
    return float(low), float(high)


def intervals(
    statistics: Mapping[str, NDArray[Any]], *, coverage: float = COVERAGE
) -> dict[str, tuple[float, float] | None]:
    """Percentile interval of every statistic.

    Args:
        statistics: values by name. *Shape of each:* ``(resamples,)``.
        coverage: as in `percentile_interval`.
    """
    return {
        name: percentile_interval(values, coverage=coverage) for name, values in statistics.items()
    }
