"""PubTator: a title and an abstract, each on a line, then a line of tabs for every mention.

    7|t|Chest pain
    7|a|after a fall.
    7	0	10	Chest pain	Disease	D002637

Offsets count over the title, one character for the line's end, and the abstract. A sixth column
names a concept, lines without offsets are relations: both are counted. A mention is one piece here,
and a text has no line breaks but the one after its title.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ...errors import ClinicalNerError
from ...files import read_lines
from ..mentions import AnnotatedText, Mention, Place
from ..offsets import Draft, QuotedMention, Unit, settled

_PART = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_OFFSET = re.compile(r"-?[0-9]{1,15}")
# BioRED has a fifth column, which says whether the relation is new.
_RELATION = re.compile(r"[^\W\d]")
_HINT = (
    "Write ID|t|TITLE, ID|a|ABSTRACT, then ID, START, END, TEXT and LABEL separated by tabs; an "
    "empty line ends a document"
)


def is_title(line: str) -> bool:
    """Whether a line is the first of a document."""
    part = _PART.fullmatch(line)
    return part is not None and part[2] == "t"


def follows(title: str, line: str) -> bool:
    """Whether a line is of the document that a title begins: its abstract, or an annotation."""
    id = title.partition("|")[0]
    return line.startswith((f"{id}|a|", f"{id}\t"))


def read_pubtator(
    path: Path, *, offsets: Unit | None = None
) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file, one document being held at a time; see `reading.read_texts`."""
    draft: Draft | None = None
    start = Place(path, 1)
    for number, line in read_lines(path):
        place, part = Place(path, number), _PART.fullmatch(line)
        is_start = part is not None and part[2] == "t"
        if draft is not None and (is_start or not line.strip()):
            yield start, settled(draft, start, offsets)
            draft = None
        if not line.strip():
            continue
        if part is not None and is_start:
            draft, start, takes_abstract = Draft(part[1].strip(), part[3]), place, True
            continue
        id = part[1] if part is not None else line.split("\t", 1)[0]
        if draft is None or id.strip() != draft.id:
            fault = place.fault("the line belongs to no document that has a title", _HINT)
            yield place, settled(Draft.faulty(f"{path.stem}-{number}", fault), place)
            continue
        if part is not None and takes_abstract:
            draft.text += f"\n{part[3]}" if part[3] else ""
        else:
            try:
                if part is not None:
                    raise place.fault("the abstract is not behind the title", _HINT)
                _add_annotation(draft, line.split("\t"), place)
            except ClinicalNerError as error:
                draft.faults.append(error)
        takes_abstract = False
    if draft is not None:
        yield start, settled(draft, start, offsets)


def _add_annotation(draft: Draft, fields: list[str], place: Place) -> None:
    if len(fields) >= 4 and _RELATION.match(fields[1]):
        draft.skipped["relation"] += 1
        return
    if len(fields) < 5:
        raise place.fault(f"a mention or a relation of {len(fields)} columns", _HINT)
    if not _OFFSET.fullmatch(fields[1]) or not _OFFSET.fullmatch(fields[2]):
        raise place.fault("offsets that are not whole numbers", _HINT)
    label = fields[4].strip()
    if not label:
        raise place.fault("a mention without label", _HINT)
    if len(fields) > 5 and fields[5].strip() not in ("", "-"):
        draft.skipped["concept"] += 1
    fragment = (int(fields[1]), int(fields[2]))
    mention = Mention(f"T{len(draft.mentions) + 1}", label, (fragment,))
    draft.mentions.append(QuotedMention(mention, fields[3], place.line))
