"""clinical-ner folds: every document predicted by models that did not see it."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer
from rich.console import Console
from rich.progress import Progress, TaskID
from rich.table import Table

from ..data.split.split import compiled
from ..data.split.stratify import split_shares
from ..fitting.folds import Tell, folds
from ..training.recipes import BASE
from ._app import app
from ._shared import AsJson, GpuId, number, parse_seeds, print_report, usage
from .evaluate import metrics_content


@app.command("folds")
def folds_cli(
    corpus: Path = typer.Argument(..., metavar="CORPUS.spacy", help="All annotated documents."),
    output: Path = typer.Argument(..., metavar="OUTPUT", help="Folder for models and predictions."),
    config: str = typer.Option(..., "--config", metavar="RECIPE", help="As of clinical-ner train."),
    n_folds: int = typer.Option(5, "--folds", min=2, metavar="K", help="Number of folds."),
    seeds: str = typer.Option("0", help="Seeds of each fold's trainings, with commas."),
    dev: float = typer.Option(
        0.1,
        help="Share of the documents outside a fold's test, in [0, 1), on which the epoch is "
        "chosen; 0: all epochs of the recipe are made.",
    ),
    group_by: str | None = typer.Option(
        None, metavar="REGEX", help="Keep documents together, as clinical-ner split does."
    ),
    split_seed: int = typer.Option(0, min=0, max=2**32 - 1, help="Seed of the division."),
    base: Path = typer.Option(BASE, help="The config that an overlay changes."),
    epochs: int = typer.Option(0, min=0, help="Passes over the data; 0: as the recipe says."),
    encoder: str = typer.Option("", help="Transformer in place of the recipe's; empty: its own."),
    lang: str = typer.Option("", help="Language of the notes, in place of the recipe's."),
    gpu_id: GpuId = -1,
    as_json: AsJson = False,
) -> None:
    """Train a recipe on every fold, and score each document by models that did not see it.

    For corpora too small to keep documents for dev and test: scores, and their intervals, come from
    all documents, and so can calibration, thresholds and the final model. The epoch is chosen once
    for all folds, on documents inside their training parts (--dev). The learning rate is planned
    for all epochs of the recipe: the one that is chosen is where training is stopped.

    Called again as before, the command goes on with the training that was interrupted. Until the
    epoch is chosen, the model of every epoch is kept: 5 folds of 10 epochs are 50 models.

    \b
    Writes into OUTPUT:
      metrics.json      the scores of evaluate over all documents, and their spread between folds
      folds.json        settings, the fold of each document, the epoch and how it was chosen
      recipe.cfg        the whole recipe
      fold-K/           train.spacy, dev.spacy, test.spacy and split.json, copies of your documents
      seed-S/fold-K/    model, log_probs.npz (log p(tag | text) of the documents in test), records
    Beside the copies and the vocabularies of the models all of it is labels, numbers and ids of
    documents, and no text of them.

    \b
    Example:
      clinical-ner folds corpus/all.spacy training/folds --config minilm --folds 5 --seeds 0,1
    """
    with usage("'--dev'"):
        split_shares(dev=dev, test=0.0)
    with usage("'--group-by'"):
        pattern = None if group_by is None else compiled(group_by)
    with _progress() as tell:
        metrics = folds(
            *(corpus, output),
            config=config,
            folds=n_folds,
            seeds=parse_seeds(seeds),
            dev=dev,
            group_by=pattern,
            split_seed=split_seed,
            base=base,
            epochs=epochs,
            encoder=encoder,
            lang=lang,
            gpu_id=gpu_id,
            tell=tell,
        )
    print_report(metrics, _content(metrics), as_json=as_json)


def _content(metrics: Mapping[str, Any]) -> Iterator[Table | str]:
    of_folds = metrics["folds"]
    yield from metrics_content(metrics)
    for name, title in (("token_ece", "tokens"), ("ents_ece", "entities")):
        if of_folds["reliability"] is not None:
            values = (number(of[name], 3) for of in of_folds["reliability"].values())
            yield f"ECE of {title}: {' → '.join(values)}, each fold calibrated by the others."
    yield "SD: standard deviation of the scores of single folds."
    yield (
        f"Epochs: {of_folds['epochs']:g} of {of_folds['planned_epochs']}. Models that predict each "
        f"document, none of which was trained on it: {len(of_folds['seeds'])}."
    )


@contextmanager
def _progress() -> Iterator[Tell]:
    """Draw the progress over the epochs of all trainings on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield lambda message, done, total: None
        return
    # An epoch can last longer than the half minute over which rich measures speed.
    with Progress(console=Console(stderr=True), speed_estimate_period=86400) as progress:
        tasks: list[TaskID] = []

        def tell(message: str, done: int, total: int) -> None:
            if not tasks:
                # What an earlier call did says nothing of the speed of this one.
                tasks.append(progress.add_task(message, total=total, completed=done))
            progress.update(tasks[0], description=message, completed=done, total=total)

        yield tell
