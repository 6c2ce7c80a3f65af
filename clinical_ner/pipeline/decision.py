"""The settings of the decision, which can be changed on a loaded component."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from ..decoding.decision import check_prior_smoothing, check_prior_strength, check_threshold
from ..errors import ConfigError, close_matches, no_posterior
from ..types import TagLoss

#: Settings of the decision that are stored with the component.
DECISION = ("prior_strength", "prior_smoothing", "thresholds", "overwrite")


class DecisionSettings:
    """The part of ``ClinicalNer`` that chooses entities by a probability, and changes none."""

    name: str
    loss: TagLoss
    overwrite: bool
    cfg: dict[str, Any]

    @property
    def prior_strength(self) -> float:
        """How much of the empirical prior decoding keeps, in [0, 1]; changes no probability."""
        return self._prior_strength

    @prior_strength.setter
    def prior_strength(self, value: float) -> None:
        value = check_prior_strength(value)
        if value != 1.0 and not self.loss.has_posterior:
            raise ConfigError(
                f"Loss '{type(self.loss).__name__}' does not lead back to the empirical "
                "probability, so prior_strength must be 1."
            )
        self._prior_strength = value

    @property
    def prior_smoothing(self) -> float:
        """Pseudo-count of every tag in the prior that a prior_strength below 1 takes away."""
        return self._prior_smoothing

    @prior_smoothing.setter
    def prior_smoothing(self, value: float) -> None:
        self._prior_smoothing = check_prior_smoothing(value)

    @property
    def thresholds(self) -> Mapping[str, float]:
        """Smallest probability, by label, of an entity that is made; changes no probability.

        A label without one keeps all its entities. To change them, set this to another mapping.
        """
        return MappingProxyType(self._thresholds)

    @thresholds.setter
    def thresholds(self, value: Mapping[str, float]) -> None:
        checked = {label: check_threshold(label, number) for label, number in value.items()}
        if checked and not self.loss.has_posterior:
            raise no_posterior(type(self.loss).__name__)
        # Before initialization, or loading, the labels are not known yet.
        if self.cfg["labels"]:
            self._check_threshold_labels(checked)
        self._thresholds = checked

    def _check_threshold_labels(self, thresholds: Mapping[str, float]) -> None:
        known = self.cfg["labels"]
        for label in thresholds:
            if label not in known:
                hint = close_matches(label, known)
                raise ConfigError(f"Component '{self.name}' has no label '{label}'. {hint}")

    def _decision(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in DECISION} | {
            "thresholds": dict(self.thresholds)
        }
