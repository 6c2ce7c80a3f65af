"""What calibration a component has: the step for tokens and, after the lattice, that for entities.

Fitting is in ``fitting.fit_calibration``: a component that applies one needs no optimizer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ClinicalNerError, NotFittedError, check_number
from .entity_step import EntityCalibration
from .token_step import TokenCalibration

#: Numbers of the entity-level step.
ENTITY_STEP = ("slope", "intercept", "tilt")


@dataclass(frozen=True)
class Calibration:
    """Both steps.

    Attributes:
        tokens: of p(tag | text), before the lattice.
        entities: of the probabilities of spans that the lattice then gives; None where there was
            too little to fit one on.
        transitions: the weight of neighbouring tags in the lattice between them, 0 for none; see
            ``TagStatistics.pair_information``.

    Raises:
        ClinicalNerError: a weight below 0.
    """

    tokens: TokenCalibration
    entities: EntityCalibration | None = None
    transitions: float = 0.0

    def __post_init__(self) -> None:
        """Check the number."""
        check_number("transitions", self.transitions, least=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        tokens = {"temperature": self.tokens.temperature, "bias": list(self.tokens.bias)}
        return {
            "tokens": tokens | ({"overlaps": True} if self.tokens.overlaps else {}),
            "entities": None if self.entities is None else asdict(self.entities),
            "transitions": self.transitions,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Calibration:
        """What ``to_dict`` gave.

        Raises:
            ClinicalNerError: it is something else.
        """
        try:
            tokens, entities = data["tokens"], data["entities"]
            return cls(
                TokenCalibration(
                    float(tokens["temperature"]),
                    tuple(float(value) for value in tokens["bias"]),
                    overlaps=bool(tokens.get("overlaps", False)),
                ),
                None
                if entities is None
                else EntityCalibration(**{name: float(entities[name]) for name in ENTITY_STEP}),
                float(data.get("transitions", 0.0)),
            )
        except ClinicalNerError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            raise NotFittedError(
                "The stored calibration is not what clinical-ner calibrate writes: fit it again "
                "with clinical-ner calibrate."
            ) from error
