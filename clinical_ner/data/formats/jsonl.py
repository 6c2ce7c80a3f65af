"""JSON of annotation tools: doccano, Prodigy, Label Studio (also JSON_MIN), NER Annotator, spaCy.

The shape is detected from each record's own keys (json_shapes, label_studio, ner_annotator,
spacy_json).
Written is doccano's shape with relations: one object a line, of the keys "id", "text" and
"entities", each entity with "id", "label", "start_offset" and "end_offset", and "fragments" where
it has several; and "sents", with "start" and "end" as in spaCy's Doc.to_json(), where sentences
are known. Offsets that are written count code points, as "offsets" says where a text lets one doubt
it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from ...errors import ClinicalNerError
from ...files import replacing
from ..mentions import AnnotatedText, Mention, Place, checked
from ..offsets import Draft, Unit, depends_on_unit, settled
from ..unit_judge import UnitJudge
from .annotators import Copies
from .json_records import read_records
from .json_shapes import read_flat_record
from .label_studio import is_task, read_task
from .ner_annotator import is_project, read_project
from .spacy_json import is_training_document, read_paragraphs


def read_jsonl(
    path: Path, *, copies: Copies, judge: UnitJudge, offsets: Unit | None = None
) -> Iterator[tuple[Place, AnnotatedText]]:
    """Read a file of records, one a line, or in an array, or over many lines; see `read_texts`.

    `copies` and, unless `offsets` says what is counted, `judge` have been shown the drafts of the
    corpus.
    """
    for place, draft in copies.chosen(read_drafts(path)):
        draft.units = judge.ranked.get(draft.units, draft.units)
        yield place, settled(draft, place, offsets)


def read_drafts(path: Path) -> Iterator[tuple[Place, Draft]]:
    """Read all annotations of a file, without settling what their offsets count."""
    for number, (line, record) in enumerate(read_records(path), start=1):
        place, default_id = Place(path, line), f"{path.stem}-{number}"
        try:
            if isinstance(record, ClinicalNerError):
                raise record
            drafts = _drafts(record, place, default_id)
        except ClinicalNerError as error:
            drafts = [Draft.faulty(default_id, error)]
        for draft in drafts:
            draft.has_id = draft.id != default_id
            yield place, draft


def _drafts(record: Any, place: Place, default_id: str) -> list[Draft]:
    """Read a record of whatever shape."""
    if is_task(record):
        return read_task(record, place=place, default_id=default_id)
    if is_project(record):
        return read_project(record, place=place, default_id=default_id)
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
            if depends_on_unit(document.text):
                record["offsets"] = "code-points"
            if document.sentences:
                record["sents"] = [
                    {"start": start, "end": start + len(document.text[start:end].rstrip())}
                    for start, end in pairwise([*document.sentences, len(document.text)])
                ]
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
