"""How the component is stored: what spaCy keeps of each, and what was fitted after training."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.pipeline.trainable_pipe import TrainablePipe

from ..calibration.calibration import Calibration
from ..errors import ClinicalNerError, ConfigError, NotFittedError, no_posterior
from ..neighbours.mixing import Neighbours
from ..tags.scheme import tag_names
from ..tags.statistics import TagStatistics
from ..types import TagLoss
from .decision import DecisionSettings
from .document_access import DocumentAccess

#: File of the datastore in the component's folder; it is excluded as "neighbours".
NEIGHBOURS = "neighbours.npz"


class StoredRecognizer(DecisionSettings, TrainablePipe):
    """The part of ``ClinicalNer`` that writes it to bytes or a folder, and reads it again."""

    loss: TagLoss
    statistics: TagStatistics
    #: The decision that the config asked for.
    _configured: dict[str, Any]
    _neighbours: Neighbours | None = None
    _calibration: Calibration | None = None
    _access: DocumentAccess

    @property
    def neighbours(self) -> Neighbours | None:
        """Training tokens whose tags are mixed into every probability, or None.

        They belong to the weights that made their vectors: ``initialize``, every update and loading
        drop them. Nothing is noticed where only another component is trained, to whose vectors
        this one listens: then set this to None.

        A calibration is that of the probabilities without, or with, neighbours; setting this to
        others drops it, with a warning.

        Raises:
            ClinicalNerError: set with a loss that has no posterior to mix with, or to a datastore
                of other tags or of vectors of another width.
        """
        return self._neighbours

    @neighbours.setter
    def neighbours(self, value: Neighbours | None) -> None:
        if value is not None:
            if not self.loss.has_posterior:
                raise ConfigError(
                    f"Loss '{type(self.loss).__name__}' does not lead back to the empirical "
                    f"probability, so component '{self.name}' has none to mix with that of the "
                    "neighbours: train with a loss, and a reduction, that does."
                )
            width = self.model.get_ref("head").maybe_get_dim("nI")
            expected = f"{len(tag_names(self.cfg['labels']))} tags, vectors of {width}"
            found = f"{value.datastore.n_tags} tags, vectors of {value.datastore.width}"
            if found != expected:
                raise NotFittedError(
                    f"The datastore of component '{self.name}' was built for another model "
                    f"({found}, expected {expected}): build it again with clinical-ner neighbours."
                )
        if value is not self._neighbours and self.calibration is not None:
            self.calibration = None
            warnings.warn(
                (
                    f"Component '{self.name}' was changed: its calibration is that of other "
                    "probabilities, and is dropped. Run clinical-ner calibrate when all else is "
                    "done."
                ),
                stacklevel=2,
            )
        self._neighbours = value
        self._access.forget()

    @property
    def calibration(self) -> Calibration | None:
        """The last step to every probability, fitted on held-out documents, or None.

        It belongs to the weights that it was fitted for; see ``neighbours``.

        Raises:
            ClinicalNerError: set with a loss that has no posterior to calibrate, or to one of other
                tags.
        """
        return self._calibration

    @calibration.setter
    def calibration(self, value: Calibration | None) -> None:
        if value is not None:
            if not self.loss.has_posterior:
                raise no_posterior(type(self.loss).__name__)
            found, expected = len(value.tokens.bias), len(tag_names(self.cfg["labels"]))
            if found != expected:
                raise NotFittedError(
                    f"The calibration of component '{self.name}' was fitted for {found} tags, but "
                    f"it has {expected}: run clinical-ner calibrate on this pipeline."
                )
        self._calibration = value
        self._access.forget()

    def _forget_fits(self) -> None:
        """Drop all that belongs to weights which are about to change."""
        self._calibration = None
        self._neighbours = None
        self._access.forget()

    def to_bytes(self, *, exclude: Sequence[str] = ()) -> bytes:
        """Serialize the component, with all that decoding needs.

        Args:
            exclude: names of what is left out: cfg, vocab, model, neighbours.
        """
        self._write_cfg()
        fields = srsly.msgpack_loads(super().to_bytes(exclude=exclude))
        if self.neighbours is not None:
            fields |= util.to_dict({NEIGHBOURS: self.neighbours.to_bytes}, exclude)
        return srsly.msgpack_dumps(fields)

    def from_bytes(self, bytes_data: bytes, *, exclude: Sequence[str] = ()) -> StoredRecognizer:
        """Load the component from bytes.

        Args:
            bytes_data: what ``to_bytes`` gave.
            exclude: names of what is not read; see ``to_bytes``. Neighbours that the component has
                are dropped all the same: they belong to the weights that are replaced.
        """
        self._forget_fits()
        super().from_bytes(bytes_data, exclude=exclude)
        self._read_cfg()

        def read(data: bytes) -> None:
            self.neighbours = Neighbours.from_bytes(data)

        util.from_bytes(bytes_data, {NEIGHBOURS: read}, exclude)
        self._read_calibration()
        return self

    def to_disk(self, path: str | Path, *, exclude: Sequence[str] = ()) -> None:
        """Serialize the component to a folder, with all that decoding needs.

        Args:
            path: the file or folder.
            exclude: see ``to_bytes``.
        """
        self._write_cfg()
        super().to_disk(path, exclude=exclude)

        def write(file: Path) -> None:
            if self.neighbours is None:
                # The folder may hold those of a pipeline that was stored there before.
                file.unlink(missing_ok=True)
            else:
                self.neighbours.save(file)

        util.to_disk(path, {NEIGHBOURS: write}, exclude)

    def from_disk(self, path: str | Path, *, exclude: Sequence[str] = ()) -> StoredRecognizer:
        """Load the component from a folder.

        Args:
            path: the file or folder.
            exclude: see ``from_bytes``.
        """
        self._forget_fits()
        super().from_disk(path, exclude=exclude)
        self._read_cfg()

        def read(file: Path) -> None:
            if not file.exists():
                return
            try:
                self.neighbours = Neighbours.load(file)
            except ClinicalNerError as error:
                raise ClinicalNerError(f"{error} (In {file}.)") from error

        util.from_disk(path, {NEIGHBOURS: read}, exclude)
        self._read_calibration()
        return self

    def _write_cfg(self) -> None:
        self.cfg["statistics"] = self.statistics.to_dict()
        decision = {"configured": self._configured, "current": self._decision()}
        # As text, since srsly loses the last digits of numbers: a loaded pipeline is to decide and
        # calibrate the same to the last bit, and a setting is to equal the config's.
        self.cfg["decision"] = json.dumps(decision)
        self.cfg["calibration"] = None
        if self.calibration is not None:
            fitted_with = {"with_neighbours": self.neighbours is not None}
            self.cfg["calibration"] = json.dumps({**self.calibration.to_dict(), **fitted_with})

    def _read_cfg(self) -> None:
        statistics = self.cfg.pop("statistics", None)
        stored = self.cfg.pop("decision", None)
        if statistics is not None:
            self.statistics.update_from_dict(statistics)
        if self.statistics.total:
            self.loss.initialize(self.statistics)
        if stored is not None:
            decision = json.loads(stored)
            for key, value in decision["current"].items():
                # A setting that differs from the stored config's was given at loading, and wins.
                if self._configured[key] == decision["configured"][key]:
                    setattr(self, key, value)
        # Only now the labels are known.
        self._check_threshold_labels(self.thresholds)

    def _read_calibration(self) -> None:
        """Take the calibration of ``cfg``, unless it is that of neighbours that were not read."""
        stored = self.cfg.pop("calibration", None)
        if stored is None:
            return
        fitted = json.loads(stored)
        if fitted.pop("with_neighbours") != (self.neighbours is not None):
            warnings.warn(
                (
                    f"Component '{self.name}' was changed: its calibration is that of other "
                    "probabilities, and is dropped. Run clinical-ner calibrate when all else is "
                    "done."
                ),
                stacklevel=3,
            )
            return
        self.calibration = Calibration.from_dict(fitted)
