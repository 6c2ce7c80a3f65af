"""BioC JSON: collections of documents, each of passages with annotations, through the bioc library.

Offsets of passages and annotations count over the whole document; what no passage covers is filled
with whitespace. PubMed Central writes arrays of collections, PubTator 3 an object around documents,
other tools a document a line: all are read.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ClinicalNerError, InputError, missing_extra
from ...files import corpus_files
from ..mentions import AnnotatedText, DocumentIds, Mention
from ..offsets import (
    UNITS,
    QuotedMention,
    Unit,
    agrees,
    check_unit,
    fits,
    in_code_points,
    settled,
    width,
)
from .json_records import read_records
from .json_shapes import is_name, is_unicode

if TYPE_CHECKING:
    from bioc import BioCAnnotation, BioCDocument, BioCPassage

SUFFIXES = (".json", ".jsonl")
#: The object in which PubTator 3 exports documents.
_PUBTATOR3 = "PubTator3"


@dataclass
class _Draft:
    """A document's text and annotations; offsets are as the file counts them."""

    text: str
    quoted: list[QuotedMention]
    skipped: Counter[str] = field(default_factory=Counter)


def is_bioc(record: Any) -> bool:
    """Whether what JSON gave is a BioC collection or document, or PubTator 3's object of them."""
    return isinstance(record, dict) and any(
        isinstance(record.get(key), list) for key in ("documents", "passages", _PUBTATOR3)
    )


def read_bioc_json(path: Path, *, offsets: Unit | None = None) -> Iterator[AnnotatedText]:
    """Read BioC JSON files. An annotation's label is its infon "type".

    Relations are counted, and so are annotations' other infons, under "infon".

    Args:
        path: a file, or a flat folder of files that end in .json or .jsonl.
        offsets: what offsets count. None: code points, unless the texts of a document's annotations
            show that it counts UTF-16 units or bytes.

    Raises:
        ClinicalNerError: naming the file and the line at which the collection starts, for what is
            not BioC, for passages that overlap, for an annotation without type or that does not fit
            the text, and for two documents of one id. Also if the library is not installed.
    """
    check_unit(offsets)
    _require_library()
    files = corpus_files(path, SUFFIXES)
    return _read(files, offsets)


def _require_library() -> None:
    try:
        import bioc  # noqa: F401
    except ImportError as error:
        raise missing_extra("BioC JSON", "bioc", "bioc") from error


def _read(files: Iterable[Path], unit: Unit | None) -> Iterator[AnnotatedText]:
    ids = DocumentIds()
    for file in files:
        for line, record in read_records(file):
            for document in _documents(record, file, line):
                ids.add(document.id, f"{file}, line {line}")
                draft, mentions = _draft(document, unit, file, line)
                yield AnnotatedText(
                    id=document.id,
                    text=draft.text,
                    mentions=mentions,
                    path=file,
                    skipped=dict(draft.skipped),
                )


def _documents(record: Any, path: Path, line: int) -> Iterator[BioCDocument]:
    from bioc import biocjson

    if not is_bioc(record):
        raise _fault(path, line, "neither a collection nor a document")
    found = record.get("documents", record.get(_PUBTATOR3, [record]))
    for number, item in enumerate(found, start=1):
        # The library takes what it finds, and stumbles over what is missing or of another type.
        try:
            document = biocjson.fromJSON(item, "BioCDocument")
        except KeyError as error:
            raise _fault(path, line, f"document {number} has an object without {error}") from None
        except (TypeError, AttributeError):
            raise _fault(path, line, f"document {number} has a value of another type") from None
        if not is_name(document.id):
            raise _fault(path, line, f"document {number} has no id")
        document.id = str(document.id)
        yield document


