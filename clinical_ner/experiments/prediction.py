"""One pass of a pipeline over annotated documents, and all that is counted on the way."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..formats.docbin import DOCUMENT_ID
from ..labels.scheme import MASKED
from ..labels.statistics import TagStatistics
from ..pipeline.labelled_tokens import unannotated
from ..pipeline.recognizer import ClinicalNer
from ..scoring import prior, reliability
from ..scoring.counts import DocumentCounts
from ..scoring.evaluation import EvaluationCounts, ProbabilityCounts
from ..scoring.scorers import count_entities
from ..scoring.tokens import gold_tags
from ..types import LogProbs


@dataclass(frozen=True)
class Evaluation:
    """What became of one pass.

    counts: under the pipeline's own decision.
    prior_strength: that of this decision, None where the pipeline has no probabilities.
    decisions: counts under the other prior strengths that were asked for, by strength.
    tokens: as the pipeline made them.
    entities: number of those that were predicted.
    seconds: wall time of the pipeline, from text to entities, without that of counting.
    """

    counts: EvaluationCounts
    prior_strength: float | None
    decisions: dict[float, EvaluationCounts]
    tokens: int
    entities: int
    seconds: float


def recognizer_of(nlp: Language) -> tuple[str, ClinicalNer] | None:
    """The component whose probabilities are scored, and its name.

    RETURNS: None if no component, or more than one, is a ``ClinicalNer`` with a posterior: then
        there is not one p(tag | text) that the entities come from.
    """
    found = [
        (name, component)
        for name, component in nlp.pipeline
        if isinstance(component, ClinicalNer) and component.loss.has_posterior
    ]
    return found[0] if len(found) == 1 else None


def sets_entities_later(nlp: Language, name: str) -> str | None:
    """The first component after ``name`` that declares to set ``doc.ents``, None without one."""
    later = nlp.pipe_names[nlp.pipe_names.index(name) + 1 :]
    return next((other for other in later if "doc.ents" in nlp.get_pipe_meta(other).assigns), None)


def evaluate_pipeline(
    nlp: Language,
    references: Sequence[Doc],
    *,
    prior_strengths: Iterable[float] = (),
    training_mentions: Mapping[str, int] | None = None,
    track: Callable[[Iterable[Doc]], Iterable[Doc]] = iter,
) -> Evaluation:
    """Run a pipeline over the texts of annotated documents and count.

    Documents are handed on one by one, since the transformer's output that each predicted document
    carries would fill the memory if all were kept. Probabilities are those that the component
    decodes in that pass, taken from it on the way, so nothing is computed twice, and the
    decisions at other prior strengths cost a decoding each.

    references: gold; empty documents are counted too.
    prior_strengths: further strengths in [0, 1] to decide at, if the pipeline has a posterior; no
        component after the recognizer may set entities (see `sets_entities_later`).
    training_mentions: mentions by type in the training data; by default those that the recognizer
        was trained on, if the pipeline has probabilities.
    track: wraps the references, to show progress.
    """
    found = recognizer_of(nlp)
    recorder = None if found is None else _Recorder(found[1], nlp)
    own = None if found is None else found[1].prior_strength
    further = [] if found is None else sorted({float(s) for s in prior_strengths} - {own})
    if recorder is not None and training_mentions is None:
        training_mentions = _mentions(recorder.component.statistics)
    decided: dict[float, list[Example]] = {strength: [] for strength in further}
    meter = _Meter()

    def predict() -> Iterator[Example]:
        for reference, predicted in meter.run(nlp, references, track):
            if recorder is not None:
                log_probs, bare = recorder.take(reference)
                for strength, examples in decided.items():
                    doc = recorder.decide(bare, log_probs, strength)
                    examples.append(Example(doc, reference))
            yield Example(predicted, reference)

    with _recording(recorder):
        entities = count_entities(predict())
    counts = EvaluationCounts(
        documents=tuple(
            str(doc.user_data.get(DOCUMENT_ID, index)) for index, doc in enumerate(references)
        ),
        entities=entities,
        probabilities=None if recorder is None else recorder.counts(),
        training_mentions=training_mentions,
    )
    return Evaluation(
        counts=counts,
        prior_strength=own,
        decisions={
            strength: replace(counts, entities=count_entities(examples))
            for strength, examples in decided.items()
        },
        tokens=meter.tokens,
        entities=meter.entities,
        seconds=meter.seconds - (0.0 if recorder is None else recorder.seconds),
    )


class _Meter:
    """Runs a pipeline and takes its time; the totals are complete when `run` is exhausted."""

    def __init__(self) -> None:
        self.tokens = 0
        self.entities = 0
        self.seconds = 0.0

    def run(
        self,
        nlp: Language,
        references: Sequence[Doc],
        track: Callable[[Iterable[Doc]], Iterable[Doc]],
    ) -> Iterator[tuple[Doc, Doc]]:
        """Yield each reference with its prediction."""
        predictions = nlp.pipe(unannotated(nlp, reference) for reference in references)
        for reference in track(references):
            start = time.perf_counter()
            predicted = next(predictions)
            self.seconds += time.perf_counter() - start
            self.tokens += len(predicted)
            self.entities += len(predicted.ents)
            yield reference, predicted


class _Recorder:
    """Takes the log-probabilities from a recognizer as it decodes them, document by document.

    Asking the component again afterwards would search its neighbours twice, and would find the
    output of the transformer gone where a later component cleans it away.

    seconds: wall time of the recording itself.
    """

    def __init__(self, component: ClinicalNer, nlp: Language) -> None:
        self.component = component
        self.seconds = 0.0
        self._nlp = nlp
        self._decode = component.set_annotations
        self._taken: deque[tuple[LogProbs, Doc]] = deque()
        self._tag_ids = {tag: i for i, tag in enumerate(component.statistics.tags)}
        self._confidence: list[NDArray[np.float64]] = []
        self._correct: list[NDArray[np.bool_]] = []
        self._prior: list[NDArray[np.float64]] = []

    def set_annotations(self, docs: Iterable[Doc], scores: list[LogProbs]) -> None:
        """Keep what the component is about to decode, then let it."""
        start = time.perf_counter()
        docs = list(docs)
        for doc, log_probs in zip(docs, scores, strict=True):
            self._taken.append((self.component.model.ops.to_numpy(log_probs), _bare(doc)))
        self.seconds += time.perf_counter() - start
        self._decode(docs, scores)

    def take(self, reference: Doc) -> tuple[LogProbs, Doc]:
        """Count the next document, whose gold is `reference`.

        RETURNS: its log-probabilities, *shape* ``(n, K)``, and its tokens as the component got
            them.
        """
        log_probs, bare = self._taken.popleft()
        outside_labels = len(self._tag_ids)
        truths = np.array(
            [
                MASKED if tag is None else self._tag_ids.get(tag, outside_labels)
                for tag in gold_tags(Example(bare, reference))
            ],
            dtype=np.int64,
        )
        probabilities = np.exp(np.asarray(log_probs, dtype=np.float64))
        top = probabilities[truths >= 0]
        self._confidence.append(top.max(axis=1, initial=0.0))
        self._correct.append(top.argmax(axis=1) == truths[truths >= 0])
        self._prior.append(prior.count_prior(probabilities, truths))
        return log_probs, bare

    def decide(self, bare: Doc, log_probs: LogProbs, strength: float) -> Doc:
        """The document as the component decides at another prior strength."""
        doc = _bare(bare)
        kept = self.component.prior_strength
        self.component.prior_strength = strength
        try:
            self._decode([doc], [log_probs])
        finally:
            self.component.prior_strength = kept
        return doc

    def counts(self) -> ProbabilityCounts:
        """Counts of all the documents taken."""
        statistics = self.component.statistics
        tokens = dict(zip(statistics.labels, statistics.class_counts[1:], strict=True))
        return ProbabilityCounts(
            bins=reliability.count_reliability(self._confidence, self._correct),
            tags=DocumentCounts(tuple(statistics.tags), np.stack(self._prior)),
            rarest_third=prior.rarest_third(tokens),
        )


@contextmanager
def _recording(recorder: _Recorder | None) -> Iterator[None]:
    """Put the recorder between a component and its decoding."""
    if recorder is None:
        yield
        return
    component: Any = recorder.component
    component.set_annotations = recorder.set_annotations
    try:
        yield
    finally:
        del component.set_annotations


def _mentions(statistics: TagStatistics) -> dict[str, int]:
    """Training mentions by type: the tokens that begin one."""
    return {
        label: int(count)
        for label, count in zip(statistics.labels, statistics.counts[1::2], strict=True)
    }


def _bare(doc: Doc) -> Doc:
    """The tokens and entities of a document, without the output of the other components."""
    copy = Doc(doc.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])
    copy.set_ents([Span(copy, ent.start, ent.end, label=ent.label_) for ent in doc.ents])
    return copy
