"""Tags of words, as column formats write them: the scheme they follow, and the chunks they mark.

IOB1: I-x inside a chunk, B-x only where a chunk follows another of its label. IOB2: B-x begins
every chunk. BIOES: IOB2 with E-x for the last word and S-x for a chunk of one. BILUO: likewise,
with L and U.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, get_args

Scheme = Literal["IOB1", "IOB2", "BIOES", "BILUO"]
SCHEMES: tuple[Scheme, ...] = get_args(Scheme)

OUTSIDE = ("O", "")
_TAG = re.compile(r"O|([BIESLU])-(\S.*)")
_PREFIXES = {"IOB1": "BI", "IOB2": "BI", "BIOES": "BIES", "BILUO": "BILU"}


class TagFaultError(Exception):
    """A sequence of tags that its scheme does not allow.

    Attributes:
        index: the place of the first tag that is at fault.
    """

    def __init__(self, index: int, problem: str) -> None:
        super().__init__(problem)
        self.index = index
        self.problem = problem


def parse_tag(tag: str) -> tuple[str, str] | None:
    """Separate a tag into prefix and label, which is empty for O; None if it is not a tag."""
    matched = _TAG.fullmatch(tag)
    if matched is None:
        return None
    return (matched[1], matched[2]) if matched[1] else OUTSIDE


class SchemeDetector:
    """Detects the scheme of a file from all its tags, given one by one."""

    def __init__(self) -> None:
        self._prefixes: set[str] = set()
        self._label = ""
        # Lines of the first chunk that I begins, and of the first B that IOB1 would not write.
        self._first_i: int | None = None
        self._first_b: int | None = None

    def add(self, prefix: str, label: str, line: int) -> None:
        """Take the next word's tag."""
        self._prefixes.add(prefix)
        if prefix == "I" and self._label != label and self._first_i is None:
            self._first_i = line
        if prefix == "B" and self._label != label and self._first_b is None:
            self._first_b = line
        self._label = label

    def end(self) -> None:
        """Say that a sentence ends: no chunk goes on."""
        self._label = ""

    def scheme(self) -> Scheme:
        """Give the scheme that the tags follow, or the one whose rules show what is wrong.

        Only IOB1 begins a chunk with I, and only IOB1 has no other B than between two chunks of one
        label; tags with both are IOB2 with a fault. Without any entity the scheme is IOB2.
        """
        if self._prefixes & {"L", "U"}:
            return "BILUO"
        if self._prefixes & {"E", "S"}:
            return "BIOES"
        if self._first_i is not None and self._first_b is None:
            return "IOB1"
        return "IOB2"


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
        goes_on = prefix in "IEL" and bool(label) and new_label == label
        if prefix in "EL" and not goes_on or (prefix == "I" and not goes_on and scheme != "IOB1"):
            raise TagFaultError(index, f"{prefix} follows no word of its entity")
        if goes_on and prefix == "I":
            continue
        if goes_on:
            found.append((start, index + 1, label))
            label = ""
            continue
        if label and closes:
            raise TagFaultError(index, "the entity before has no end")
        if label:
            found.append((start, index, label))
        label = ""
        if prefix in "SU":
            found.append((index, index + 1, new_label))
        elif prefix != "O":
            start, label = index, new_label
    if label and closes:
        raise TagFaultError(len(tags) - 1, "the entity has no end")
    if label:
        found.append((start, len(tags), label))
    return found
