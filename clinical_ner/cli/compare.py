"""``clinical-ner compare``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..data.split.stratify import split_shares
from ..research.compare.compare import RESAMPLES, compare
from ..research.compare.comparison_report import notes, table_rows, titles
from ..research.compare.documents import DIVISION
from ..training.recipes import BASE
from ._app import app
from ._shared import GpuId, one_of, parse_seeds, parse_strengths, print_report, say, usage


@app.command("compare", no_args_is_help=True)
def compare_cli(
    recipes: list[str] = typer.Argument(
        ...,
        metavar="RECIPE...",
        help="As of clinical-ner train; with the suffix +neighbours or without.",
    ),
    corpus: Path = typer.Option(
        ..., help="Folder of annotated notes (brat), or one that split wrote."
    ),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for runs and results."),
    seeds: str = typer.Option("0", help="Seeds of training, with commas."),
    base: Path = typer.Option(BASE, help="The config that overlays change."),
    epochs: int = typer.Option(0, min=0, help="Passes; 0: as the recipes say."),
    encoder: str = typer.Option("", help="Transformer in place of the recipes'; empty: their own."),
    lang: str = typer.Option(
        "", help="Language of the notes, in place of the recipes'; empty: their own."
    ),
    prior_strengths: str = typer.Option(
        "", help="Further decisions of each model, with commas, in [0, 1]."
    ),
    dev: float | None = typer.Option(None, help="Share of dev.  [default: 0.1]"),
    test: float | None = typer.Option(None, help="Share of test.  [default: 0.2]"),
    split_seed: int | None = typer.Option(
        None, min=0, max=2**32 - 1, help="Seed of the division.  [default: 0]"
    ),
    score_on: str = typer.Option(
        "test", callback=one_of("test", "dev"), help="The part that is scored: test or dev."
    ),
    resamples: int = typer.Option(
        RESAMPLES, min=1, help="Bootstrap resamples behind the intervals."
    ),
    gpu_id: GpuId = -1,
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
    with usage("'--dev' / '--test'"):
        split_shares(
            dev=DIVISION["dev"] if dev is None else dev,
            test=DIVISION["test"] if test is None else test,
        )
    comparison = compare(
        recipes,
        corpus,
        output,
        seeds=parse_seeds(seeds),
        base=base,
        epochs=epochs,
        encoder=encoder,
        lang=lang,
        prior_strengths=parse_strengths(prior_strengths),
        dev=dev,
        test=test,
        split_seed=split_seed,
        score_on=score_on,
        resamples=resamples,
        gpu_id=gpu_id,
        say=say if sys.stderr.isatty() else lambda message: None,
    )
    print_report(comparison, _content(comparison), as_json=as_json, width=150)


def _content(comparison: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The scores, a recipe per row, and what the columns are."""
    first, *others = titles(comparison)
    table = Table(first, show_lines=True)
    for title in others:
        table.add_column(title, justify="right")
    for row in table_rows(comparison):
        table.add_row(*(Text("\n".join(cell)) for cell in row))
    yield table
    yield from map(Text, notes(comparison))
