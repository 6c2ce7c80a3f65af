"""How the component is stored beside what spaCy stores of it: its ``cfg`` and its datastore."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from spacy import util

from ..calibration.calibration import Calibration
from ..errors import ClinicalNerError, ConfigError
from ..neighbours.mixing import Neighbours

if TYPE_CHECKING:
    from .recognizer import ClinicalNer

#: File of the datastore in the component's folder; it is excluded as "neighbours".
NEIGHBOURS = "neighbours.npz"
#: Settings that can be changed on a loaded component, and are stored with it.
SETTINGS = (
    "prior_strength",
    "prior_smoothing",
    "transitions",
    "threshold",
    "thresholds",
    "overwrite",
    "spans_key",
    "keep_transformer_output",
)


def present_settings(component: ClinicalNer) -> dict[str, Any]:
    """The settings as they are now, ready for JSON."""
    settings = {name: getattr(component, name) for name in SETTINGS}
    return {**settings, "thresholds": dict(component.thresholds)}


def write_cfg(component: ClinicalNer, configured: Mapping[str, Any]) -> None:
    """Put into ``cfg`` what was counted, chosen and fitted.

    Args:
        component: whose ``cfg`` is written.
        configured: the settings that the config asked for.
    """
    component.cfg["statistics"] = component.statistics.to_dict()
    decision = {"configured": configured, "current": present_settings(component)}
    # As text, since srsly loses the last digits of numbers: a loaded pipeline is to decide and
    # calibrate the same to the last bit, and a setting is to equal the config's.
    component.cfg["decision"] = json.dumps(decision)
    component.cfg["calibration"] = None
    if component.calibration is not None:
        fitted_with = {"with_neighbours": component.neighbours is not None}
        component.cfg["calibration"] = json.dumps(
            {**component.calibration.to_dict(), **fitted_with}
        )


def read_cfg(component: ClinicalNer, configured: Mapping[str, Any]) -> None:
    """Take from ``cfg`` all but the calibration, and initialize the loss; see ``write_cfg``.

    Raises:
        ClinicalNerError: the component was trained with another value of ``overlaps``.
    """
    statistics = component.cfg.pop("statistics", None)
    stored = component.cfg.pop("decision", None)
    if statistics is not None:
        component.statistics.update_from_dict(statistics)
    if component.is_initialized:
        # Only of tags that may overlap the tokens are counted apart.
        trained = component.statistics.tokens is not None
        if trained != component.overlaps:
            raise ConfigError(
                f"Component '{component.name}' was trained with overlaps = {str(trained).lower()}, "
                "which cannot be changed when it is loaded: leave the setting as it is, or train "
                "again."
            )
        component.loss.initialize(component.statistics)
    if stored is not None:
        decision = json.loads(stored)
        for key, value in decision["current"].items():
            # A setting that differs from the stored config's was given at loading, and wins.
            if configured[key] == decision["configured"][key]:
                setattr(component, key, value)
    # Checked again, since only now the labels, and the pairs of tags, are known.
    component.thresholds = component.thresholds
    component.transitions = component.transitions


def read_calibration(component: ClinicalNer) -> None:
    """Take the calibration of ``cfg``, unless it is that of neighbours that were not read."""
    stored = component.cfg.pop("calibration", None)
    if stored is None:
        return
    fitted = json.loads(stored)
    if fitted.pop("with_neighbours") != (component.neighbours is not None):
        warn_that_calibration_is_dropped(component.name, stacklevel=4)
        return
    component.calibration = Calibration.from_dict(fitted)


def add_neighbours(
    fields: bytes, neighbours: Neighbours | None, *, exclude: Sequence[str]
) -> bytes:
    """Add the datastore to the bytes of a component."""
    if neighbours is None:
        return fields
    added = util.to_dict({NEIGHBOURS: neighbours.to_bytes}, exclude)
    return srsly.msgpack_dumps(srsly.msgpack_loads(fields) | added)


def write_neighbours(
    path: str | Path, neighbours: Neighbours | None, *, exclude: Sequence[str]
) -> None:
    """Write the datastore into the folder of a component."""

    def write(file: Path) -> None:
        if neighbours is None:
            # The folder may hold those of a pipeline that was stored there before.
            file.unlink(missing_ok=True)
        else:
            neighbours.save(file)

    util.to_disk(path, {NEIGHBOURS: write}, exclude)


def read_neighbours(
    component: ClinicalNer, source: bytes | str | Path, *, exclude: Sequence[str]
) -> None:
    """Take the datastore, if there is one, from the bytes or the folder of a component.

    Raises:
        ClinicalNerError: it is not a datastore, or that of another model.
    """

    def from_bytes(data: bytes) -> None:
        component.neighbours = Neighbours.from_bytes(data)

    def from_file(file: Path) -> None:
        if not file.exists():
            return
        try:
            component.neighbours = Neighbours.load(file)
        except ClinicalNerError as error:
            raise ClinicalNerError(f"{error} (In {file}.)") from error

    if isinstance(source, bytes):
        util.from_bytes(source, {NEIGHBOURS: from_bytes}, exclude)
    else:
        util.from_disk(source, {NEIGHBOURS: from_file}, exclude)


def warn_that_calibration_is_dropped(name: str, *, stacklevel: int) -> None:
    """Warn that a component's probabilities are no longer those that were calibrated."""
    warnings.warn(
        f"Component '{name}' was changed: its calibration is that of other probabilities, and is "
        "dropped. Run clinical-ner calibrate when all else is done.",
        stacklevel=stacklevel,
    )