def _draft(
    document: BioCDocument, unit: Unit | None, path: Path, line: int
) -> tuple[_Draft, tuple[Mention, ...]]:
    """Put a document's text together and settle its mentions' offsets.

    The offsets of passages count in the same unit as those of annotations, so the text itself
    depends on the unit where passages leave gaps.
    """
    first_fault: ClinicalNerError | None = None
    for candidate in (unit,) if unit is not None else UNITS:
        draft = _assembled(document, candidate, path, line)
        if draft is None:
            fault = _fault(path, line, f"passages of document {document.id} overlap")
            first_fault = first_fault or fault
            continue
        quoted = _by_fragments(draft, candidate)
        try:
            mentions = settled(
                draft.text, quoted, candidate, path=path, line=line, document=document.id
            )
        except ClinicalNerError as error:
            first_fault = first_fault or error
            continue
        return draft, mentions
    assert first_fault is not None
    raise first_fault


def _by_fragments(draft: _Draft, unit: Unit) -> list[QuotedMention]:
    """Take quotes away that are of all from the first fragment to the last, and right.

    Some tools quote the fragments, others, as the library's own validator has it, the whole.
    """
    converted = in_code_points(draft.text, draft.quoted, unit)
    return [
        replace(given, quote=None)
        if agrees(draft.text, [(item.mention.start, item.mention.end)], item.quote or "")
        and fits(draft.text, item.mention.fragments)
        else given
        for given, item in zip(draft.quoted, converted, strict=True)
    ]


def _assembled(document: BioCDocument, unit: Unit, path: Path, line: int) -> _Draft | None:
    """Fill the gaps between passages; None if they overlap when counted in this unit."""
    skipped = Counter({"relation": len(document.relations)})
    pieces: list[tuple[int, str]] = []
    annotations: list[BioCAnnotation] = list(document.annotations)
    for passage in document.passages:
        skipped["relation"] += len(passage.relations)
        annotations += passage.annotations
        for sentence in passage.sentences:
            skipped["relation"] += len(sentence.relations)
            annotations += sentence.annotations
        pieces += _pieces(passage, document.id, path, line)
    text, position = "", 0
    for offset, piece in sorted(pieces, key=lambda item: item[0]):
        if offset < position:
            return None
        text += "\n".rjust(offset - position) if offset > position else ""
        text += piece
        position = offset + width(piece, unit)
    quoted = [
        _quoted(annotation, number, document.id, path, line)
        for number, annotation in enumerate(annotations, start=1)
    ]
    skipped["infon"] = sum(len(annotation.infons) - 1 for annotation in annotations)
    return _Draft(text, quoted, +skipped)


def _pieces(
    passage: BioCPassage, document: str, path: Path, line: int
) -> Iterator[tuple[int, str]]:
    """Give a passage's text, or, if it has none, those of its sentences, with their offsets."""
    # The library gives a passage without text an empty one.
    for part in [passage] if passage.text else passage.sentences:
        if not isinstance(part.text, str) or type(part.offset) is not int or part.offset < 0:
            raise _fault(path, line, f"a passage of document {document} has no text or no offset")
        if not is_unicode(part.text):
            problem = f"a passage of document {document} holds half of a UTF-16 pair"
            raise _fault(path, line, problem)
        # Empty ones cover nothing, wherever they stand.
        if part.text:
            yield part.offset, part.text


def _quoted(
    annotation: BioCAnnotation, number: int, document: str, path: Path, line: int
) -> QuotedMention:
    given = annotation.id
    id = str(given) if is_name(given) else f"T{number}"

    def fault(problem: str) -> ClinicalNerError:
        return InputError(
            f"{path}, line {line}: annotation {id} of document {document} {problem}. Fix or "
            "remove it."
        )

    infons = annotation.infons
    label = infons.get("type") if isinstance(infons, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise fault("has no type")
    if not is_unicode(label):
        raise fault("has a type with half of a UTF-16 pair")
    if not isinstance(annotation.text, str):
        raise fault("has no text")
    pairs = [(location.offset, location.length) for location in annotation.locations]
    if not pairs or any(type(value) is not int for pair in pairs for value in pair):
        raise fault("has no locations that are whole numbers")
    fragments = tuple((offset, offset + length) for offset, length in pairs)
    return QuotedMention(Mention(id, label, fragments), annotation.text)


def _fault(path: Path, line: int, problem: str) -> ClinicalNerError:
    return InputError(
        f"{path}, line {line}: not BioC ({problem}). Write the file as BioC's own tools do."
    )
