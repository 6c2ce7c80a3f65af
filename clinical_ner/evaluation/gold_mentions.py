"""All mentions of annotated documents, beside the entities that state them."""

from __future__ import annotations

from collections.abc import Iterable

from spacy.tokens import Doc

from ..data.flattening import joined, trimmed
from ..data.gold import get_gold, has_gold
from ..scoring.ceiling import Statement, count_mentions


def has_all_mentions(references: Iterable[Doc]) -> bool:
    """Whether all documents tell their mentions; otherwise nobody knows what entities leave out."""
    return all(has_gold(reference) for reference in references)


def document_mentions(reference: Doc, predicted: Doc) -> dict[str, list[int]]:
    """Count the mentions of a document that has them; see `count_mentions`.

    Args:
        reference: gold, with ``doc.spans["gold_all"]``.
        predicted: entities over the same text.

    Raises:
        ClinicalNerError: the attributes of the group of mentions do not fit it.
    """
    text = reference.text
    mentions = {_statement(text, gold.label, gold.fragments) for gold in get_gold(reference)}
    stated, found = (
        {_statement(text, ent.label_, [(ent.start_char, ent.end_char)]) for ent in doc.ents}
        for doc in (reference, predicted)
    )
    return count_mentions(mentions, stated, found)


def _statement(text: str, label: str, fragments: Iterable[tuple[int, int]]) -> Statement:
    """A mention, whatever whitespace stands at the edges of its fragments or alone parts them."""
    pieces = (trimmed(text, *piece) for piece in joined(text, list(fragments)))
    return label, tuple((start, end) for start, end in pieces if start < end)
