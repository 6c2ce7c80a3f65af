"""From mentions, which may overlap or be in pieces, to the flat entities that spaCy's NER can hold.

Every mention read ends as exactly one row that says what became of it, in offsets and labels only;
all of them stay in the Doc beside the entities.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from spacy.language import Language
from spacy.tokens import Doc

from ..errors import InputError, shown
from .flattening import CHANGES, DROPS, Candidate, FlatRules, align, choose, choose_by_label
from .formats.docbin import DOCUMENT_ID, LANGUAGE
from .gold import set_gold
from .mentions import FAULTY, UNUSABLE, Mention

Action = Literal["kept", "changed", "dropped"]
Outcome = Literal["kept", "renamed", "merged", "moved", "dropped"]

EMPTY_DOCUMENT = "empty_document"
RELABELLED = "relabelled"
LABEL_DROPPED = "label_dropped"

# What codes mean: why a row was changed (several at a time) or dropped (one), and a document.
CHANGED = {RELABELLED: "the label map renames its label", **CHANGES}
DROPPED = {
    LABEL_DROPPED: "the label map drops its label",
    "rejected": "its document was not accepted",
    "ignored": "its document was ignored",
    "other_annotator": "by another annotator than the one named",
    "unannotated": "its document is not annotated",
    FAULTY: "its document is at fault",
    **DROPS,
}
DROPPED_DOCUMENTS = {EMPTY_DOCUMENT: "nothing but whitespace", **UNUSABLE}
#: Codes of mentions that nobody wanted kept: no gold is lost with them.
UNWANTED = (LABEL_DROPPED, *(code for code in UNUSABLE if code != FAULTY))
#: Codes of mentions that flat entities cannot hold, and a pipeline with ``overlaps`` can.
OVERLAPPING = ("conflict", "overlap")
_MERGES = {"joined", "discontinuous", "bridged"}


@dataclass(frozen=True)
class ConversionRow:
    """What became of one annotation; offsets are code points over the document's text.

    Attributes:
        label: the label read.
        start: the offsets read; of a discontinuous mention, those of the span around it.
        end: see `start`.
        codes: keys of CHANGED if changed, one key of DROPPED if dropped, empty if kept.
        new_start: the offsets of what is written, None if dropped.
        new_end: see `new_start`.
        new_label: what a label map makes of the label, None if it drops it.
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
    new_label: str | None

    @property
    def outcome(self) -> Outcome:
        """The column of the table under which the row counts.

        Of changed rows "merged": its fragments became one; otherwise "moved": so did its edges;
        otherwise "renamed".
        """
        if self.action != "changed":
            return self.action
        if _MERGES & set(self.codes):
            return "merged"
        return "renamed" if set(self.codes) == {RELABELLED} else "moved"


@dataclass
class OutcomeCounts:
    """How many mentions were read, and what became of them (see ConversionRow.outcome)."""

    kept: int = 0
    renamed: int = 0
    merged: int = 0
    moved: int = 0
    dropped: int = 0

    @property
    def changed(self) -> int:
        """Mentions that are written otherwise than they were read."""
        return self.renamed + self.merged + self.moved

    @property
    def read(self) -> int:
        """All mentions; each is kept, changed or dropped."""
        return self.kept + self.changed + self.dropped

    def add(self, outcome: Outcome) -> None:
        """Count a mention."""
        setattr(self, outcome, getattr(self, outcome) + 1)


@dataclass
class ConversionCounts:
    """The table of a conversion.

    Attributes:
        documents: documents under "kept" and under keys of DROPPED_DOCUMENTS.
        labels: counts per label read.
        new_labels: mentions that are written, per label written.
        reasons: mentions per key of CHANGED and DROPPED; a changed mention may have several.
        overlapping: mentions dropped for a code of OVERLAPPING, per label read.
        other_lines: what else the annotation holds (relations, attributes, ...), per kind.
        faults: annotations at fault that were left out, and one for each document "faulty".
    """

    documents: Counter[str] = field(default_factory=Counter)
    labels: dict[str, OutcomeCounts] = field(default_factory=dict)
    new_labels: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    overlapping: Counter[str] = field(default_factory=Counter)
    other_lines: Counter[str] = field(default_factory=Counter)
    faults: int = 0

    @property
    def total(self) -> OutcomeCounts:
        """The counts summed over labels."""
        table = self.labels.values()
        return OutcomeCounts(
            **{name: sum(getattr(counts, name) for counts in table) for name in get_args(Outcome)}
        )

    @property
    def wanted(self) -> int:
        """Mentions read, without those of UNWANTED, and what was at fault."""
        unwanted = sum(self.reasons[code] for code in UNWANTED)
        return self.total.read - unwanted + self.faults

    @property
    def lost(self) -> Counter[str]:
        """Why wanted mentions were dropped: mentions per code, and what was "faulty"."""
        lost = Counter({code: self.reasons[code] for code in DROPPED if code not in UNWANTED})
        lost[FAULTY] += self.faults
        return +lost

    def add(self, rows: Iterable[ConversionRow]) -> None:
        """Count the mentions of one document."""
        for row in rows:
            self.labels.setdefault(row.label, OutcomeCounts()).add(row.outcome)
            self.reasons.update(row.codes)
            if row.codes and row.codes[0] in OVERLAPPING:
                self.overlapping[row.label] += 1
            if row.action != "dropped" and row.new_label is not None:
                self.new_labels[row.new_label] += 1


