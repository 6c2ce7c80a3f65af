"""clinical-ner evaluate: scores of a pipeline on annotated documents."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..evaluation.evaluate import evaluate
from ..evaluation.plots import missing
from ..scoring.bootstrap import RESAMPLES
from ._app import app
from ._evaluation_tables import content
from ._shared import AsJson, GpuId, Model, print_report, track, warn


@app.command("evaluate")
def evaluate_cli(
    model: Model,
    data: Annotated[
        Path, typer.Argument(metavar="DATA.spacy", help="Documents with gold entities.")
    ],
    output: Path | None = typer.Option(
        None, "--output", "-o", help="JSON file for the scores; an existing one is replaced."
    ),
    plots: Path | None = typer.Option(
        None,
        "--plots",
        metavar="DIR",
        help="Folder for reliability, precision_recall, types and prior_ratios, as PNG and SVG.",
    ),
    resamples: int = typer.Option(
        RESAMPLES, "--resamples", min=1, help="Bootstrap resamples behind the intervals."
    ),
    seed: int = typer.Option(0, "--seed", min=0, help="Seed of the bootstrap."),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Score a pipeline's entities against gold, with 95 % bootstrap intervals over documents.

    Works with any spaCy pipeline that sets doc.ents. An entity is right if its label and both its
    boundaries agree with gold. A clinical_ner component whose loss has a posterior is also scored
    for its probabilities: how well those of tokens and of entities fit how often they are right
    (ECE, Brier, log likelihood), before and after calibration; how well they rank the spans that
    might be entities (average precision); and how much mass each type gets.

    If the documents also hold the mentions that entities cannot hold (nested, discontinuous;
    clinical-ner convert keeps them in doc.spans["gold_all"]), the ceiling that
    these set to recall is scored as well.

    \b
    Example:
      clinical-ner evaluate training/model-final corpus/test.spacy --output metrics.json \\
        --plots metrics/plots
    """
    metrics = evaluate(
        model,
        data,
        output=output,
        plots=plots,
        resamples=resamples,
        seed=seed,
        gpu_id=gpu_id,
        track=track,
    )
    if plots is not None:
        for name, reason in missing(metrics).items():
            warn(f"{plots / name}: not drawn, since {reason}.")
    print_report(metrics, content(metrics), as_json=as_json)
