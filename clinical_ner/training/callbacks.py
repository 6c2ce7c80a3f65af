"""What the recipes do to a pipeline when it is made or loaded, and before it is initialized."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import registry

from ..errors import check_number
from .schedules import EPOCHS_SCHEDULE, STEPS_SCHEDULE, TOLERANCE, planned_steps


def prepare_pipeline(*, max_length: int) -> Callable[[Language], Language]:
    """Set the longest text that a pipeline takes.

    Register name: ``clinical_ner.prepare_pipeline.v1`` (``@callbacks``), for
    ``nlp.after_pipeline_creation``.

    spaCy saves no ``nlp.max_length``: without a callback a loaded pipeline refuses texts of more
    than a million characters.

    Args:
        max_length: ``nlp.max_length`` in characters, >= 1.

    Raises:
        ConfigError: not such a number.
    """
    check_number("max_length", max_length, least=1, integer=True)

    def prepare(nlp: Language) -> Language:
        nlp.max_length = max_length
        return nlp

    return prepare


def plan_learn_rate(
    *, then: Callable[[Language], Language] | None = None
) -> Callable[[Language], Language]:
    """Write the optimizer into the config in numbers, the steps of its learning rate included.

    Register name: ``clinical_ner.plan_learn_rate.v1`` (``@callbacks``), for
    ``initialize.before_init``.

    spaCy makes an optimizer of ``training.optimizer`` alone (``nlp.initialize``,
    ``nlp.resume_training``), without the paths and variables of the other parts of a config. A
    trained pipeline also has to do without the corpus. Not when the pipeline is made: ``spacy init
    fill-config`` makes one, and its config is to follow the variables.

    Args:
        then: another callback for the same place, called afterwards.
    """

    def plan(nlp: Language) -> Language:
        optimizer = nlp.config.interpolate()["training"]["optimizer"]
        rate = optimizer.get("learn_rate")
        if isinstance(rate, dict) and rate.get("@schedules") == EPOCHS_SCHEDULE:
            optimizer["learn_rate"] = _in_steps(rate)
        nlp.config["training"]["optimizer"] = optimizer
        return then(nlp) if then else nlp

    return plan


def _in_steps(rate: dict[str, Any]) -> dict[str, Any]:
    """The schedule for a number of steps; itself where the corpus is not there to be counted.

    Making an optimizer of that raises the error that names the file; a caller may bring its own.
    """
    if not rate["path"] or not Path(rate["path"]).exists():
        return rate
    batcher = {"batcher": rate["batcher"]} if rate.get("batcher") else {}
    total = planned_steps(
        rate["path"],
        epochs=rate["epochs"],
        words_per_batch=rate["words_per_batch"],
        tolerance=rate.get("tolerance", TOLERANCE),
        batcher=registry.resolve(batcher).get("batcher"),
    )
    return {
        "@schedules": STEPS_SCHEDULE,
        "initial_rate": rate["initial_rate"],
        "warmup_steps": round(rate["warmup"] * total),
        "total_steps": total,
    }
