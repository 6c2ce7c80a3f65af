"""Label Studio's JSON export: tasks of "data" and "annotations", each with a list of results.

Label Studio counts UTF-16 units, as JavaScript does, and writes a line break inside a quoted
mention as a backslash and an n (its issues 1347 and 4929); the quotes settle both.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from ...errors import InputError
from ..offsets import QuotedMention
from .json_shapes import (
    Place,
    RecordText,
    checked_text,
    document_id,
    is_name,
    keys,
    kind,
    read_mentions,
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
) -> RecordText:
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
    document = document_id(record, default_id, place)
    text = checked_text(_text(record["data"], place), place)
    key = next(key for key in _ANNOTATIONS if key in record)
    if not isinstance(record[key], list) or not all(isinstance(item, dict) for item in record[key]):
        raise place.fault(f"{key} are {kind(record[key])}, not an array of objects")
    finished = [item for item in record[key] if not item.get("was_cancelled")]
    if not finished:
        return RecordText(document, text, [], unusable="unannotated")
    chosen = _chosen(finished, annotator, place)
    skipped: Counter[str] = Counter()
    mentions: list[QuotedMention] = []
    for other in finished:
        results = other.get("result")
        if not isinstance(results, list) or not all(isinstance(item, dict) for item in results):
            raise place.fault(f"a result is {kind(results)}, not an array of objects")
        for result in results:
            kind_of_result = str(result.get("type"))
            if kind_of_result not in _LABELS:
                skipped[kind_of_result] += 1
            elif other is not chosen:
                skipped["other_annotation"] += 1
            else:
                mentions += _mentions(result, len(mentions) + 1, text, document, place)
    return RecordText(document, text, mentions, skipped)


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
    by = [_annotator(item) for item in annotations]
    if annotator is None or by.count(annotator) != 1:
        raise InputError(
            f"{place.path}, line {place.line}: several annotations ({', '.join(by)}). Name the "
            "annotator."
        )
    return annotations[by.index(annotator)]


def _annotator(annotation: Mapping[str, Any]) -> str:
    by = annotation.get("completed_by")
    if isinstance(by, dict):
        by = by.get("email", by.get("id"))
    return str(by)


def _mentions(
    result: Mapping[str, Any], number: int, text: str, document: str, place: Place
) -> list[QuotedMention]:
    value = result.get("value")
    name = str(result["id"]) if is_name(result.get("id")) else f"T{number}"
    if not isinstance(value, dict):
        raise place.mention_fault(name, document, f"has a value that is {kind(value)}")
    offsets = value.get("globalOffsets", value)
    labels = next((value[key] for key in _LABELS if key in value), None)
    item = {**value, "labels": labels}
    if isinstance(offsets, dict):
        item |= {"start": offsets.get("start"), "end": offsets.get("end")}
    mentions = read_mentions(item, number, document=document, place=place, id=name)
    if "\\n" in text:
        return mentions
    return [
        replace(mention, quote=mention.quote and mention.quote.replace("\\n", "\n"))
        for mention in mentions
    ]
