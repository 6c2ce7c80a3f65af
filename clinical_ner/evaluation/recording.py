"""Counts of a recognizer's probabilities and entities against gold.

Of a recognizer with ``overlaps``, spans are held against all mentions. Its tokens have no one
p(tag | text) over all tags, since each type is a problem of its own; they are scored by what the
softmax over all tags makes of these, against the tags of the flat entities.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from ..arrays import log_softmax
from ..calibration.calibration import Calibration
from ..decoding.decision import Decision, Decoded
from ..decoding.decode import decode
from ..decoding.document_lattice import DocumentLattice
from ..pipeline.recognizer import ClinicalNer
from ..scoring import ceiling, prior, spans
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
        # Of the unmasked tokens, per document, as `predict` gives them.
        self._log_probs: list[NDArray[np.floating]] = []
        self._truths: list[NDArray[np.int64]] = []
        self._prior: list[NDArray[np.float64]] = []
        self._entities: list[DocumentEntities] = []
        self._entities_before: list[DocumentEntities] = []
        self._candidates: list[list[tuple[str, float, bool]]] = []
        self._made: list[list[tuple[str, float, bool]]] = []
        self._support: list[dict[str, int]] = []
        self._mentions: list[dict[str, list[int]]] = []
        self._beyond_flat: list[dict[str, list[int]]] = []

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
        probabilities = np.exp(np.asarray(self._flat(log_probs), dtype=np.float64))
        self._prior.append(prior.count_prior(probabilities, truths))
        gold = GoldSpans(example, self.component.gold_spans(reference))
        self._take_spans(gold, doc, log_probs, decoded)
        if self.component.overlaps:
            found, _ = decoded.most_probable_first()
            entities = {(ent.start, ent.end, ent.label_) for ent in reference.ents}
            self._mentions.append(gold.count(found))
            self._beyond_flat.append(ceiling.count_beyond_flat(gold, entities, found))

    def _take_spans(self, gold: GoldSpans, doc: Doc, log_probs: LogProbs, decoded: Decoded) -> None:
        lattice = self._lattice(doc, log_probs, self.component.decision)
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
        self._made.append(gold.judge_scored(*decoded.most_probable_first()))
        self._support.append(dict(gold.support))
        calibration = self.component.calibration
        if calibration is None:
            return
        raw = _undo(calibration, log_probs)
        # The weight of the transitions is of the calibration, too.
        decision = self.component.decision_under(0.0)
        decoded = decode(raw, taggable(doc), self.component.labels, decision)
        lattice = self._lattice(doc, raw, decision)
        self._entities_before.append(_document_entities(gold, decoded, lattice))

    def _lattice(self, doc: Doc, log_probs: LogProbs, decision: Decision) -> DocumentLattice:
        labels, overlaps = self.component.labels, decision.overlaps
        return DocumentLattice.of(
            *(taggable(doc), log_probs, labels, overlaps, decision.transitions)
        )

    def _flat(self, log_probs: LogProbs) -> LogProbs:
        """log p(tag | text), normalised over all tags. *Shape:* ``(n, K)``."""
        return log_softmax(log_probs) if self.component.overlaps else log_probs

    def mentions(self) -> tuple[DocumentCounts, DocumentCounts] | None:
        """Counts of the spans that may overlap, None of a recognizer that has none.

        Returns:
            Those of ``GoldSpans.count``, and of ``ceiling.count_beyond_flat``.
        """
        if not self.component.overlaps:
            return None
        return (
            DocumentCounts.stack(self._mentions, kinds=spans.KINDS),
            DocumentCounts.stack(self._beyond_flat, kinds=ceiling.BEYOND_KINDS),
        )

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
        flat = [self._flat(rows) for rows in self._log_probs]
        tokens = count_tokens(flat, self._truths, tags=tags)
        calibration = self.component.calibration
        before = None
        if calibration is not None:
            raw = [self._flat(_undo(calibration, rows)) for rows in self._log_probs]
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
            made=RankedSpans.rank(self._made, self._support),
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
