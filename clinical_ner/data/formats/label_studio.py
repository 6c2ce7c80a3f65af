"""Label Studio's JSON export: tasks of "data" and "annotations", each with a list of results.

Label Studio counts UTF-16 units, as JavaScript does, and writes a line break inside a quoted
mention as a backslash and an n (its issues 1347 and 4929). Where quotes say that offsets count
something else, as those do that Python wrote into it, they are believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..mentions import Place
from ..offsets import Draft
from .json_shapes import (
    BROWSER_UNITS,
    add_mentions,
    checked_text,
    document_id,
    first,
    is_name,
    keys,
    kind,
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


def read_task(
    record: Mapping[str, Any], *, place: Place, default_id: str, annotator: str | None
) -> Draft:
    """Read a task: its text, and the mentions of one of its annotations.

    Of several that were not cancelled, the one that is ground truth is taken, otherwise that of
    `annotator`; the mentions of others count as "other_annotation". A task without any is
    unusable. Results of other kinds (choices, relations, ...) are counted under their type.

    Args:
        record: what JSON gave, for which is_task holds.
        place: file and line, for messages.
        default_id: the id of a document without one.
        annotator: as "completed_by" gives it, a number or an e-mail.

    Raises:
        ClinicalNerError: a task without text, for one with several annotations and no way to
            choose, and for a mention without label or offsets.
    """
    text = checked_text(_text(record["data"], place), place)
    draft = Draft(document_id(record, default_id, place), text, units=BROWSER_UNITS)
    key = next(key for key in _ANNOTATIONS if key in record)
    annotations = objects(record[key], f"{key} are", place)
    finished = [item for item in annotations if not item.get("was_cancelled")]
    if not finished:
        draft.unusable = "unannotated"
        return draft
    chosen = _chosen(finished, annotator, place)
    for other in finished:
        for result in objects(other.get("result"), "a result is", place):
            kind_of_result = str(result.get("type"))
            if kind_of_result not in _LABELS:
                draft.skipped[kind_of_result] += 1
            elif other is not chosen:
                draft.skipped["other_annotation"] += 1
            else:
                _add_result(draft, result, place)
    return draft


def _text(data: Mapping[str, Any], place: Place) -> Any:
    """Give a task's text: "text", or what else is the only string there.

    Which key the labels are about is in the project's settings, which are not exported.
    """
    if "text" in data:
        return data["text"]
    strings = [value for value in data.values() if isinstance(value, str)]
    if len(strings) != 1:
        raise place.fault(
            f"data has {len(strings)} strings and none is 'text' ({keys(data)})",
            "Name the one that was annotated 'text'",
        )
    return strings[0]


def _chosen(
    annotations: list[dict[str, Any]], annotator: str | None, place: Place
) -> dict[str, Any]:
    if len(annotations) == 1:
        return annotations[0]
    true = [item for item in annotations if item.get("ground_truth")]
    if len(true) == 1:
        return true[0]
    given = [item.get("completed_by") for item in annotations]
    by = [str(g.get("email", g.get("id")) if isinstance(g, dict) else g) for g in given]
    if annotator is None or by.count(annotator) != 1:
        raise place.fault(f"several annotations ({', '.join(by)})", "Name the annotator")
    return annotations[by.index(annotator)]


def _add_result(draft: Draft, result: Mapping[str, Any], place: Place) -> None:
    value, id = result.get("value"), result.get("id")
    if not isinstance(value, dict):
        name = str(id) if is_name(id) else f"T{len(draft.mentions) + 1}"
        raise place.mention_fault(name, draft.id, f"has a value that is {kind(value)}")
    item = {**value, "id": id, "labels": first(value, _LABELS)}
    offsets = value.get("globalOffsets", value)
    if isinstance(offsets, dict):
        item |= {"start": offsets.get("start"), "end": offsets.get("end")}
    quote = value.get("text")
    if isinstance(quote, str) and "\\n" not in draft.text:
        item["text"] = quote.replace("\\n", "\n")
    add_mentions(draft, [item], place)
