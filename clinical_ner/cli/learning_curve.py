"""``clinical-ner learning-curve``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import RenderableType
from rich.text import Text

from ..data.split.stratify import split_shares
from ..errors import ConfigError
from ..research.learning_curve.growth import SCORES
from ..research.learning_curve.growth_report import between, by_support, notes, percent
from ..research.learning_curve.learning_curve import RESAMPLES, check_sizes, learning_curve
from ..training.recipes import BASE
from ._app import app
from ._shared import AsJson, GpuId, columns, parse_seeds, print_report, say, usage


@app.command("learning-curve", no_args_is_help=True)
def learning_curve_cli(
    corpus: Path = typer.Argument(
        ...,
        metavar="CORPUS",
        help="A .spacy file, or a folder of them; or one that split wrote, whose test is kept.",
    ),
    output: Path = typer.Option(..., "--output", "-o", help="Folder for runs and results."),
    sizes: str = typer.Option(
        "20,40,80,all", help="Numbers of notes, train and dev together; rising, with commas."
    ),
    config: str = typer.Option("minilm", help="The recipe, as of clinical-ner train."),
    seeds: str = typer.Option("0", help="Seeds of drawing notes and of training, with commas."),
    base: Path = typer.Option(BASE, help="The config that an overlay changes."),
    epochs: int = typer.Option(0, min=0, help="Passes, for all sizes; 0: as the recipe says."),
    encoder: str = typer.Option("", help="Transformer in place of the recipe's; empty: its own."),
    lang: str = typer.Option("", help="Language of the notes; empty: the recipe's."),
    test: float | None = typer.Option(
        None, help="Share of the documents for test.  [default: 0.2]"
    ),
    split_seed: int | None = typer.Option(
        None, min=0, max=2**32 - 1, help="Seed of that division.  [default: 0]"
    ),
    resamples: int = typer.Option(
        RESAMPLES, min=2, help="Bootstrap resamples behind the intervals."
    ),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Train a recipe on more and more notes, and foresee twice as many.

    All sizes are scored on the same test documents. 20 notes are among the 40, and so on, each
    with its share of every type. A size counts all annotated notes: a tenth of them is dev, which
    chooses the epoch. Passes over the notes are the same for all sizes. A finished run is kept:
    called again, the command goes on where it was stopped.

    \b
    Writes into OUTPUT:
      notesN-NAME-seedS/     model, training.json, metrics.json and counts.json of each run
      learning_curve.json    scores of all sizes and types, gains, continuation; also as .csv
      learning_curve.png, .svg
    The continuation is a power law, a - b n^-c, fitted to three sizes at least.

    \b
    Example:
      clinical-ner learning-curve corpus/all.spacy --sizes 20,40,80,all --seeds 0,1 \\
        --output training/learning_curve
    """
    with usage("'--sizes'"):
        parsed = _sizes(sizes)
        check_sizes(parsed)
    with usage("'--test'"):
        split_shares(dev=0.0, test=0.0 if test is None else test)
    report = learning_curve(
        config,
        corpus,
        output,
        sizes=parsed,
        seeds=parse_seeds(seeds),
        base=base,
        epochs=epochs,
        encoder=encoder,
        lang=lang,
        test=test,
        split_seed=split_seed,
        resamples=resamples,
        gpu_id=gpu_id,
        say=say if sys.stderr.isatty() else lambda message: None,
    )
    print_report(report, _content(report), as_json=as_json)


def _sizes(text: str) -> list[int | None]:
    """Parse comma-separated sizes, None for "all"."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() or part == "all" for part in parts):
        raise ConfigError(f"whole numbers, or 'all', not {text!r}")
    return [None if part == "all" else int(part) for part in parts]


def _content(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The scores of every size, what follows from them, and the types."""
    table = columns(right=("notes", "train", "mentions", *SCORES.values()), title="Growth")
    for number, size in enumerate(report["sizes"]):
        points = [report["curves"][name][number] for name in SCORES]
        table.add_row(
            *(f"{size[of]:.0f}" for of in ("notes", "train", "mentions")),
            *(f"{percent(of['value'])} ({between(of['interval'])})" for of in points),
        )
    yield table
    yield from map(Text, notes(report))
    sizes = [f"F at\n{size['notes']}" for size in report["sizes"]]
    table = columns("Type", right=("in\ntest", *sizes, "gain"), title="Types")
    for label in by_support(report):
        gain = report["gains"]["types"][label]
        table.add_row(
            Text(label),
            str(report["support"][label]),
            *(percent(point["value"]) for point in report["curves"]["types"][label]),
            f"{percent(gain['gain'], '+')} ({between(gain['interval'], '+')})",
        )
    yield table
