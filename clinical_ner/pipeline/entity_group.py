"""The group of a component's entities in ``doc.spans``, which follows its text when tokens change.

A span group of spaCy holds token indices. When a later component merges or splits tokens (such as
``merge_entities``) they point to other tokens, or to none: then the group, and with it the whole
Doc, can be neither copied nor stored. The character offsets beside the indices stay right.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import TypeAlias

import srsly
from spacy.tokens import Doc, Span, SpanGroup

#: How spaCy packs a span of a group: id, kb_id, label, start, end, start_char, end_char.
_PACKED = ">QQQllll"
#: A span by its first character, one past its last, and its label.
CharOffsets: TypeAlias = tuple[int, int, str]


class EntityGroup(SpanGroup):
    """A span group whose spans are found again by their characters where tokens changed.

    A span whose edge lies inside a merged token is widened to the whole token.
    """

    def __getitem__(self, i: int) -> Span:
        """A span of the group."""
        try:
            span = super().__getitem__(i)
        except IndexError:
            if not -len(self) <= i < len(self):
                raise
        else:
            if span.start_char == span[0].idx and span.end_char == span[-1].idx + len(span[-1]):
                return span
        self._follow_text()
        return super().__getitem__(i)

    def __iter__(self) -> Iterator[Span]:
        """The spans, in order."""
        return (self[i] for i in range(len(self)))

    def to_bytes(self) -> bytes:
        """Serialize as ``SpanGroup`` does."""
        # Looked at, so that none has indices of former tokens.
        list(self)
        return super().to_bytes()

    def copy(self, doc: Doc | None = None) -> EntityGroup:
        """Copy as ``SpanGroup`` does."""
        plain = super().copy(doc)
        return EntityGroup(plain.doc, name=plain.name, attrs=plain.attrs, spans=list(plain))

    def _follow_text(self) -> None:
        """Set the token indices of all spans by their characters."""
        stored = srsly.msgpack_loads(super().to_bytes())
        doc = self.doc
        for i, packed in enumerate(stored["spans"]):
            *names, _, _, start_char, end_char = struct.unpack(_PACKED, packed)
            span = doc.char_span(start_char, end_char, alignment_mode="expand")
            assert span is not None
            offsets = span.start, span.end, span.start_char, span.end_char
            stored["spans"][i] = struct.pack(_PACKED, *names, *offsets)
        super().from_bytes(srsly.msgpack_dumps(stored))


def char_offsets(group: SpanGroup) -> list[CharOffsets]:
    """Where the spans of a group stand in the text, and their labels; tokens may have changed."""
    strings = group.doc.vocab.strings
    packed = srsly.msgpack_loads(group.to_bytes())["spans"]
    unpacked = (struct.unpack(_PACKED, span) for span in packed)
    return [
        (start_char, end_char, strings[label]) for _, _, label, *_, start_char, end_char in unpacked
    ]
