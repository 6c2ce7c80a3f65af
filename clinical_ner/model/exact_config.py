"""Numbers of an encoder's configuration that earlier versions lost.

spacy-transformers reads it through a JSON file with ten decimals: of 1e-12, the epsilon of most
encoders' layer normalization, it makes 0, which divides by zero where a row is constant.
"""

from __future__ import annotations

import warnings
from typing import Any

from transformers import CONFIG_MAPPING

from ..errors import ClinicalNerWarning

#: Ends of the names of numbers that are added so that nothing is divided by zero.
EPSILONS = ("eps", "epsilon")
#: Numbers below it were stored as 0 by models that were loaded and saved again.
LOST = 5e-11
#: What takes the place of a lost epsilon where that of the configuration's class is not below LOST.
EPSILON = 1e-12


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
