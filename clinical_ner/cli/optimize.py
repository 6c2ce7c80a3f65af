"""clinical-ner optimize: a pipeline's encoder on ONNX Runtime, if it stays as good."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from enum import Enum
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spacy.tokens import Doc

from ..data.read_gold import read_gold_for
from ..pipeline.loading import check_output, load_pipeline
from ._app import app

TITLES = {
    "words_per_second": "words per second",
    "folder_bytes": "size of the folder, MB",
    "encoder_bytes": "size of the encoder, MB",
    "ents_f": "F1 of entities, micro",
    "ents_macro_f": "F1 of entities, macro",
    "token_ece": "calibration error of tokens",
    "ents_ece": "calibration error of entities",
    "token_nll": "negative log-likelihood of the gold tag, nats",
}


class Precision(Enum):
    """Precisions of an optimised encoder."""

    INT8 = "int8"
    FP32 = "fp32"


@app.command("optimize", no_args_is_help=True)
def optimize_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    dev: Path = typer.Argument(
        ..., metavar="DEV.spacy", help="Documents with gold entities, none of them trained on."
    ),
    output: Path = typer.Argument(
        ..., metavar="OUTPUT", help="Folder for the new pipeline; MODEL stays as it is."
    ),
    precision: Precision = typer.Option(
        Precision.INT8.value,
        "--precision",
        help="int8: weights of 8 bits, activations quantised as they come. fp32: the same numbers "
        "as before, to rounding.",
    ),
    max_f_loss: float = typer.Option(
        0.5, "--max-f-loss", min=0.0, help="Points of micro-F1 on DEV that it may cost."
    ),
    max_macro_f_loss: float = typer.Option(
        1.0, "--max-macro-f-loss", min=0.0, help="Points of macro-F1 on DEV that it may cost."
    ),
    max_ece_loss: float = typer.Option(
        0.005,
        "--max-ece-loss",
        min=0.0,
        help="By how much the calibration error of tokens on DEV may grow.",
    ),
    rounds: int = typer.Option(
        3, "--rounds", min=1, help="How often each pipeline runs over DEV for its speed."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the report as JSON on stdout."),
) -> None:
    """Let a pipeline's encoder run on ONNX Runtime, which is faster on a CPU.

    The new pipeline loads with spacy.load wherever clinical-ner[onnx] is installed; it predicts and
    cannot be trained. Nothing is written if it is worse on DEV than the bounds allow. Both are
    measured here: scores on DEV, and speed in rounds of changing order, with the threads that
    PyTorch uses.

    \b
    Example:
      clinical-ner optimize training/model-final corpus/dev.spacy training/model-int8
    """
    # It imports transformers, which takes seconds.
    from ..onnx.optimize import optimize

    check_output(output, inputs=[Path(model), dev])
    nlp = load_pipeline(model)
    bounds = {
        "max_f_loss": max_f_loss,
        "max_macro_f_loss": max_macro_f_loss,
        "max_ece_loss": max_ece_loss,
    }
    report = optimize(
        nlp,
        read_gold_for(dev, nlp),
        output,
        precision=precision.value,
        rounds=rounds,
        track=_bar if sys.stderr.isatty() else lambda title, documents: documents,
        **bounds,
    )
    report |= {**bounds, "rounds": rounds, "model": model, "dev": str(dev), "output": str(output)}
    for key, folder in (("before", nlp.path), ("after", output)):
        report[key]["folder_bytes"] = _size(folder)
        report[key]["encoder_bytes"] = _size(folder / report["component"])
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(report)


def _bar(title: str, documents: Iterable[Doc]) -> Iterable[Doc]:
    return track(documents, title, console=Console(stderr=True))


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def _print(report: Mapping[str, Any]) -> None:
    console = Console(soft_wrap=True)
    table = Table("On DEV", title=f"{report['documents']} documents, {report['precision']}")
    for header in ("before", "after"):
        table.add_column(header, justify="right")
    for key, text in TITLES.items():
        table.add_row(text, *(_cell(key, report[column][key]) for column in ("before", "after")))
    console.print(table)
    for line in (
        f"Speed: {report['speed_ratio']:.2f} times that before, the median of {report['rounds']} "
        f"paired rounds on {report['threads']} threads of this machine",
        f"Written: {report['output']}",
    ):
        console.print(line, highlight=False, markup=False)


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "n/a"
    if key.endswith("_bytes"):
        return f"{value / 1e6:.1f}"
    return f"{value:.0f}" if key == "words_per_second" else f"{value:.4f}"
