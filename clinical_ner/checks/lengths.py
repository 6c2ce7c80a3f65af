"""Mentions of an unlikely form: empty, cut, too long, or of one sign."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from ..data.flattening import joined
from ..data.mentions import Mention
from .corpus import Part, all_mentions, count_words, cuts_word, mention_text
from .findings import Finding, Place, found, mention_place

MAX_WORDS = 15


def find_forms(parts: Sequence[Part], *, max_words: int = MAX_WORDS) -> list[Finding]:
    """Find mentions whose form is unlikely; most clinical entities have one to five words."""
    places: dict[str, list[Place]] = defaultdict(list)
    mentions = list(all_mentions(parts))
    for part, document, mention in mentions:
        for code, note in forms(document.text, mention, max_words=max_words):
            places[code].append(mention_place(part, document, mention, note))
    return found(places, of=len(mentions), details={"C043": f"over {max_words}"})


def forms(text: str, mention: Mention, *, max_words: int) -> Iterator[tuple[str, str]]:
    """Give the code (a key of KINDS) of all that is unlikely in a mention's form, and a note."""
    content = mention_text(text, mention)
    bare = content.strip()
    if not bare:
        yield "C040", ""
        return
    if any(text[start:end] != text[start:end].strip() for start, end in mention.fragments):
        yield "C041", ""
    if cuts_word(text, mention):
        yield "C042", ""
    length = count_words(content)
    if length > max_words:
        yield "C043", f"{length} words"
    if any("\n" in text[start:end].strip() for start, end in joined(text, mention.fragments)):
        yield "C044", ""
    if len(bare) == 1:
        yield "C045", ""
    if not any(char.isalnum() for char in bare):
        yield "C046", ""
    elif not any(char.isalpha() for char in bare):
        yield "C047", ""
