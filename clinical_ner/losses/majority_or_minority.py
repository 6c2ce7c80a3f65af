"""Majority-or-minority learning: more of the loss for the tokens outside entities."""

from dataclasses import dataclass

import numpy as np

from ..errors import number
from ..tags.scheme import OUTSIDE
from ..tags.statistics import TagStatistics
from .base import TokenLoss


@dataclass(kw_only=True, eq=False)
class MajorityOrMinority(TokenLoss):
    """l CE(all tokens) + (1 - l) CE(tokens outside entities).

    After Nemoto et al. 2024, arXiv 2401.11431. Both terms have the same divisor here, so that a
    token outside weighs 1 and one of an entity l: the loss guards the majority. The inverse is that
    of any weights, log p = z - log w.

    Attributes:
        lam: the share l of the loss of all tokens, in (0, 1]; 1 is plain cross-entropy.
    """

    lam: float = number(0.5, above=0, most=1)

    def initialize(self, statistics: TagStatistics) -> None:
        """Lay out the weights. See the base class."""
        super().initialize(statistics)
        self._tag_weights = np.full(len(statistics.counts), self.lam)
        self._tag_weights[OUTSIDE] = 1.0
