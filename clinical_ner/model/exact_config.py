"""An encoder's configuration keeps its numbers when a pipeline is loaded.

spacy-transformers reads it through a JSON file with ten decimals: of 1e-12, the epsilon of most
encoders' layer normalization, it makes 0, which divides by zero where a row is constant.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import srsly
from spacy_transformers.layers.hf_shim import HFShim
from transformers import CONFIG_MAPPING

from ..errors import ClinicalNerWarning

#: Ends of the names of numbers that are added so that nothing is divided by zero.
EPSILONS = ("eps", "epsilon")
#: Numbers below it were stored as 0 by models that were loaded and saved again.
LOST = 5e-11
#: What takes the place of a lost epsilon where that of the configuration's class is not below LOST.
EPSILON = 1e-12


class ExactShim(HFShim):
    """The stock wrapper of an encoder, with the numbers of its configuration as they were saved."""

    def from_bytes(self, bytes_data: bytes) -> ExactShim:
        """Load the encoder; warns where an epsilon was lost before it was saved."""
        config = srsly.msgpack_loads(bytes_data)["config"]
        usual = self.config_cls
        self.config_cls = _ExactConfig(with_epsilons(config), usual)
        try:
            super().from_bytes(bytes_data)
        finally:
            self.config_cls = usual
        return self


class _ExactConfig:
    """Stands for the class of a configuration, and reads a file with the exact numbers in it."""

    def __init__(self, config: dict[str, Any], usual: Any) -> None:
        self.config = config
        self.usual = usual

    def from_pretrained(self, file: Path) -> Any:
        file.write_text(json.dumps(self.config), encoding="utf-8")
        return self.usual.from_pretrained(file)


def with_epsilons(config: dict[str, Any]) -> dict[str, Any]:
    """A stored configuration with epsilons that are not 0; one warning names what was changed.

    A model that was loaded and saved by an earlier version holds 0 for any below 5e-11. It becomes
    the default of the configuration's class where that one is as small, otherwise 1e-12; neither
    is farther from what it was than 5e-11. One that is 0 by default stays.
    """
    kind = str(config.get("model_type"))
    defaults = CONFIG_MAPPING[kind]().to_dict() if kind in CONFIG_MAPPING else {}
    restored = {
        key: defaults[key] if defaults[key] < LOST else EPSILON
        for key, value in config.items()
        if key.endswith(EPSILONS) and value == 0 and defaults.get(key)
    }
    if restored:
        lost = ", ".join(f"{key} = {value:g}" for key, value in restored.items())
        warnings.warn(
            f"The encoder (type '{kind}') was saved by a version that stored a small epsilon as 0; "
            f"it is loaded with {lost}. Save the pipeline again (nlp.to_disk) to keep this.",
            ClinicalNerWarning,
            stacklevel=2,
        )
    return {**config, **restored}
