"""clinical-ner evaluate: scores of a pipeline on annotated documents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from ..errors import shown_label
from ..evaluation.evaluate import evaluate
from ..evaluation.headline import headline, remarks
from ..evaluation.plots import missing
from ..scoring.bootstrap import RESAMPLES
from ._app import app
from ._shared import AsJson, GpuId, Model, Overwrite, columns, number, print_report, track, warn


@app.command("evaluate")
def evaluate_cli(
    model: Model,
    data: Annotated[
        Path, typer.Argument(metavar="DATA.spacy", help="Documents with gold entities.")
    ],
    output: Path | None = typer.Option(
        None,
        "--output",
        "-o",
        help="JSON file for the scores; that of an earlier call is replaced.",
    ),
    plots: Path | None = typer.Option(
        None,
        metavar="DIR",
        help="Folder for reliability, precision_recall, risk_coverage, types and prior_ratios, as "
        "PNG and SVG.",
    ),
    resamples: int = typer.Option(
        RESAMPLES, min=1, help="Bootstrap resamples behind the intervals."
    ),
    seed: int = typer.Option(0, min=0, help="Seed of the bootstrap."),
    gpu_id: GpuId = -1,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Score a pipeline's entities against gold, with 95 % bootstrap intervals over documents.

    Works with any spaCy pipeline that sets doc.ents. An entity is right if its label and both its
    boundaries agree with gold. A clinical_ner component whose loss has a posterior is also scored
    for its probabilities: how well those of tokens and of entities fit how often they are right
    (ECE, Brier, log likelihood), before and after calibration; how well they rank the spans that
    might be entities (average precision); and how much mass each type gets.

    Of a pipeline with overlaps, all spans that it finds are held against all mentions of gold
    (spans_...), beside doc.ents against the flat entities of gold (ents_...). The probabilities of
    entities are those of all spans then; tokens, unweighted accuracy and mass are of flat tags.

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
        overwrite=overwrite,
        resamples=resamples,
        seed=seed,
        gpu_id=gpu_id,
        track=track,
    )
    if plots is not None:
        for name, reason in missing(metrics).items():
            warn(f"{plots / name}: not drawn, since {reason}.")
    print_report(metrics, metrics_content(metrics), as_json=as_json)


def metrics_content(metrics: Mapping[str, Any]) -> Iterator[Table | str]:
    """The tables of scores, overall and by type, and what must be known of them."""
    yield _overall_table(metrics)
    yield _type_table(metrics)
    yield from remarks(metrics)


def _overall_table(metrics: Mapping[str, Any]) -> Table:
    """The scores over all types with their intervals, and those before calibration beside them."""
    before = metrics["before_calibration"]
    spread = metrics["folds"]["spread"] if "folds" in metrics else None
    right = ("Value", "95 % interval", *(["Not calibrated"] if before is not None else []))
    right += () if spread is None else ("SD",)
    title = (
        f"{metrics['documents']} documents, {metrics['tokens']} tokens, "
        f"{metrics['words_per_second']:.0f} tokens per second"
    )
    table = columns("Score", right=right, title=title)
    for score in headline(metrics):
        ends = score.interval
        row = [score.title, number(score.value, 3)]
        row.append("n/a" if ends is None else " to ".join(number(end, 3) for end in ends))
        if before is not None:
            row.append(number(before[score.name], 3) if score.name in before else "")
        row += [] if spread is None else [_sd(spread.get(score.name))]
        table.add_row(*row)
    return table


def _type_table(metrics: Mapping[str, Any]) -> Table:
    """The scores of each type, the commonest in gold first."""
    keys = ("p", "r", "f") if metrics["calibrated"] is None else ("p", "r", "f", "ap")
    headers: tuple[str, ...] = ("P", "R", "F1", "AP")[: len(keys)]
    overlaps = "spans_f" in metrics
    title = "Per type, all mentions" if overlaps else "Per type"
    flat: Mapping[str, Mapping[str, Any]] = metrics["ents_per_type"] or {}
    per_type = (metrics["spans_per_type"] or {}) if overlaps else flat
    types = metrics["folds"]["types"] if "folds" in metrics else None
    headers += (
        "Support",
        "Predicted" if types is None else "SD of F1",
        *(["F1 of doc.ents"] if overlaps else []),
    )
    table = columns("Type", right=headers, title=title)
    for label, of in sorted(per_type.items(), key=lambda item: (-item[1]["support"], item[0])):
        cells = [number(of[key], 3) for key in keys]
        cells.append(str(of["support"]))
        cells.append(str(of["predicted"]) if types is None else _sd(types.get(label)))
        if overlaps:
            cells.append(number(flat[label]["f"] if label in flat else None, 3))
        table.add_row(Text(shown_label(label)), *cells)
    return table


def _sd(of: Mapping[str, float] | None) -> str:
    """A cell for the standard deviation between folds."""
    return number(None if of is None else of["sd"], 3)
