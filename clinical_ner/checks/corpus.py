"""What the checks look at: the parts of a corpus, the words of a text, the pieces of a mention."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from ..data.flattening import joined, trimmed
from ..data.mentions import AnnotatedText, Mention

#: The part that is learned from, where there is one of this name.
TRAIN = "train"

# No tokenizer of spaCy: a corpus is checked before anyone has chosen one.
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Part:
    """Documents that belong together: a corpus, or train, dev or test of one.

    Attributes:
        unusable: documents that their own file calls rejected or unannotated; only their number is
            reported.
    """

    name: str
    documents: tuple[AnnotatedText, ...]
    unusable: tuple[AnnotatedText, ...] = ()


class Token(NamedTuple):
    """A word, or any other character that is not whitespace; casefolded, offsets in code points."""

    text: str
    start: int
    end: int


def learned(parts: Sequence[Part]) -> Sequence[Part]:
    """Give the parts that are learned from: the one named train, otherwise all."""
    return [part for part in parts if part.name == TRAIN] or parts


def all_documents(parts: Sequence[Part]) -> Iterator[tuple[Part, AnnotatedText]]:
    """Give every document with its part."""
    return ((part, document) for part in parts for document in part.documents)


def all_mentions(parts: Sequence[Part]) -> Iterator[tuple[Part, AnnotatedText, Mention]]:
    """Give every mention with its part and document."""
    return (
        (part, document, mention)
        for part, document in all_documents(parts)
        for mention in document.mentions
    )


def count_words(text: str) -> int:
    """Count the words of a text: the longest runs of letters, digits and underscores."""
    return sum(1 for _ in _WORD.finditer(text))


def words(text: str) -> list[str]:
    """Give the words of a text, casefolded."""
    return [match.group().casefold() for match in _WORD.finditer(text)]


def tokens(text: str) -> list[Token]:
    """Give the words of a text, and all other characters but whitespace, in their order."""
    return [Token(m.group().casefold(), m.start(), m.end()) for m in _TOKEN.finditer(text)]


def mention_text(text: str, mention: Mention) -> str:
    """Give the text of a mention, one space between its pieces."""
    return " ".join(text[start:end] for start, end in joined(text, mention.fragments))


def normalised(text: str) -> str:
    """Casefold a text, and make one space of every run of whitespace."""
    return " ".join(text.casefold().split())


def cuts_word(text: str, mention: Mention) -> bool:
    """Whether an edge of a mention, its whitespace left aside, has letters or digits on both sides.

    Edges of its inner gaps count too.
    """
    for piece in joined(text, mention.fragments):
        start, end = trimmed(text, *piece)
        for edge in (start, end) if start < end else ():
            if 0 < edge < len(text) and text[edge - 1].isalnum() and text[edge].isalnum():
                return True
    return False
