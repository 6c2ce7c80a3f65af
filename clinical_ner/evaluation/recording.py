"""Counts of a recognizer's probabilities and entities against gold."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from ..calibration.calibration import Calibration
from ..decoding.decision import Decoded
from ..decoding.decode import decode
from ..decoding.document_lattice import DocumentLattice
from ..pipeline.recognizer import ClinicalNer
from ..scoring import prior
from ..scoring.average_precision import MIN_PROBABILITY, RankedSpans
from ..scoring.counts import DocumentCounts
from ..scoring.entities import DocumentEntities, count_entity_reliability, score_arrays
from ..scoring.evaluation import ProbabilityCounts
from ..scoring.probabilities import ProbabilityDetails
from ..scoring.reliability import count_tokens
from ..scoring.spans import GoldSpans
from ..tags.encode import gold_tags, taggable
from ..tags.scheme import MASKED
from ..types import LogProbs
from .runner import Recognized, bare


class Recorder:
    """Counts, document by document, what a recognizer made against gold.

    Attributes:
        component: has a posterior.
    """

    def __init__(self, component: ClinicalNer) -> None:
        self.component = component
        self._tag_ids = {tag: i for i, tag in enumerate(component.statistics.tags)}
        # Of the unmasked tokens, per document.
        self._log_probs: list[NDArray[np.floating]] = []
        self._truths: list[NDArray[np.int64]] = []
        self._prior: list[NDArray[np.float64]] = []
        self._entities: list[DocumentEntities] = []
        self._entities_before: list[DocumentEntities] = []
        self._candidates: list[list[tuple[str, float, bool]]] = []
        self._support: list[dict[str, int]] = []

    def take(self, reference: Doc, recognized: Recognized) -> None:
        """Count the next document, whose gold is `reference`."""
        doc, log_probs, decoded = recognized
        example = Example(doc, reference)
        outside_labels = len(self._tag_ids)
        truths = np.array(
            [
                MASKED if tag is None else self._tag_ids.get(tag, outside_labels)
                for tag in gold_tags(example)
            ],
            dtype=np.int64,
        )
        self._log_probs.append(log_probs[truths >= 0])
        self._truths.append(truths[truths >= 0])
        probabilities = np.exp(np.asarray(log_probs, dtype=np.float64))
        self._prior.append(prior.count_prior(probabilities, truths))
        self._take_spans(GoldSpans(example), doc, log_probs, decoded)

    def _take_spans(self, gold: GoldSpans, doc: Doc, log_probs: LogProbs, decoded: Decoded) -> None:
        lattice = DocumentLattice.of(taggable(doc), log_probs, self.component.labels)
        self._entities.append(_document_entities(gold, decoded, lattice))
        # The most probable first, as `GoldSpans.match` asks.
        candidates = sorted(
            lattice.candidates(MIN_PROBABILITY), key=lambda candidate: -candidate.probability
        )
        self._candidates.append(
            gold.judge_scored(
                [(c.start, c.end, c.label) for c in candidates],
                [c.probability for c in candidates],
            )
        )
        self._support.append(dict(gold.support))
        calibration = self.component.calibration
        if calibration is None:
            return
        raw, tokens = _undo(calibration, log_probs), taggable(doc)
        decoded = decode(raw, tokens, self.component.labels, self.component.decision)
        lattice = DocumentLattice.of(tokens, raw, self.component.labels)
        self._entities_before.append(_document_entities(gold, decoded, lattice))

    def decide(self, recognized: Recognized, strength: float) -> Doc:
        """The document as the component decides at another prior strength."""
        doc, component = bare(recognized.doc), self.component
        decoded = decode(
            recognized.log_probs,
            taggable(doc),
            component.labels,
            replace(component.decision, prior_strength=strength),
            entity_step=component.entity_step,
        )
        component.annotator.annotate(doc, decoded)
        return doc

    def counts(self) -> tuple[ProbabilityCounts, ProbabilityDetails]:
        """Counts of all the documents taken."""
        statistics = self.component.statistics
        seen = dict(zip(statistics.labels, statistics.class_counts[1:], strict=True))
        tags = tuple(statistics.tags)
        tokens = count_tokens(self._log_probs, self._truths, tags=tags)
        calibration = self.component.calibration
        before = None
        if calibration is not None:
            raw = [_undo(calibration, rows) for rows in self._log_probs]
            before = (
                count_tokens(raw, self._truths, tags=tags),
                count_entity_reliability(self._entities_before),
            )
        counts = ProbabilityCounts(
            bins=tokens.bins,
            tags=DocumentCounts(tags, np.stack(self._prior)),
            rarest_third=prior.rarest_third(seen),
        )
        details = ProbabilityDetails(
            tokens=tokens,
            entities=count_entity_reliability(self._entities),
            ranked=RankedSpans.rank(self._candidates, self._support),
            before=before,
        )
        return counts, details


def _document_entities(
    gold: GoldSpans, decoded: Decoded, lattice: DocumentLattice
) -> DocumentEntities:
    scores, right = score_arrays(gold.judge_scored(decoded.spans, decoded.scores or []))
    missed = [lattice.probability(*span) for span in gold.missed(decoded.spans)]
    return DocumentEntities(scores, right, np.array(missed, dtype=np.float64))


def _undo(calibration: Calibration, log_probs: NDArray[np.floating]) -> NDArray[np.floating]:
    """Log-probabilities without their calibration. *Shape:* ``(n, K)``."""
    return calibration.tokens.undo(log_probs) if len(log_probs) else log_probs
