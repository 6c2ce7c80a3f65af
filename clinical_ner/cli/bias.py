"""``clinical-ner bias``."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from rich.console import Console, RenderableType
from rich.progress import Progress
from rich.text import Text

from ..research.bias.bias import OVERLAPPING_SHARES, SHARES, WORDS, bias
from ..research.bias.bias_plots import json_text
from ..research.bias.bias_test import JUDGED_FROM, TOLERANCE
from ..research.bias.loss_choices import (
    DEFAULT_LOSSES,
    LOSSES,
    OVERLAPPING_LOSSES,
    check_losses,
)
from ..research.bias.one_pass import ENCODER
from ..research.bias.randomised import check_shares, check_type_shares
from ._app import app
from ._shared import GpuId, columns, number, print_content, usage

#: Tags in the table, the commonest; files hold all.
MOST_ROWS = 12


@app.command("bias")
def bias_cli(
    output: Path = typer.Option(..., "--output", "-o", help="Folder for the results."),
    shares: str | None = typer.Option(
        None,
        help="Shares of O and of each type among random words, with commas.  "
        f"[default: {','.join(map(str, SHARES))}]",
    ),
    losses: str | None = typer.Option(
        None,
        help=f"Names with commas, of: {', '.join(LOSSES)}.  [default: {','.join(DEFAULT_LOSSES)}; "
        f"with --overlaps {','.join(OVERLAPPING_LOSSES)}]",
    ),
    overlaps: bool = typer.Option(
        False,
        "--overlaps",
        help="Draw every type by itself, so that a word may have several. --shares are then those "
        f"of the types alone.  [default: {','.join(map(str, OVERLAPPING_SHARES))}]",
    ),
    corpus: Path | None = typer.Option(
        None,
        metavar="FILE.spacy",
        help="Real documents whose mentions exchange their labels, instead of random words.",
    ),
    encoder: str = typer.Option(ENCODER, help="Public name or folder of a transformer."),
    words: int = typer.Option(
        WORDS, min=1, help="Words to train on; with --corpus at most as many as it has."
    ),
    seed: int = typer.Option(0, min=0, max=2**32 - 1, help="Seed of all that is drawn."),
    gpu_id: GpuId = -1,
    as_json: bool = typer.Option(
        False, "--json", help="Print the results as JSON on stdout, and the verdict on stderr."
    ),
) -> None:
    """Train losses on randomised data, and see whether they give the training shares back.

    Where labels have nothing to do with the text, the probability of a tag is its share in
    training. A loss that favours rare tags predicts more of them; its inverse must take that back.
    On fresh text, two ratios to the training share are reported per loss and tag: mass (of the mean
    probability) and argmax (of the tokens for which the tag is the most probable), each before the
    loss's inverse, that is, with the softmax of the raw logits over the tags that occur, and after
    it. For Binary Token Labels "before" is the probability in the problem of the tag's type, as it
    was trained, and "Sum of types above 1" says for how many words these exceed 1 together.

    The last line is the verdict. The exit code is 1 if a promised inverse is off: a mass ratio
    after it outside 0.8 to 1.25. Tags with under 50 training tokens are reported and marked *, but
    not judged. Writes bias.json, bias.csv, bias.png and bias.svg into the folder. One loss takes
    one to two minutes on one CPU core.

    \b
    Example:
      clinical-ner bias --shares 0.99,0.01 --losses plain,paper,btl --output training/bias
    """
    for option, given in (("--shares", shares is not None), ("--overlaps", overlaps)):
        if given and corpus is not None:
            raise typer.BadParameter("give one of them", param_hint=f"'{option}' / '--corpus'")
    names = None if losses is None else [name.strip() for name in losses.split(",")]
    numbers = None if shares is None else _numbers(shares)
    with usage("'--losses'"):
        check_losses(names or (), overlaps=overlaps)
    with usage("'--shares'"):
        if numbers is not None:
            (check_type_shares if overlaps else check_shares)(numbers)
    with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as bar:

        def start(name: str, total: int) -> Any:
            task = bar.add_task(name, total=total)
            return lambda count: bar.advance(task, count)

        results = bias(
            output,
            shares=numbers,
            losses=names,
            overlaps=overlaps,
            corpus=corpus,
            encoder=encoder,
            words=words,
            seed=seed,
            gpu_id=gpu_id,
            start_progress=start,
        )
    if as_json:
        print(json_text(results))
    else:
        print_content(_content(results))
    print(results["verdict"]["sentence"], file=sys.stderr if as_json else sys.stdout)
    if not results["verdict"]["passed"]:
        raise typer.Exit(1)


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise typer.BadParameter(
            f"numbers with commas, not {text!r}", param_hint="'--shares'"
        ) from error


def _content(results: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The ratios of every loss and of the commonest tags, and what the marks mean."""
    settings = results["settings"]
    title = f"{settings['design']}: {settings['training_words']} words of training"
    title = f"{title}, {settings['fresh_words']} fresh"
    right = ("Tokens", "Share", "Mass\nbefore", "\nafter", "Argmax\nbefore", "\nafter")
    table = columns("Loss", "Tag", right=right, title=title)
    low, high = TOLERANCE
    for result in results["losses"]:
        for position, row in enumerate(result["tags"][:MOST_ROWS]):
            mass = row["mass_after"]
            off = mass is not None and row["judged"] and not low <= mass <= high
            table.add_row(
                Text(
                    "" if position else result["loss"] + ("" if result["has_posterior"] else " †")
                ),
                Text(row["tag"] + ("" if row["judged"] else " *")),
                str(row["tokens"]),
                f"{row['share']:.4f}",
                _ratio(row["mass_before"]),
                Text(_ratio(mass), style="bold red" if off else ""),
                _ratio(row["argmax_before"]),
                _ratio(row["argmax_after"]),
            )
        table.add_section()
    yield table
    tags = results["tags"]
    if len(tags) > MOST_ROWS:
        yield Text(f"The commonest {MOST_ROWS} of {len(tags)} tags; bias.csv holds all.")
    if not all(tag["judged"] for tag in tags[:MOST_ROWS]):
        yield Text(f"* under {JUDGED_FROM} training tokens: reported, not judged.")
    if not all(result["has_posterior"] for result in results["losses"]):
        yield Text("† no inverse promised.")
    for result in results["losses"]:
        if result["sum_above_1"] is not None:
            before, after = (100 * result["sum_above_1"][when] for when in ("before", "after"))
            yield Text(
                f"Sum of types above 1, {result['loss']}: {before:.1f} % of the words before the "
                f"inverse, {after:.1f} % after it."
            )
    seconds = ", ".join(f"{result['loss']} {result['seconds']:.0f}" for result in results["losses"])
    yield Text(f"Seconds: {seconds}.")


def _ratio(value: float | None) -> str:
    return number(value, 3 if value is None or value < 10 else 1)
