"""From mentions, which may overlap or be in pieces, to the flat entities that spaCy's NER can hold.

Every mention read ends as exactly one row that says what became of it, in offsets and labels only;
all of them stay in the Doc beside the entities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from spacy.language import Language
from spacy.tokens import Doc

from ..errors import ClinicalNerError, Errors
from .docbin import DOCUMENT_ID
from .flattening import Candidate, FlatRules, align, choose
from .gold import set_gold
from .mentions import Mention

Action = Literal["kept", "changed", "dropped"]

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


def to_flat_doc(
    text: str,
    mentions: Sequence[Mention],
    nlp: Language,
    *,
    document: str,
    rules: FlatRules = FlatRules(),
) -> tuple[Doc, list[ConversionRow]]:
    """Tokenize a text and choose which of its mentions become entities.

    Every mention is brought to one run of whole tokens, without whitespace at its edges; then, in
    the order that the rules prefer, it becomes an entity unless it shares a token with one before.

    text: the document's text, without a byte order mark.
    mentions: offsets are code points over `text` and lie within it.
    nlp: the pipeline whose tokenizer is used; nothing else of it is.
    document: the document's id, for the rows and ``doc.user_data["clinical_ner.id"]``.
    rules: what becomes of overlaps, of several fragments, and of edges inside tokens.
    Returns the Doc, with its entities set and all mentions in ``doc.spans["gold_all"]`` (see
    `gold.set_gold`), and one row per mention in the order given.
    Raises ClinicalNerError if the tokenizer does not keep the text as it is, or if a mention cuts a
    token and the rules call that an error.
    """
    doc = nlp.tokenizer(text)
    if doc.text != text:
        raise ClinicalNerError(Errors.E113.format(lang=nlp.lang, doc=document))
    doc.user_data[DOCUMENT_ID] = document
    aligned = [
        align(doc, text, mention, index, rules, document=document)
        for index, mention in enumerate(mentions)
    ]
    chosen, dropped = choose((item for item in aligned if isinstance(item, Candidate)), rules)
    dropped |= {index: item for index, item in enumerate(aligned) if isinstance(item, str)}
    doc.set_ents([candidate.span for candidate in chosen.values()], default="outside")
    set_gold(doc, mentions)
    rows = [
        _row(mention, document, chosen.get(index), dropped.get(index))
        for index, mention in enumerate(mentions)
    ]
    return doc, rows


def _row(
    mention: Mention, document: str, chosen: Candidate | None, dropped: str | None
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
