"""``clinical-ner final``: the model to use, made of all documents that folds divided."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer

from ..fitting.final import METHODS, REASON, RULE, SOFT_WEIGHT, TRAINED, final
from ._app import app
from ._shared import AsJson, GpuId, number, one_of, print_report, track, warn


@app.command("final", no_args_is_help=True)
def final_cli(
    folds: Path = typer.Argument(..., metavar="FOLDS", help="Folder of clinical-ner folds."),
    output: Path = typer.Argument(..., metavar="OUTPUT", help="Folder for the new pipeline."),
    method: str = typer.Option(
        None,
        callback=one_of(*METHODS),
        help=f"One of {', '.join(METHODS)}; by rule {RULE}, since {REASON}.",
    ),
    seed: int = typer.Option(
        None,
        min=0,
        max=2**32 - 1,
        help="Of a method that trains; by default the first seed of the folds.",
    ),
    soft_weight: float = typer.Option(
        None,
        help="Share of the out-of-fold probabilities in what distilled learns of each token, "
        f"in (0, 1]; gold has the rest. By default {SOFT_WEIGHT}.",
    ),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Make one model of all documents, calibrated on the predictions of the folds.

    all: trained on all documents. average: the mean of the weights of the folds' models.
    distilled: trained on all documents, on gold and on the folds' predictions. ensemble: the mean
    of the probabilities of the folds' models, which takes as long as all of them.

    No document is left to test it on: its scores are those of the folds' models. So is its
    calibration, which holds for all and average, and not for the others.

    \b
    Example:
      clinical-ner final training/folds training/model-final
    """
    chosen = method or RULE
    if seed is not None and chosen not in TRAINED:
        raise typer.BadParameter(f"{chosen} trains nothing", param_hint="'--seed'")
    if soft_weight is not None and (chosen != "distilled" or not 0 < soft_weight <= 1):
        raise typer.BadParameter(
            "a number in (0, 1], with --method distilled", param_hint="'--soft-weight'"
        )
    report = final(
        folds,
        output,
        method=method,
        seed=seed,
        soft_weight=soft_weight,
        gpu_id=gpu_id,
        track=track,
    )
    for warning in report["calibration"]["warnings"]:
        warn(warning)
    print_report(report, _content(report), as_json=as_json)


def _content(report: Mapping[str, Any]) -> Iterator[str]:
    scores = report["performance"]
    yield f"Method {report['method']}, chosen {report['chosen']}: {report['what']}"
    yield (
        f"{report['documents']} documents, {report['folds']} folds, {report['epochs']:g} of "
        f"{report['planned_epochs']} planned epochs"
    )
    yield (
        f"Out of fold: micro-F {number(scores['ents_f'])}, macro-F "
        f"{number(scores['ents_macro_f'])} over {scores['ents_macro_types']} types"
    )
    yield report["notes"]
    yield f"Written: {report['output']}"
