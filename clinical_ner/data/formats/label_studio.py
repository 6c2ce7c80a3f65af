"""Label Studio's JSON export: tasks of "data" and "annotations", each with a list of results.

Label Studio counts UTF-16 units, as JavaScript does, and writes a line break inside a quoted
mention as a backslash and an n (its issues 1347 and 4929). Offsets in HTML (HyperText) count over
the page as it is shown, which the export does not hold. Where quotes say that offsets count
something else, as those do that Python wrote into it, they are believed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import ClinicalNerError, shown
from ..mentions import Place
from ..offsets import Draft
from .json_shapes import (
    BROWSER_UNITS,
    add_mentions,
    annotator_name,
    document_id,
    is_name,
    keys,
    kind,
    note_text,
    objects,
)

#: The second is what Label Studio wrote before version 1.0.
_ANNOTATIONS = ("annotations", "completions")
_LABELS = ("labels", "hypertextlabels")


def is_task(record: Any) -> bool:
    """Whether a record is a Label Studio task."""
    return (
        isinstance(record, dict)
        and isinstance(record.get("data"), dict)
        and any(key in record for key in _ANNOTATIONS)
    )


def read_task(record: Mapping[str, Any], *, place: Place, default_id: str) -> list[Draft]:
    """Read a task: its text with the mentions of each of its annotations that was not cancelled.

    A task without any is unusable. Results of other kinds (choices, relations, ...) are counted
    under their type.

    Args:
        record: what JSON gave, for which is_task holds.
        place: file and line, for messages.
        default_id: the id of a document without one.

    Raises:
        ClinicalNerError: a task without text, and a mention without label or offsets, in HTML, or
            over another text than the rest.
    """
    # What was imported with a task; its own id is the number that Label Studio gave it.
    meta = record.get("meta")
    named = meta if isinstance(meta, dict) and meta.get("id") is not None else record
    id = document_id({"id": named.get("id")}, default_id, place)
    key = next(key for key in _ANNOTATIONS if key in record)
    annotations = objects(record[key], f"{key} are", place)
    finished = [item for item in annotations if not item.get("was_cancelled")]
    drafts = []
    for annotation in finished or [{"result": []}]:
        controls = _controls(annotation, place)
        text_key = _text_key(record["data"], controls, place)
        text = note_text(record["data"][text_key], place)
        draft = Draft(id, text, units=BROWSER_UNITS)
        draft.unusable = None if finished else "unannotated"
        draft.annotator = annotator_name(annotation.get("completed_by"))
        draft.is_true = annotation.get("ground_truth") is True
        control = text_key if text_key in controls else next(iter(controls), None)
        for result in objects(annotation.get("result"), "a result is", place):
            if (kind_of_result := str(result.get("type"))) not in _LABELS:
                draft.skipped[kind_of_result] += 1
                continue
            # Not a fault of the result: the text of the whole task is none.
            _check_plain(result, draft, place)
            try:
                _add_result(draft, result, control, place)
            except ClinicalNerError as error:
                draft.faults.append(error)
        drafts.append(draft)
    return drafts


def _controls(annotation: Mapping[str, Any], place: Place) -> dict[str, None]:
    """The names of what an annotation's labels are over, in the order of their first results."""
    return {
        str(result["to_name"]): None
        for result in objects(annotation.get("result", []), "a result is", place)
        if result.get("type") in _LABELS and result.get("to_name")
    }


def _text_key(data: Mapping[str, Any], controls: Iterable[str], place: Place) -> str:
    """Give the key of a task's text: what its labels are over, "text", or the only string there.

    Which key a control shows is in the project's settings, which are not exported; as a rule they
    have one name.
    """
    named = [name for name in controls if isinstance(data.get(name), str)]
    if len(named) == 1:
        return named[0]
    if "text" in data:
        return "text"
    strings = [key for key, value in data.items() if isinstance(value, str)]
    if len(strings) != 1 and not named:
        raise place.fault(
            f"data has {len(strings)} strings and none is 'text' ({keys(data)})",
            "Name the one that was annotated 'text'",
        )
    return named[0] if named else strings[0]


def _check_plain(result: Mapping[str, Any], draft: Draft, place: Place) -> None:
    value = result.get("value")
    offsets = value if isinstance(value, dict) else {}
    # Places in a page are paths to its elements.
    is_path = isinstance(offsets.get("start"), str) and offsets["start"].startswith("/")
    if result["type"] == "hypertextlabels" or is_path or "globalOffsets" in offsets:
        raise place.fault(
            f"document {shown(draft.id)} is HTML (HyperText), in which offsets count over the "
            "page that "
            "is shown",
            "Annotate the notes as plain text (Text)",
        )


def _add_result(draft: Draft, result: Mapping[str, Any], control: str | None, place: Place) -> None:
    value, id = result.get("value"), result.get("id")
    name = str(id) if is_name(id) else f"T{len(draft.mentions) + 1}"
    if not isinstance(value, dict):
        raise place.mention_fault(name, draft.id, f"has a value that is {kind(value)}")
    over = result.get("to_name")
    if over and str(over) != control:
        raise place.mention_fault(
            name, draft.id, f"is over '{shown(over)}', others are over '{shown(control)}'"
        )
    item = {**value, "id": id, "labels": value.get("labels")}
    quote = value.get("text")
    if isinstance(quote, str) and "\\n" not in draft.text:
        item["text"] = quote.replace("\\n", "\n")
    add_mentions(draft, [item], place)
