"""NER Annotator's JSON: one object of "classes" and "annotations", each a text and its entities."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...errors import ClinicalNerError
from ..mentions import Place
from ..offsets import Draft
from .json_shapes import read_flat_record


def is_project(record: Any) -> bool:
    """Whether a record is what NER Annotator exports."""
    return isinstance(record, dict) and all(
        isinstance(record.get(key), list) for key in ("classes", "annotations")
    )


def read_project(record: Mapping[str, Any], *, place: Place, default_id: str) -> list[Draft]:
    """Read the texts of a project, numbered as they are there.

    Texts that nobody went through are null there; they count as "null" of the first that is none.
    """
    drafts = [
        _draft(item, place, f"{default_id}-{number}")
        for number, item in enumerate(record["annotations"], start=1)
        if item is not None
    ]
    for first in drafts[:1]:
        first.skipped["null"] += len(record["annotations"]) - len(drafts)
    return drafts


def _draft(item: Any, place: Place, id: str) -> Draft:
    try:
        return read_flat_record(item, place=place, default_id=id)
    except ClinicalNerError as error:
        return Draft.faulty(id, error)
