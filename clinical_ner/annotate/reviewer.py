"""A pipeline that says of each note how much annotating it would tell."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from ..arrays import log_softmax
from ..decoding.document_lattice import DocumentLattice
from ..pipeline.loading import only_recognizer
from ..scoring.average_precision import MIN_PROBABILITY
from ..scoring.prior import rarest_third
from ..scoring.queue import span_entropy
from ..tags.encode import taggable
from ..tags.scheme import class_index
from .annotator import Annotated, Settings, TextAnnotator


class Measured(NamedTuple):
    """What a model says of a note beside its entities.

    Attributes:
        uncertainty: see `span_entropy`; of all spans that are not improbable.
        expected: number of entities by type. *Shape:* ``(types,)``.
        vector: mean of the token vectors. *Shape:* ``(width,)``.
        tokens: where all tokens start and end, in code points. *Shape:* ``(tokens, 2)``.
        classes: p(O) and p(type) of the tokens that carry a tag; none where the reviewer does not
            keep them. *Shape:* ``(n, 1 + types)``.
    """

    uncertainty: float
    expected: NDArray[np.float64]
    vector: NDArray[np.float32]
    tokens: NDArray[np.int32]
    classes: NDArray[np.float32]


class Reviewer(TextAnnotator):
    """A pipeline with one recognizer, which gives probabilities.

    Args:
        model: its folder, or the name of an installed package.
        keeps_classes: whether probabilities of tokens are kept, most of what there is to keep.

    Attributes:
        component: the recognizer.
        rare: the types that training has least of; see `rarest_third`.

    Raises:
        ClinicalNerError: the pipeline cannot be loaded, or has not one such recognizer.
    """

    def __init__(self, model: str | Path, *, keeps_classes: bool) -> None:
        super().__init__(model, Settings())
        _, self.component = only_recognizer(self.nlp, model)
        # Its vectors are asked for below.
        self.component.keep_transformer_output = True
        statistics = self.component.statistics
        seen = dict(zip(statistics.labels, statistics.class_counts[1:], strict=True))
        self._keeps_classes = keeps_classes
        self.rare = tuple(sorted(rarest_third(seen)))

    def read(self, doc: Doc) -> Annotated:
        """The entities of a document, and what is `Measured`."""
        component = self.component
        (vectors,) = component.token_vectors([doc])
        (rows,) = component.log_probs([vectors])
        log_probs, carries_tag = component.model.ops.to_numpy(rows), taggable(doc)
        lattice = DocumentLattice.of(
            *(carries_tag, log_probs, component.labels, component.overlaps),
            component.decision.transitions,
        )
        candidates = lattice.candidates(MIN_PROBABILITY)
        flat = log_softmax(log_probs) if component.overlaps else log_probs
        measured = Measured(
            uncertainty=span_entropy(np.array([of.probability for of in candidates])),
            expected=lattice.expected_entities(),
            vector=component.model.ops.to_numpy(vectors)[carries_tag].mean(axis=0),
            tokens=np.array([(of.idx, of.idx + len(of)) for of in doc], dtype=np.int32),
            classes=class_probabilities(flat[carries_tag] if self._keeps_classes else flat[:0]),
        )
        return super().read(doc)._replace(measured=measured)

    def expected_rare(self, measured: Measured) -> dict[str, float]:
        """Expected number of entities of each rare type."""
        expected = dict(zip(self.component.labels, measured.expected.tolist(), strict=True))
        return {label: expected[label] for label in self.rare}


def class_probabilities(log_probs: NDArray[np.floating]) -> NDArray[np.float32]:
    """P(O) and p(type): of B and I together. *Shape:* ``(n, K)`` to ``(n, 1 + types)``."""
    first = np.flatnonzero(np.diff(class_index(log_probs.shape[1]), prepend=-1))
    return np.add.reduceat(np.exp(log_probs), first, axis=1, dtype=np.float32)
