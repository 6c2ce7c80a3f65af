"""One pass of a pipeline over annotated documents, and all that is counted on the way."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..data.formats.docbin import DOCUMENT_ID
from ..pipeline.recognizer import ClinicalNer
from ..scoring import ceiling
from ..scoring.counts import DocumentCounts
from ..scoring.evaluation import EvaluationCounts
from ..scoring.scorers import count_entities
from ..tags.statistics import TagStatistics
from .gold_mentions import document_mentions, has_all_mentions
from .labelled_tokens import unannotated
from .recording import Recorder


@dataclass(frozen=True)
class Evaluation:
    """What became of one pass.

    Attributes:
        counts: under the pipeline's own decision.
        prior_strength: that of this decision, None where the pipeline has no probabilities.
        decisions: counts under the other prior strengths that were asked for, by strength.
        tokens: as the pipeline made them.
        entities: number of those that were predicted.
        seconds: wall time of the pipeline, from text to entities, without that of counting.
        mentions: all that is annotated, see `ceiling.count_mentions`, and found under the
            pipeline's own decision; None where the references do not tell. *Shape of its counts:*
            ``(documents, labels, 3)``.
    """

    counts: EvaluationCounts
    prior_strength: float | None
    decisions: dict[float, EvaluationCounts]
    tokens: int
    entities: int
    seconds: float
    mentions: DocumentCounts | None


def recognizer_of(nlp: Language) -> tuple[str, ClinicalNer] | None:
    """The component whose probabilities are scored, and its name.

    Returns:
        None if no component, or more than one, is a ``ClinicalNer`` with a posterior: then there is
        not one p(tag | text) that the entities come from.
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

    Args:
        nlp: the pipeline.
        references: gold; empty documents are counted too.
        prior_strengths: further strengths in [0, 1] to decide at, if the pipeline has a posterior;
            no component after the recognizer may set entities (see `sets_entities_later`).
        training_mentions: mentions by type in the training data; by default those that the
            recognizer was trained on, if the pipeline has probabilities.
        track: wraps the references, to show progress.
    """
    found = recognizer_of(nlp)
    recorder = None if found is None else Recorder(found[1])
    own = None if found is None else found[1].prior_strength
    further = [] if found is None else sorted({float(s) for s in prior_strengths} - {own})
    if recorder is not None and training_mentions is None:
        training_mentions = _mentions(recorder.component.statistics)
    decided: dict[float, list[Example]] = {strength: [] for strength in further}
    meter = _Meter()
    knows_mentions = has_all_mentions(references)
    mentions: list[dict[str, list[int]]] = []

    def predict() -> Iterator[Example]:
        for reference, predicted in meter.run(nlp, references, track):
            if recorder is not None:
                log_probs, bare = recorder.take(reference)
                for strength, examples in decided.items():
                    doc = recorder.decide(bare, log_probs, strength)
                    examples.append(Example(doc, reference))
            if knows_mentions:
                mentions.append(document_mentions(reference, predicted))
            yield Example(predicted, reference)

    with _recording(recorder):
        entities = count_entities(predict())
    probabilities, details = (None, None) if recorder is None else recorder.counts()
    counts = EvaluationCounts(
        documents=tuple(
            str(doc.user_data.get(DOCUMENT_ID, index)) for index, doc in enumerate(references)
        ),
        entities=entities,
        probabilities=probabilities,
        training_mentions=training_mentions,
        details=details,
    )
    return Evaluation(
        counts=counts,
        prior_strength=own,
        decisions={
            strength: replace(counts, entities=count_entities(examples), details=None)
            for strength, examples in decided.items()
        },
        tokens=meter.tokens,
        entities=meter.entities,
        seconds=meter.seconds - (0.0 if recorder is None else recorder.seconds),
        mentions=DocumentCounts.stack(mentions, kinds=ceiling.KINDS) if knows_mentions else None,
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


@contextmanager
def _recording(recorder: Recorder | None) -> Iterator[None]:
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
