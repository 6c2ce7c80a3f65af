"""Documents on their way from a reader to a writer, one at a time, counted and reported."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc

from ..errors import ClinicalNerError
from .conversion import (
    EMPTY_DOCUMENT,
    ConversionCounts,
    ConversionRow,
    dropped_row,
    kept_row,
    to_flat_doc,
)
from .drop_limit import DropLimit
from .flattening import FlatRules
from .label_map import LabelMap
from .mentions import AnnotatedText, Mention


class ConversionRefusedError(ClinicalNerError):
    """A conversion that came to its end, and whose result is not to be used.

    counts: what became of the mentions.
    """

    def __init__(self, message: str, counts: ConversionCounts) -> None:
        super().__init__(message)
        self.counts = counts


@dataclass
class Conversion:
    """Turns what readers give into what writers take.

    Nothing is held but counts: a document is read when a writer asks for it. When there is none
    left, ConversionRefusedError ends a conversion without use before its writer is done.

    source: what is read, for messages.
    report: is given a record for every document, then one for every mention of it; or None.
    advance: is called once a document.
    """

    source: Path
    label_map: LabelMap
    max_dropped: DropLimit | None
    report: Callable[[dict[str, Any]], None] | None
    advance: Callable[[], object]
    counts: ConversionCounts = field(default_factory=ConversionCounts)

    def docs(
        self, documents: Iterable[AnnotatedText], nlp: Language, rules: FlatRules, *, trains: bool
    ) -> Iterator[Doc]:
        """Give Docs with flat entities and all mentions.

        Documents of nothing but whitespace are left out.

        trains: the Docs are for training, which needs an entity.
        """
        for document, mentions in self._usable(documents):
            doc, rows = to_flat_doc(document.text, mentions, nlp, document=document.id, rules=rules)
            is_empty = not document.text.strip()
            self._account(
                document,
                rows,
                dropped=EMPTY_DOCUMENT if is_empty else None,
                tokens=len(doc),
                entities=len(doc.ents),
            )
            if not is_empty:
                yield doc
        total = self.counts.total
        if trains and total.kept + total.changed == 0:
            message = (
                f"{self.source}: without entities, none of its {total.read} mentions can be used. "
                "Annotate at least one; clinical-ner train needs them."
            )
            raise ConversionRefusedError(message, self.counts)
        self._check_limit()

    def texts(
        self, documents: Iterable[AnnotatedText], *, holds_fragments: bool
    ) -> Iterator[AnnotatedText]:
        """Give texts with their mentions as they are.

        holds_fragments: whether the output can say that a mention lies in several.
        """
        for document, mentions in self._usable(documents):
            held = [m for m in mentions if holds_fragments or len(m.fragments) == 1]
            rows = [
                kept_row(document.id, mention)
                if holds_fragments or len(mention.fragments) == 1
                else dropped_row(document.id, mention, "fragments")
                for mention in mentions
            ]
            self._account(document, rows, dropped=None, tokens=None, entities=len(held))
            yield replace(document, mentions=tuple(held))
        self._check_limit()

    def _usable(
        self, documents: Iterable[AnnotatedText]
    ) -> Iterator[tuple[AnnotatedText, tuple[Mention, ...]]]:
        """Give documents with their mentions under their new labels."""
        for document in documents:
            mentions = self.label_map.mapped(document.mentions)
            if document.unusable is None:
                yield document, mentions
                continue
            rows = [dropped_row(document.id, mention, document.unusable) for mention in mentions]
            self._account(document, rows, dropped=document.unusable, tokens=None, entities=0)

    def _account(
        self,
        document: AnnotatedText,
        mapped: Sequence[ConversionRow],
        *,
        dropped: str | None,
        tokens: int | None,
        entities: int,
    ) -> None:
        rows = self.label_map.rows(document.mentions, mapped, document=document.id)
        self.counts.documents[dropped or "kept"] += 1
        self.counts.other_lines.update(document.skipped)
        self.counts.add(rows)
        self.advance()
        if self.report is None:
            return
        self.report(
            {
                "kind": "document",
                "document": document.id,
                "action": "dropped" if dropped else "kept",
                "codes": [dropped] if dropped else [],
                "tokens": tokens,
                "mentions": len(document.mentions),
                "entities": entities,
                "other_lines": document.skipped,
            }
        )
        for row in rows:
            # Not asdict(), whose deep copies take longer than the tokenizer.
            self.report({"kind": "mention", **vars(row)})

    def _check_limit(self) -> None:
        limit = self.max_dropped
        if limit is not None and not limit.allows(self.counts):
            message = limit.message(self.counts, self.source)
            raise ConversionRefusedError(message, self.counts)
