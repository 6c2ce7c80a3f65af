"""clinical-ner calibrate: make a pipeline's probabilities agree with frequencies."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from ..fitting.calibrate import NOTE, calibrate
from ..fitting.fit_tokens import MIN_SUPPORT
from ._app import app

TITLES = {
    "token_ece": "calibration error of tokens",
    "token_nll": "negative log-likelihood of the gold tag, nats",
    "ents_ece": "calibration error of entities",
    "ents_brier": "Brier score of entities",
}


@app.command("calibrate", no_args_is_help=True)
def calibrate_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    dev: Path = typer.Argument(
        ..., metavar="DEV.spacy", help="Documents with gold entities, none of them trained on."
    ),
    output: Path = typer.Argument(
        ..., metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."
    ),
    min_support: int = typer.Option(
        MIN_SUPPORT,
        "--min-support",
        min=1,
        help="Tokens of DEV that a tag needs for a bias of its own; those with fewer have that of "
        "the tags about as common in training.",
    ),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON on stdout."),
) -> None:
    """Make a pipeline's probabilities agree with how often they are right, on held-out documents.

    Two steps are fitted by likelihood. For tokens: one temperature, and a bias per tag. For
    entities: a monotone map of the probability of a span, which is too large since the entity was
    chosen for it. A calibration that MODEL has is replaced.

    What is printed as "after" is of documents that the calibration was fitted without, in turn.

    \b
    Example:
      clinical-ner calibrate training/model-best corpus/dev.spacy training/model-final
    """
    report = calibrate(
        model,
        dev,
        output,
        min_support=min_support,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    for warning in report["warnings"]:
        print(f"clinical-ner: {warning}", file=sys.stderr)
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(report)


def _print(report: Mapping[str, Any]) -> None:
    console = Console(soft_wrap=True)
    title = f"{report['documents']} documents of DEV, {report['tokens']} tokens"
    table = Table("Score", title=title)
    for header in ("before", "after, cross-fitted"):
        table.add_column(header, justify="right")
    for key, text in TITLES.items():
        cells = (_cell(report[column], key) for column in ("before", "after"))
        table.add_row(text, *cells)
    console.print(table)
    step = report["entity_step"]
    if step is None:
        entities = "none"
    else:
        entities = ", ".join(f"{key} {value:.4g}" for key, value in step.items())
        entities += f", on {report['spans']} spans of which {report['right_spans']} are right"
    for line in (
        f"Temperature: {report['temperature']:.4g}",
        f"Biases: {report['shared_biases']} of tags about as common, {report['own_biases']} of "
        "single tags",
        f"Entity step: {entities}",
        NOTE,
        f"Written: {report['output']}",
    ):
        console.print(line, highlight=False, markup=False)


def _cell(scores: Mapping[str, float | None] | None, key: str) -> str:
    value = None if scores is None else scores[key]
    return "n/a" if value is None else f"{value:.4f}"
