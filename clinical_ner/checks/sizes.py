"""How much there is: documents, words and mentions of each part, and documents without any."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .corpus import Part, all_documents, count_words
from .findings import Finding, Place, document_place, found


@dataclass(frozen=True)
class PartCounts:
    """What a part holds; `labels` are different ones, `words` as corpus.count_words has them."""

    documents: int
    without_text: int
    without_mentions: int
    unusable: int
    characters: int
    words: int
    mentions: int
    labels: int


def count_part(part: Part) -> PartCounts:
    """Count what a part holds; documents without text are among those without mentions."""
    documents = part.documents
    return PartCounts(
        documents=len(documents),
        without_text=sum(not document.text.strip() for document in documents),
        without_mentions=sum(not document.mentions for document in documents),
        unusable=len(part.unusable),
        characters=sum(len(document.text) for document in documents),
        words=sum(count_words(document.text) for document in documents),
        mentions=sum(len(document.mentions) for document in documents),
        labels=len({mention.label for document in documents for mention in document.mentions}),
    )


def find_empty(parts: Sequence[Part]) -> list[Finding]:
    """Find parts and documents that have nothing to learn from."""
    documents: dict[str, list[Place]] = {"C002": [], "C003": []}
    for part, document in all_documents(parts):
        if not document.text.strip():
            documents["C002"].append(document_place(part, document))
        elif not document.mentions:
            documents["C003"].append(document_place(part, document))
    silent = [
        Place(part.name)
        for part in parts
        if not any(document.mentions for document in part.documents)
    ]
    unusable = [
        document_place(part, document, document.unusable or "")
        for part in parts
        for document in part.unusable
    ]
    return [
        *found({"C001": silent}, of=len(parts)),
        *found(documents, of=sum(len(part.documents) for part in parts)),
        *found({"C004": unusable}),
    ]
