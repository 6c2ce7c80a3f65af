"""How the component is stored beside what spaCy stores of it: its ``cfg`` and its datastore.

``cfg`` holds digests of the parts that belong together, so that a loaded component is the one that
was saved: its own weights, encoder and neighbours with its labels, counts and calibration.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
from spacy import util

from ..calibration.calibration import Calibration
from ..errors import ClinicalNerError, ConfigError, InputError
from ..files import sha256
from ..model.digest import weights_digest
from ..neighbours.mixing import Neighbours

if TYPE_CHECKING:
    from .recognizer import ClinicalNer

#: File of the datastore in the component's folder; it is excluded as "neighbours".
NEIGHBOURS = "neighbours.npz"
#: Key of ``cfg`` for the digests of parts that belong together.
DIGESTS = "sha256"
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


def write_cfg(
    component: ClinicalNer, configured: Mapping[str, Any], *, exclude: Sequence[str]
) -> None:
    """Put into ``cfg`` what was counted, chosen and fitted, and the digests of all parts.

    Args:
        component: whose ``cfg`` is written.
        configured: the settings that the config asked for.
        exclude: parts that are not saved.
    """
    component.cfg.pop(DIGESTS, None)
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
    # With the numbers that whoever loads the component will read.
    stored = srsly.json_loads(srsly.json_dumps(component.cfg))
    component.cfg[DIGESTS] = _digests(component, stored, exclude)


def check_parts(component: ClinicalNer, *, exclude: Sequence[str]) -> None:
    """Check that the parts of a component that was read were saved together.

    Models of earlier versions do not tell.

    Args:
        component: its ``cfg`` is as it was read; the digests are taken out.
        exclude: parts that were not read, or are known to be those that were written.

    Raises:
        InputError: they were not.
    """
    saved = component.cfg.pop(DIGESTS, None)
    if saved is None:
        return
    found = _digests(component, component.cfg, exclude)
    differing = [
        part
        for part in {**saved, **found}
        # An encoder may be left out, or loaded later.
        if saved.get(part) != found.get(part) and (part in found or part == "neighbours")
        if part not in exclude
    ]
    if differing:
        raise InputError(
            f"Component '{component.name}' was not saved with what it is loaded with "
            f"({', '.join(differing)}): the model is damaged or was changed. Install or copy all "
            "of it again."
        )


def _digests(
    component: ClinicalNer, cfg: Mapping[str, Any], exclude: Sequence[str]
) -> dict[str, str]:
    """Digests of the parts there are, by part; of an encoder, by its folder in the pipeline."""
    digests = {"cfg": sha256(json.dumps(cfg, sort_keys=True).encode("utf-8"))}
    if component.neighbours is not None and "neighbours" not in exclude:
        digests["neighbours"] = component.neighbours.digest()
    models = {"model": component.model} | {
        f"{name}/model": pipe.model for name, pipe in component.encoders()
    }
    for part, model in models.items() if "model" not in exclude else ():
        if digest := weights_digest(model):
            digests[part] = digest
    return digests


def read_cfg(component: ClinicalNer, configured: Mapping[str, Any]) -> None:
    """Take from ``cfg`` all but the calibration, and initialize the loss; see ``write_cfg``.

    Raises:
        ClinicalNerError: the component was trained with another value of ``overlaps``, or its
            labels are not those that were counted.
    """
    statistics = component.cfg.pop("statistics", None)
    stored = component.cfg.pop("decision", None)
    if statistics is not None:
        component.statistics.update_from_dict(statistics)
    if component.is_initialized:
        if component.statistics.labels != component.cfg["labels"]:
            raise InputError(
                f"The labels of component '{component.name}' are not those, or not in the order, "
                "that were counted in training: the model is damaged or was changed. Install or "
                "copy all of it again."
            )
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
