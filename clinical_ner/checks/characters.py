"""Characters that hint at a text damaged on its way: by a wrong encoding, a PDF, a web page."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence

from .corpus import Part, all_documents
from .findings import Finding, Place, found

_ORDINARY = " \t\n\r"
#: Codes of what Unicode calls control, format, private use, unassigned and surrogate.
_CATEGORIES = {"Cc": "C032", "Cf": "C033", "Co": "C034", "Cn": "C034", "Cs": "C034"}
_JOINERS = "\u200c\u200d"
#: What the bytes 0x80 to 0xBF, which continue a character in UTF-8, become in Latin-1 and in
#: Windows-1252, which leaves five of them undefined.
_CONTINUATION = "".join(map(chr, range(0x80, 0xC0))) + bytes(range(0x80, 0xC0)).decode(
    "cp1252", "ignore"
)
#: First bytes of the characters of two bytes, U+0080 to U+00FF and the Greek letters, and of those
#: of three bytes that clinical texts have: quotes, dashes, signs, ligatures, byte order marks.
#: Others are left out, since they stand before a closing quote in sound text. Whatever follows
#: these, they are sound UTF-8.
_MOJIBAKE = re.compile(f"[ÂÃÎÏ][{re.escape(_CONTINUATION)}]|[âï][{re.escape(_CONTINUATION)}]{{2}}")


def find_characters(parts: Sequence[Part]) -> list[Finding]:
    """Find suspicious characters in the texts; each has the place of its own."""
    places: dict[str, list[Place]] = defaultdict(list)
    for part, document in all_documents(parts):
        for code, start, end in suspicious(document.text):
            points = " ".join(f"U+{ord(char):04X}" for char in document.text[start:end])
            places[code].append(Place(part.name, document.id, start, end, note=points))
    details = {
        code: f"in {len({(place.part, place.document) for place in of_code})} documents"
        for code, of_code in places.items()
    }
    return found(places, details=details)


def suspicious(text: str) -> Iterator[tuple[str, int, int]]:
    """Give the code (a key of KINDS), start and end of each suspicious character of a text.

    What is mojibake is not reported again as the controls that are in it.
    """
    if text.isascii() and text.isprintable():
        return
    broken = {match.start(): match.end() for match in _MOJIBAKE.finditer(text)}
    skip_to = 0
    for index, char in enumerate(text):
        if index < skip_to:
            continue
        if index in broken:
            skip_to = broken[index]
            yield "C031", index, skip_to
        elif char in _JOINERS and _is_spelling(text, index):
            continue
        elif code := _code(char):
            yield code, index, index + 1


def _is_spelling(text: str, index: int) -> bool:
    """Whether a joiner is between characters outside ASCII, as in Persian, Hindi or emoji."""
    neighbours = text[max(index - 1, 0) : index] + text[index + 1 : index + 2]
    return len(neighbours) == 2 and all(not char.isascii() for char in neighbours)


def _code(char: str) -> str | None:
    if char in _ORDINARY or " " < char <= "~":
        return None
    if char == "\ufffd":
        return "C030"
    return _CATEGORIES.get(unicodedata.category(char)) or ("C035" if char.isspace() else None)
