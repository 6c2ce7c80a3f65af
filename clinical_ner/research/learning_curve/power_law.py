"""The inverse power law through scores at several numbers of notes: F(n) = a - b n^-c.

After Figueroa et al. 2012, Predicting sample size required for classification performance (BMC
Medical Informatics and Decision Making 12:8): weighted least squares. Of their starting values and
local search nothing is needed: for a given c the law is linear in a and b, whose bounded optimum
has a closed form, so that the whole range of c is searched (variable projection), for all resamples
of a bootstrap at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Least number of sizes, since the law has three parameters.
LEAST_SIZES = 3
#: Exponents that are tried: from nearly logarithmic growth to a curve that is flat at once.
EXPONENTS = np.geomspace(0.02, 3.0, 240)
#: Standard deviation below which no score is taken to be known: two trainings differ by more.
LEAST_DEVIATION = 0.005


@dataclass(frozen=True)
class PowerLaw:
    """F(n) = a - b n^-c of each curve; a <= 1, b >= 0, c > 0. *Shape of each:* ``(curves,)``."""

    a: NDArray[np.float64]
    b: NDArray[np.float64]
    c: NDArray[np.float64]

    def at(self, notes: float) -> NDArray[np.float64]:
        """The scores at a number of notes. *Shape:* ``(curves,)``."""
        return self.a - self.b * notes**-self.c


def fit_power_law(notes: Sequence[int], scores: NDArray[Any], deviations: NDArray[Any]) -> PowerLaw:
    """Fit the law to curves that were measured at the same sizes.

    Args:
        notes: the sizes, rising, at least `LEAST_SIZES`.
        scores: in [0, 1]. *Shape:* ``(curves, sizes)``.
        deviations: standard deviation of the score of each size; the weights are 1 / deviation^2.
            *Shape:* ``(sizes,)``.
    """
    w = np.maximum(deviations, LEAST_DEVIATION) ** -2.0
    w /= w.sum()
    # Sizes relative to the first one, so that b is of the order of the scores.
    x = (np.asarray(notes) / notes[0]) ** -EXPONENTS[:, None]
    weighted = scores * w
    mean_x, square_x, mean_y = x @ w, x**2 @ w, weighted.sum(axis=1)[:, None]
    product = weighted @ x.T
    b = np.maximum((mean_x * mean_y - product) / (square_x - mean_x**2), 0.0)
    a = mean_y + b * mean_x
    # Beyond its bound a is 1, and b the best one for that.
    b = np.where(a > 1, (mean_x - product) / square_x, b)
    a = np.minimum(a, 1.0)
    # The weighted squares of the residuals y - a + b x, less those of y, which are constant.
    loss = a * (a - 2 * mean_y) + b * (2 * (product - a * mean_x) + b * square_x)
    best = (np.arange(len(scores)), loss.argmin(axis=1))
    c = EXPONENTS[best[1]]
    return PowerLaw(a[best], b[best] * notes[0] ** c, c)
