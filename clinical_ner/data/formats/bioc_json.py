"""BioC JSON: collections of documents, each of passages with annotations, through the bioc library.

Offsets of passages and annotations count over the whole document; what no passage covers is filled
with whitespace. PubMed Central writes arrays of collections, PubTator 3 an object around documents,
other tools a document a line: all are read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ClinicalNerError, missing_extra, shown
from ..mentions import AnnotatedText, Mention, Place
from ..offsets import (
    UNITS,
    Draft,
    QuotedMention,
    Unit,
    agrees,
    fits,
    in_code_points,
    is_unicode,
    settled,
    width,
)
from .json_records import read_records
from .json_shapes import is_name

if TYPE_CHECKING:
    from bioc import BioCAnnotation, BioCDocument, BioCPassage

#: The object in which PubTator 3 exports documents.
_PUBTATOR3 = "PubTator3"
#: Characters of all texts together, for each byte of the file, with what no passage covers.
FILLED = 16


def is_bioc(record: Any) -> bool:
    """Whether what JSON gave is a BioC collection or document, or PubTator 3's object of them."""
    return isinstance(record, dict) and any(
        isinstance(record.get(key), list) for key in ("documents", "passages", _PUBTATOR3)
    )


def read_bioc_json(
    path: Path, *, offsets: Unit | None = None
) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file. An annotation's label is its infon "type".

    Relations are counted, and so are annotations' other infons, under "infon". Places are the lines
    at which collections start.
    """
    for line, record in read_records(path):
        place = Place(path, line)
        if isinstance(record, ClinicalNerError):
            yield place, settled(Draft.faulty(f"{path.stem}-{line}", record), place)
            continue
        yield from annotated(_documents(record, place), offsets, place)


def annotated(
    documents: Iterable[BioCDocument | ClinicalNerError], unit: Unit | None, place: Place
) -> Iterator[tuple[Place, AnnotatedText]]:
    """Settle the documents of a collection; an error is in place of one that cannot be read."""
    # What no passage covers is filled, so that offsets at fault would fill the memory: no offset is
    # believed that the file could not hold, nor texts much longer than it together.
    size = place.path.stat().st_size
    left = FILLED * size
    for number, document in enumerate(documents, start=1):
        try:
            if isinstance(document, ClinicalNerError):
                raise document
            found = _annotated(document, unit, place, min(left, size))
            left -= len(found.text)
        except ClinicalNerError as error:
            id = f"{place.path.stem}-{place.line}-{number}"
            id = id if isinstance(document, ClinicalNerError) else document.id
            found = settled(Draft.faulty(id, error), place)
        yield place, found


def _documents(record: Any, place: Place) -> Iterator[BioCDocument | ClinicalNerError]:
    """Give the documents of a collection, for one that cannot be read what is wrong with it."""
    try:
        from bioc import biocjson
    except ImportError as error:
        raise missing_extra("BioC JSON", "bioc", "bioc") from error
    if not is_bioc(record):
        yield _fault(place, "neither a collection nor a document")
        return
    found = record.get("documents", record.get(_PUBTATOR3, [record]))
    for number, item in enumerate(found, start=1):
        # The library takes what it finds, and stumbles over what is missing or of another type.
        try:
            document = biocjson.fromJSON(item, "BioCDocument")
        except KeyError as error:
            yield _fault(place, f"document {number} has an object without {error}")
        except (TypeError, AttributeError):
            yield _fault(place, f"document {number} has a value of another type")
        else:
            if is_name(document.id):
                document.id = str(document.id)
                yield document
            else:
                yield _fault(place, f"document {number} has no id")


def _annotated(document: BioCDocument, unit: Unit | None, place: Place, most: int) -> AnnotatedText:
    """Put a document's text together and settle its mentions' offsets.

    The offsets of passages count in the same unit as those of annotations, so the text itself
    depends on the unit where passages leave gaps.
    """
    found: list[AnnotatedText] = []
    faults: list[ClinicalNerError] = []
    for candidate in UNITS if unit is None else (unit,):
        try:
            found.append(settled(_assembled(document, candidate, place, most), place, candidate))
        except ClinicalNerError as error:
            faults.append(error)
        else:
            if not found[-1].faults:
                break
    if not found:
        raise faults[0]
    return min(found, key=lambda text: len(text.faults))


def _assembled(document: BioCDocument, unit: Unit, place: Place, most: int) -> Draft:
    """Fill the gaps between passages."""
    draft = Draft(document.id, "")
    annotations: list[BioCAnnotation] = []
    pieces: list[tuple[int, str]] = []
    for part in _parts(document):
        draft.skipped["relation"] += len(part.relations)
        annotations += part.annotations
    for passage in document.passages:
        pieces += _pieces(passage, document.id, place)
    position, text = 0, []
    for offset, piece in sorted(pieces, key=lambda item: item[0]):
        if offset < position:
            raise _fault(place, f"passages of document {shown(document.id)} overlap")
        if offset > most:
            raise _fault(
                place,
                f"a passage of document {shown(document.id)} starts at {offset}, beyond what the "
                f"file holds, or the documents before it leave ({most} characters)",
            )
        text += ["\n".rjust(offset - position) if offset > position else "", piece]
        position = offset + width(piece, unit)
    draft.text = "".join(text)
    quoted = []
    for number, annotation in enumerate(annotations, start=1):
        try:
            quoted.append(_quoted(annotation, number, document.id, place))
        except ClinicalNerError as error:
            draft.faults.append(error)
    # Some tools quote the fragments, others, as the library's own validator has it, all from the
    # first to the last: such quotes are taken away where they are right.
    draft.mentions = [
        replace(given, quote=None)
        if agrees(draft.text, [(item.mention.start, item.mention.end)], item.quote or "")
        and fits(draft.text, item.mention.fragments)
        else given
        for given, item in zip(quoted, in_code_points(draft.text, quoted, unit), strict=True)
    ]
    draft.skipped["infon"] = sum(len(annotation.infons) - 1 for annotation in annotations)
    return draft


def _parts(document: BioCDocument) -> Iterator[Any]:
    """What has relations and annotations: the document, its passages and their sentences."""
    yield document
    for passage in document.passages:
        yield passage
        yield from passage.sentences


def _pieces(passage: BioCPassage, document: str, place: Place) -> Iterator[tuple[int, str]]:
    """Give a passage's text, or, if it has none, those of its sentences, with their offsets."""
    # The library gives a passage without text an empty one.
    for part in [passage] if passage.text else passage.sentences:
        if not isinstance(part.text, str) or type(part.offset) is not int or part.offset < 0:
            raise _fault(place, f"a passage of document {shown(document)} has no text or no offset")
        if not is_unicode(part.text):
            raise _fault(
                place, f"a passage of document {shown(document)} holds half of a UTF-16 pair"
            )
        # Empty ones cover nothing, wherever they stand.
        if part.text:
            yield part.offset, part.text


def _quoted(annotation: BioCAnnotation, number: int, document: str, place: Place) -> QuotedMention:
    given = annotation.id
    id = str(given) if is_name(given) else f"T{number}"
    infons = annotation.infons
    label = infons.get("type") if isinstance(infons, dict) else None
    if not isinstance(label, str) or not label.strip():
        raise place.mention_fault(id, document, "has no type")
    if not is_unicode(label):
        raise place.mention_fault(id, document, "has a type with half of a UTF-16 pair")
    if not isinstance(annotation.text, str):
        raise place.mention_fault(id, document, "has no text")
    pairs = [(location.offset, location.length) for location in annotation.locations]
    if not pairs or any(type(value) is not int for pair in pairs for value in pair):
        raise place.mention_fault(id, document, "has no locations that are whole numbers")
    fragments = tuple((offset, offset + length) for offset, length in pairs)
    return QuotedMention(Mention(id, label, fragments), annotation.text)


def _fault(place: Place, problem: str) -> ClinicalNerError:
    return place.fault(f"not BioC ({problem})", "Write the file as BioC's own tools do")
