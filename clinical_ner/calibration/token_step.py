"""Bias-corrected temperature scaling of the probabilities of tokens.

    p'(tag | text) ~ exp(log p(tag | text) / T + b_tag)

One temperature T for how sure the model is (Guo et al. 2017, On Calibration of Modern Neural
Networks, section 4.2), and a bias per tag for how much mass it gives each (Alexandari, Kundaje and
Shrikumar 2020, Maximum Likelihood with Bias-Corrected Calibration is Hard-To-Beat at Label Shift
Adaptation, section 3). Where tags may overlap, the same holds in the problem of each type, with a
bias of 0 for everything else.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..arrays import as_like, log_softmax
from ..errors import NotFittedError, check_number
from ..tags.problems import by_type, of_problems, problem_tags
from ..tags.scheme import OUTSIDE
from ..types import LogProbs


@dataclass(frozen=True)
class TokenCalibration:
    """One temperature, and one bias per tag.

    Attributes:
        temperature: T > 0; above 1 for a model that was too sure.
        bias: b of each tag, in nats; 0 for O, against which the others are measured. *Shape:*
            ``(K,)``.
        overlaps: whether it is of tags that may overlap (``tags.problems``).

    Raises:
        ClinicalNerError: a number outside its range.
    """

    temperature: float
    bias: tuple[float, ...]
    overlaps: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("temperature", self.temperature, above=0)
        if not self.bias or self.bias[OUTSIDE] != 0 or not np.isfinite(self.bias).all():
            raise NotFittedError(
                "The biases of a calibration must be finite, one per tag, with 0 for O: fit it "
                "again with clinical-ner calibrate."
            )

    def apply(self, log_probs: LogProbs) -> LogProbs:
        """Calibrated log-probabilities; a tag of probability 0 keeps it.

        Args:
            log_probs: on the CPU or a GPU. *Shape:* ``(n, K)``.

        Returns:
            In the dtype of ``log_probs``. *Shape:* ``(n, K)``.
        """
        if self.overlaps:
            problems = by_type(log_probs)
            problems = log_softmax(problems / self.temperature + self._problem_bias(problems))
            return of_problems(problems).astype(log_probs.dtype)
        return log_softmax(log_probs / self.temperature + as_like(self.bias, log_probs))

    def undo(self, log_probs: LogProbs) -> LogProbs:
        """The log-probabilities from which ``apply`` made these. *Shape:* ``(n, K)``."""
        if self.overlaps:
            problems = by_type(log_probs)
            problems = log_softmax((problems - self._problem_bias(problems)) * self.temperature)
            return of_problems(problems).astype(log_probs.dtype)
        return log_softmax((log_probs - as_like(self.bias, log_probs)) * self.temperature)

    def _problem_bias(self, like: LogProbs) -> LogProbs:
        """Biases of the tags of every problem. *Shape:* ``(M, 3)``."""
        return as_like(np.asarray(self.bias)[problem_tags(len(self.bias) // 2)], like)
