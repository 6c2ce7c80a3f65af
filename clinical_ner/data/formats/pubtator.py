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
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from ...errors import ClinicalNerError, InputError
from ...files import corpus_files, read_lines
from ..mentions import AnnotatedText, DocumentIds, Mention
from ..offsets import QuotedMention, Unit, check_unit, settled

SUFFIXES = (".pubtator", ".txt")

_PART = re.compile(r"([^|\t]+)\|([ta])\|(.*)", re.DOTALL)
_OFFSET = re.compile(r"-?[0-9]{1,15}")
# BioRED has a fifth column, which says whether the relation is new.
_RELATION = re.compile(r"[^\W\d]")
_HINT = (
    "Write ID|t|TITLE, ID|a|ABSTRACT, then ID, START, END, TEXT and LABEL separated by tabs; an "
    "empty line ends a document."
)


@dataclass
class _Document:
    """A document while it is read; a line of it is a part's or a mention's."""

    id: str
    line: int
    title: str
    abstract: str | None = None
    quoted: list[QuotedMention] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    has_annotations: bool = False


def is_title(line: str) -> bool:
    """Whether a line is the first of a document."""
    part = _PART.fullmatch(line)
    return part is not None and part[2] == "t"


def read_pubtator(path: Path, *, offsets: Unit | None = None) -> Iterator[AnnotatedText]:
    """Read PubTator files, one document being held at a time.

    Args:
        path: a file, or a flat folder of files that end in .pubtator or .txt.
        offsets: what offsets count. None: code points, unless the texts of a document's mentions
            show that it counts UTF-16 units or bytes.

    Raises:
        ClinicalNerError: naming the file and the line, for a line that is none of the format's, or
            belongs to another document, for a mention that does not fit the text, and for two
            documents of one id.
    """
    check_unit(offsets)
    files = corpus_files(path, SUFFIXES)
    return _read(files, offsets)


def _read(files: Iterable[Path], offsets: Unit | None) -> Iterator[AnnotatedText]:
    ids = DocumentIds()
    for file in files:
        for document in _documents(file):
            ids.add(document.id, f"{file}, line {document.line}")
            text = document.title
            if document.abstract:
                text += "\n" + document.abstract
            mentions = settled(
                text,
                document.quoted,
                offsets,
                path=file,
                line=document.line,
                document=document.id,
            )
            yield AnnotatedText(
                id=document.id,
                text=text,
                mentions=mentions,
                path=file,
                skipped=dict(document.skipped),
            )


def _documents(path: Path) -> Iterator[_Document]:
    document: _Document | None = None
    for number, line in read_lines(path):
        if not line.strip():
            if document is not None:
                yield document
            document = None
            continue
        part = _PART.fullmatch(line)
        if part is not None and part[2] == "t":
            if document is not None:
                yield document
            document = _Document(part[1].strip(), number, part[3])
            continue
        id = part[1] if part is not None else line.split("\t", 1)[0]
        if document is None or id.strip() != document.id:
            raise _fault(path, number, "the line belongs to no document that has a title")
        if part is not None:
            if document.abstract is not None or document.has_annotations:
                raise _fault(path, number, "the abstract is not behind the title")
            document.abstract = part[3]
        else:
            document.has_annotations = True
            _add_annotation(document, line.split("\t"), path, number)
    if document is not None:
        yield document


def _add_annotation(document: _Document, fields: list[str], path: Path, number: int) -> None:
    if len(fields) >= 4 and _RELATION.match(fields[1]):
        document.skipped["relation"] += 1
        return
    if len(fields) < 5:
        raise _fault(path, number, f"a mention or a relation of {len(fields)} columns")
    if not _OFFSET.fullmatch(fields[1]) or not _OFFSET.fullmatch(fields[2]):
        raise _fault(path, number, "offsets that are not whole numbers")
    label = fields[4].strip()
    if not label:
        raise _fault(path, number, "a mention without label")
    if len(fields) > 5 and fields[5].strip() not in ("", "-"):
        document.skipped["concept"] += 1
    fragment = (int(fields[1]), int(fields[2]))
    mention = Mention(f"T{len(document.quoted) + 1}", label, (fragment,), number)
    document.quoted.append(QuotedMention(mention, fields[3]))


def _fault(path: Path, line: int, problem: str) -> ClinicalNerError:
    return InputError(f"{path}, line {line}: {problem}. {_HINT}")
