"""Formats that are known by their content and not read: each with a way to one that is."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

_TSV3 = "Export the documents as WebAnno TSV 3"
_RECORDS = 'Write each document as a line {"text": ..., "entities": [[START, END, LABEL], ...]}'
_BRAT = "Convert it to brat or BioC"

#: How a file begins: its format, and what to do.
_HEADS: dict[bytes, tuple[str, str]] = {
    b"PAR1": ("Parquet", "Write the data set as JSON lines, with Dataset.to_json"),
    b"ARROW1": ("Arrow", "Write the data set as JSON lines, with Dataset.to_json"),
    b"PK\x03\x04": (
        "a zip archive (or a file of an office program)",
        "Unpack it, and name what is in it",
    ),
    b"\x1f\x8b": ("a gzip archive", "Unpack it, and name what is in it"),
    b"%PDF": ("PDF", "Export the annotations in another format"),
}
#: The first element of XML.
_ROOTS: dict[str, tuple[str, str]] = {
    "xmi:XMI": ("UIMA CAS XMI", _TSV3),
    "CAS": ("UIMA CAS XML", _TSV3),
    "GateDocument": ("GATE XML", _BRAT),
    "annotations": ("the XML of Knowtator or eHOST", _BRAT),
    "TEI": ("TEI", _BRAT),
    "deIdi2b2": ("the XML of i2b2", _BRAT),
    "PubmedArticleSet": ("PubMed XML, which has no annotations", _BRAT),
}
#: Keys of JSON, any of which is enough.
_KEYS: dict[str, tuple[str, str]] = {
    "%FEATURE_STRUCTURES": ("UIMA CAS JSON", _TSV3),
    "%TYPES": ("UIMA CAS JSON", _TSV3),
    "_referenced_fss": ("UIMA CAS JSON", _TSV3),
    "denotations": ("PubAnnotation's JSON", _RECORDS),
    "annotatable": ("tagtog's ann.json", _RECORDS),
    "annotations_and_examples": ("LightTag's JSON", _RECORDS),
    "rasa_nlu_data": ("Rasa's JSON", _RECORDS),
    "projectFileVersion": ("Azure's JSON", _RECORDS),
    "tokenized_text": ("GLiNER's JSON", _RECORDS),
    "responses": ("Argilla's JSON", _RECORDS),
    "extras": ("DataTurks' JSON, whose ends count the last character in", _RECORDS),
}
#: Lines from which a format is detected; enough for a few comments and a sentence.
LINES = 40
_ROOT = re.compile(r"<([A-Za-z_][\w.:-]*)")
_CSV_HEADERS = {"word", "token", "tag", "text", "label", "entities", "sentence #"}


def known_head(head: bytes) -> tuple[str, str] | None:
    """Tell by a file's first bytes which format it is and what to do; None for another."""
    return next((known for start, known in _HEADS.items() if head.startswith(start)), None)


def root(lines: Iterable[str]) -> str | None:
    """Give the first element of XML, None if there is none in these lines."""
    text = "\n".join(lines)
    matched = _ROOT.search(text) if text.lstrip().startswith("<") else None
    return matched[1] if matched else None


def known_columns(lines: list[str]) -> tuple[str, str] | None:
    """Tell likewise of columns with a tag in the last whose words are not in the first."""
    is_old_webanno = any(line.startswith("#id=") for line in lines)
    return ("WebAnno TSV 1 or 2", _TSV3) if is_old_webanno else None


def known_text(lines: list[str]) -> tuple[str, str] | None:
    """Tell by a file's first lines which format it is and what to do; None for another."""
    element = root(lines)
    if element is not None:
        return _ROOTS.get(element, ("XML, and not BioC", _BRAT))
    first, *others = [line for line in lines if line.strip()]
    fields = {field.strip().strip('"').lower() for field in first.split(",")}
    if len(fields) > 1 and fields & _CSV_HEADERS:
        return (
            "CSV",
            "Write words and tags in columns separated by tabs, an empty line between sentences; "
            f"or w{_RECORDS[1:]}",
        )
    rows = [line.split("\t") for line in (first, *others) if not line.startswith("#")]
    if len(rows) > 1 and len(rows[0]) > 2 and {len(row) for row in rows} == {len(rows[0])}:
        return (
            "columns without a tag in the last",
            "Name the column of the tags, with --format conll --label-column N",
        )
    return None


def known_record(record: Any) -> tuple[str, str] | None:
    """Tell by the first record of JSON which format it is and what to do; None for another."""
    keys = record if isinstance(record, dict) else ()
    return next((known for key, known in _KEYS.items() if key in keys), None)
