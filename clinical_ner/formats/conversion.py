"""From mentions, which may overlap or be in pieces, to the flat entities that spaCy's NER can hold.

Every mention read ends as exactly one row that says what became of it, in offsets and labels only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spacy.language import Language
from spacy.tokens import Doc, Span

from ..errors import ClinicalNerError, Errors
from .brat import BratMention
from .docbin import DOCUMENT_ID

Action = Literal["kept", "changed", "dropped"]

# What a row's codes may be: why it was changed (several at a time) or dropped (one).
CHANGES = {
    "joined": "only whitespace parts its fragments",
    "discontinuous": "its longest fragment is kept",
    "trimmed": "whitespace at its edges is cut off",
    "expanded": "its edges are moved out to tokens'",
}
DROPS = {
    "empty": "nothing but whitespace",
    "duplicate": "same span, same label as an earlier",
    "conflict": "same span, other label than an earlier",
    "overlap": "overlaps a longer or an earlier",
}
EMPTY_DOCUMENT = "empty_document"


@dataclass(frozen=True)
class ConversionRow:
    """What became of one annotation; offsets are code points over the document's text.

    start, end: the offsets read; of a discontinuous mention, those of the span around it.
    codes: keys of CHANGES if changed, one key of DROPS if dropped, empty if kept.
    new_start, new_end: the entity's offsets, None if dropped.
    """

    document: str
    annotation: str
    label: str
    start: int
    end: int
    action: Action
    codes: tuple[str, ...]
    new_start: int | None
    new_end: int | None


@dataclass
class ActionCounts:
    """How many mentions were read, and what became of them."""

    kept: int = 0
    changed: int = 0
    dropped: int = 0

    @property
    def read(self) -> int:
        """All mentions; each is kept, changed or dropped."""
        return self.kept + self.changed + self.dropped

    def add(self, action: Action) -> None:
        """Count one mention."""
        setattr(self, action, getattr(self, action) + 1)


@dataclass
class ConversionCounts:
    """The table of a conversion.

    labels: counts per label read.
    reasons: mentions per code of CHANGES and DROPS; a changed mention may have several.
    other_lines: lines per kind that are no text-bound annotations.
    """

    documents: ActionCounts = field(default_factory=ActionCounts)
    labels: dict[str, ActionCounts] = field(default_factory=dict)
    reasons: Counter[str] = field(default_factory=Counter)
    other_lines: Counter[str] = field(default_factory=Counter)

    @property
    def total(self) -> ActionCounts:
        """The counts summed over labels."""
        total = ActionCounts()
        for counts in self.labels.values():
            total.kept += counts.kept
            total.changed += counts.changed
            total.dropped += counts.dropped
        return total

    def add(self, rows: Iterable[ConversionRow]) -> None:
        """Count the mentions of one document."""
        for row in rows:
            self.labels.setdefault(row.label, ActionCounts()).add(row.action)
            self.reasons.update(row.codes)


@dataclass(frozen=True)
class _Candidate:
    """A mention on its way to an entity: its place in the file, its tokens, its changes so far."""

    index: int
    span: Span
    codes: tuple[str, ...]


def to_flat_doc(
    text: str, mentions: Sequence[BratMention], nlp: Language, *, document: str
) -> tuple[Doc, list[ConversionRow]]:
    """Tokenize a text and choose which of its mentions become entities.

    A mention in several fragments gives its longest one; edges lose their whitespace and move out
    to token boundaries. Then, longest in tokens first, on ties the earlier start, then the order
    given, a mention is kept unless it shares a token with one kept before.

    text: the document's text, without a byte order mark.
    mentions: offsets are code points over `text` and lie within it.
    nlp: the pipeline whose tokenizer is used; nothing else of it is.
    document: the document's id, for the rows and ``doc.user_data["clinical_ner.id"]``.
    Returns the Doc with its entities set, and one row per mention in the order given.
    Raises ClinicalNerError if the tokenizer does not keep the text as it is.
    """
    doc = nlp.tokenizer(text)
    if doc.text != text:
        raise ClinicalNerError(Errors.E113.format(lang=nlp.lang, doc=document))
    doc.user_data[DOCUMENT_ID] = document
    candidates = []
    dropped: dict[int, str] = {}
    for index, mention in enumerate(mentions):
        candidate = _align(doc, text, mention, index)
        if candidate is None:
            dropped[index] = "empty"
        else:
            candidates.append(candidate)
    chosen: dict[int, _Candidate] = {}
    owners: dict[int, Span] = {}
    for candidate in sorted(candidates, key=_precedence):
        span = candidate.span
        rival = next((owners[i] for i in range(span.start, span.end) if i in owners), None)
        if rival is None:
            chosen[candidate.index] = candidate
            owners.update(dict.fromkeys(range(span.start, span.end), span))
        elif (rival.start, rival.end) != (span.start, span.end):
            dropped[candidate.index] = "overlap"
        else:
            dropped[candidate.index] = "duplicate" if rival.label == span.label else "conflict"
    doc.set_ents([candidate.span for candidate in chosen.values()], default="outside")
    rows = [
        _row(mention, document, chosen.get(index), dropped.get(index))
        for index, mention in enumerate(mentions)
    ]
    return doc, rows


def _align(doc: Doc, text: str, mention: BratMention, index: int) -> _Candidate | None:
    """Bring a mention to token boundaries; None if it is nothing but whitespace."""
    codes = []
    pieces = _joined(text, mention.fragments)
    start, end = max(pieces, key=lambda piece: _length(text, piece))
    if len(pieces) > 1:
        codes.append("discontinuous")
    elif len(mention.fragments) > 1:
        codes.append("joined")
    trimmed_start, trimmed_end = _trim(text, start, end)
    if trimmed_start == trimmed_end:
        return None
    if (trimmed_start, trimmed_end) != (start, end):
        codes.append("trimmed")
    # The edge characters are not whitespace, so neither are the tokens that hold them: an entity
    # with a whitespace edge would stop the training of spaCy's own ner (E024).
    span = doc.char_span(trimmed_start, trimmed_end, mention.label, alignment_mode="expand")
    assert span is not None
    if (span.start_char, span.end_char) != (trimmed_start, trimmed_end):
        codes.append("expanded")
    return _Candidate(index, span, tuple(codes))


def _joined(text: str, fragments: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Sort fragments, and join neighbours that have only whitespace between them.

    They are one mention in every sense: brat itself cuts a mention in two where the line ends.
    """
    ordered = sorted(fragments)
    pieces = [ordered[0]]
    for start, end in ordered[1:]:
        last_start, last_end = pieces[-1]
        if not text[last_end:start].strip():
            pieces[-1] = (last_start, max(last_end, end))
        else:
            pieces.append((start, end))
    return pieces


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    while start < end and text[start].isspace():
        start += 1
    while start < end and text[end - 1].isspace():
        end -= 1
    return start, end


def _length(text: str, piece: tuple[int, int]) -> int:
    start, end = _trim(text, *piece)
    return end - start


def _precedence(candidate: _Candidate) -> tuple[int, int, int]:
    span = candidate.span
    return span.start - span.end, span.start, candidate.index


def _row(
    mention: BratMention, document: str, chosen: _Candidate | None, dropped: str | None
) -> ConversionRow:
    action: Action
    codes: tuple[str, ...]
    new_start, new_end = None, None
    if chosen is None:
        assert dropped is not None
        action, codes = "dropped", (dropped,)
    else:
        action, codes = ("changed" if chosen.codes else "kept"), chosen.codes
        new_start, new_end = chosen.span.start_char, chosen.span.end_char
    return ConversionRow(
        document=document,
        annotation=mention.id,
        label=mention.label,
        start=mention.start,
        end=mention.end,
        action=action,
        codes=codes,
        new_start=new_start,
        new_end=new_end,
    )
