"""``clinical-ner compare``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..decoding.decision import check_prior_strength
from ..research.compare.compare import RESAMPLES, compare
from ..research.compare.comparison_report import COLUMNS, RATE, cell, json_text, notes, row_name
from ..training.recipes import BASE
from ._app import app

#: Columns of a table that goes to a file, which has no width of its own.
WIDTH = 150


@app.command("compare", no_args_is_help=True)
def compare_cli(
    recipes: list[str] = typer.Argument(
        ...,
        metavar="RECIPE...",
        help="As of clinical-ner train; with the suffix +neighbours or without.",
    ),
    corpus: Path = typer.Option(
        ..., "--corpus", help="Folder of annotated notes (brat), or one that split wrote."
    ),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for runs and results."),
    seeds: str = typer.Option("0", "--seeds", help="Seeds of training, with commas."),
    base: Path = typer.Option(BASE, "--base", help="The config that overlays change."),
    epochs: int = typer.Option(0, "--epochs", min=0, help="Passes; 0: as the recipes say."),
    encoder: str = typer.Option(
        "", "--encoder", help="Transformer in place of the recipes'; empty: their own."
    ),
    prior_strengths: str = typer.Option(
        "", "--prior-strengths", help="Further decisions of each model, with commas, in [0, 1]."
    ),
    dev: float | None = typer.Option(None, "--dev", help="Share of dev.  [default: 0.1]"),
    test: float | None = typer.Option(None, "--test", help="Share of test.  [default: 0.2]"),
    split_seed: int | None = typer.Option(
        None, "--split-seed", min=0, max=2**32 - 1, help="Seed of the division.  [default: 0]"
    ),
    score_on: str = typer.Option(
        "test", "--score-on", help="The part that is scored: test or dev."
    ),
    resamples: int = typer.Option(
        RESAMPLES, "--resamples", min=1, help="Bootstrap resamples behind the intervals."
    ),
    gpu_id: int = typer.Option(-1, "--gpu-id", min=-1, help="GPU to use, -1 for the CPU."),
    as_json: bool = typer.Option(False, "--json", help="Print the comparison as JSON on stdout."),
) -> None:
    """Train recipes on the same documents and seeds, and compare them with the first.

    A recipe is a complete config, or an overlay of a few lines that changes the base; with the
    suffix +neighbours its trained model gets a memory of its training tokens. All recipes are
    checked before the first training. A finished run is kept: called again, the command goes on
    where it was stopped.

    \b
    Writes into OUTPUT:
      NAME-seedS/       model, training.json, metrics.json and counts.json of each run
      comparison.json   scores with intervals and paired differences, also as .csv and .md
      types.png, .svg   F1 of each type, the commonest in training first
    With --score-on dev the results, but not the models, have -dev in their names.

    \b
    Example:
      clinical-ner compare plain paper_weights logit_adjusted --corpus corpus/case_reports \\
        --seeds 0,1 --prior-strengths 0.75,0.5 --output training/compare
    """
    if score_on not in ("test", "dev"):
        raise typer.BadParameter("choose test or dev", param_hint="'--score-on'")
    comparison = compare(
        recipes,
        corpus,
        output,
        seeds=_seeds(seeds),
        base=base,
        epochs=epochs,
        encoder=encoder,
        prior_strengths=_strengths(prior_strengths),
        dev=dev,
        test=test,
        split_seed=split_seed,
        score_on=score_on,
        resamples=resamples,
        gpu_id=gpu_id,
        say=_say if sys.stderr.isatty() else lambda message: None,
    )
    if as_json:
        print(json_text(comparison))
        return
    console = Console(width=None if sys.stdout.isatty() else WIDTH)
    console.print(_table(comparison))
    for note in notes(comparison):
        console.print(Text(note))


def _seeds(text: str) -> list[int]:
    """Parse comma-separated seeds."""
    if not all(part.strip().isdecimal() for part in text.split(",")):
        raise typer.BadParameter(f"whole numbers, not {text!r}", param_hint="'--seeds'")
    seeds = [int(part) for part in text.split(",")]
    if len(set(seeds)) < len(seeds) or max(seeds) >= 2**32:
        raise typer.BadParameter(f"each once and below 2**32, not {text!r}", param_hint="'--seeds'")
    return seeds


def _strengths(text: str) -> list[float]:
    """Parse comma-separated prior strengths; none in an empty text."""
    try:
        strengths = [check_prior_strength(float(part)) for part in text.split(",") if text.strip()]
    except ValueError as error:
        raise typer.BadParameter(
            f"numbers in [0, 1], not {text!r}", param_hint="'--prior-strengths'"
        ) from error
    return list(dict.fromkeys(strengths))


def _table(comparison: dict[str, Any]) -> Table:
    """The scores, a recipe per row."""
    table = Table("recipe", show_lines=True)
    for title, _, _ in COLUMNS.values():
        table.add_column(title, justify="right")
    table.add_column(RATE, justify="right")
    rows = comparison["rows"]
    for row in rows:
        cells = [Text("\n".join(cell(name, row, is_first=row is rows[0]))) for name in COLUMNS]
        table.add_row(Text(row_name(row)), *cells, f"{row['words_per_second']:.0f}")
    return table


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
