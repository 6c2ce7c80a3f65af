"""JSON of annotation tools: doccano, Prodigy, Label Studio (JSON and JSON_MIN), and spaCy.

The shape is detected from each record's own keys (json_shapes, label_studio, spacy_json).
Written is doccano's shape with relations: one object a line, of the keys "id", "text" and
"entities", each entity with "id", "label", "start_offset" and "end_offset", and "fragments" where
it has several. Offsets that are written count code points.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ...files import corpus_files, replacing
from ..mentions import AnnotatedText, DocumentIds, Mention, checked
from ..offsets import Unit, check_unit, settled
from .json_records import read_records
from .json_shapes import Place, RecordText, read_flat_record
from .label_studio import is_task, read_task
from .spacy_json import is_training_document, read_paragraphs

SUFFIXES = (".jsonl", ".json", ".ndjson")


def read_jsonl(
    path: Path, *, offsets: Unit | None = None, annotator: str | None = None
) -> Iterator[AnnotatedText]:
    """Read JSON records: one a line, or in an array, or over many lines.

    A document's id is the record's "id", or what means the same in the tool's shape, or else the
    file's name and the record's number, counted from 1.

    Args:
        path: a file, or a flat folder of files that end in .jsonl, .json or .ndjson.
        offsets: what offsets count. None: code points, unless the texts that a record gives for its
            mentions show that it counts UTF-16 units or bytes.
        annotator: of a Label Studio task with several annotations, the one that is read: the number
            or e-mail of "completed_by". Needed only for tasks with several, none of them ground
            truth; records of other shapes name no annotator.

    Raises:
        ClinicalNerError: naming the file and the line, for a record that is not JSON, has no known
            shape or no text, for a mention without label or that does not fit the text, and for two
            documents of one id.
    """
    check_unit(offsets)
    files = corpus_files(path, SUFFIXES)
    return _read(files, offsets, annotator)


def _read(
    files: Iterable[Path], offsets: Unit | None, annotator: str | None
) -> Iterator[AnnotatedText]:
    ids = DocumentIds()
    for file in files:
        for number, (line, record) in enumerate(read_records(file), start=1):
            default_id = f"{file.stem}-{number}"
            for text in _texts(record, Place(file, line), default_id, annotator):
                ids.add(text.id, f"{file}, line {line}")
                yield AnnotatedText(
                    id=text.id,
                    text=text.text,
                    mentions=settled(
                        text.text,
                        text.mentions,
                        text.counted or offsets,
                        path=file,
                        line=line,
                        document=text.id,
                    ),
                    path=file,
                    skipped=dict(text.skipped),
                    unusable=text.unusable,
                )


def _texts(record: Any, place: Place, default_id: str, annotator: str | None) -> list[RecordText]:
    """Read a record of whatever shape."""
    if is_task(record):
        return [read_task(record, place=place, default_id=default_id, annotator=annotator)]
    if annotator is not None:
        raise place.fault(
            "an annotator was named, but the record is not a Label Studio task", "Name none"
        )
    if is_training_document(record):
        return read_paragraphs(record, place=place, default_id=default_id)
    return [read_flat_record(record, place=place, default_id=default_id)]


def write_jsonl(documents: Iterable[AnnotatedText], path: Path) -> None:
    """Write texts with all their mentions, one JSON object a line.

    Args:
        documents: they may come from a generator, one being held at a time.
        path: the file to write; an existing one is replaced.

    Raises:
        ClinicalNerError: out leaving a file, if it cannot be written, for two documents of one id,
            and for a text whose annotation is unusable, which the shape cannot say.
    """
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for document in checked(documents, path):
            record = {
                "id": document.id,
                "text": document.text,
                "entities": [_entity(mention) for mention in document.mentions],
            }
            file.write(json.dumps(record, ensure_ascii=False) + "\n")


def _entity(mention: Mention) -> dict[str, Any]:
    entity = {
        "id": mention.id,
        "label": mention.label,
        "start_offset": mention.start,
        "end_offset": mention.end,
    }
    if len(mention.fragments) > 1:
        return {**entity, "fragments": [list(fragment) for fragment in mention.fragments]}
    return entity
