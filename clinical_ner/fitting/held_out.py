"""Annotated documents as calibration sees them: probabilities, gold, and spans of either."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..arrays import log_softmax
from ..calibration.calibration import Calibration
from ..data.gold import read_gold_for
from ..decoding.decode import decode
from ..errors import InputError, shown_label
from ..evaluation.runner import unannotated
from ..pipeline.recognizer import ClinicalNer
from ..scoring.entities import (
    DocumentEntities,
    count_entity_reliability,
    entity_reliability_statistics,
    score_arrays,
)
from ..scoring.reliability import count_tokens, token_statistics
from ..scoring.spans import GoldSpans
from ..tags.encode import document_id, encode_example, taggable
from ..tags.scheme import MASKED
from ..tags.statistics import TagStatistics
from ..types import LogProbs, TagIds, TokenMask, Transitions
from .decisions import Predicted, predict
from .fit_calibration import fit_calibration
from .out_of_fold import OutOfFold

#: Prior strengths whose spans the entity-level step is fitted on: it is to hold for all of them,
#: since the user may choose any. Spans that several of them decode count as often.
STRENGTHS = (1.0, 0.5, 0.0)


@dataclass(frozen=True)
class AnnotatedDocument:
    """A document and its gold; see ``calibration_fit.HeldOutDocument``.

    Attributes:
        component: its own decision does not matter.
        doc: its tokens as the component gets them.
        log_probs: what the component predicts without calibration. *Shape:* ``(len(doc), K)``.
        gold: tag ids, -1 where masked. *Shape:* ``(len(doc),)``, or ``(len(doc), M)`` where tags of
            the M types may overlap.
        flat_gold: those of the entities, the same where tags cannot overlap. *Shape:*
            ``(len(doc),)``.
        gold_spans: what spans are held against.
        information: ``TagStatistics.pair_information`` of other documents; None where pairs of tags
            were not counted. *Shape:* ``(K, K)``.
    """

    component: ClinicalNer
    doc: Doc
    log_probs: LogProbs
    gold: TagIds
    flat_gold: TagIds
    gold_spans: GoldSpans
    information: Transitions | None

    @classmethod
    def of(
        cls,
        component: ClinicalNer,
        doc: Doc,
        log_probs: LogProbs,
        reference: Doc,
        information: Transitions | None = None,
    ) -> AnnotatedDocument:
        """A document whose probabilities are known.

        Raises:
            ClinicalNerError: gold holds a label that the component lacks.
        """
        example = Example(doc, reference)
        label_index = {label: i for i, label in enumerate(component.labels)}
        flat = encode_example(example, label_index, name=component.name)
        ids = component.gold_ids(example) if component.overlaps else flat
        gold = GoldSpans(example, component.gold_spans(reference))
        return cls(component, doc, log_probs, ids, flat, gold, information)

    def predicted(self, calibration: Calibration | None) -> Predicted:
        """The document under a calibration, before the decision."""
        rows = self.log_probs if calibration is None else calibration.tokens.apply(self.log_probs)
        return Predicted(self.doc, rows, self.gold_spans, [], calibration, self.information)

    @property
    def tokens(self) -> TokenMask:
        """True for the tokens that carry a tag. *Shape:* ``(len(doc),)``."""
        return taggable(self.doc)

    def spans(
        self,
        log_probs: LogProbs,
        *,
        transitions: float = 0.0,
        strengths: Iterable[float] = STRENGTHS,
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Lattice probabilities of decoded spans, and which are right.

        Spans are left out that are neither right nor wrong; see ``GoldSpans.match``.

        Args:
            log_probs: calibrated or not. *Shape:* ``(len(doc), K)``.
            transitions: those of the calibration; the component's own setting goes before them.
            strengths: prior strengths to decode at.

        Returns:
            *Shape of both:* ``(m,)``.
        """
        component, judged = self.component, []
        decision = component.decision_under(transitions, self.information)
        for strength in strengths:
            decided = decision.at(strength)
            decoded = decode(log_probs, self.tokens, component.labels, decided)
            judged += self.gold_spans.judge_scored(*decoded.most_probable_first())
        return score_arrays(judged)


def annotated_documents(
    nlp: Language, name: str, references: Sequence[Doc]
) -> Iterator[AnnotatedDocument]:
    """Run a pipeline over the texts of gold documents, up to its recognizer.

    Args:
        nlp: the pipeline.
        name: the recognizer's, which must not be calibrated.
        references: gold documents.

    Raises:
        ClinicalNerError: gold holds a label that the recognizer lacks.
    """
    component = nlp.get_pipe(name)
    assert isinstance(component, ClinicalNer)
    assert component.calibration is None
    counted = component.statistics.bigrams is not None
    pairs = component.statistics.pair_information() if counted else None
    for found, reference in zip(predict(nlp, name, references), references, strict=True):
        yield AnnotatedDocument.of(component, found.doc, found.log_probs, reference, pairs)


