"""The losses that the test for bias knows by name, each with its settings and its batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ...errors import ConfigError, close_matches

#: Losses that are tested by default.
DEFAULT_LOSSES = ("plain", "paper", "inverse", "logit_adjusted", "btl", "btl_batch")

#: Those tested by default where tokens may have tags of several types.
OVERLAPPING_LOSSES = ("btl",)


@dataclass(frozen=True)
class LossChoice:
    """A loss with settings, as a user names it.

    Attributes:
        title: for tables and pictures.
        registered: its name in the registry ``losses``.
        settings: its settings but ``tokens_per_batch``.
        by_entity: whether every batch is for one entity type, drawn among the texts that hold it.
        base: the loss that it is added to, and takes ``tokens_per_batch`` from.
    """

    title: str
    registered: str
    settings: dict[str, Any] = field(default_factory=dict)
    by_entity: bool = False
    base: LossChoice | None = None

    @property
    def overlaps(self) -> bool:
        """Whether it learns tags of several types at one token."""
        return self.settings.get("problems") == "all"

    def config(self, *, tokens_per_batch: float) -> dict[str, Any]:
        """The block ``[components.ner.loss]``."""
        block = {"@losses": self.registered, **self.settings}
        if self.base is None:
            return {**block, "tokens_per_batch": tokens_per_batch}
        return {**block, "base": self.base.config(tokens_per_batch=tokens_per_batch)}


def _cross_entropy(title: str, weights: str) -> LossChoice:
    return LossChoice(title, "clinical_ner.WeightedCrossEntropy.v1", {"weights": weights})


def _binary_token_labels(title: str, problems: str) -> LossChoice:
    settings = {"problems": problems}
    by_entity = problems == "batch"
    return LossChoice(title, "clinical_ner.BinaryTokenLabels.v2", settings, by_entity=by_entity)


LOSSES: dict[str, LossChoice] = {
    "plain": _cross_entropy("cross-entropy", "none"),
    "paper": _cross_entropy("paper weights", "paper"),
    "inverse": _cross_entropy("inverse weights", "inverse"),
    "sqrt_inverse": _cross_entropy("square-root inverse weights", "sqrt_inverse"),
    "effective_number": _cross_entropy("effective-number weights", "effective_number"),
    "logit_adjusted": LossChoice("logit adjustment", "clinical_ner.LogitAdjusted.v1"),
    "vector_scaling": LossChoice("vector scaling", "clinical_ner.VectorScaling.v1"),
    "focal": LossChoice("focal", "clinical_ner.Focal.v1"),
    "ldam": LossChoice("LDAM", "clinical_ner.LDAM.v1"),
    "asymmetric": LossChoice("asymmetric one-vs-rest", "clinical_ner.Asymmetric.v1"),
    "soft_dice": LossChoice("soft dice", "clinical_ner.SoftDice.v1"),
    "self_adjusting_dice": LossChoice("self-adjusting dice", "clinical_ner.SelfAdjustingDice.v1"),
    "majority_or_minority": LossChoice(
        "majority or minority", "clinical_ner.MajorityOrMinority.v1"
    ),
    "prior_matching": LossChoice(
        "prior matching on paper weights",
        "clinical_ner.PriorMatching.v1",
        base=_cross_entropy("paper weights", "paper"),
    ),
    "btl": _binary_token_labels("Binary Token Labels", "all"),
    "btl_batch": _binary_token_labels("BTL, batches per type", "batch"),
}


def check_losses(names: Sequence[str], *, overlaps: bool = False) -> None:
    """Check names of losses.

    Args:
        names: the names.
        overlaps: whether tokens may have tags of several types.

    Raises:
        ClinicalNerError: a name that ``LOSSES`` lacks, one that is given twice, or a loss that
            compares types with each other where they overlap.
    """
    for position, name in enumerate(names):
        if name not in LOSSES:
            raise ConfigError(f"Unknown loss '{name}'. {close_matches(name, LOSSES)}")
        if name in names[:position]:
            raise ConfigError(f"The loss '{name}' is named twice. Name every loss once.")
        if overlaps and not LOSSES[name].overlaps:
            known = ", ".join(key for key, choice in LOSSES.items() if choice.overlaps)
            raise ConfigError(
                f"The loss '{name}' does not learn types that overlap. Losses that do: {known}."
            )
