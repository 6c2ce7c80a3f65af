"""clinical-ner split: one .spacy file into train, dev and test."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ..errors import ClinicalNerError, Errors
from ..formats.docbin import DOCUMENT_ID, read_docbin, replacing, write_docbin
from ..training.split import PARTS, split_documents, split_shares
from ._app import app

REPORT = "split.json"


@app.command("split")
def split_cli(
    source: Path = typer.Argument(..., metavar="IN.spacy", help="The documents to divide."),
    out_dir: Path = typer.Argument(..., metavar="OUT_DIR", help="Folder of the output files."),
    dev: float = typer.Option(0.1, "--dev", help="Share of the documents for dev, in [0, 1)."),
    test: float = typer.Option(0.2, "--test", help="Share of the documents for test, in [0, 1)."),
    seed: int = typer.Option(0, "--seed", min=0, max=2**32 - 1, help="Seed of the division."),
) -> None:
    """Divide annotated documents into train, dev and test.

    Whole documents go to one part each, so that every part holds its share of each entity type.
    Writes train.spacy, dev.spacy, test.spacy and split.json (seed, shares, document ids and entity
    counts of each part) into OUT_DIR; a part with share 0 becomes an empty file.

    \b
    Example:
      clinical-ner split corpus/all.spacy corpus --dev 0.1 --test 0.2 --seed 0
    """
    try:
        split_shares(dev=dev, test=test)
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint="'--dev' / '--test'") from error
    report = split(source, out_dir, dev=dev, test=test, seed=seed)
    Console().print(_table(report))


def split(source: Path, out_dir: Path, *, dev: float, test: float, seed: int) -> dict[str, Any]:
    """Divide the documents of a .spacy file and write the parts, all or none.

    source: the .spacy file to divide.
    out_dir: folder of the four output files; existing ones are replaced.
    dev, test: shares of the documents, in [0, 1) and with a sum below 1.
    seed: of the random choices of the stratification.

    RETURNS: what split.json holds.
    RAISES ClinicalNerError: a file cannot be read or written, would overwrite the input, two
        documents share an id, a share is out of range, or there are too few documents.
    """
    if out_dir.exists() and not out_dir.is_dir():
        raise ClinicalNerError(Errors.E205.format(path=out_dir))
    files = {part: out_dir / f"{part}.spacy" for part in PARTS}
    for path in files.values():
        if path.exists() and source.exists() and path.samefile(source):
            raise ClinicalNerError(Errors.E204.format(path=path))
    docs = read_docbin(source, Vocab())
    ids = _document_ids(docs, source)
    entities = [Counter(ent.label_ for ent in doc.ents) for doc in docs]
    labels = sorted({label for counts in entities for label in counts})
    presence = np.array([[label in counts for label in labels] for counts in entities], dtype=bool)
    parts = split_documents(
        presence.reshape(len(docs), len(labels)), dev=dev, test=test, seed=seed, source=str(source)
    )
    report = {
        "seed": seed,
        "shares": split_shares(dev=dev, test=test),
        "documents": {part: [ids[row] for row in rows] for part, rows in parts.items()},
        "entities": {
            label: {part: sum(entities[row][label] for row in rows) for part, rows in parts.items()}
            for label in labels
        },
    }
    with ExitStack() as outputs:
        for part, path in files.items():
            temporary = outputs.enter_context(replacing(path))
            write_docbin([docs[row] for row in parts[part]], temporary)
        temporary = outputs.enter_context(replacing(out_dir / REPORT))
        temporary.write_text(json.dumps(report, indent=2) + "\n", encoding="utf8")
    return report


def _document_ids(docs: Sequence[Doc], source: Path) -> list[str]:
    ids = [str(doc.user_data.get(DOCUMENT_ID, index)) for index, doc in enumerate(docs)]
    first_with: dict[str, int] = {}
    for index, id_ in enumerate(ids):
        first = first_with.setdefault(id_, index)
        if first != index:
            raise ClinicalNerError(
                Errors.E203.format(path=source, first=first, second=index, id=id_)
            )
    return ids


def _table(report: dict[str, Any]) -> Table:
    """Entities of each type by part, the commonest type first."""
    table = Table("Type", title="Entities per part")
    for part in PARTS:
        table.add_column(part, justify="right")
    entities: dict[str, dict[str, int]] = report["entities"]
    for label, counts in sorted(
        entities.items(), key=lambda item: (-sum(item[1].values()), item[0])
    ):
        table.add_row(Text(label), *(str(counts[part]) for part in PARTS))
    table.add_section()
    totals = [sum(counts[part] for counts in entities.values()) for part in PARTS]
    table.add_row("all entities", *map(str, totals))
    table.add_row("documents", *(str(len(report["documents"][part])) for part in PARTS))
    return table
