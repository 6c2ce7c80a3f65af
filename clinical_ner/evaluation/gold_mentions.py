"""All mentions of annotated documents, beside the entities that state them."""

from __future__ import annotations

from collections.abc import Iterable

from spacy.tokens import Doc, Span

from ..data.flattening import joined, trimmed
from ..data.gold import get_gold, has_gold
from ..scoring.ceiling import Statement, count_mentions


def has_all_mentions(references: Iterable[Doc]) -> bool:
    """Whether all documents tell their mentions; otherwise nobody knows what entities leave out."""
    return all(has_gold(reference) for reference in references)


def document_mentions(
    reference: Doc, gold: Iterable[Span], predicted: Iterable[Span]
) -> dict[str, list[int]]:
    """Count the mentions of a document that has them; see `count_mentions`.

    Args:
        reference: with ``doc.spans["gold_all"]``.
        gold: its entities, or its spans that may overlap.
        predicted: those of a document with the same text.

    Raises:
        ClinicalNerError: the attributes of the group of mentions do not fit it.
    """
    text = reference.text
    mentions = {_statement(text, of.label, of.fragments) for of in get_gold(reference)}
    stated, found = (
        {_statement(text, span.label_, [(span.start_char, span.end_char)]) for span in spans}
        for spans in (gold, predicted)
    )
    return count_mentions(mentions, stated, found)


def _statement(text: str, label: str, fragments: Iterable[tuple[int, int]]) -> Statement:
    """A mention, whatever whitespace stands at the edges of its fragments or alone parts them."""
    pieces = (trimmed(text, *piece) for piece in joined(text, list(fragments)))
    return label, tuple((start, end) for start, end in pieces if start < end)
