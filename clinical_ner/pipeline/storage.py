"""How the component is stored: what spaCy keeps of every one, and the datastore of neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import srsly
from spacy import util
from spacy.pipeline.trainable_pipe import TrainablePipe

from ..calibration.neighbours import Neighbours
from ..errors import ClinicalNerError, Errors
from ..labels.scheme import tag_names
from ..labels.statistics import TagStatistics
from ..types import TagLoss

#: File of the datastore in the component's folder; it is excluded as "neighbours".
NEIGHBOURS = "neighbours.npz"
#: Settings of the decision, which can be changed on a loaded component and are stored with it.
DECISION = ("prior_strength", "prior_smoothing", "overwrite")


class StoredRecognizer(TrainablePipe):
    """The part of ``ClinicalNer`` that writes it to bytes or a folder, and reads it again."""

    loss: TagLoss
    statistics: TagStatistics
    #: The decision that the config asked for.
    _configured: dict[str, Any]
    _neighbours: Neighbours | None = None

    @property
    def neighbours(self) -> Neighbours | None:
        """Training tokens whose tags are mixed into every probability, or None.

        They belong to the weights that made their vectors: ``initialize``, every update and loading
        drop them. Nothing is noticed where only another component is trained, to whose vectors
        this one listens: then set this to None.

        RAISES ClinicalNerError: set with a loss that has no posterior to mix with, or to a
            datastore of other tags or of vectors of another width.
        """
        return self._neighbours

    @neighbours.setter
    def neighbours(self, value: Neighbours | None) -> None:
        if value is not None:
            if not self.loss.has_posterior:
                raise ClinicalNerError(
                    Errors.E010.format(loss=type(self.loss).__name__, name=self.name)
                )
            width = self.model.get_ref("head").maybe_get_dim("nI")
            expected = f"{len(tag_names(self.cfg['labels']))} tags, vectors of {width}"
            found = f"{value.datastore.n_tags} tags, vectors of {value.datastore.width}"
            if found != expected:
                raise ClinicalNerError(
                    Errors.E011.format(name=self.name, found=found, expected=expected)
                )
        self._neighbours = value

    def to_bytes(self, *, exclude: Sequence[str] = ()) -> bytes:
        """Serialize the component, with all that decoding needs.

        exclude: names of what is left out: cfg, vocab, model, neighbours.
        """
        self._write_cfg()
        fields = srsly.msgpack_loads(super().to_bytes(exclude=exclude))
        if self.neighbours is not None:
            fields |= util.to_dict({NEIGHBOURS: self.neighbours.to_bytes}, exclude)
        return srsly.msgpack_dumps(fields)

    def from_bytes(self, bytes_data: bytes, *, exclude: Sequence[str] = ()) -> StoredRecognizer:
        """Load the component from bytes.

        exclude: names of what is not read; see ``to_bytes``. Neighbours that the component has are
            dropped all the same: they belong to the weights that are replaced.
        """
        self.neighbours = None
        super().from_bytes(bytes_data, exclude=exclude)
        self._read_cfg()

        def read(data: bytes) -> None:
            self.neighbours = Neighbours.from_bytes(data)

        util.from_bytes(bytes_data, {NEIGHBOURS: read}, exclude)
        return self

    def to_disk(self, path: str | Path, *, exclude: Sequence[str] = ()) -> None:
        """Serialize the component to a folder, with all that decoding needs.

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

        exclude: see ``from_bytes``.
        """
        self.neighbours = None
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
        return self

    def _decision(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in DECISION}

    def _write_cfg(self) -> None:
        self.cfg["statistics"] = self.statistics.to_dict()
        self.cfg["decision"] = {"configured": self._configured, "current": self._decision()}

    def _read_cfg(self) -> None:
        statistics = self.cfg.pop("statistics", None)
        decision = self.cfg.pop("decision", None)
        if statistics is not None:
            self.statistics.update_from_dict(statistics)
        if self.statistics.total:
            self.loss.initialize(self.statistics)
        if decision is not None:
            for key, value in decision["current"].items():
                # A setting that differs from the stored config's was given at loading, and wins.
                if self._configured[key] == decision["configured"][key]:
                    setattr(self, key, value)
