"""Entities and their probabilities on a Doc: ``doc.ents``, ``doc.spans`` and ``span._``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from spacy.tokens import Doc, Span, SpanGroup

from ..decoding.decision import Decoded, flat_choice
from ..errors import ConfigError, InputError
from ..tags.encode import document_id
from ..types import EntityOffsets
from .entity_group import CharOffsets, EntityGroup, char_offsets

#: Key of a group's attributes that says what made it, and its value.
MADE_BY = "component"
FACTORY = "clinical_ner"
#: Key of a group's attributes: which component made it, and which of its spans it put into
#: ``doc.ents``.
OWNER = "owner"
IN_ENTS = "in_ents"


@dataclass(frozen=True)
class Annotator:
    """Writes the entities of one component to documents.

    Attributes:
        owner: tells the component from others of its factory, those of other pipelines too.
        name: the component's, the key of its group where ``spans_key`` is taken by another one.
        spans_key: key of ``doc.spans`` for its entities.
        attribute: name under which ``span._`` gives their probability.
        overwrite: whether the entities of others give way; if not, those of ours that overlap them
            stay out of ``doc.ents``. Entities that an earlier call made are replaced in any case.
        calibrated: what the group says of its scores: whether they are calibrated as entities.
    """

    owner: str
    name: str
    spans_key: str
    attribute: str
    overwrite: bool
    calibrated: bool

    def annotate(self, doc: Doc, decoded: Decoded) -> None:
        """Set ``doc.ents``, the group and the probabilities; blocked tokens stay blocked.

        Args:
            doc: the document.
            decoded: the entities, in the order of the text, and their probabilities. The group
                holds all of them; of those that overlap, ``doc.ents`` gets the longest.
        """
        earlier = self._forget(doc)
        others = [
            ent
            for ent in doc.ents
            if not self.overwrite and (ent.start_char, ent.end_char, ent.label_) not in earlier
        ]
        blocked = blocked_tokens(doc)
        taken = {*blocked, *(i for ent in others for i in range(ent.start, ent.end))}
        spans = [Span(doc, start, end, label=label) for start, end, label in decoded.spans]
        fits = [taken.isdisjoint(range(span.start, span.end)) for span in spans]
        if decoded.scores is not None:
            free = [i for i, in_ents in enumerate(fits) if in_ents]
            of_free = [decoded.spans[i] for i in free], [decoded.scores[i] for i in free]
            for i, chosen in zip(free, flat_choice(*of_free), strict=True):
                fits[i] = chosen
        ours = [span for span, in_ents in zip(spans, fits, strict=True) if in_ents]
        doc.set_ents(others + ours, blocked=[doc[i : i + 1] for i in blocked], default="outside")
        attributes: dict[str, Any] = {
            MADE_BY: FACTORY,
            OWNER: self.owner,
            IN_ENTS: fits,
            "calibrated": self.calibrated,
        }
        if decoded.scores is not None:
            attributes["scores"] = list(decoded.scores)
            user_data: dict[Any, Any] = doc.user_data
            for span, in_ents, score in zip(spans, fits, decoded.scores, strict=True):
                of_labels = user_data.setdefault(self._key(span.start_char, span.end_char), {})
                # What another component put into doc.ents is not ours to score.
                if in_ents or span.label_ not in of_labels:
                    of_labels[span.label_] = score
        key = self._free_key(doc)
        doc.spans[key] = EntityGroup(doc, name=key, attrs=attributes, spans=spans)

    def made(self, doc: Doc) -> Decoded:
        """The entities that the component put into ``doc.ents``, with their probabilities."""
        spans, scores = self.found(doc)
        kept = [i for i, in_ents in enumerate(self._group(doc).attrs[IN_ENTS]) if in_ents]
        return Decoded(
            [spans[i] for i in kept], None if scores is None else [scores[i] for i in kept]
        )

    def found(self, doc: Doc) -> Decoded:
        """All entities of the component's group, with their probabilities."""
        group = self._group(doc)
        spans: list[EntityOffsets] = [(of.start, of.end, of.label_) for of in group]
        return Decoded(spans, group.attrs.get("scores"))

    def _group(self, doc: Doc) -> SpanGroup:
        group = next((of for key, of in doc.spans.items() if self._owns(doc, key)), None)
        if group is None:
            raise InputError(
                f"Document {document_id(doc)} has no entities of component '{self.name}': run the "
                "pipeline on it first."
            )
        return group

    def _forget(self, doc: Doc) -> set[CharOffsets]:
        """Remove what an earlier call left, and return what it put into ``doc.ents``."""
        found: set[CharOffsets] = set()
        user_data: dict[Any, Any] = doc.user_data
        for key in [key for key in doc.spans if self._owns(doc, key)]:
            group = doc.spans.pop(key)
            offsets = char_offsets(group)
            fits = group.attrs.get(IN_ENTS, [True] * len(offsets))
            found.update(of for of, in_ents in zip(offsets, fits, strict=True) if in_ents)
            for start, end, label in offsets:
                of_labels = user_data.pop(self._key(start, end), {})
                if left := {name: of for name, of in of_labels.items() if name != label}:
                    user_data[self._key(start, end)] = left
        return found

    def _owns(self, doc: Doc, key: str) -> bool:
        attributes = doc.spans[key].attrs
        # Documents of versions before the owner was written have one group of one component.
        return attributes.get(MADE_BY) == FACTORY and (
            attributes[OWNER] == self.owner if OWNER in attributes else key == self.spans_key
        )

    def _free_key(self, doc: Doc) -> str:
        """The key of the group, or another one where another component's entities have it."""
        numbered = (f"{self.name}_{number}" for number in range(2, len(doc.spans) + 3))
        return next(
            key
            for key in (self.spans_key, self.name, *numbered)
            if key not in doc.spans or doc.spans[key].attrs.get(MADE_BY) != FACTORY
        )

    def _key(self, start_char: int, end_char: int) -> tuple[str, str, int, int]:
        """Where spaCy itself keeps an attribute of a span, so that it goes where those go."""
        return "._.", self.attribute, start_char, end_char


