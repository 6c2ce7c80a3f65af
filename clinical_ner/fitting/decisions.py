"""Decisions of one recognizer on held-out documents: what each makes of the same probabilities."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example

from ..calibration.calibration import Calibration
from ..decoding.decode import decode
from ..evaluation.runner import bare, before_recognizer
from ..pipeline.recognizer import ClinicalNer
from ..scoring.entities import score_arrays
from ..scoring.spans import GoldSpans, label_scores, macro_f, micro_scores
from ..tags.encode import taggable
from ..types import EntityOffsets, LogProbs, Transitions
from .frequency import frequency_groups, merge_small_groups
from .promise import Promise, promise_thresholds
from .thresholds import Choice, LabelEntities, Objective, choose_thresholds

#: Score of the entities of other components, which every threshold keeps.
KEPT = 1.0


class Predicted(NamedTuple):
    """A document before the decision.

    Attributes:
        doc: its tokens as the recognizer gets them.
        log_probs: calibrated. *Shape:* ``(len(doc), K)``.
        gold: what its entities are held against.
        others: entities of earlier components that stay, none with ``overlaps``.
        calibration: that of `log_probs`, whose other steps are to come; None for none.
        information: what its transitions weigh; None for what the recognizer's do. *Shape:* ``(K,
            K)``.
    """

    doc: Doc
    log_probs: LogProbs
    gold: GoldSpans
    others: list[EntityOffsets]
    calibration: Calibration | None
    information: Transitions | None = None


@dataclass(frozen=True)
class SearchedDecision:
    """A prior strength, and thresholds for the entities that it gives.

    Attributes:
        entities: by label, those below their threshold included; of a component with ``overlaps``
            all spans that it finds.
        choices: where the thresholds come from.
        overlaps: whether the component has ``overlaps``.
        promises: what is promised for groups of labels, and what is refused.
    """

    prior_strength: float
    thresholds: Mapping[str, float]
    entities: Mapping[str, LabelEntities]
    choices: Mapping[str, Choice]
    overlaps: bool
    promises: Sequence[Promise] = ()

    @property
    def promised(self) -> int:
        """Number of labels in groups that something is promised for."""
        return sum(len(of.labels) for of in self.promises if of.threshold is not None)

    @property
    def prefix(self) -> str:
        """What names of its scores begin with."""
        return "spans" if self.overlaps else "ents"

    def totals(self) -> NDArray[np.float64]:
        """True positives, false positives and false negatives. *Shape:* ``(labels, 3)``."""
        rows = []
        for label, of in self.entities.items():
            kept = of.scores >= self.thresholds.get(label, 0.0)
            found = int((kept & of.right).sum())
            rows.append([found, int(kept.sum()) - found, of.support - found])
        return np.array(rows, dtype=np.float64)

    def scores(self) -> dict[str, float]:
        """Scores over all labels; gold has an entity, so all are defined.

        They are named "ents_...", or "spans_..." where they are of all spans.
        """
        totals = self.totals()
        precision, recall, f = (float(value) for value in micro_scores(totals))
        per_label = label_scores(tuple(self.entities), totals).values()
        return {
            "prior_strength": self.prior_strength,
            f"{self.prefix}_p": precision,
            f"{self.prefix}_r": recall,
            f"{self.prefix}_f": f,
            f"{self.prefix}_macro_r": float(
                np.mean([of["r"] for of in per_label if of["support"]])
            ),
            f"{self.prefix}_macro_f": float(macro_f(totals)[0]),
        }


def search_decisions(
    component: ClinicalNer,
    documents: Sequence[Predicted],
    prior_strengths: Sequence[float],
    *,
    objective: Objective,
    min_support: int,
    confidence: float | None = None,
) -> list[SearchedDecision]:
    """The thresholds of every prior strength.

    Args:
        component: its own decision does not matter.
        documents: what ``predict`` gave.
        prior_strengths: in [0, 1].
        objective: see ``choose_thresholds``.
        min_support: see ``choose_thresholds``; labels about as common in training share a
            threshold.
        confidence: that the precision of the objective is promised with, see ``promise``; None for
            no promise. Labels for which it is refused have the thresholds that they have without.
    """
    decisions = []
    mentions = _mentions(component)
    for strength in prior_strengths:
        entities = _entities(component, documents, strength)
        choices = choose_thresholds(
            {label: entities[label] for label in component.labels},
            _groups(component, entities, min_support=min_support),
            objective=objective,
            min_support=min_support,
        )
        promises: list[Promise] = []
        if confidence is not None and objective.min_precision is not None:
            promises = promise_thresholds(
                entities,
                frequency_groups(mentions),
                documents=len(documents),
                min_precision=objective.min_precision,
                risk=(1 - confidence) / len(prior_strengths),
            )
        for labels, threshold, *_ in promises:
            if threshold is not None:
                choices |= {label: Choice(threshold, "promised") for label in labels}
        # 0 keeps all, as no threshold does.
        chosen = {label: choice.threshold for label, choice in choices.items() if choice.threshold}
        decisions.append(
            SearchedDecision(strength, chosen, entities, choices, component.overlaps, promises)
        )
    return decisions


def own_decision(component: ClinicalNer, documents: Sequence[Predicted]) -> SearchedDecision:
    """The decision that a component has."""
    strength = component.prior_strength
    entities = _entities(component, documents, strength)
    thresholds = dict(component.decision.thresholds)
    return SearchedDecision(strength, thresholds, entities, {}, component.overlaps)


def predict(nlp: Language, name: str, references: Sequence[Doc]) -> Iterator[Predicted]:
    """Run a pipeline over the texts of gold documents, up to the recognizer's decision."""
    component = nlp.get_pipe(name)
    assert isinstance(component, ClinicalNer)
    docs = before_recognizer(nlp, name, references)
    for doc, reference in zip(docs, references, strict=True):
        (log_probs,) = component.predict([doc])
        kept = bare(doc)
        # Spans that may overlap stand beside them.
        ents = () if component.overwrite or component.overlaps else doc.ents
        yield Predicted(
            doc=kept,
            log_probs=component.model.ops.to_numpy(log_probs),
            gold=GoldSpans(Example(kept, reference), component.gold_spans(reference)),
            others=[(ent.start, ent.end, ent.label_) for ent in ents],
            calibration=component.calibration,
        )


