"""clinical-ner tune: thresholds per label, and the prior strength, chosen on held-out documents."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..decoding.decision import check_prior_strength
from ..errors import ClinicalNerError
from ..fitting.thresholds import Objective
from ..fitting.tune import tune
from ._app import app

TITLES = {
    "ents_p": "precision, micro",
    "ents_r": "recall, micro",
    "ents_f": "F1, micro",
    "ents_macro_r": "recall, macro",
    "ents_macro_f": "F1, macro",
}

#: Columns of a table that is not printed to a terminal.
WIDTH = 110


@app.command("tune", no_args_is_help=True)
def tune_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    dev: Path = typer.Argument(
        ..., metavar="DEV.spacy", help="Documents with gold entities that choose the thresholds."
    ),
    output: Path = typer.Argument(
        ..., metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."
    ),
    objective: str = typer.Option(
        "macro_f",
        "--objective",
        help="macro_f: the best F1 of every label. recall@precision=P: the best recall of every "
        "label at a precision of at least P, above 0 and at most 1.",
    ),
    prior_strengths: str = typer.Option(
        "",
        "--prior-strengths",
        help="Prior strengths in [0, 1] to choose from, with commas; by default MODEL's own.",
    ),
    min_support: int = typer.Option(
        10,
        "--min-support",
        min=1,
        help="Labels with fewer predicted entities share the threshold of those about as common "
        "in training.",
    ),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON on stdout."),
) -> None:
    """Choose which entities a pipeline makes, by their probabilities, on held-out documents.

    A threshold drops the entities of one label whose probability is below it. Every label's is
    searched on DEV; those that MODEL has are replaced. Where --prior-strengths names several, the
    one whose thresholds give the best mean over the labels of gold (of F1, or of recall) is kept
    with them. No probability changes, so this can be repeated for another objective.

    Calibrate first: thresholds act on calibrated probabilities. DEV chose the thresholds, so its
    scores flatter them: evaluate on other documents.

    \b
    Example:
      clinical-ner tune training/model-final corpus/dev.spacy training/model-tuned \\
        --objective recall@precision=0.9 --prior-strengths 1,0.75,0.5
    """
    try:
        parsed = Objective.parse(objective)
    except ClinicalNerError as error:
        raise typer.BadParameter(str(error), param_hint="'--objective'") from error
    report = tune(
        model,
        dev,
        output,
        objective=parsed,
        prior_strengths=_strengths(prior_strengths),
        min_support=min_support,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    if not report["calibrated"]:
        print(
            "clinical-ner: MODEL is not calibrated. Its thresholds hold for its raw probabilities, "
            "so calibrating it later would make them wrong.",
            file=sys.stderr,
        )
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(report)


def _strengths(text: str) -> list[float]:
    """Parse comma-separated prior strengths; none in an empty text."""
    try:
        return [check_prior_strength(float(part)) for part in text.split(",") if text.strip()]
    except ValueError as error:
        raise typer.BadParameter(
            f"numbers in [0, 1], not {text!r}", param_hint="'--prior-strengths'"
        ) from error


def _print(report: Mapping[str, Any]) -> None:
    console = Console() if sys.stdout.isatty() else Console(width=WIDTH)
    table = Table("Label", title=f"{report['documents']} documents of DEV, before > after")
    for header in ("Threshold", "From", "Gold", "P", "R", "F1"):
        table.add_column(header, justify="left" if header == "From" else "right")
    labels = sorted(report["labels"].items(), key=lambda of: (-of[1]["after"]["support"], of[0]))
    for label, row in labels:
        table.add_row(
            Text(label),
            f"{row['threshold']:.4f}" if row["threshold"] else "none",
            row["source"] or "-",
            str(row["after"]["support"]),
            *(_change(row["before"][key], row["after"][key]) for key in ("p", "r", "f")),
        )
    console.print(table)
    table = Table("Score", title="All labels")
    for header in ("before", "after"):
        table.add_column(header, justify="right")
    for key, title in TITLES.items():
        table.add_row(title, *(f"{report[when][key]:.4f}" for when in ("before", "after")))
    console.print(table)
    lines = [f"prior_strength = {report['prior_strength']:g}"]
    if len(report["prior_strengths"]) > 1:
        tried = (f"{s} ({value:.4f})" for s, value in report["prior_strengths"].items())
        of = "recall" if report["objective"] != "macro_f" else "F1"
        lines[0] += f", by macro {of} of {', '.join(tried)}"
    if report["silenced"]:
        lines.append(
            "Silenced, since no threshold reaches the precision on DEV: "
            + ", ".join(report["silenced"])
        )
    if not report["calibrated"]:
        lines.append("The probabilities are not calibrated.")
    lines.append("DEV chose the thresholds, so these scores flatter them: evaluate on test.")
    lines.append(f"Written: {report['output']}")
    for line in lines:
        console.print(line, highlight=False, markup=False, soft_wrap=True)


def _change(before: float | None, after: float | None) -> str:
    return " > ".join("n/a" if value is None else f"{value:.3f}" for value in (before, after))
