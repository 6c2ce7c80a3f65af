"""The scores of an entity recognizer: plain numbers, and the scorer that spaCy calls."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Span
from spacy.training import Example

from ..types import EntityOffsets
from . import spans, tokens
from .counts import DocumentCounts

#: All mentions of a document, which may overlap: those of gold, and those found, which
#: ``GoldSpans.match`` takes.
Mentions: TypeAlias = Callable[[Example], tuple[Sequence[Span], Sequence[EntityOffsets]]]


@dataclass(frozen=True)
class EntityCounts:
    """Everything that the scores are computed from, document by document.

    Attributes:
        spans: true positives, false positives and false negatives by label. *Shape of its counts:*
            ``(documents, labels, 3)``.
        tokens: tokens with the tag in gold, and those found, by tag. *Shape of its counts:*
            ``(documents, tags, 2)``.
        mentions: as `spans`, of all mentions that may overlap; None where they are not counted.
    """

    spans: DocumentCounts
    tokens: DocumentCounts
    mentions: DocumentCounts | None = None


def count_entities(examples: Iterable[Example], mentions: Mentions | None = None) -> EntityCounts:
    """Count entities and tokens of each document, reading `examples` once.

    Args:
        examples: predictions and gold.
        mentions: gives mentions that overlap, which are then counted too.
    """
    span_tables: list[dict[str, list[int]]] = []
    token_tables: list[dict[str, list[int]]] = []
    mention_tables: list[dict[str, list[int]]] = []
    for example in examples:
        span_tables.append(spans.count_spans(example))
        token_tables.append(tokens.count_tokens(example))
        if mentions is not None:
            gold, found = mentions(example)
            mention_tables.append(spans.GoldSpans(example, gold).count(found))
    return EntityCounts(
        spans=DocumentCounts.stack(span_tables, kinds=spans.KINDS),
        tokens=DocumentCounts.stack(token_tables, kinds=tokens.KINDS),
        mentions=None
        if mentions is None
        else DocumentCounts.stack(mention_tables, kinds=spans.KINDS),
    )


def entity_statistics(
    counts: EntityCounts, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Overall scores, of the documents as they are or of every resample of them.

    Those of entities begin with "ents_", and those of all mentions, if they were counted, with
    "spans_". A resample that lacks a label, or a tag, averages over those that it has.

    Args:
        counts: of every document.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        By name, NaN where undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    token_totals = counts.tokens.totals(weights)
    entity_tags = [i for i, tag in enumerate(counts.tokens.names) if tag != tokens.OUTSIDE]
    statistics = {
        **_span_statistics("ents", counts.spans.totals(weights)),
        "token_unweighted_accuracy": tokens.unweighted_accuracy(token_totals),
        "token_unweighted_accuracy_no_o": tokens.unweighted_accuracy(
            token_totals[..., entity_tags, :]
        ),
    }
    if counts.mentions is not None:
        statistics.update(_span_statistics("spans", counts.mentions.totals(weights)))
    return statistics


def _span_statistics(prefix: str, totals: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Micro-averaged scores and macro F1, from counts of *shape* ``(..., labels, 3)``."""
    precision, recall, f = spans.micro_scores(totals)
    return {
        f"{prefix}_p": precision,
        f"{prefix}_r": recall,
        f"{prefix}_f": f,
        f"{prefix}_macro_f": spans.macro_f(totals)[0],
    }


def entity_scores(counts: EntityCounts) -> dict[str, Any]:
    """Scores as plain numbers, ready for JSON.

    Returns:
        What `entity_statistics` names, None where undefined; ``ents_macro_types``, the number of
        labels that the macro average is over; and ``ents_per_type``, see `spans.label_scores`, None
        if there is no entity, neither gold nor predicted. If all mentions were counted,
        ``spans_macro_types`` and ``spans_per_type``, too.
    """
    scores: dict[str, Any] = {
        name: None if math.isnan(value) else float(value)
        for name, value in entity_statistics(counts).items()
    }
    for prefix, of in (("ents", counts.spans), ("spans", counts.mentions)):
        if of is None:
            continue
        totals = of.totals()
        scores[f"{prefix}_macro_types"] = int(spans.macro_f(totals)[1])
        defined = bool(totals.sum())
        scores[f"{prefix}_per_type"] = spans.label_scores(of.names, totals) if defined else None
    return scores


def score_entities(
    examples: Iterable[Example], *, mentions: Mentions | None = None, **kwargs: Any
) -> dict[str, Any]:
    """Score ``doc.ents`` of predictions against gold, in the form of a spaCy scorer.

    ``ents_p``, ``ents_r`` and ``ents_f`` are those of spaCy's own entity scorer. A component with
    ``overlaps`` has all its mentions scored too.

    Args:
        examples: predictions and gold.
        mentions: see `count_entities`.
        kwargs: what spaCy hands to every scorer of a pipeline; entities need none of it.

    Returns:
        See `entity_scores`.
    """
    return entity_scores(count_entities(examples, mentions))


def make_entity_scorer() -> Callable[..., dict[str, Any]]:
    """Registered as ``clinical_ner.entity_scorer.v1``: gives `score_entities`."""
    return score_entities
