"""clinical-ner audit: what a model gives away of the notes that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ..packaging.audit import audit
from ._app import app
from ._shared import AsJson, GpuId, Overwrite, columns, number, print_report, track

#: What of a note the membership attack knows.
ATTACKS = {"most_probable_tag": "its text", "gold_tag": "its text and annotation"}


@app.command("audit", no_args_is_help=True)
def audit_cli(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL", help="A pipeline's folder, a wheel, or an installed package's name."
        ),
    ],
    corpus: Path = typer.Option(
        ..., help="The notes that it was trained on, in any format that convert reads."
    ),
    held_out: Path | None = typer.Option(
        None,
        "--membership",
        metavar="HELDOUT.spacy",
        help="Notes that had no part in training: also measure how well the model's probabilities "
        "tell the training notes from these. The corpus is a .spacy file then, and MODEL no wheel.",
    ),
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        help="JSON file for the report, for package --audit; that of an earlier call is replaced.",
    ),
    show_text: bool = typer.Option(
        False, "--show-text", help="Report the words themselves, which are text of notes."
    ),
    gpu_id: GpuId = -1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Search a model for words of its training notes; exit code 1 if it holds any.

    Every file is searched, also inside archives, JSON, msgpack and the bytes of weights. Words of
    labels, of this library and of the tokenizers do not count, nor those under four letters; among
    the bytes of weights those of six bytes or more are found.

    \b
    Example:
      clinical-ner audit training/model-final --corpus corpus/train.spacy \\
        --membership corpus/test.spacy --output metrics/audit.json
    """
    report = audit(
        model,
        corpus,
        held_out=held_out,
        output=output,
        overwrite=overwrite,
        show_text=show_text,
        gpu_id=gpu_id,
        track=track,
    )
    print_report(report, _content(report), as_json=as_json)
    if report["found"]:
        raise typer.Exit(1)


def _content(report: Mapping[str, Any]) -> Iterator[Table | str]:
    searched = f"{report['words']:,} words of {report['documents']} documents"
    if report["found"]:
        table = columns("File", right=("Words",), title=f"Found of {searched}")
        for name, found in report["found"].items():
            table.add_row(Text(name), str(found))
        yield table
    else:
        yield f"None of {searched} was found."
    for name, words in (report["text"] or {}).items():
        yield f"{name}: {' '.join(words)}"
    if measured := report["membership"]:
        title = f"{measured['members']} training documents against {measured['others']} others"
        headers = ("AUC", "95 % interval", "AUC, not calibrated")
        table = columns("Who knows of a note", right=headers, title=title)
        before = measured["before_calibration"]
        for name, knows in ATTACKS.items():
            low, high = measured[name]["interval"]
            raw = None if before is None else before[name]["auc"]
            interval = f"{number(low, 3)} to {number(high, 3)}"
            table.add_row(knows, number(measured[name]["auc"], 3), interval, number(raw, 3))
        yield table
        yield (
            "AUC: of a training note and another note, how often the model is surer of the "
            "training note. 0.5 is chance; 1 tells every note."
        )
