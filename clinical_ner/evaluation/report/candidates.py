"""The spans of one pass from which a page can decide again, and what gold says of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ...data.formats.docbin import DOCUMENT_ID
from ...decoding.decision import Decoded
from ...decoding.decode import decode_choices
from ...decoding.document_lattice import DocumentLattice
from ...pipeline.annotation import blocked_tokens
from ...pipeline.recognizer import ClinicalNer
from ...scoring.spans import GoldSpans
from ...scoring.tokens import count_confusions
from ...tags.encode import taggable
from ...types import EntityOffsets
from ..runner import Recognized, bare, recognizer_of, sets_entities_later

#: Prior strengths that can be chosen, beside the pipeline's own.
STRENGTHS = tuple(number / 20 for number in range(21))
#: A span in tokens, its probability, and the strengths that make it; see `Candidate`.
_Made: TypeAlias = tuple[EntityOffsets, float | None, int]
#: In place of the number of a gold span: none agrees.
WRONG = -1


@dataclass(frozen=True)
class GoldSpan:
    """A gold span; offsets are characters of the text.

    Attributes:
        start: first character and one past the last.
        end: see `start`.
        label: the entity type.
        probability: of the lattice, None where nothing gives one.
    """

    start: int
    end: int
    label: str
    probability: float | None


@dataclass(frozen=True)
class Candidate:
    """A span that some decision makes an entity; offsets are characters of the text.

    Attributes:
        start: first character and one past the last.
        end: see `start`.
        label: the entity type.
        probability: None where nothing gives one: then no threshold applies.
        made: the prior strengths that make it: bit i is set for the i-th one.
        gold: number of the gold span that it agrees with, `WRONG`, or None where it counts as
            neither right nor wrong; see `GoldSpans.in_gold`.
    """

    start: int
    end: int
    label: str
    probability: float | None
    made: int
    gold: int | None


@dataclass(frozen=True)
class Document:
    """A document with its gold spans, and all spans that some decision makes.

    Attributes:
        id: as the data have it, or its number.
        text: of the note.
        gold: in the order of the text.
        candidates: of those that agree with one gold span and are made, the first is right, and
            the others are wrong.
    """

    id: str
    text: str
    gold: list[GoldSpan]
    candidates: list[Candidate]

    def errors(
        self, own: int, thresholds: Mapping[str, float]
    ) -> tuple[list[Candidate], list[GoldSpan]]:
        """Wrong candidates and missed gold spans under a decision.

        Args:
            own: number of its prior strength.
            thresholds: by label.

        Returns:
            The candidates, and the gold spans.
        """
        missed = dict(enumerate(self.gold))
        wrong = []
        for of in self.made(own, thresholds):
            if of.gold is not None and missed.pop(of.gold, None) is None:
                wrong.append(of)
        return wrong, list(missed.values())

    def made(self, own: int, thresholds: Mapping[str, float]) -> Iterator[Candidate]:
        """The candidates that a decision makes entities; see `errors`."""
        for of in self.candidates:
            least = thresholds.get(of.label, 0.0)
            if of.made >> own & 1 and (of.probability is None or of.probability >= least):
                yield of


class Candidates:
    """Collects the documents of one pass: `take` is what ``evaluate_pipeline`` calls ``watch``.

    Attributes:
        component: the recognizer that is decided again, None where there is none.
        why_not: why there is none, None where there is.
        strengths: the prior strengths that can be chosen.
        own: number of the pipeline's own in `strengths`.
        thresholds: the pipeline's own, by label.
        documents: those taken.
        confusions: tokens by type in gold and predicted type; see `count_confusions`.
    """

    def __init__(self, nlp: Language) -> None:
        self.component: ClinicalNer | None = None
        self.why_not: str | None = None
        self.documents: list[Document] = []
        self.confusions: Counter[tuple[str, str]] = Counter()
        found = recognizer_of(nlp)
        if found is None:
            self.why_not = "no component, or not one alone, has a loss that leads to probabilities"
        # With overlaps, scores are of what the component found, whatever comes after it.
        elif not found[1].overlaps and (later := sets_entities_later(nlp, found[0])):
            self.why_not = f"component '{later}' sets doc.ents after '{found[0]}'"
        else:
            self.component = found[1]
        own = 1.0 if self.component is None else self.component.prior_strength
        self.strengths = sorted({*STRENGTHS, own}) if self.component else [own]
        self.own = self.strengths.index(own)
        self.thresholds = self.component.decision.thresholds if self.component else {}

    def take(self, reference: Doc, predicted: Doc, recognized: Recognized | None) -> None:
        """Take the next document; see `Runner.run`."""
        self.confusions.update(count_confusions(Example(predicted, reference)))
        if self.component is None or recognized is None:
            gold = GoldSpans(Example(predicted, reference))
            # A token may be another one after the component, a character not.
            scores = {} if recognized is None else _by_characters(recognized)
            spans: list[_Made] = [
                ((e.start, e.end, e.label_), scores.get((e.start_char, e.end_char, e.label_)), 1)
                for e in predicted.ents
            ]
            self._add(reference, predicted, gold, spans, {})
            return
        component, doc = self.component, bare(recognized.doc)
        tokens, log_probs, decision = taggable(doc), recognized.log_probs, component.decision
        made = decode_choices(log_probs, tokens, component.labels, decision, self.strengths)
        lattice = DocumentLattice.of(
            *(tokens, log_probs, component.labels, decision.overlaps, decision.transitions)
        )
        gold = GoldSpans(Example(doc, reference), component.gold_spans(reference))
        of_gold = {gold.in_gold(span): lattice.probability(*span) for span in gold.missed([])}
        probabilities = np.array([lattice.probability(*span) for span in made])
        if component.entity_step is not None:
            probabilities = component.entity_step(probabilities)
        scored = dict(zip(made, probabilities.tolist(), strict=True))
        if component.overlaps:
            # The more probable of two is to find a gold span.
            order = sorted(made, key=lambda span: -scored[span])
            spans = [(span, scored[span], made[span]) for span in order]
        else:
            spans = _in_ents(doc, component, scored, made, len(self.strengths))
        self._add(reference, doc, gold, spans, of_gold)

    def _add(
        self,
        reference: Doc,
        doc: Doc,
        gold: GoldSpans,
        spans: Iterable[_Made],
        of_gold: Mapping[EntityOffsets | None, float],
    ) -> None:
        """Add a document.

        Args:
            reference: gold.
            doc: the tokens of the spans.
            gold: its spans, held against these tokens.
            spans: what may be made, in the order in which gold spans are found.
            of_gold: probabilities of gold spans, in the tokens of gold.
        """
        numbers = {span: number for number, span in enumerate(sorted(gold.spans))}
        self.documents.append(
            Document(
                id=str(reference.user_data.get(DOCUMENT_ID, len(self.documents))),
                text=reference.text,
                gold=[
                    GoldSpan(*_characters(reference, span), of_gold.get(span)) for span in numbers
                ],
                candidates=[
                    Candidate(
                        *_characters(doc, span),
                        probability,
                        bits,
                        None if (key := gold.in_gold(span)) is None else numbers.get(key, WRONG),
                    )
                    for span, probability, bits in spans
                ],
            )
        )


def _in_ents(
    doc: Doc,
    component: ClinicalNer,
    scores: Mapping[EntityOffsets, float],
    made: Mapping[EntityOffsets, int],
    strengths: int,
) -> list[_Made]:
    """What the component puts, or leaves, in ``doc.ents`` under each strength, in its order.

    Args:
        doc: as the component got it; its entities are changed.
        component: without overlaps.
        scores: probabilities of all that it finds.
        made: by which strengths.
        strengths: their number.
    """
    if not doc.ents and not blocked_tokens(doc):
        return [(span, scores[span], bits) for span, bits in made.items()]
    theirs = [] if component.overwrite else doc.ents
    others = {(ent.start, ent.end, ent.label_) for ent in theirs}
    in_ents: dict[EntityOffsets, int] = {}
    for number in range(strengths):
        spans = [span for span, bits in made.items() if bits >> number & 1]
        component.annotator.annotate(doc, Decoded(spans, [scores[span] for span in spans]))
        for ent in doc.ents:
            span = (ent.start, ent.end, ent.label_)
            in_ents[span] = in_ents.get(span, 0) | 1 << number
    return [
        (span, None if span in others else scores[span], bits)
        for span, bits in sorted(in_ents.items())
    ]


def _by_characters(recognized: Recognized) -> dict[EntityOffsets, float]:
    """Probabilities of what a component found, by characters and label."""
    spans, scores = recognized.decoded
    keys = [_characters(recognized.doc, span) for span in spans]
    return dict(zip(keys, scores or [], strict=True))


def _characters(doc: Doc, span: EntityOffsets) -> EntityOffsets:
    start, end, label = span
    return doc[start].idx, doc[end - 1].idx + len(doc[end - 1]), label