def _entities(
    component: ClinicalNer, documents: Sequence[Predicted], prior_strength: float
) -> dict[str, LabelEntities]:
    """Entities under a prior strength and no threshold, by label.

    Returns:
        Of the component's labels and of those of gold and of other components, sorted.
    """
    found: dict[str, list[tuple[str, float, bool]]] = {label: [] for label in component.labels}
    places: defaultdict[str, list[int]] = defaultdict(list)
    support: Counter[str] = Counter()
    for number, document in enumerate(documents):
        tokens = taggable(document.doc)
        step, transitions = None, 0.0
        if document.calibration is not None:
            step, transitions = document.calibration.entities, document.calibration.transitions
        decided = component.decision_under(transitions, document.information).at(prior_strength)
        decoded = decode(
            document.log_probs,
            tokens,
            component.labels,
            decided,
            entity_step=None if step is None else step.apply,
        )
        # Of two that align with one gold entity the more probable finds it, so that dropping the
        # other changes nothing.
        spans, scores = decoded.most_probable_first()
        taken = {i for start, end, _ in document.others for i in range(start, end)}
        ours = [
            (span, score)
            for span, score in zip(spans, scores, strict=True)
            if taken.isdisjoint(range(span[0], span[1]))
        ]
        for judged in document.gold.judge_scored(
            [*document.others, *(span for span, _ in ours)],
            [KEPT] * len(document.others) + [score for _, score in ours],
        ):
            found.setdefault(judged[0], []).append(judged)
            places[judged[0]].append(number)
        support.update(document.gold.support)
    return {
        label: LabelEntities(
            *score_arrays(found.get(label, [])),
            support=support[label],
            documents=np.array(places[label], dtype=np.intp),
        )
        for label in sorted({*found, *support})
    }


def _mentions(component: ClinicalNer) -> dict[str, float]:
    """Training mentions by label: the tokens that begin one."""
    counts = component.statistics.counts[1::2].tolist()
    return dict(zip(component.labels, counts, strict=True))


def _groups(
    component: ClinicalNer, entities: Mapping[str, LabelEntities], *, min_support: int
) -> list[tuple[str, ...]]:
    """Labels about as common in training, enough of them together for a threshold."""
    labels = component.labels
    groups = merge_small_groups(
        frequency_groups(_mentions(component)),
        {label: len(entities[label].scores) for label in labels},
        min_support=min_support,
    )
    return groups or [labels]


def per_label(before: SearchedDecision, after: SearchedDecision) -> dict[str, dict[str, Any]]:
    """Scores of every label before and after, its threshold, and where that comes from.

    Args:
        before: of the same documents.
        after: see `before`.

    Returns:
        By label its ``threshold``, 0 where it has none; the ``source`` of it (see ``Choice``), None
        for a label that the component lacks; ``before`` and ``after`` as `spans.label_scores`.
    """
    old = label_scores(tuple(before.entities), before.totals())
    new = label_scores(tuple(after.entities), after.totals())
    return {
        label: {
            "threshold": after.thresholds.get(label, 0.0),
            "source": after.choices[label].source if label in after.choices else None,
            "before": old[label],
            "after": scores,
        }
        for label, scores in new.items()
    }
