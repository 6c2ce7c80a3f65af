"""What every reader yields, whatever the format: a text and all of its mentions, nothing flattened.

Mentions may overlap, nest, repeat and lie in pieces; `conversion` turns them into entities.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ..errors import ClinicalNerError, InputError, shown

#: The code of a text whose record is at fault, so that it was not read, or not kept.
FAULTY = "faulty"
#: Why a text that was read must not be learned from: the codes of AnnotatedText.unusable.
UNUSABLE = {
    "rejected": "the annotator did not accept it",
    "ignored": "the annotator ignored it",
    "other_annotator": "not annotated by the annotator that was named",
    "unannotated": "nobody has annotated it",
    FAULTY: "its record is at fault",
}


class Place(NamedTuple):
    """Where something is in a corpus, for messages; lines count from 1."""

    path: Path
    line: int

    def __str__(self) -> str:
        """The place as messages name it."""
        return f"{self.path}, line {self.line}"

    def fault(self, problem: str, hint: str = "Fix or remove the record") -> ClinicalNerError:
        """An error about what is there."""
        return InputError(f"{self}: {problem}. {hint}.")

    def mention_fault(self, id: str, document: str, problem: str) -> ClinicalNerError:
        """An error about a mention there."""
        return self.fault(
            f"annotation {shown(id)} of document {shown(document)} {problem}", "Fix or remove it"
        )


@dataclass(frozen=True)
class Mention:
    """A labelled part of a text.

    Attributes:
        id: unique within the text; readers number the mentions of formats without ids T1, T2, ...
        fragments: (start, end) in code points over the text, at least one, in the file's order.
    """

    id: str
    label: str
    fragments: tuple[tuple[int, int], ...]

    @property
    def start(self) -> int:
        """Where the first fragment in the text starts."""
        return min(start for start, _ in self.fragments)

    @property
    def end(self) -> int:
        """Where the last fragment in the text ends."""
        return max(end for _, end in self.fragments)


@dataclass(frozen=True)
class AnnotatedText:
    """A text and its mentions.

    Attributes:
        id: the document's id, unique within the corpus.
        text: the text with its own line ends, without a byte order mark.
        mentions: in the file's order, offsets over `text` and within it.
        skipped: how many things of each other kind the annotation holds (relations, attributes,
            ...).
        unusable: a key of UNUSABLE if the file itself says that the annotation is none, or if it
            is at fault.
        sentences: where sentences start, in code points over `text`; empty if it is unknown.
        unknown: where it is unknown whether there is a mention, as (start, end) in code points.
        only_flat: whether the mentions are those that flat entities hold, of a .spacy document
            without others, or whose entities were changed since.
        faults: what is wrong with the annotations that are left out, each with its place; of a
            "faulty" text, what is wrong with its record.
    """

    id: str
    text: str
    mentions: tuple[Mention, ...]
    skipped: dict[str, int] = field(default_factory=dict)
    unusable: str | None = None
    sentences: tuple[int, ...] = ()
    faults: tuple[ClinicalNerError, ...] = ()
    unknown: tuple[tuple[int, int], ...] = ()
    only_flat: bool = False


class DocumentIds:
    """Ensures that no two documents of a corpus have one id, which reports could not tell apart.

    It holds ids only, so that a corpus of any size can be read one document at a time.
    """

    def __init__(self) -> None:
        self._places: dict[str, object] = {}

    def add(self, document: str, place: object) -> None:
        """Remember a document, whose place is as "notes.jsonl, line 3".

        Raises:
            ClinicalNerError: the id was added before; it names both places.
        """
        first = self._places.get(document)
        if first is not None:
            raise InputError(
                f"{place}: the document's id {shown(document)} is used at {first} already. Give "
                "every "
                "document its own id."
            )
        self._places[document] = place


def cannot_hold(path: Path, document: str, problem: str, hint: str) -> ClinicalNerError:
    """The error of a document that a file cannot hold; `hint` says what to do."""
    return InputError(f"{path}: cannot hold document {shown(document)}: {problem}. {hint}")


def checked(documents: Iterable[AnnotatedText], path: Path) -> Iterator[AnnotatedText]:
    """Give documents to a writer as they come, one being held at a time.

    Args:
        documents: What is to be written.
        path: The file or folder to write, for messages.

    Raises:
        InputError: Two documents have one id, so that no reader would take them back, or a text's
            annotation is unusable, which no format here can express.
    """
    seen: set[str] = set()
    for document in documents:
        if document.id in seen:
            raise cannot_hold(path, document.id, "another has its id", "Give it its own id.")
        if document.unusable is not None:
            raise cannot_hold(path, document.id, f"it is {document.unusable}", "Omit it.")
        seen.add(document.id)
        yield document
