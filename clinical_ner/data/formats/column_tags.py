"""Tags of words, as column formats write them: the scheme they follow, and the chunks they mark.

IOB1: I-x inside a chunk, B-x only where a chunk follows another of its label. IOB2: B-x begins
every chunk. BIOES: IOB2 with E-x for the last word and S-x for a chunk of one. BILUO: likewise,
with L and U. Lenient: any of these, faults included; a chunk goes on with I, E or L of its label,
and ends with E, L, S and U, and before whatever does not go on with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

Scheme = Literal["IOB1", "IOB2", "BIOES", "BILUO", "lenient"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

OUTSIDE = ("O", "")
# A label may hold spaces, but not at its edges.
_TAG = re.compile(r"O|([BIESLU])-(\S(?:.*\S)?)")
_PREFIXES = {
    "IOB1": "BI",
    "IOB2": "BI",
    "BIOES": "BIES",
    "BILUO": "BILU",
    "lenient": "BIESLU",
}


class TagFaultError(Exception):
    """A sequence of tags that its scheme does not allow.

    Attributes:
        index: the place of the first tag that is at fault.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index


def parse_tag(tag: str, label: str | None = None) -> tuple[str, str] | None:
    """Separate a tag into prefix and label, which is empty for O; None if it is not a tag.

    Args:
        tag: as a file gives it.
        label: of tags without one, which are no tags if it is None.
    """
    matched = _TAG.fullmatch(tag)
    if matched is None:
        return (tag, label) if label is not None and is_bare(tag) else None
    return (matched[1], matched[2]) if matched[1] else OUTSIDE


def is_bare(tag: str) -> bool:
    """Whether it is the prefix of a tag alone."""
    return tag in tuple("BIESLU")


def detect_scheme(tags: Iterable[tuple[str, str] | None]) -> Scheme:
    """Give the scheme that the tags of a file follow, or the one whose rules show what is wrong.

    None among the tags is the end of a sentence.

    Only IOB1 begins a chunk with I, and only IOB1 has no other B than between two chunks of one
    label; tags with both are IOB2 with a fault. Without any entity the scheme is IOB2.
    """
    prefixes: set[str] = set()
    # Those that begin a chunk, or follow one of another label.
    first: set[str] = set()
    label = ""
    for prefix, new_label in (tag or OUTSIDE for tag in tags):
        prefixes.add(prefix)
        if new_label != label:
            first.add(prefix)
        label = new_label
    if prefixes & {"L", "U"}:
        return "BILUO"
    if prefixes & {"E", "S"}:
        return "BIOES"
    return "IOB1" if "I" in first and "B" not in first else "IOB2"


def lenient_scheme(scheme: Scheme, prefix: str) -> Scheme:
    """Give a scheme that takes a tag where another does not allow it."""
    # IOB1 has no order that B and I could break.
    return "IOB1" if scheme == "IOB2" and prefix in "BI" else "lenient"


def chunks(tags: Sequence[tuple[str, str]], scheme: Scheme) -> list[tuple[int, int, str]]:
    """Give the chunks that the tags of a sentence mark, as (first, last + 1, label).

    Args:
        tags: prefix and label of each word, as parse_tag gives them.
        scheme: of the tags.

    Raises:
        TagFaultError: a prefix that the scheme does not have, and for one that cannot follow.
    """
    closes = scheme in ("BIOES", "BILUO")
    found: list[tuple[int, int, str]] = []
    start, label = 0, ""
    for index, (prefix, new_label) in enumerate(tags):
        if prefix != "O" and prefix not in _PREFIXES[scheme]:
            raise TagFaultError(index, f"the prefix {prefix} does not belong to the scheme")
        goes_on = prefix in "IEL" and new_label == label
        if prefix in "IEL" and not goes_on and scheme not in ("IOB1", "lenient"):
            raise TagFaultError(index, f"{prefix} follows no word of its entity")
        if not goes_on:
            if label and closes:
                raise TagFaultError(index, "the entity before has no end")
            if label:
                found.append((start, index, label))
            start, label = index, new_label
        if prefix in "ELSU":
            found.append((start, index + 1, label))
            label = ""
    if label and closes:
        raise TagFaultError(len(tags) - 1, "the entity has no end")
    if label:
        found.append((start, len(tags), label))
    return found


def located(words: Iterable[str], text: str) -> list[tuple[int, int]]:
    """Give the offsets of words that follow each other in a text, with whitespace between.

    It ends before the first word that is not what follows.
    """
    found: list[tuple[int, int]] = []
    position = 0
    for word in words:
        start = text.find(word, position)
        if start < 0 or text[position:start].strip():
            break
        position = start + len(word)
        found.append((start, position))
    return found