def blocked_tokens(doc: Doc) -> list[int]:
    """Tokens that no entity may hold, as ``doc.set_ents(blocked=...)`` marks them."""
    return [token.i for token in doc if token.ent_iob_ == "B" and not token.ent_type]


@dataclass(frozen=True)
class ProbabilityAttribute:
    """Getter and setter of ``span._.NAME``: the probability of the entity that a component made.

    Attributes:
        name: of the attribute.
    """

    name: str

    def get(self, span: Span) -> float | None:
        """The probability, None if no component found such an entity or its loss has none.

        Of components that share the attribute and found the same one, it is that of the component
        which put it into ``doc.ents``, or else of the first; each group has its own scores.
        """
        wanted = (span.start_char, span.end_char, span.label_)
        user_data: dict[Any, Any] = span.doc.user_data
        of_labels: dict[str, float] = user_data.get(("._.", self.name, *wanted[:2]), {})
        if wanted[2] in of_labels:
            return of_labels[wanted[2]]
        # A DocBin leaves user_data out as a rule, but not the groups. The last to put it into
        # doc.ents replaced those before it.
        in_group = in_ents = None
        for group in span.doc.spans.values():
            scores = group.attrs.get("scores", ())
            if group.attrs.get(MADE_BY) == FACTORY and len(scores) == len(group):
                offsets = char_offsets(group)
                if wanted in offsets:
                    at = offsets.index(wanted)
                    if group.attrs.get(IN_ENTS, [True] * len(offsets))[at]:
                        in_ents = float(scores[at])
                    elif in_group is None:
                        in_group = float(scores[at])
        return in_group if in_ents is None else in_ents

    def set(self, span: Span, value: dict[str, float]) -> None:
        """Keep probabilities by label, as ``Doc.from_json`` does with what ``to_json`` gave."""
        user_data: dict[Any, Any] = span.doc.user_data
        user_data["._.", self.name, span.start_char, span.end_char] = dict(value)

    def register(self, *, component: str) -> None:
        """Make ``span._.NAME`` this, if it is not that already.

        Args:
            component: its name, for the message of an error.

        Raises:
            ConfigError: the attribute is something else.
        """
        if not Span.has_extension(self.name):
            Span.set_extension(self.name, getter=self.get, setter=self.set)
        elif getattr(Span.get_extension(self.name)[2], "__self__", None) != self:
            raise ConfigError(
                f"The extension Span._.{self.name} is taken by something else: give component "
                f"'{component}' another probability_attribute."
            )
