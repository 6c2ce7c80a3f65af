"""From probabilities of tokens to entities under a decision, with the probability of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from ..tags.problems import by_type
from ..types import EntityOffsets, LogProbs, TokenMask
from .decision import Decision, Decoded, decision_scores
from .document_lattice import DocumentLattice
from .lattice import (
    Lattice,
    best_sequences,
    best_sequences_of_problems,
    entities_of,
    entities_of_problems,
)

#: Most tokens that are decoded together, where a document is not alone. It bounds the memory of
#: their lattices (20 MB with 40 types, 45 MB where they may overlap); twice as many were hardly
#: faster.
MAX_TOKENS = 8192

#: From lattice probabilities of decoded spans to calibrated ones. *Shape of both:* ``(m,)``.
EntityStep: TypeAlias = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def decode(
    log_probs: LogProbs,
    tokens: TokenMask,
    labels: Sequence[str],
    decision: Decision,
    *,
    entity_step: EntityStep | None = None,
) -> Decoded:
    """Entities of one document and their probabilities; see ``decode_all``."""
    return next(decode_all([log_probs], [tokens], labels, decision, entity_step=entity_step))


def decode_all(
    log_probs: Sequence[LogProbs],
    tokens: Sequence[TokenMask],
    labels: Sequence[str],
    decision: Decision,
    *,
    entity_step: EntityStep | None = None,
    scored: bool = True,
) -> Iterator[Decoded]:
    """Entities of documents under a decision, and their probabilities.

    Args:
        log_probs: log p(tag | text) of each document, on the CPU; as in ``tags.problems`` where
            entities may overlap. *Shape of each:* ``(n, K)``.
        tokens: True for the tokens that carry a tag. *Shape of each:* ``(n,)``.
        labels: the entity types, in the order of their tags.
        decision: which entities are made.
        entity_step: calibrates the lattice's probabilities of the decoded spans; None keeps them.
        scored: whether ``log_probs`` are probabilities. If not, entities have no score, and
            thresholds do not apply.

    Yields:
        One after the other; those of the next ones are computed together.
    """
    for part in _parts(tokens, MAX_TOKENS):
        masks = tokens[part]
        tagged = [
            _tagged(rows, mask, decision) for rows, mask in zip(log_probs[part], masks, strict=True)
        ]
        found = _entities(
            [decision_scores(rows, decision) for rows in tagged], masks, labels, decision
        )
        if not scored:
            yield from (Decoded(entities, None) for entities in found)
            continue
        for entities, mask, lattices in zip(found, masks, _lattices(tagged, decision), strict=True):
            document = DocumentLattice(mask, lattices, labels)
            yield _scored(entities, document, decision, entity_step)


def decode_choices(
    log_probs: LogProbs,
    tokens: TokenMask,
    labels: Sequence[str],
    decision: Decision,
    strengths: Sequence[float],
) -> dict[EntityOffsets, int]:
    """All entities of a document that any of several prior strengths makes, without thresholds.

    Args:
        log_probs: see ``decode_all``.
        tokens: see ``decode_all``.
        labels: see ``decode_all``.
        decision: its prior strength and its thresholds are ignored.
        strengths: the prior strengths.

    Returns:
        For each entity, in the order of the text, the strengths that make it: bit i is set for the
        i-th one.
    """
    made: dict[EntityOffsets, int] = {}
    rows = _tagged(log_probs, tokens, decision)
    scores = [decision_scores(rows, decision.at(strength)) for strength in strengths]
    masks = [tokens] * len(strengths)
    for part in _parts(masks, MAX_TOKENS):
        for number, spans in enumerate(
            _entities(scores[part], masks[part], labels, decision), start=part.start
        ):
            for span in spans:
                made[span] = made.get(span, 0) | 1 << number
    return dict(sorted(made.items()))


def _tagged(log_probs: LogProbs, tokens: TokenMask, decision: Decision) -> LogProbs:
    """The rows of the tokens that carry a tag. *Shape:* ``(n, K)``, of problems ``(n, 3, M)``."""
    rows = log_probs[tokens]
    # That the types are last makes numpy's loops long.
    return by_type(rows).transpose(0, 2, 1) if decision.overlaps else rows


def _entities(
    scores: Sequence[LogProbs],
    masks: Sequence[TokenMask],
    labels: Sequence[str],
    decision: Decision,
) -> list[list[EntityOffsets]]:
    if decision.overlaps:
        found = zip(best_sequences_of_problems(scores), masks, strict=True)
        return [entities_of_problems(paths, labels, mask) for paths, mask in found]
    found = zip(best_sequences(scores, decision.transitions), masks, strict=True)
    return [entities_of(path, labels, mask) for path, mask in found]


def _lattices(tagged: Sequence[LogProbs], decision: Decision) -> list[list[Lattice]]:
    """The lattices of each document: one of all types, or one for each."""
    if decision.overlaps:
        return Lattice.of_all_problems(tagged)
    return [[lattice] for lattice in Lattice.of_all(tagged, decision.transitions)]


def _scored(
    entities: list[EntityOffsets],
    lattice: DocumentLattice,
    decision: Decision,
    entity_step: EntityStep | None,
) -> Decoded:
    """The entities that reach the threshold of their type, with their probabilities."""
    probabilities = np.array([lattice.probability(*entity) for entity in entities])
    if entity_step is not None:
        probabilities = entity_step(probabilities)
    kept = [
        (entity, probability)
        for entity, probability in zip(entities, probabilities.tolist(), strict=True)
        if probability >= decision.thresholds.get(entity[2], 0.0)
    ]
    return Decoded([entity for entity, _ in kept], [probability for _, probability in kept])


def _parts(masks: Sequence[TokenMask], max_tokens: int) -> Iterator[slice]:
    """Divide documents into runs of at most so many tokens, or of one document."""
    start = tokens = 0
    for index, mask in enumerate(masks):
        if index > start and tokens + len(mask) > max_tokens:
            yield slice(start, index)
            start, tokens = index, 0
        tokens += len(mask)
    if masks:
        yield slice(start, len(masks))
