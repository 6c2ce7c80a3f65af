"""Table in, table out: one pure function, for any engine that hands out tables of notes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from ..errors import InputError, close_matches
from .annotator import ERROR, Annotated, Settings, TextAnnotator, text_annotator

#: An entity: where it is in the note, in code points, what it is, and what found it.
ENTITIES = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),
        pa.field("end", pa.int64(), nullable=False),
        pa.field("label", pa.string(), nullable=False),
        pa.field("probability", pa.float64()),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
    ]
)
#: A note: its place in the table, from 0, its id, what became of it, and how much it holds.
STATUS = pa.schema(
    [
        pa.field("row", pa.int64(), nullable=False),
        pa.field("id", pa.string()),
        pa.field("status", pa.string(), nullable=False),
        pa.field("error", pa.string()),
        pa.field("entities", pa.int64(), nullable=False),
        pa.field("words", pa.int64(), nullable=False),
    ]
)
#: The column that ``include_text`` adds to ENTITIES.
TEXT = pa.field("text", pa.string(), nullable=False)


class AnnotatedTable(NamedTuple):
    """What was found in a table of notes, in tables of its kind.

    Attributes:
        entities: as ENTITIES has them, in the order of the notes and of their text.
        status: as STATUS has it, a row for every note, in their order.
    """

    entities: Any
    status: Any


def annotate_table(
    notes: Any,
    model: str | Path,
    *,
    id: str = "id",
    text: str = "text",
    include_text: bool = False,
    labels: Sequence[str] = (),
    min_probability: float = 0.0,
    prior_strength: float | None = None,
    thresholds: Mapping[str, float] | None = None,
    batch_size: int = 0,
) -> AnnotatedTable:
    """Annotate a table of notes.

    The table is not changed, and the same table gives the same result. A note that fails stops
    nothing: its status says so. Notes may have the same id, and then their entities have it too.

    Args:
        notes: a DataFrame of pandas, or a RecordBatch or Table of pyarrow.
        model: a pipeline's folder, or the name of an installed package; loaded once per process.
        id: column of the ids: strings or whole numbers. A note without one is an error, since its
            entities would belong to no note.
        text: column of the texts.
        include_text: add the column ``text`` to the entities, the text of each.
        labels: those that are kept; empty for all.
        min_probability: entities below it are dropped.
        prior_strength: in place of the model's; see ``ClinicalNer``.
        thresholds: by label, in place of all of the model's.
        batch_size: notes that the pipeline gets at a time; 0: as many as it says.

    Raises:
        ClinicalNerError: the model cannot be loaded, a column is missing, or a setting cannot be
            used.
    """
    settings = Settings(
        labels=tuple(labels),
        min_probability=min_probability,
        prior_strength=prior_strength,
        thresholds=None if thresholds is None else tuple(sorted(thresholds.items())),
        batch_size=batch_size,
    )
    is_arrow = isinstance(notes, pa.RecordBatch | pa.Table)
    names = notes.schema.names if is_arrow else list(notes.columns)
    for column in (id, text):
        if column not in names:
            raise InputError(f"The table has no column {column!r}. {close_matches(column, names)}")
    ids, texts = (
        notes.column(column).to_pylist() if is_arrow else notes[column].tolist()
        for column in (id, text)
    )
    annotator = text_annotator(str(model), settings)
    entities, status = tables_of(ids, texts, annotator, include_text=include_text)
    if isinstance(notes, pa.RecordBatch):
        return AnnotatedTable(
            *(
                of.combine_chunks().to_batches()[0] if len(of) else _no_rows(of.schema)
                for of in (entities, status)
            )
        )
    if is_arrow:
        return AnnotatedTable(entities, status)
    return AnnotatedTable(entities.to_pandas(), status.to_pandas())


def tables_of(
    ids: Sequence[object],
    texts: Sequence[object],
    annotator: TextAnnotator,
    *,
    faults: Mapping[int, str] | None = None,
    first_row: int = 0,
    include_text: bool = False,
) -> tuple[pa.Table, pa.Table]:
    """Annotate notes, as tables of ENTITIES and STATUS.

    Args:
        ids: of the notes.
        texts: of the notes.
        annotator: what annotates them.
        faults: by place in `texts`, the type of the exception that the note could not be read for.
        first_row: place of the first note in its table.
        include_text: see `annotate_table`.
    """
    names, faults = [name_of(value) for value in ids], dict(faults or {})
    for place, name in enumerate(names):
        if isinstance(name, Exception):
            faults.setdefault(place, type(name).__name__)
    found = annotator.annotate([None if i in faults else of for i, of in enumerate(texts)])
    entities: list[tuple[Any, ...]] = []
    status: list[tuple[Any, ...]] = []
    for place, (name, of) in enumerate(zip(names, found, strict=True)):
        if place in faults:
            of = Annotated(ERROR, faults[place])
        shown = None if isinstance(name, Exception) else name
        status.append((first_row + place, shown, of.status, of.error, len(of.entities), of.words))
        for entity in of.entities:
            row = (shown, *entity, annotator.name, annotator.version)
            words = str(texts[place])[entity.start : entity.end]
            entities.append((*row, words) if include_text else row)
    schema = ENTITIES.append(TEXT) if include_text else ENTITIES
    return _table(entities, schema), _table(status, STATUS)


def name_of(value: object) -> str | Exception:
    """An id as a string, or the exception that tells why it is none."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        # A column of whole numbers, one of which is missing, is one of floats.
        value = int(value)
    if value is None or (isinstance(value, float) and value != value):
        return MissingIdError()
    if not isinstance(value, str | int | np.integer) or isinstance(value, bool):
        return TypeError()
    try:
        str(value).encode()
    except UnicodeEncodeError as error:
        return error
    return str(value)


class MissingIdError(ValueError):
    """A note without an id."""


def _table(rows: Sequence[tuple[Any, ...]], schema: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [() for _ in schema]
    arrays = [pa.array(of, type=field.type) for of, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _no_rows(schema: pa.Schema) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=schema)
