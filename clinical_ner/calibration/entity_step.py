"""The entity-level step: from the lattice's probability of a decoded span to a calibrated one.

A decoded span was chosen since it is probable, so its probability is too large even where those of
the tokens are calibrated, as the largest of several noisy values is. A monotone map of the
probability takes that away: beta calibration (Kull, Silva Filho and Flach 2017, Beta calibration: a
well-founded and easily implemented improvement on logistic calibration for binary classifiers).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import check_number


@dataclass(frozen=True)
class EntityCalibration:
    """log(q / (1 - q)) = (slope + tilt) log p - (slope - tilt) log(1 - p) + intercept.

    That is beta calibration with a = slope + tilt and b = slope - tilt; both are at least 0, so
    that the order of two probabilities never changes. Without a tilt it is Platt's logistic
    calibration of the log odds (Platt 1999); slope 1 and the others 0 change nothing.

    Attributes:
        slope: at least 0; below 1 draws probabilities towards the middle.
        intercept: in nats.
        tilt: at most ``slope`` from 0; above 0 small probabilities are moved more than large ones.

    Raises:
        ClinicalNerError: a number outside its range.
    """

    slope: float
    intercept: float
    tilt: float = 0.0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("slope", self.slope, least=0)
        check_number("intercept", self.intercept)
        check_number("tilt", self.tilt, least=-self.slope, most=self.slope)

    def apply(self, probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
        """Calibrated probabilities; 0 and 1 stay as they are.

        Args:
            probabilities: in [0, 1], of spans under the lattice. *Shape:* ``(m,)``.

        Returns:
            *Shape:* ``(m,)``.
        """
        calibrated = np.array(probabilities, dtype=np.float64)
        possible = (calibrated > 0) & (calibrated < 1)
        inputs = calibrated[possible]
        log_odds = (
            (self.slope + self.tilt) * np.log(inputs)
            - (self.slope - self.tilt) * np.log1p(-inputs)
            + self.intercept
        )
        # Of the side on which the exponential is at most 1.
        exponential = np.exp(-np.abs(log_odds))
        calibrated[possible] = np.where(log_odds >= 0, 1.0, exponential) / (1.0 + exponential)
        return calibrated
