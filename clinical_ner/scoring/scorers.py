"""The scores of an entity recognizer: plain numbers, and the scorer that spaCy calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example

from . import spans, tokens
from .counts import DocumentCounts


@dataclass(frozen=True)
class EntityCounts:
    """Everything that the scores are computed from, document by document.

    Attributes:
        spans: true positives, false positives and false negatives by label. *Shape of its counts:*
            ``(documents, labels, 3)``.
        tokens: tokens with the tag in gold, and those found, by tag. *Shape of its counts:*
            ``(documents, tags, 2)``.
    """

    spans: DocumentCounts
    tokens: DocumentCounts


def count_entities(examples: Iterable[Example]) -> EntityCounts:
    """Count entities and tokens of each document, reading `examples` once."""
    span_tables: list[dict[str, list[int]]] = []
    token_tables: list[dict[str, list[int]]] = []
    for example in examples:
        span_tables.append(spans.count_spans(example))
        token_tables.append(tokens.count_tokens(example))
    return EntityCounts(
        spans=DocumentCounts.stack(span_tables, kinds=spans.KINDS),
        tokens=DocumentCounts.stack(token_tables, kinds=tokens.KINDS),
    )


def entity_statistics(
    counts: EntityCounts, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Overall scores, of the documents as they are or of every resample of them.

    A resample that lacks a label, or a tag, averages over those that it has.

    Args:
        counts: of every document.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        By name, NaN where undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    span_totals = counts.spans.totals(weights)
    token_totals = counts.tokens.totals(weights)
    entity_tags = [i for i, tag in enumerate(counts.tokens.names) if tag != tokens.OUTSIDE]
    precision, recall, f = spans.micro_scores(span_totals)
    return {
        "ents_p": precision,
        "ents_r": recall,
        "ents_f": f,
        "ents_macro_f": spans.macro_f(span_totals)[0],
        "token_unweighted_accuracy": tokens.unweighted_accuracy(token_totals),
        "token_unweighted_accuracy_no_o": tokens.unweighted_accuracy(
            token_totals[..., entity_tags, :]
        ),
    }


def entity_scores(counts: EntityCounts) -> dict[str, Any]:
    """Scores as plain numbers, ready for JSON.

    Returns:
        What `entity_statistics` names, None where undefined; ``ents_macro_types``, the number of
        labels that the macro average is over; and ``ents_per_type``, see `spans.label_scores`, None
        if there is no entity, neither gold nor predicted.
    """
    totals = counts.spans.totals()
    scores: dict[str, Any] = {
        name: None if math.isnan(value) else float(value)
        for name, value in entity_statistics(counts).items()
    }
    scores["ents_macro_types"] = int(spans.macro_f(totals)[1])
    defined = bool(totals.sum())
    scores["ents_per_type"] = spans.label_scores(counts.spans.names, totals) if defined else None
    return scores


def score_entities(examples: Iterable[Example], **kwargs: Any) -> dict[str, Any]:
    """Score ``doc.ents`` of predictions against gold, in the form of a spaCy scorer.

    ``ents_p``, ``ents_r`` and ``ents_f`` are those of spaCy's own entity scorer.

    Args:
        examples: predictions and gold.
        kwargs: what spaCy hands to every scorer of a pipeline; entities need none of it.

    Returns:
        See `entity_scores`.
    """
    return entity_scores(count_entities(examples))


def make_entity_scorer() -> Callable[..., dict[str, Any]]:
    """Registered as ``clinical_ner.entity_scorer.v1``: gives `score_entities`."""
    return score_entities
