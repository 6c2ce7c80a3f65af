"""clinical-ner optimize: a pipeline's encoder on ONNX Runtime, if it stays as good."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from enum import Enum
from pathlib import Path
from typing import Any

import torch
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table
from spacy.tokens import Doc

from ..data.read_gold import read_gold_for
from ..errors import ClinicalNerError
from ..onnx.before_after import SCORES, compare_speed, scores_of
from ..pipeline.pipeline_folder import check_output, write_pipeline
from ._app import app
from .evaluate import load_pipeline

#: Key of meta.json under which a pipeline tells how it was optimised.
META = "optimization"
#: What optimising may cost on DEV: points of micro-F1, and calibration error of tokens.
MAX_F_LOSS = 0.5
MAX_ECE_LOSS = 0.005
#: How often each pipeline runs over DEV for its speed.
ROUNDS = 3
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
        MAX_F_LOSS, "--max-f-loss", min=0.0, help="Points of micro-F1 on DEV that it may cost."
    ),
    max_ece_loss: float = typer.Option(
        MAX_ECE_LOSS,
        "--max-ece-loss",
        min=0.0,
        help="By how much the calibration error of tokens on DEV may grow.",
    ),
    rounds: int = typer.Option(
        ROUNDS, "--rounds", min=1, help="How often each pipeline runs over DEV for its speed."
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
    report = optimize(
        model,
        dev,
        output,
        precision=precision.value,
        max_f_loss=max_f_loss,
        max_ece_loss=max_ece_loss,
        rounds=rounds,
        show_progress=sys.stderr.isatty(),
    )
    if as_json:
        print(json.dumps(report, indent=2, sort_keys=True, allow_nan=False))
    else:
        _print(report)


def optimize(
    model: str,
    dev: Path,
    output: Path,
    *,
    precision: str = "int8",
    max_f_loss: float = MAX_F_LOSS,
    max_ece_loss: float = MAX_ECE_LOSS,
    rounds: int = ROUNDS,
    show_progress: bool = False,
) -> dict[str, Any]:
    """Move a pipeline's encoder to ONNX Runtime, and write it to another folder if it is as good.

    model: a pipeline's folder, or the name of an installed package.
    dev: gold documents to measure on.
    output: folder of the new pipeline; an existing pipeline is replaced.
    precision: "int8" or "fp32".
    max_f_loss: largest loss of micro-F1 in points.
    max_ece_loss: largest growth of the calibration error of tokens, where there is one.
    rounds: how often each pipeline runs for its speed.
    show_progress: draw a progress bar on stderr.

    RETURNS: what meta.json tells under "optimization", and the settings. ``before`` and ``after``
        hold the SCORES, None where undefined, ``words_per_second``, ``folder_bytes`` and
        ``encoder_bytes``; ``speed_ratio`` is the median ratio of paired rounds.
    RAISES ClinicalNerError: an input is missing or not what it should be, what is needed is not
        installed, the encoder cannot be written as ONNX, or the result is worse than the bounds
        allow. Nothing is written then.
    """
    # It imports transformers, which takes seconds.
    from ..onnx.optimize import optimize_encoder, transformer_to_optimize

    check_output(output, inputs=[Path(model), dev])
    before = load_pipeline(model)
    folder = before.path
    # Where the name is a package's, this is the folder inside it.
    check_output(output, inputs=[folder])
    name = transformer_to_optimize(before, model)
    references = read_gold_for(dev, before)
    after = optimize_encoder(before, name, precision)
    found = [
        scores_of(nlp, references, track=_bar(title, len(references), shown=show_progress))
        for title, nlp in (("Before", before), ("After", after))
    ]
    _check_bounds(output, *found, max_f_loss=max_f_loss, max_ece_loss=max_ece_loss)
    speed = compare_speed(before, after, references, rounds=rounds)
    told: dict[str, Any] = {
        "component": name,
        "precision": precision,
        "documents": len(references),
        "threads": torch.get_num_threads(),
        "speed_ratio": speed.ratio,
    }
    for column, scores in zip(("before", "after"), found, strict=True):
        told[column] = {key: scores.get(key) for key in SCORES}
        told[column]["words_per_second"] = asdict(speed)[column]
    write_pipeline(after, output, scores=found[1], **{META: told})
    for column, path in (("before", folder), ("after", output)):
        told[column] |= {"folder_bytes": _size(path), "encoder_bytes": _size(path / name)}
    return {
        **told,
        "max_f_loss": max_f_loss,
        "max_ece_loss": max_ece_loss,
        "rounds": rounds,
        "model": model,
        "dev": str(dev),
        "output": str(output),
    }


def _check_bounds(
    output: Path,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    *,
    max_f_loss: float,
    max_ece_loss: float,
) -> None:
    """Raise ClinicalNerError if a score is worse than its bound allows."""
    faults = []
    points = 100 * before["ents_f"], 100 * after["ents_f"]
    if points[0] - points[1] > max_f_loss:
        faults.append(f"micro-F1 {points[0]:.2f} -> {points[1]:.2f} (at most {max_f_loss:g} less)")
    errors = before["token_ece"], after["token_ece"]
    if None not in errors and errors[1] - errors[0] > max_ece_loss:
        faults.append(
            f"token ECE {errors[0]:.4f} -> {errors[1]:.4f} (at most {max_ece_loss:g} more)"
        )
    if faults:
        raise ClinicalNerError(
            f"{output}: not written, since optimizing costs too much on DEV: {', '.join(faults)}. "
            "Use --precision fp32, or allow more with --max-f-loss and --max-ece-loss."
        )


def _bar(title: str, total: int, *, shown: bool) -> Any:
    def with_bar(documents: Iterable[Doc]) -> Iterable[Doc]:
        return track(documents, title, total, console=Console(stderr=True))

    return with_bar if shown else iter


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
