"""``clinical-ner train``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import typer
from spacy.cli._util import parse_config_overrides
from spacy.training.loop import DIR_MODEL_BEST

from ..training.recipes import BASE
from ..training.train import train
from ._app import app
from ._shared import GpuId, track

#: Settings that are options of the command.
OPTIONS = {
    "paths.train": "--train",
    "paths.dev": "--dev",
    "system.seed": "--seed",
    "variables.encoder": "--encoder",
    "variables.epochs": "--epochs",
}


@app.command(
    "train",
    no_args_is_help=True,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def train_cli(
    context: typer.Context,
    recipe: str = typer.Argument(
        ...,
        metavar="RECIPE",
        help="A name that clinical-ner recipes lists, or the path of a config or an overlay.",
    ),
    output: Path = typer.Argument(
        ..., metavar="OUT_DIR", help="Folder for model-best, model-last and training.json."
    ),
    train_path: Path = typer.Option(..., "--train", help="Training documents (.spacy)."),
    dev_path: Path = typer.Option(..., "--dev", help="Documents that choose the model (.spacy)."),
    base: Path = typer.Option(BASE, help="The config that an overlay changes."),
    encoder: str = typer.Option(
        "", help="Public name or folder of a transformer; empty: the recipe's own."
    ),
    epochs: int = typer.Option(0, min=0, help="Passes over the data; 0: as the recipe says."),
    seed: int = typer.Option(0, min=0, help="Seed of weights, order and dropout."),
    init_model: str = typer.Option(
        "", metavar="MODEL", help="Trained pipeline whose weights the training starts with."
    ),
    keep_labels: bool = typer.Option(
        False,
        "--keep-labels",
        help="With --init-model: go on with its labels that the training documents lack.",
    ),
    gpu_id: GpuId = -1,
) -> None:
    """Train a pipeline.

    A training that fails, for instance on a loss that is not finite, leaves model-best, the best
    model of the evaluations made by then, and no model-last.

    Any other setting of the recipe is changed as with spacy train: --section.setting value.

    \b
    Example:
      clinical-ner train minilm training --train corpus/train.spacy \\
        --dev corpus/dev.spacy --components.ner.prior_strength 0.75

    \b
    Going on with a trained model, whose calibration, neighbours and thresholds do not carry over:
      clinical-ner train minilm training-2 --train new/train.spacy --dev new/dev.spacy \\
        --init-model training/model-best --keep-labels
    """
    if keep_labels and not init_model:
        raise typer.BadParameter("needs --init-model", param_hint="'--keep-labels'")
    run: Callable[..., dict[str, Any]] = train
    if init_model:
        from ..fitting.init_model import train_from

        run = partial(train_from, init_model, keep_labels=keep_labels, track=track)
    record = run(
        recipe,
        output,
        train_path=train_path,
        dev_path=dev_path,
        base=base,
        encoder=encoder,
        epochs=epochs,
        seed=seed,
        gpu_id=gpu_id,
        overrides=_overrides(context.args),
    )
    typer.echo(
        f"Trained {record['epochs']:g} epochs of {record['corpus_words']} words in "
        f"{record['seconds']:.0f} s ({record['words_per_second']:.0f} words/s, evaluations "
        f"included). Best model: {output / DIR_MODEL_BEST}"
    )


def _overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """Settings of the recipe among the arguments of the command.

    Raises:
        typer.BadParameter: something else, or a setting for which there is an option.
    """
    has_value = True
    for argument in arguments:
        if argument.startswith("--"):
            name, equals, _ = argument[2:].partition("=")
            if "." not in name:
                raise typer.BadParameter(f"no such option: --{name}")
            if name in OPTIONS:
                raise typer.BadParameter(f"instead of --{name} use {OPTIONS[name]}")
            has_value = bool(equals)
        elif has_value:
            raise typer.BadParameter(f"unexpected argument: {argument}")
        else:
            has_value = True
    return parse_config_overrides(list(arguments), env_var=None)
