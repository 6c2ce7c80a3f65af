"""Hugging Face data sets for token classification, as `Dataset.to_json` writes them.

Each record has "tokens", and as many "ner_tags" or "tags": strings, or numbers whose names are
features of the data set, which JSON does not hold. Words are separated by a space.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import accumulate
from pathlib import Path
from typing import Any

from ...errors import ClinicalNerError, InputError
from ...files import BOM, read_text
from ..mentions import FAULTY, AnnotatedText, Mention, Place
from ..offsets import is_unicode
from .column_tags import (
    Scheme,
    TagFaultError,
    chunks,
    detect_scheme,
    is_bare,
    lenient_scheme,
    parse_tag,
)
from .json_records import read_records
from .json_shapes import checked_text, document_id, kind

_TAGS = ("ner_tags", "tags")
_Tags = list[tuple[str, str]]


def is_tagged(record: Any) -> bool:
    """Whether a record has tokens and their tags."""
    return (
        isinstance(record, dict)
        and isinstance(record.get("tokens"), list)
        and any(isinstance(record.get(key), list) for key in _TAGS)
    )


def read_huggingface(
    path: Path,
    *,
    tag_names: str | Path | None = None,
    scheme: Scheme | None = None,
    label: str | None = None,
) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file of records; see `read_texts` for the settings. It is read twice.

    A document's id is its record's "id", otherwise the file's name and the record's number.
    """
    names = None if tag_names is None else read_tag_names(Path(tag_names))
    if scheme is None:
        scheme = detect_scheme(_all_tags(path, names, label))
    for number, (line, record) in enumerate(read_records(path), start=1):
        place, id = Place(path, line), f"{path.stem}-{number}"
        try:
            yield place, _annotated(record, _tags(record, names, label, place), scheme, id, place)
        except ClinicalNerError as error:
            yield place, AnnotatedText(id, "", (), unusable=FAULTY, faults=(error,))


def read_tag_names(path: Path) -> list[str]:
    """Read the names of the tags 0, 1, ...: one a line, or as JSON.

    The JSON is an array, or an object of numbers and names, by itself or, as in a model's
    config.json, under "id2label".

    Raises:
        InputError: the file cannot be read, or holds something else.
    """
    text = read_text(path).removeprefix(BOM).strip()
    names: Any = text.split("\n")
    if text.startswith(("[", "{")):
        try:
            names = json.loads(text)
        except (ValueError, RecursionError):
            raise InputError(
                f"{path}: not JSON. Write the names of the tags, one a line."
            ) from None
    if isinstance(names, dict):
        names = names.get("id2label", names)
    if isinstance(names, dict):
        names = [names.get(str(number)) for number in range(len(names))]
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise InputError(
            f"{path}: holds no names of tags. Write the name of tag 0 on the first line, and so on."
        )
    return [name.strip() for name in names]


def _annotated(
    record: Mapping[str, Any], tags: _Tags, scheme: Scheme, default_id: str, place: Place
) -> AnnotatedText:
    words: list[str] = record["tokens"]
    starts = list(accumulate((len(word) + 1 for word in words), initial=0))
    try:
        found = chunks(tags, scheme)
    except TagFaultError as error:
        other = lenient_scheme(scheme, tags[error.index][0])
        raise place.fault(
            f"tag {error.index + 1}: {error} ({scheme})",
            f"Fix the tag, or read leniently with --scheme {other}",
        ) from None
    mentions = tuple(
        Mention(f"T{index}", name, ((starts[first], starts[last] - 1),))
        for index, (first, last, name) in enumerate(found, start=1)
    )
    id = document_id(record, default_id, place)
    return AnnotatedText(id, checked_text(" ".join(words), place), mentions)


def _all_tags(
    path: Path, names: list[str] | None, label: str | None
) -> Iterator[tuple[str, str] | None]:
    """Give the tags of a file, None behind those of a record; what is at fault has none."""
    for line, record in read_records(path):
        with suppress(ClinicalNerError):
            yield from _tags(record, names, label, Place(path, line))
        yield None


def _tags(record: Any, names: list[str] | None, label: str | None, place: Place) -> _Tags:
    if isinstance(record, ClinicalNerError):
        raise record
    if not is_tagged(record):
        raise place.fault("the record has no 'tokens' with 'ner_tags' or 'tags'")
    if not all(isinstance(word, str) for word in record["tokens"]):
        raise place.fault("a token is not a string")
    given = next(record[key] for key in _TAGS if isinstance(record.get(key), list))
    if len(given) != len(record["tokens"]):
        raise place.fault(f"{len(record['tokens'])} tokens have {len(given)} tags")
    return [_tag(tag, names, label, place) for tag in given]


def _tag(tag: Any, names: list[str] | None, label: str | None, place: Place) -> tuple[str, str]:
    # type(), since true and false are whole numbers to isinstance().
    if type(tag) is int:
        if names is None:
            raise place.fault("the tags are numbers", "Name a file of their names with --tag-names")
        if not 0 <= tag < len(names):
            raise place.fault(f"tag {tag} has no name among {len(names)}", "Complete the file")
        tag = names[tag]
    if not isinstance(tag, str):
        raise place.fault(f"a tag is {kind(tag)}")
    if not is_unicode(tag):
        raise place.fault("a tag holds half of a UTF-16 pair", "Write the file as UTF-8")
    parsed = parse_tag(tag, label)
    if parsed is None and is_bare(tag):
        raise place.fault("a tag has no type", "Name the type with --label")
    if parsed is None:
        raise place.fault(
            "a tag is neither O nor a prefix, a hyphen and a label",
            "Write it as B-Drug, here or in the file of names",
        )
    return parsed
