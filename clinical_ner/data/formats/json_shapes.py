"""The shapes in which annotation tools write a record, each detected from the record's own keys.

- doccano: "text" (older: "data") with "label" or "labels", lists of [start, end, label]; or with
  "entities", objects of "id", "label", "start_offset", "end_offset", and "relations" beside.
- Prodigy: "text" with "spans", objects of "start", "end", "label"; "answer" other than "accept"
  makes the record unusable, and that of a span makes it none.
- Label Studio's JSON_MIN: "text" with "label", objects of "start", "end", "labels". Its JSON: see
  label_studio.
- spaCy: "text" with "entities", lists of [start, end, label]; a pair of a text and such an object;
  Doc.to_json(), with "ents"; the training format with "paragraphs", see spacy_json.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from ...errors import ClinicalNerError
from ..mentions import Mention, Place
from ..offsets import UNITS, Draft, QuotedMention, Unit, is_unicode

#: Keys under which mentions stand. Of several the first that holds any has them; the others, for
#: instance labels of the whole text, are counted.
MENTIONS = ("spans", "entities", "ents", "label", "labels")
#: What Label Studio counts: UTF-16 units, with the text's own line ends or a browser's.
BROWSER_UNITS: tuple[Unit, ...] = ("utf-16", "utf-16-lf")
#: A text that is in a file or at an address, as tasks for large notes have it (valueType="url").
_PATH = re.compile(r"(?:[a-z][a-z0-9+.-]*:/)?/\S+|\S+\.(?:txt|html?|json)")
_TEXT = ("text", "data")
_START = ("start", "start_offset")
_END = ("end", "end_offset")
_LABEL = ("label", "labels", "type")
#: Keys of who annotated a record: of Prodigy, Label Studio's JSON_MIN, and doccano before 1.0.
_ANNOTATOR = ("_annotator_id", "_session_id", "annotator", "username")
_SESSION = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}_[0-9]{2}-[0-9]{2}-[0-9]{2}\Z")
#: What can be beside mentions and is not one: key of a list, and how its items are counted.
_BESIDE = {"relations": "relation", "cats": "category", "Comments": "comment", "links": "link"}
#: Answers about a single span that make it no mention, and how it is counted.
_NO_MENTION = {"reject": "rejected_span", "ignore": "ignored_span"}
#: What a key looks like that a person made for a record, rather than taken from a note.
_KEY = re.compile(r"[A-Za-z_]\w{0,30}")


def read_flat_record(record: Any, *, place: Place, default_id: str) -> Draft:
    """Read a record that holds a text and one list of mentions.

    Raises:
        ClinicalNerError: a record of another shape, and for a mention without label or offsets.
    """
    record = as_object(record)
    if not isinstance(record, dict):
        raise place.fault(f"the record is {kind(record)}, not an object with a text and mentions")
    text_key = next((key for key in _TEXT if key in record), None)
    lists = [key for key in MENTIONS if isinstance(record.get(key), list)]
    key = next((key for key in lists if record[key]), lists[0] if lists else None)
    is_prodigy = "answer" in record or "_input_hash" in record
    if text_key is None or (key is None and not is_prodigy):
        null = next((key for key in MENTIONS if key in record and record[key] is None), None)
        if text_key is not None and null is not None:
            raise place.fault(f"the mentions ({null}) are null", "Write [] if there are none")
        raise place.fault(f"not a record of a known shape ({keys(record)})")
    document = document_id(record, default_id, place)
    units = _units(record, key)
    checked = note_text if units == BROWSER_UNITS else checked_text
    text = checked(record[text_key], place)
    draft = Draft(document, text, skipped=beside(record), units=units)
    for other in MENTIONS:
        if other != key:
            draft.skipped[other] += _size(record.get(other))
    add_mentions(draft, record[key] if key else [], place)
    # As Doc.to_json() has them.
    if "sents" in record:
        starts: list[Any] = [
            item.get("start") for item in objects(record["sents"], "sents are", place)
        ]
        if not all(type(start) is int for start in starts):
            raise place.fault("sents have no offsets that are whole numbers")
        draft.sentences = tuple(starts)
    if (answer := record.get("answer", "accept")) != "accept":
        draft.unusable = "ignored" if answer == "ignore" else "rejected"
    names = (annotator_name(record.get(key)) for key in _ANNOTATOR)
    draft.annotator = next((name for name in names if name is not None), None)
    draft.task = record.get("_task_hash") if is_name(record.get("_task_hash")) else None
    return draft


def as_object(record: Any) -> Any:
    """A pair of a text and its mentions, as in spaCy's examples, as an object; others as is."""
    match record:
        case [text, dict(others)]:
            return {"text": text, **others}
        case [str(text), list(mentions)]:
            return {"text": text, "entities": mentions}
    return record


def _units(record: Mapping[str, Any], key: str | None) -> tuple[Unit, ...]:
    """Give what the offsets of a record may count, as far as its shape says who wrote it."""
    if record.get("offsets") in UNITS:
        return (record["offsets"],)
    if key == "ents" or "_input_hash" in record:
        # spaCy's Doc.to_json() and Prodigy are Python.
        return ("code-points",)
    items = record[key] if key else []
    if any(isinstance(item, dict) and "labels" in item for item in items):
        return BROWSER_UNITS
    return UNITS


def annotator_name(value: Any) -> str | None:
    """Give an annotator's name, e-mail or number, None if it is none."""
    if isinstance(value, dict):
        value = value.get("email", value.get("id"))
    # A session without a name has that of its dataset and its time.
    return str(value) if is_name(value) and not _SESSION.search(str(value)) else None


