"""``clinical-ner review``: the notes to annotate next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType
from rich.text import Text

from ..data.formats.preannotated import TOOLS
from ..errors import missing_extra, shown
from ._app import app
from ._meter import Meter
from ._shared import AsJson, Model, columns, number, one_of, print_report
from .predict import FAILED_NOTES

#: Rows of a table; all are in the files and with --json.
SHOWN = 10
#: What is compared with the notes that were trained on.
TESTS = {
    "unseen_words": "words that training lacks",
    "token_uncertainty": "mean of 1 - max p",
    "type_shares": "shares of the types",
}


@app.command("review", no_args_is_help=True)
def review_cli(
    model: Model,
    source: str = typer.Argument(
        ...,
        metavar="NOTES",
        help="A folder of .txt files, a .jsonl, .csv or .parquet file, or - for JSON lines on "
        "stdin.",
    ),
    output: Path = typer.Option(
        ...,
        "--output",
        "-o",
        help="Without --to, a .jsonl file of ids and numbers. For doccano and prodigy .jsonl, for "
        "label-studio .json, for brat a folder.",
    ),
    to: str | None = typer.Option(
        None,
        callback=one_of(*TOOLS),
        help=f"{', '.join(TOOLS)}: the notes, with their TEXT and the entities that MODEL finds, "
        "as the tool imports them.",
    ),
    limit: int | None = typer.Option(None, min=1, help="Length of the queue; by default all."),
    id: str = typer.Option("id", "--id", help="Column, or key, of the ids of the notes."),
    text: str = typer.Option("text", "--text", help="Column, or key, of their texts."),
    against: Path | None = typer.Option(
        None,
        metavar="TRAIN.spacy",
        help="What MODEL was trained on: tells whether NOTES are other ones.",
    ),
    held_out: Path | None = typer.Option(
        None,
        metavar="DEV.spacy",
        help="With --against: documents like those that MODEL was not trained on, without which "
        "only words are compared.",
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace the outputs."),
    as_json: AsJson = False,
) -> None:
    """Order notes by what annotating them tells MODEL, and hand them to an annotation tool.

    First come notes whose spans MODEL is least certain of and that it expects entities of its
    rarest types in, per word; a note like one before it comes later. The queue says why in numbers.
    With --to it is in NAME.queue.jsonl, beside the notes for the tool, whose export is read by
    clinical-ner convert. Ends with exit code 3 if a note failed.

    \b
    Examples:
      clinical-ner review en_clinical_ner notes.csv --output next.json --to label-studio --limit 50
      clinical-ner review en_clinical_ner notes/ --output queue.jsonl \\
        --against corpus/train.spacy --held-out corpus/dev.spacy
    """
    if held_out is not None and against is None:
        raise typer.BadParameter("only with --against", param_hint="'--held-out'")
    try:
        from ..annotate.review import review
    except ModuleNotFoundError as error:
        if error.name != "pyarrow":
            raise
        raise missing_extra("clinical-ner review", "pyarrow", "predict") from error
    with Meter(source) as meter:
        report = review(
            *(model, source, output),
            to=to,
            limit=limit,
            id=id,
            text=text,
            against=against,
            held_out=held_out,
            overwrite=overwrite,
            tell=meter.add,
        )
    print_report(report, _content(report), as_json=as_json)
    if report["failed"]:
        raise typer.Exit(FAILED_NOTES)


def _content(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The first notes, those that failed, and how far the notes are from others."""
    queue = report["queue"]
    title = f"First {min(SHOWN, len(queue))} of {len(queue)} notes to annotate"
    table = columns(
        *("", "id"),
        right=("score", "uncertainty", "rare, expected", "similarity", "words"),
        title=title,
    )
    for row in queue[:SHOWN]:
        table.add_row(
            *(str(row["rank"]), Text(shown(row["id"])), number(row["score"], 2)),
            *(number(row["uncertainty"], 1), number(sum(row["rare"].values()), 2)),
            *(number(row["similarity"], 3), str(row["words"])),
        )
    yield table
    states = ", ".join(f"{count} {state}" for state, count in sorted(report["status"].items()))
    yield f"{report['notes']} notes ({states})"
    for failed in report["failed"][:SHOWN]:
        name = "" if failed["id"] is None else f" ({shown(failed['id'])})"
        yield f"  note {failed['row'] + 1}{name}: {failed['error']}"
    if report["shift"] is not None:
        yield from _shift(report["shift"])
    yield f"written: {', '.join(report['written'])}"


def _shift(shift: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The tests, the types whose shares differ most, and what follows."""
    documents = shift["documents"]
    title = f"{documents['notes']} notes against {documents['reference']} {shift['reference']}"
    table = columns("", right=("reference", "notes", "distance", "p"), title=title)
    for name, test in shift["tests"].items():
        values = (test.get(key) for key in ("reference", "notes", "distance", "p"))
        table.add_row(TESTS[name], *map(number, values))
    yield table
    title = "Shares of the tokens; estimated: if notes differ in nothing else"
    table = columns("Type", right=("training", "counted", "estimated"), title=title)
    by_change = sorted(
        shift["types"].items(), key=lambda of: -abs(of[1]["estimated"] - of[1]["training"])
    )
    for label, of in by_change[:SHOWN]:
        table.add_row(
            Text(label), *(number(of[key]) for key in ("training", "counted", "estimated"))
        )
    yield table
    if not shift["converged"]:
        yield "The estimate had not converged."
    rule = "the smallest p times the number of tests is"
    if shift["alarm"]:
        yield Text(
            f"ALARM: {rule} below 0.05. These notes are other ones than MODEL was trained on, and "
            "its probabilities may not hold for them: annotate some of them, and evaluate."
        )
    else:
        yield f"No alarm: {rule} 0.05 or more."
