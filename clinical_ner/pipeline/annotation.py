"""Entities and their probabilities on a Doc: ``doc.ents``, ``doc.spans`` and ``span._``."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from spacy.tokens import Doc, Span, SpanGroup

from ..decoding.decision import Decoded
from ..errors import ConfigError
from ..types import EntityOffsets

#: Key of a group's attributes that says who made it, and its value. The getter of ``span._`` finds
#: groups by it, so it needs no state that another process, or another pipeline, would lack.
MADE_BY = "component"
FACTORY = "clinical_ner"


def annotate(
    doc: Doc, decoded: Decoded, *, spans_key: str, overwrite: bool, calibrated: bool
) -> None:
    """Set ``doc.ents`` and ``doc.spans[spans_key]``, the latter without entities of others.

    Args:
        doc: the document.
        decoded: the entities and their probabilities.
        spans_key: key of ``doc.spans`` for our entities.
        overwrite: whether the entities of others give way; if not, those of ours that overlap them
            are left out. Entities that an earlier call made are replaced in any case.
        calibrated: what the group says of its scores: whether they are calibrated as entities.
    """
    ours = set(_offsets(doc, spans_key))
    others = [
        ent for ent in doc.ents if not overwrite and (ent.start, ent.end, ent.label_) not in ours
    ]
    taken = {i for ent in others for i in range(ent.start, ent.end)}
    kept = [
        index
        for index, (start, end, _) in enumerate(decoded.spans)
        if taken.isdisjoint(range(start, end))
    ]
    spans = [Span(doc, *decoded.spans[index][:2], label=decoded.spans[index][2]) for index in kept]
    doc.set_ents(others + spans)
    attributes = {MADE_BY: FACTORY, "calibrated": calibrated}
    if decoded.scores is not None:
        attributes["scores"] = [decoded.scores[index] for index in kept]
    doc.spans[spans_key] = SpanGroup(doc, name=spans_key, attrs=attributes, spans=spans)


def probability_of(span: Span) -> float | None:
    """The probability that a component gave to a span when it made it an entity.

    Returns:
        None if it made no such entity, or its loss has no posterior.
    """
    wanted = (span.start, span.end, span.label_)
    for group in span.doc.spans.values():
        if group.attrs.get(MADE_BY) != FACTORY or "scores" not in group.attrs:
            continue
        index = bisect_left(group, wanted[0], key=lambda entity: entity.start)
        if index < len(group) and _offset(group[index]) == wanted:
            return group.attrs["scores"][index]
    return None


def register_probability(attribute: str, *, name: str) -> None:
    """Make ``span._.ATTRIBUTE`` the probability of the entity, if it is not that already.

    Args:
        attribute: its name.
        name: the component's, for the message of an error.

    Raises:
        ClinicalNerError: the attribute is something else.
    """
    if not Span.has_extension(attribute):
        Span.set_extension(attribute, getter=probability_of)
    elif Span.get_extension(attribute)[2] is not probability_of:
        raise ConfigError(
            f"The extension Span._.{attribute} is taken by something else: give component "
            f"'{name}' another probability_attribute."
        )


def _offset(span: Span) -> EntityOffsets:
    return span.start, span.end, span.label_


def _offsets(doc: Doc, spans_key: str) -> Sequence[EntityOffsets]:
    """The entities that an earlier call made, where the group is still there."""
    group = doc.spans.get(spans_key)
    if group is None or group.attrs.get(MADE_BY) != FACTORY:
        return []
    return [_offset(span) for span in group]