def add_mentions(draft: Draft, items: list[Any], place: Place) -> None:
    """Add annotations, each [start, end, label] or an object, with a mention for each label.

    Those that the annotator rejected or ignored are counted. An annotation without id has its
    number, counted over the mentions of `draft` and `items`. Those at fault are left out.
    """
    for number, item in enumerate(items, start=len(draft.mentions) + 1):
        answer = item.get("answer") if isinstance(item, dict) else None
        if answer in tuple(_NO_MENTION):
            draft.skipped[_NO_MENTION[answer]] += 1
            continue
        try:
            if answer not in (None, "accept"):
                problem = "has an answer that is not accept, reject or ignore"
                raise place.mention_fault(f"T{number}", draft.id, problem)
            _add_mention(draft, item, f"T{number}", place)
        except ClinicalNerError as error:
            draft.faults.append(error)


def _add_mention(draft: Draft, item: Any, name: str, place: Place) -> None:
    quote = None
    pieces: Any
    if isinstance(item, list):
        if len(item) != 3:
            raise place.mention_fault(name, draft.id, "is not [start, end, label]")
        pieces, labels = [item[:2]], item[2]
    elif isinstance(item, dict):
        # Tools number from 0, and 0 and "" are both what an unset id is written as.
        name = str(item["id"]) if is_name(item.get("id")) else name
        pieces = item.get("fragments", [[first(item, _START), first(item, _END)]])
        labels = first(item, _LABEL)
        quote = item.get("text")
        if quote is not None and not isinstance(quote, str):
            raise place.mention_fault(name, draft.id, "has a text that is not a string")
    else:
        raise place.mention_fault(name, draft.id, f"is {kind(item)}, not a list or an object")
    # type(), since true and false are whole numbers to isinstance().
    if not (pieces and isinstance(pieces, list)) or not all(
        isinstance(piece, list) and [type(offset) for offset in piece] == [int, int]
        for piece in pieces
    ):
        raise place.mention_fault(name, draft.id, "has no offsets that are whole numbers")
    fragments = tuple((start, end) for start, end in pieces)
    labels = labels if isinstance(labels, list) else [labels]
    if not labels or not all(isinstance(label, str) and label.strip() for label in labels):
        raise place.mention_fault(name, draft.id, "has no label")
    if not all(map(is_unicode, labels)):
        raise place.mention_fault(name, draft.id, "has a label with half of a UTF-16 pair")
    for number, label in enumerate(labels, start=1):
        id = name if number == 1 else f"{name}-{number}"
        draft.mentions.append(QuotedMention(Mention(id, label, fragments), quote))


def document_id(record: Mapping[str, Any], default: str, place: Place) -> str:
    """Give a document's id: its own, that in its "meta", or the number Prodigy gives its text."""
    meta = record.get("meta")
    in_meta = meta.get("id") if isinstance(meta, dict) else None
    ids = (record.get("id"), in_meta, record.get("_input_hash"))
    given = next((id for id in ids if id is not None), None)
    if given is None:
        return default
    if not is_name(given):
        raise place.fault("the id is neither a name nor a number")
    return str(given)


def is_name(value: Any) -> bool:
    """Whether a value can be an id, which messages and reports name on a line."""
    # type(), since true and false are whole numbers to isinstance().
    return type(value) in (str, int) and bool(str(value).strip()) and str(value).isprintable()


def checked_text(text: Any, place: Place) -> str:
    """Give a record's text, if it is a string without half of a UTF-16 pair."""
    if not isinstance(text, str):
        raise place.fault(f"the text is {kind(text)}")
    if not is_unicode(text):
        raise place.fault("the text holds half of a UTF-16 pair", "Write the file as UTF-8")
    return text


def note_text(text: Any, place: Place) -> str:
    """Give a task's text, if it is one and not the path or address of a file."""
    text = checked_text(text, place)
    if _PATH.fullmatch(text.strip()):
        raise place.fault(
            "the text is a path or an address, not that of a note",
            'Put the note into the task, which is then exported with it (not valueType="url")',
        )
    return text


def beside(record: Mapping[str, Any]) -> Counter[str]:
    """Count what is beside a record's mentions."""
    return Counter(
        {
            name: len(record[key])
            for key, name in _BESIDE.items()
            if isinstance(record.get(key), (list, dict))
        }
    )


def first(item: Mapping[str, Any], names: Iterable[str]) -> Any:
    """Give the value of the first of these keys that is there, None without any."""
    return next((item[name] for name in names if name in item), None)


def objects(value: Any, what: str, place: Place) -> list[dict[str, Any]]:
    """Give a value that is an array of objects; `what` begins the message if it is not."""
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise place.fault(f"{what} {kind(value)}, not an array of objects")
    return value


def kind(value: Any) -> str:
    """Say in JSON's words what a value is."""
    names = {bool: "a truth value", str: "a string", list: "an array", dict: "an object"}
    return "null" if value is None else names.get(type(value), "a number")


def keys(record: Mapping[str, Any]) -> str:
    """Name the keys of a record, without those that might come from a note."""
    named = [key for key in record if _KEY.fullmatch(key)]
    return f"keys: {', '.join(named[:12]) or 'none'}"


def _size(value: Any) -> int:
    """Count the items of a list, or of all lists of an object, as Doc.to_json() has its spans."""
    if isinstance(value, dict):
        return sum(map(_size, value.values()))
    return len(value) if isinstance(value, list) else 0
