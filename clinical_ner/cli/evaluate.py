"""clinical-ner evaluate: scores of a pipeline on annotated documents."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from pathlib import Path

import typer
from rich.console import Console

from ..errors import not_a_folder
from ..evaluation.evaluate import _pictures, evaluate
from ..evaluation.plots import check_can_draw, draw, missing
from ..files import replacing
from ..scoring.bootstrap import RESAMPLES
from ._app import app
from ._evaluation_tables import mention_lines, notes, overall_table, type_table


@app.command("evaluate")
def evaluate_cli(
    model: str = typer.Argument(
        ..., metavar="MODEL", help="A pipeline's folder, or the name of an installed package."
    ),
    data: Path = typer.Argument(..., metavar="DATA.spacy", help="Documents with gold entities."),
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
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the scores as JSON on stdout."),
) -> None:
    """Score a pipeline's entities against gold, with 95 % bootstrap intervals over documents.

    Works with any spaCy pipeline that sets doc.ents. An entity is right if its label and both its
    boundaries agree with gold. A clinical_ner component whose loss has a posterior is also scored
    for its probabilities: how well those of tokens and of entities fit how often they are right
    (ECE, Brier, log likelihood), before and after calibration; how well they rank the spans that
    might be entities (average precision); and how much mass each type gets.

    Where the documents also tell the mentions that entities cannot hold (nested, discontinuous;
    clinical-ner convert keeps them in doc.spans["gold_all"]), the recall that these set a ceiling
    to is scored as well.

    \b
    Example:
      clinical-ner evaluate training/model-final corpus/test.spacy --output metrics.json \\
        --plots metrics/plots
    """
    if plots is not None:
        check_can_draw(str(plots))
        if plots.exists() and not plots.is_dir():
            raise not_a_folder(plots)
    metrics = evaluate(
        model,
        data,
        resamples=resamples,
        seed=seed,
        gpu_id=gpu_id,
        show_progress=sys.stderr.isatty(),
    )
    text = json.dumps(metrics, indent=2, sort_keys=True, allow_nan=False)
    with ExitStack() as outputs:
        if output is not None:
            outputs.enter_context(replacing(output)).write_text(text + "\n", encoding="utf8")
        if plots is not None:
            for path in _pictures(metrics, plots):
                temporary = outputs.enter_context(replacing(path))
                draw(metrics, path.stem, temporary, kind=path.suffix[1:])
    if plots is not None:
        for name, reason in missing(metrics).items():
            print(f"{plots / name}: not drawn, since {reason}.", file=sys.stderr)
    if as_json:
        print(text)
    else:
        console = Console()
        for table in (overall_table(metrics), type_table(metrics)):
            console.print(table)
        for note in [*mention_lines(metrics), *notes(metrics)]:
            console.print(note, soft_wrap=True)
