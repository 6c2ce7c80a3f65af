"""``clinical-ner train``: spaCy's training loop, with one-line errors and a record of the run."""

from __future__ import annotations

import json
import os
import sys
import time
from configparser import Error as ConfigParserError
from pathlib import Path
from typing import Any

import typer
from catalogue import RegistryError
from confection import ConfigValidationError
from spacy import util
from spacy.cli._util import parse_config_overrides, setup_gpu
from spacy.training.initialize import init_nlp
from spacy.training.loop import train as train_loop

from ..errors import ClinicalNerError, Errors
from ..training.schedules import document_lengths
from ._app import app

#: Record of a run, beside its models.
RECORD = "training.json"


@app.command(
    "train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True}
)
def train_cli(
    context: typer.Context,
    config: Path = typer.Argument(..., metavar="CONFIG.cfg", help="Recipe: a spaCy config."),
    output: Path = typer.Argument(
        ..., metavar="OUT_DIR", help="Folder for model-best, model-last and training.json."
    ),
    train_path: Path = typer.Option(..., "--train", help="Training documents (.spacy)."),
    dev_path: Path = typer.Option(..., "--dev", help="Documents that choose the model (.spacy)."),
    encoder: str = typer.Option(
        "", help="Public name or folder of a transformer; empty: the recipe's own."
    ),
    epochs: int = typer.Option(0, min=0, help="Passes over the data; 0: as the recipe says."),
    seed: int = typer.Option(0, min=0, help="Seed of weights, order and dropout."),
    gpu_id: int = typer.Option(-1, "--gpu-id", help="GPU, or -1 for the CPU."),
) -> None:
    """Train a pipeline.

    Any other setting of the recipe is changed as with spacy train: --section.setting value.

    Example:
      clinical-ner train configs/minilm.cfg training --train corpus/train.spacy
      --dev corpus/dev.spacy --components.ner.prior_strength 0.75
    """
    overrides = parse_config_overrides(list(context.args))
    record = train(
        config,
        output,
        train_path=train_path,
        dev_path=dev_path,
        encoder=encoder,
        epochs=epochs,
        seed=seed,
        gpu_id=gpu_id,
        overrides=overrides,
    )
    typer.echo(
        f"Trained {record['epochs']} epochs of {record['corpus_words']} words in "
        f"{record['seconds']:.0f} s ({record['words_per_second']:.0f} words/s, evaluations "
        f"included). Best model: {output / 'model-best'}"
    )


def train(
    config: Path,
    output: Path,
    *,
    train_path: Path,
    dev_path: Path,
    encoder: str = "",
    epochs: int = 0,
    seed: int = 0,
    gpu_id: int = -1,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Train a pipeline with spaCy's loop.

    config: recipe, a complete spaCy config with the sections paths, variables and system.
    output: folder for model-best, model-last and training.json.
    train_path, dev_path: the corpora.
    encoder: transformer in place of the recipe's, if not empty.
    epochs: passes over the training data in place of the recipe's, if not 0.
    seed: of weights, order and dropout.
    gpu_id: GPU, or -1 for the CPU.
    overrides: other settings, {"section.setting": value}.

    RETURNS: the record of the run, as in training.json; seconds include the evaluations.
    RAISES ClinicalNerError: config, corpus, labels, loss or encoder do not fit; nothing is written.
    """
    for path in (config, train_path, dev_path):
        if not path.exists():
            raise ClinicalNerError(Errors.E060.format(path=path))
    settings = {
        "paths.train": str(train_path),
        "paths.dev": str(dev_path),
        "system.seed": seed,
        **({"variables.encoder": encoder} if encoder else {}),
        **({"variables.epochs": epochs} if epochs else {}),
        **(overrides or {}),
    }
    words = sum(document_lengths(train_path))
    setup_gpu(gpu_id, silent=True)
    try:
        _check_variables(config, settings)
        loaded = util.load_config(config, overrides=settings, interpolate=False)
        resolved = loaded.interpolate()
        nlp = init_nlp(loaded, use_gpu=gpu_id)
    except (ConfigValidationError, ConfigParserError, RegistryError) as error:
        raise ClinicalNerError(
            Errors.E063.format(path=config, problems=_problems(error))
        ) from None
    output.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    train_loop(nlp, output, use_gpu=gpu_id, stdout=sys.stdout, stderr=sys.stderr)
    seconds = time.perf_counter() - start
    epochs = resolved["training"]["max_epochs"]
    record = {
        "config": config.name,
        "overrides": {key: value for key, value in sorted(settings.items())},
        "seed": seed,
        "epochs": epochs,
        "corpus_words": words,
        "seconds": round(seconds, 1),
        "words_per_second": round(words * epochs / seconds, 1),
    }
    temporary = output / f".{RECORD}.tmp"
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, output / RECORD)
    return record


def _check_variables(config: Path, settings: dict[str, Any]) -> None:
    """Raise ClinicalNerError for a variable that the recipe lacks: setting it would do nothing."""
    variables = util.load_config(config, interpolate=False).get("variables", {})
    for key in settings:
        section, _, name = key.partition(".")
        if section == "variables" and name not in variables:
            known = ", ".join(variables) or "none"
            raise ClinicalNerError(Errors.E064.format(path=config, name=name, known=known))


def _problems(error: Exception) -> str:
    """What is wrong with a config, on one line."""
    found = [
        f"{' -> '.join(str(part) for part in problem.get('loc', ()))}: {problem.get('msg')}"
        for problem in getattr(error, "errors", None) or ()
    ]
    text = "; ".join(found) or getattr(error, "desc", None) or str(error)
    return " ".join(text.split()).rstrip(".")
