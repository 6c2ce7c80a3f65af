"""clinical-ner neighbours: mix the tags of similar training tokens into the probabilities."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from ..fitting.add_neighbours import neighbours
from ._app import app

TITLES = {
    "nll": ("negative log-likelihood of the gold tag, nats", 4),
    "ents_f": ("F1, micro", 4),
    "ents_macro_f": ("F1, macro", 4),
    "token_ece": ("calibration error of tokens", 4),
    "tokens_per_second": ("tokens per second", 0),
}


@app.command("neighbours", no_args_is_help=True)
def neighbours_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    train: Path = typer.Argument(
        ..., metavar="TRAIN.spacy", help="Documents whose tokens fill the datastore."
    ),
    dev: Path = typer.Argument(
        ..., metavar="DEV.spacy", help="Documents that choose k, r and the temperature."
    ),
    output: Path = typer.Argument(
        ..., metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."
    ),
    max_k: int = typer.Option(64, "--max-k", min=1, help="Largest number of neighbours to try."),
    outside_ratio: float = typer.Option(
        1.0, "--outside-ratio", help="Vectors of O to keep at most, per vector of an entity token."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the choice among those of O."),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON on stdout."),
) -> None:
    """Mix the tags of the nearest training tokens into a pipeline's probabilities.

    p = r * p_knn + (1 - r) * p, where p_knn is by the k training tokens with the nearest vectors.
    k, r and the temperature are those under which the gold tags of DEV are likeliest. If the best
    r is 0, neighbours do not help: the pipeline is then written without them.

    The datastore holds no words, but its vectors derive from the notes of TRAIN: keep the pipeline,
    and a wheel made of it, as you keep these.

    \b
    Example:
      clinical-ner neighbours training/model-best corpus/train.spacy corpus/dev.spacy \\
        training/model-knn
    """
    if not outside_ratio > 0 or math.isinf(outside_ratio):
        raise typer.BadParameter("must be a number above 0", param_hint="'--outside-ratio'")
    report = neighbours(
        model,
        train,
        dev,
        output,
        max_k=max_k,
        outside_ratio=outside_ratio,
        seed=seed,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(report)


def _print(report: dict[str, Any]) -> None:
    vectors = report["entity_vectors"] + report["outside_vectors"]
    console = Console(soft_wrap=True)
    console.print(
        f"Datastore: {vectors} vectors, {report['entity_vectors']} of entity tokens and "
        f"{report['outside_vectors']} of {report['outside_tokens']} of O; "
        f"{report['megabytes']:.1f} MB.",
        highlight=False,
    )
    if report["dev_documents_in_train"]:
        console.print(
            f"Careful: {report['dev_documents_in_train']} documents of DEV stand in TRAIN, too. "
            "Their tokens find themselves, so the settings trust neighbours too much.",
            highlight=False,
        )
    title = f"{report['dev_tokens']} tokens of DEV, which chose the settings"
    table = Table("Score", title=title)
    for header in ("before", "after"):
        table.add_column(header, justify="right")
    for name, (text, digits) in TITLES.items():
        cells = [_number(report[column], name, digits) for column in ("before", "after")]
        table.add_row(text, *cells)
    console.print(table)
    if report["neighbours_help"]:
        end = (
            f"k = {report['k']}, r = {report['mixing']:g}, temperature = "
            f"{report['temperature']:.4g}. Written with them: {report['output']}"
        )
    else:
        end = (
            "r = 0: neighbours do not help this pipeline. Written without a datastore, so it "
            f"predicts as MODEL does without one: {report['output']}"
        )
    console.print(end, highlight=False, markup=False)
    if report["calibration_dropped"]:
        console.print(
            "The calibration of MODEL was dropped, since probabilities are others now: run "
            "clinical-ner calibrate on the new pipeline.",
            highlight=False,
        )


def _number(scores: dict[str, Any] | None, name: str, digits: int) -> str:
    if scores is None:
        return "-"
    value = scores[name]
    if value is None:
        return "infinite" if name == "nll" else "n/a"
    return f"{value:.{digits}f}"