def out_of_fold_documents(nlp: Language, name: str, store: OutOfFold) -> list[AnnotatedDocument]:
    """Documents with the predictions of models that did not see them, in place of a pipeline's own.

    Args:
        nlp: the pipeline that something is fitted for.
        name: its recognizer's.
        store: what ``clinical-ner folds`` wrote.

    Raises:
        ClinicalNerError: the store is damaged, or its predictions are of another kind than the
            pipeline's: other labels or tokens, neighbours or entities of others.
    """
    component = nlp.get_pipe(name)
    assert isinstance(component, ClinicalNer)
    if store.labels != component.labels:
        labels = sorted({*store.labels} ^ {*component.labels})
        differing = ", ".join(map(shown_label, labels)) or "in another order"
        raise InputError(
            f"{store.folder}: its labels are not those of the pipeline ({differing}). Name a "
            "pipeline trained on the same documents by the same recipe."
        )
    earlier = nlp.pipe_names[: nlp.pipe_names.index(name)]
    others = [of for of in earlier if "doc.ents" in nlp.get_pipe_meta(of).assigns]
    others += ["neighbours"] if component.neighbours is not None else []
    if others:
        raise InputError(
            f"{store.folder}: its predictions lack what '{others[0]}' of the pipeline adds. Name a "
            "pipeline without it, or a .spacy file of documents in place of the folder."
        )
    documents = []
    for reference, rows in zip(read_gold_for(store.corpus, nlp), store.log_probs(), strict=True):
        doc = unannotated(nlp, reference)
        if len(doc) != len(rows):
            raise InputError(
                f"{store.folder}: document {document_id(reference)} has "
                f"{len(rows)} tokens there, and {len(doc)} by the pipeline's tokenizer. Name a "
                "pipeline with the tokenizer of the recipe that the folds were trained by."
            )
        documents.append(AnnotatedDocument.of(component, doc, rows, reference))
    return with_pairs_of_other_folds(documents, store.fold_of)


def with_pairs_of_other_folds(
    documents: Sequence[AnnotatedDocument], fold_of: NDArray[np.intp]
) -> list[AnnotatedDocument]:
    """Documents with the pairs of neighbouring tags that the other folds have.

    A pipeline that was trained on them counted their own, too, which would make the transitions
    look better than they are on new documents.

    Args:
        documents: each once.
        fold_of: the fold of each. *Shape:* ``(documents,)``.

    Returns:
        The documents as they are if there is one fold, or their tags may overlap.
    """
    component = documents[0].component
    if component.overlaps or len({*fold_of.tolist()}) == 1:
        return list(documents)
    found = {}
    for fold in {*fold_of.tolist()}:
        others = [of for of, place in zip(documents, fold_of, strict=True) if place != fold]
        statistics = TagStatistics()
        statistics.count(component.labels, (of.gold for of in others))
        statistics.count_pairs(of.gold[of.tokens] for of in others)
        found[fold] = statistics.pair_information()
    return [
        replace(of, information=found[fold])
        for of, fold in zip(documents, fold_of.tolist(), strict=True)
    ]


def cross_fitted(documents: Sequence[AnnotatedDocument], store: OutOfFold) -> list[Predicted]:
    """Out-of-fold predictions under a calibration of the other folds.

    A calibration fitted on the documents that it is applied to would make their probabilities look
    better than those of new documents, and so would thresholds chosen by them. So the documents of
    each fold are calibrated by the documents of the others: no number has seen the gold that it is
    held against, but for the small way that ``fit_calibration`` names.

    Returns:
        Those of the documents that can be fitted on; see ``CalibrationFit``.

    Raises:
        ClinicalNerError: only one fold has gold.
    """
    component = documents[0].component
    fit = fit_calibration(
        documents,
        component.statistics.counts,
        fold_of=store.fold_of.tolist(),
        transitions=component.transitions is None,
    )
    if not fit.held_out:
        raise InputError(f"{store.folder}: only one fold has gold, so no other can calibrate it.")
    return [
        of.predicted(calibration)
        for of, calibration in zip(fit.documents, fit.held_out, strict=True)
    ]


def reliability(
    documents: Sequence[AnnotatedDocument], calibrations: Sequence[Calibration] | None
) -> dict[str, float]:
    """How far probabilities are from frequencies, under a calibration of each document or none.

    Spans are those at the component's own prior strength, without its thresholds. Tokens whose tags
    may overlap are scored by the softmax over all tags, against the tags of the flat entities.

    Returns:
        ``token_ece``, ``token_nll``, ``ents_ece`` and ``ents_brier``, NaN where undefined; see
        ``scoring.reliability.token_statistics`` and ``scoring.entities``.
    """
    log_probs, gold, entities = [], [], []
    for index, document in enumerate(documents):
        rows, transitions = document.log_probs, 0.0
        if calibrations is not None:
            rows = calibrations[index].tokens.apply(rows)
            transitions = calibrations[index].transitions
        scores, right = document.spans(
            rows, transitions=transitions, strengths=[document.component.prior_strength]
        )
        step = None if calibrations is None else calibrations[index].entities
        labelled = document.flat_gold > MASKED
        flat = log_softmax(rows[labelled]) if document.component.overlaps else rows[labelled]
        log_probs.append(flat)
        gold.append(document.flat_gold[labelled])
        entities.append(
            DocumentEntities(scores if step is None else step.apply(scores), right, np.zeros(0))
        )
    tags = documents[0].component.statistics.tags
    scored = {
        **token_statistics(count_tokens(log_probs, gold, tags=tags)),
        **entity_reliability_statistics(count_entity_reliability(entities)),
    }
    return {
        name: float(scored[name]) for name in ("token_ece", "token_nll", "ents_ece", "ents_brier")
    }
