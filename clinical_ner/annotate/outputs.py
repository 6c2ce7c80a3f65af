"""What was found, as files: tables of entities, or the notes with their entities."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ..files import replacing

#: Columns of NOTE_NLP in the OMOP common data model, version 5.4, in its order.
NOTE_NLP = (
    "note_nlp_id",
    "note_id",
    "section_concept_id",
    "snippet",
    "offset",
    "lexical_variant",
    "note_nlp_concept_id",
    "note_nlp_source_concept_id",
    "nlp_system",
    "nlp_date",
    "nlp_datetime",
    "term_exists",
    "term_temporal",
    "term_modifiers",
)
TABLES = (".jsonl", ".csv", ".parquet")


def write_table(tables: Iterable[pa.Table], schema: pa.Schema, path: Path) -> None:
    """Write tables of one schema after each other as one file, completely or not at all.

    Args:
        tables: they may come from a generator, one being held at a time.
        schema: of all of them.
        path: .jsonl, .csv or .parquet.

    Raises:
        InputError: the file cannot be written.
    """
    with replacing(path) as temporary:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetWriter(temporary, schema) as writer:
                for table in tables:
                    writer.write_table(table)
            return
        with temporary.open("w", encoding="utf-8", newline="") as file:
            if path.suffix.lower() == ".csv":
                rows = csv.writer(file, lineterminator="\n")
                rows.writerow(schema.names)
                for table in tables:
                    rows.writerows(zip(*(of.to_pylist() for of in table.columns), strict=True))
                return
            for table in tables:
                for row in table.to_pylist():
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")


#: Entities as rows of NOTE_NLP.
NOTE_NLP_SCHEMA = pa.schema(
    [(name, pa.int64() if name.endswith("_id") else pa.string()) for name in NOTE_NLP]
)


def note_nlp(tables: Iterable[pa.Table], *, now: datetime) -> Iterator[pa.Table]:
    """Entities with their text as rows of OMOP's NOTE_NLP.

    Concepts are 0, "no matching concept", in OMOP's words: nothing is mapped to a vocabulary. The
    label and the probability are in ``term_modifiers``.

    Args:
        tables: of ENTITIES and TEXT; ids are whole numbers.
        now: the time of the run.
    """
    number = 0
    for table in tables:
        rows = []
        for of in table.to_pylist():
            number += 1
            modifiers = f"label={of['label']}"
            if of["probability"] is not None:
                modifiers += f",probability={of['probability']:.6f}"
            rows.append(
                {
                    "note_nlp_id": number,
                    "note_id": int(of["id"]),
                    "section_concept_id": 0,
                    "snippet": None,
                    "offset": str(of["start"]),
                    "lexical_variant": of["text"][:250],
                    "note_nlp_concept_id": 0,
                    "note_nlp_source_concept_id": 0,
                    "nlp_system": f"{of['model']} {of['model_version']}"[:250],
                    "nlp_date": f"{now:%Y-%m-%d}",
                    "nlp_datetime": f"{now:%Y-%m-%d %H:%M:%S}",
                    "term_exists": None,
                    "term_temporal": None,
                    "term_modifiers": modifiers[:2000],
                }
            )
        yield pa.Table.from_pylist(rows, schema=NOTE_NLP_SCHEMA)
