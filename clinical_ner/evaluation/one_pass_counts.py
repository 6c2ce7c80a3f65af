"""One pass of a pipeline over annotated documents, and all that is counted on the way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from ..data.formats.docbin import DOCUMENT_ID
from ..pipeline.recognizer import ClinicalNer
from ..scoring import ceiling
from ..scoring.counts import DocumentCounts
from ..scoring.evaluation import EvaluationCounts
from ..scoring.scorers import count_entities
from .gold_mentions import document_mentions, has_all_mentions
from .recording import Recorder
from .runner import Recognized, Runner


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
        beyond_flat: mentions that flat entities leave out, see `ceiling.count_beyond_flat`; None
            but for a recognizer with ``overlaps``. *Shape of its counts:* ``(documents, labels,
            2)``.
    """

    counts: EvaluationCounts
    prior_strength: float | None
    decisions: dict[float, EvaluationCounts]
    tokens: int
    entities: int
    seconds: float
    mentions: DocumentCounts | None
    beyond_flat: DocumentCounts | None


def evaluate_pipeline(
    nlp: Language,
    references: Sequence[Doc],
    *,
    prior_strengths: Iterable[float] = (),
    training_mentions: Mapping[str, int] | None = None,
    watch: Callable[[Doc, Doc, Recognized | None], None] | None = None,
    track: Callable[[Iterable[Doc]], Iterable[Doc]] = iter,
) -> Evaluation:
    """Run a pipeline over the texts of annotated documents and count.

    Nothing is computed twice, and the decisions at other prior strengths cost a decoding each.

    Args:
        nlp: the pipeline.
        references: gold; empty documents are counted too.
        prior_strengths: further strengths in [0, 1] to decide at, if the pipeline has a posterior;
            no component after the recognizer may set entities (see `sets_entities_later`).
        training_mentions: mentions by type in the training data; by default those that the
            recognizer was trained on, if the pipeline has probabilities.
        watch: is given what `Runner.run` yields of each document, before it is counted.
        track: wraps the references, to show progress.
    """
    runner = Runner(nlp)
    predictions = runner.run(references, track=track)
    evaluation = count_predictions(
        predictions if watch is None else _watched(predictions, watch),
        references,
        runner.component,
        prior_strengths=prior_strengths,
        training_mentions=training_mentions,
    )
    return replace(evaluation, seconds=runner.seconds)


def _watched(
    predictions: Iterable[tuple[Doc, Doc, Recognized | None]],
    watch: Callable[[Doc, Doc, Recognized | None], None],
) -> Iterator[tuple[Doc, Doc, Recognized | None]]:
    for prediction in predictions:
        watch(*prediction)
        yield prediction


def count_predictions(
    predictions: Iterable[tuple[Doc, Doc, Recognized | None]],
    references: Sequence[Doc],
    component: ClinicalNer | None,
    *,
    prior_strengths: Iterable[float] = (),
    training_mentions: Mapping[str, int] | None = None,
) -> Evaluation:
    """Count what pipelines made of annotated documents.

    Args:
        predictions: of every reference, as `Runner.run` yields them.
        references: gold.
        component: the recognizer, or one of those that have its labels and settings; None without
            probabilities.
        prior_strengths: see `evaluate_pipeline`.
        training_mentions: see `evaluate_pipeline`.

    Returns:
        Its ``seconds`` are 0.
    """
    recorder = None if component is None else Recorder(component)
    own = None if component is None else component.prior_strength
    further = [] if component is None else sorted({float(s) for s in prior_strengths} - {own})
    if component is not None and training_mentions is None:
        training_mentions = component.statistics.mentions
    decided: dict[float, list[Example]] = {strength: [] for strength in further}
    overlaps = component is not None and component.overlaps
    knows_mentions = has_all_mentions(references)
    mentions: list[dict[str, list[int]]] = []
    numbers: Counter[str] = Counter()

    def predict() -> Iterator[Example]:
        for reference, predicted, recognized in predictions:
            if recorder is not None and recognized is not None:
                recorder.take(reference, recognized)
                for strength, examples in decided.items():
                    examples.append(Example(recorder.decide(recognized, strength), reference))
            if knows_mentions:
                gold: Sequence[Span] = reference.ents
                found: Sequence[Span] = predicted.ents
                if overlaps and component is not None and recognized is not None:
                    gold = component.gold_spans(reference)
                    found = [Span(recognized.doc, *of) for of in recognized.decoded.spans]
                mentions.append(document_mentions(reference, gold, found))
            numbers.update(tokens=len(predicted), entities=len(predicted.ents))
            yield Example(predicted, reference)

    entities = count_entities(predict())
    of_mentions = None if recorder is None else recorder.mentions()
    if of_mentions is not None:
        # Not of the documents, whose tokens a later component may have merged.
        entities = replace(entities, mentions=of_mentions[0])
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
            strength: replace(
                counts,
                entities=count_entities(
                    examples, component.mentions if component and overlaps else None
                ),
                details=None,
            )
            for strength, examples in decided.items()
        },
        tokens=numbers["tokens"],
        entities=numbers["entities"],
        seconds=0.0,
        mentions=DocumentCounts.stack(mentions, kinds=ceiling.KINDS) if knows_mentions else None,
        beyond_flat=None if of_mentions is None else of_mentions[1],
    )
