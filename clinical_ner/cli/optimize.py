"""clinical-ner optimize: a pipeline's encoder on ONNX Runtime, if it stays as good."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import typer
from rich.table import Table

from ._app import app
from ._shared import AsJson, Dev, Model, Output, columns, number, print_report, track

TITLES = {
    "words_per_second": "words per second",
    "folder_bytes": "size of the folder, MB",
    "encoder_bytes": "size of the encoder, MB",
    "ents_f": "F1 of entities, micro",
    "ents_macro_f": "F1 of entities, macro",
    "spans_f": "F1 of all mentions, micro",
    "spans_macro_f": "F1 of all mentions, macro",
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
    model: Model,
    dev: Dev,
    output: Output,
    precision: Precision = typer.Option(
        Precision.INT8.value,
        help="int8: weights of 8 bits, activations quantised as they come. fp32: the same numbers "
        "as before, to rounding.",
    ),
    max_f_loss: float = typer.Option(
        0.5, min=0.0, help="Points of micro-F1 on DEV that it may cost."
    ),
    max_macro_f_loss: float = typer.Option(
        1.0, min=0.0, help="Points of macro-F1 on DEV that it may cost."
    ),
    max_ece_loss: float = typer.Option(
        0.005, min=0.0, help="By how much the calibration error of tokens on DEV may grow."
    ),
    rounds: int = typer.Option(
        3, min=1, help="How often each pipeline runs over DEV for its speed."
    ),
    as_json: AsJson = False,
) -> None:
    """Let a pipeline's encoder run on ONNX Runtime, which is faster on a CPU.

    The new pipeline loads with spacy.load wherever clinical-ner[onnx] is installed; it predicts and
    cannot be trained. Nothing is written if it is worse on DEV than the bounds allow, with overlaps
    over all mentions, too. Both are measured here: scores on DEV, and speed in rounds of changing
    order, with the threads that PyTorch uses.

    \b
    Example:
      clinical-ner optimize training/model-final corpus/dev.spacy training/model-int8
    """
    # It imports transformers, which takes seconds.
    from ..onnx.optimize import optimize

    report = optimize(
        model,
        dev,
        output,
        precision=precision.value,
        max_f_loss=max_f_loss,
        max_macro_f_loss=max_macro_f_loss,
        max_ece_loss=max_ece_loss,
        rounds=rounds,
        track=track,
    )
    print_report(report, _content(report), as_json=as_json)


def _content(report: Mapping[str, Any]) -> Iterator[Table | str]:
    title = f"{report['documents']} documents, {report['precision']}"
    table = columns("On DEV", right=("before", "after"), title=title)
    for key, text in TITLES.items():
        if key not in report["before"]:
            continue
        table.add_row(text, *(_cell(key, report[column][key]) for column in ("before", "after")))
    yield table
    yield (
        f"Speed: {report['speed_ratio']:.2f} times that before, the median of {report['rounds']} "
        f"paired rounds on {report['threads']} threads of this machine"
    )
    yield f"Written: {report['output']}"


def _cell(key: str, value: float | None) -> str:
    if value is not None and key.endswith("_bytes"):
        return number(value / 1e6, 1)
    return number(value, 0 if key == "words_per_second" else 4)