def to_flat_doc(
    text: str,
    mentions: Sequence[Mention],
    nlp: Language,
    *,
    document: str,
    rules: FlatRules = FlatRules(),
    sentences: Sequence[int] = (),
    unknown: Sequence[tuple[int, int]] = (),
) -> tuple[Doc, list[ConversionRow]]:
    """Tokenize a text and choose which of its mentions become entities.

    Every mention is brought to one run of whole tokens, without whitespace at its edges; then, in
    the order that the rules prefer, it becomes an entity unless it shares a token with one before.

    Returns the Doc, with its entities set and all mentions in ``doc.spans["gold_all"]`` (see
    `gold.set_gold`), and one row per mention in the order given.

    Args:
        text: the document's text, without a byte order mark.
        mentions: offsets are code points over `text` and lie within it.
        nlp: the pipeline whose tokenizer is used; nothing else of it is.
        document: the document's id, for the rows and ``doc.user_data["clinical_ner.id"]``; the
            language is in ``doc.user_data["clinical_ner.lang"]``.
        rules: what becomes of overlaps, of several fragments, and of edges inside tokens.
        sentences: where sentences start, for ``token.is_sent_start``; empty if it is unknown. What
            is inside a token starts none.
        unknown: where it is unknown whether there is a mention; tokens there that no entity has
            are missing, not outside.

    Raises:
        ClinicalNerError: the tokenizer does not keep the text as it is, or if a mention cuts a
            token and the rules call that an error.
    """
    doc = nlp.tokenizer(text)
    if doc.text != text:
        raise InputError(
            f"The tokenizer of language '{nlp.lang}' alters the text of document "
            f"{shown(document)}, so "
            "that offsets no longer fit. Choose another with --lang, for instance xx."
        )
    doc.user_data[DOCUMENT_ID] = document
    doc.user_data[LANGUAGE] = nlp.lang
    if sentences:
        starts = set(sentences)
        for token in doc:
            token.is_sent_start = token.i == 0 or token.idx in starts
    aligned = [
        align(doc, text, mention, index, rules, document=document)
        for index, mention in enumerate(mentions)
    ]
    candidates = [item for item in aligned if isinstance(item, Candidate)]
    chosen, dropped = choose(candidates, rules)
    if dropped:
        # Those that a pipeline with overlaps would not learn either have that as their reason.
        repeated = choose_by_label(candidates)[1]
        dropped |= {index: code for index, code in repeated.items() if index in dropped}
    dropped |= {index: item for index, item in enumerate(aligned) if isinstance(item, str)}
    entities = [candidate.span for candidate in chosen.values()]
    taken = {token.i for entity in entities for token in entity}
    places = [doc.char_span(*place, alignment_mode="expand") for place in unknown]
    missing = {token.i for span in places if span is not None for token in span} - taken
    doc.set_ents(entities, missing=[doc[i : i + 1] for i in sorted(missing)], default="outside")
    set_gold(doc, mentions, rules)
    rows = [
        dropped_row(document, mention, dropped[index])
        if index in dropped
        else kept_row(document, mention, chosen[index])
        for index, mention in enumerate(mentions)
    ]
    return doc, rows


def kept_row(document: str, mention: Mention, chosen: Candidate | None = None) -> ConversionRow:
    """Record a mention that is written: as it was read, or as the entity that was chosen for it."""
    if chosen is None:
        return _row(document, mention, "kept", (), (mention.start, mention.end))
    written = chosen.span.start_char, chosen.span.end_char
    action: Action = "changed" if chosen.codes else "kept"
    return _row(document, mention, action, chosen.codes, written)


def dropped_row(document: str, mention: Mention, code: str) -> ConversionRow:
    """Record a mention that is not written; `code` is a key of DROPPED."""
    return _row(document, mention, "dropped", (code,), (None, None))


def _row(
    document: str,
    mention: Mention,
    action: Action,
    codes: tuple[str, ...],
    written: tuple[int | None, int | None],
) -> ConversionRow:
    read = mention.id, mention.label, mention.start, mention.end
    return ConversionRow(document, *read, action, codes, *written, mention.label)
