"""BioC XML, through the bioc library; what it holds is read as that of BioC JSON is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import ClinicalNerError, missing_extra
from ...files import read_lines
from ..mentions import AnnotatedText, Place
from ..offsets import Unit
from .bioc_json import annotated, read_bioc_json
from .json_shapes import is_name
from .unread import LINES, root

if TYPE_CHECKING:
    from bioc import BioCCollection


def read_bioc(path: Path, *, offsets: Unit | None = None) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file of BioC, XML or JSON; see `read_bioc_json`. Places in XML are its first line."""
    first = next((line for _, line in read_lines(path) if line.strip()), "")
    if not first.lstrip().startswith("<"):
        yield from read_bioc_json(path, offsets=offsets)
        return
    place = Place(path, 1)
    if root(line for _, line in islice(read_lines(path), LINES)) != "collection":
        raise _fault(place, "its first element is not a collection")
    documents = [
        document if is_name(document.id) else _fault(place, f"document {number} has no id")
        for number, document in enumerate(_collection(path).documents, start=1)
    ]
    yield from annotated(documents, offsets, place)


def _collection(path: Path) -> BioCCollection:
    try:
        from bioc import biocxml
        from lxml.etree import XMLSyntaxError
    except ImportError as error:
        raise missing_extra("BioC XML", "bioc", "bioc") from error
    # "from None": the parser's own errors may carry the note.
    try:
        with path.open("rb") as file:
            return biocxml.load(file)
    except XMLSyntaxError as error:
        raise _fault(Place(path, error.lineno or 1), "not well-formed XML") from None
    except KeyError as error:
        raise _fault(Place(path, 1), f"an element has no attribute {error}") from None
    except (TypeError, ValueError):
        raise _fault(Place(path, 1), "an offset or a length is not a whole number") from None


def _fault(place: Place, problem: str) -> ClinicalNerError:
    return place.fault(f"not BioC ({problem})", "Write the file as BioC's own tools do")
