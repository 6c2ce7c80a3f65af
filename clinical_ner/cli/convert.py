"""clinical-ner convert: annotated notes to a .spacy file, with an account of every mention."""

from __future__ import annotations

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

import spacy
import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text
from spacy.language import Language
from spacy.tokens import Doc

from ..errors import ClinicalNerError, Errors
from ..formats.brat import read_brat
from ..formats.conversion import (
    EMPTY_DOCUMENT,
    Action,
    ActionCounts,
    ConversionCounts,
    ConversionRow,
    to_flat_doc,
)
from ..formats.docbin import replacing, write_docbin
from ..formats.flattening import CHANGES, DROPS
from ..formats.mentions import AnnotatedText
from ._app import app


@app.command("convert", no_args_is_help=True)
def convert_cli(
    folder: Path = typer.Argument(
        ..., metavar="FOLDER", help="Flat folder with pairs of NAME.txt and NAME.ann (brat)."
    ),
    output: Path = typer.Argument(..., metavar="OUT.spacy", help="The file to write."),
    lang: str = typer.Option("en", help="Language whose tokenizer is used, as in spacy.blank()."),
    report: Path | None = typer.Option(
        None, metavar="FILE.jsonl", help="Write what became of each document and mention."
    ),
) -> None:
    """Convert annotated notes (brat standoff) to spaCy's .spacy format.

    Entities in spaCy can neither overlap nor have gaps: every mention is kept, changed or dropped,
    and the tables say how often and why. No text of a note is printed or written to the report.

    \b
    Example:
      clinical-ner convert corpus/case_reports corpus/all.spacy --report corpus/all.jsonl
    """
    if output.suffix != ".spacy":
        raise typer.BadParameter("the name must end in .spacy", param_hint="OUT.spacy")
    if report is not None and report.suffix != ".jsonl":
        raise typer.BadParameter("the name must end in .jsonl", param_hint="--report")
    try:
        nlp = spacy.blank(lang)
    except ImportError as error:
        # spaCy's own errors (no such language, or its tokenizer needs a package that is not
        # installed) name no module; one that does is a broken installation.
        if error.name is not None:
            raise
        reason = " ".join(str(error).split())
        raise typer.BadParameter(reason, param_hint="--lang") from error
    counts = convert(folder, output, nlp=nlp, report=report)
    _print_counts(counts, Console())


def convert(
    folder: Path, output: Path, *, nlp: Language, report: Path | None = None
) -> ConversionCounts:
    """Convert a flat brat folder to one .spacy file, and count what became of every mention.

    folder: pairs of NAME.txt and NAME.ann.
    output: the .spacy file; each Doc has its file's name in ``user_data["clinical_ner.id"]``.
    nlp: the pipeline whose tokenizer is used.
    report: a file for one JSON object per document (``"kind": "document"``), followed by one per
        mention of it (``"kind": "mention"``, the fields of ConversionRow).
    Raises ClinicalNerError, without leaving output, if a file cannot be read or written, if an
    annotation is at fault, or if no mention survives.
    """
    counts = ConversionCounts()
    docs: list[Doc] = []
    records: list[dict[str, Any]] = []
    for document in read_brat(folder):
        doc, rows = to_flat_doc(document.text, document.mentions, nlp, document=document.id)
        is_empty = not document.text.strip()
        if not is_empty:
            docs.append(doc)
        counts.documents.add("dropped" if is_empty else "kept")
        counts.other_lines.update(document.skipped)
        counts.add(rows)
        if report is not None:
            records.extend(_records(document, doc, rows, is_empty))
    total = counts.total
    if total.kept + total.changed == 0:
        raise ClinicalNerError(Errors.E112.format(path=folder, read=total.read))
    with ExitStack() as stack:
        if report is not None:
            # Renamed last, so that neither file is left if one of them cannot be written.
            temporary = stack.enter_context(replacing(report))
            with temporary.open("w", encoding="utf8") as file:
                file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write_docbin(docs, output)
    return counts


def _records(
    document: AnnotatedText, doc: Doc, rows: Iterable[ConversionRow], is_empty: bool
) -> Iterable[dict[str, Any]]:
    action: Action = "dropped" if is_empty else "kept"
    yield {
        "kind": "document",
        "document": document.id,
        "action": action,
        "codes": [EMPTY_DOCUMENT] if is_empty else [],
        "tokens": len(doc),
        "mentions": len(document.mentions),
        "entities": len(doc.ents),
        "other_lines": document.skipped,
    }
    for row in rows:
        yield {"kind": "mention", **asdict(row)}


def _print_counts(counts: ConversionCounts, console: Console) -> None:
    table = Table("label", title="Mentions", title_justify="left", show_footer=True)
    total = counts.total
    table.columns[0].footer = "total"
    for column in ("read", "kept", "changed", "dropped"):
        table.add_column(column, justify="right", footer=str(getattr(total, column)))
    for label, row in sorted(counts.labels.items(), key=lambda item: (-item[1].read, item[0])):
        # Text, since a label may hold what rich takes for markup.
        table.add_row(Text(label), *_cells(row))
    console.print(table)

    reasons = Table("action", "code", "meaning", title="Reasons", title_justify="left")
    reasons.add_column("mentions", justify="right")
    for action, codes in (("changed", CHANGES), ("dropped", DROPS)):
        for code, meaning in codes.items():
            reasons.add_row(action, code, meaning, str(counts.reasons[code]))
    console.print(reasons)

    documents = counts.documents
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(counts.other_lines.items()))
    typer.echo(
        f"Documents: {documents.read} read, {documents.kept} kept, {documents.dropped} dropped "
        f"({EMPTY_DOCUMENT})."
    )
    typer.echo(
        f"Lines skipped, being no text-bound annotations: {counts.other_lines.total()}"
        + (f" ({kinds})." if kinds else ".")
    )


def _cells(row: ActionCounts) -> tuple[str, str, str, str]:
    return str(row.read), str(row.kept), str(row.changed), str(row.dropped)
