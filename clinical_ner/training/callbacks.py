"""What the recipes do to a pipeline once it is made, in training and whenever it is loaded."""

from collections.abc import Callable
from pathlib import Path

from spacy.language import Language
from spacy.util import registry

from ..errors import check_number
from .schedules import EPOCHS_SCHEDULE, TOLERANCE, planned_steps


def prepare_pipeline(*, max_length: int) -> Callable[[Language], Language]:
    """Set the longest text that a pipeline takes, and write down the numbers of its learning rate.

    Register name: ``clinical_ner.prepare_pipeline.v1`` (``@callbacks``), for
    ``nlp.after_pipeline_creation``.

    spaCy saves no ``nlp.max_length``: without a callback a loaded pipeline refuses texts of more
    than a million characters. It makes an optimizer of ``training.optimizer`` alone
    (``nlp.resume_training``, ``spacy debug data``), without the paths and variables of the other
    parts of a config, so the steps of the schedule become numbers there. A config whose training
    corpus is not there keeps them as they are.

    Args:
        max_length: ``nlp.max_length`` in characters, >= 1.

    Raises:
        ConfigError: not such a number.
    """
    check_number("max_length", max_length, least=1, integer=True)

    def prepare(nlp: Language) -> Language:
        nlp.max_length = max_length
        _plan_learn_rate(nlp)
        return nlp

    return prepare


def _plan_learn_rate(nlp: Language) -> None:
    rate = nlp.config["training"]["optimizer"].get("learn_rate")
    if not isinstance(rate, dict) or rate.get("@schedules") != EPOCHS_SCHEDULE:
        return
    optimizer = nlp.config.interpolate()["training"]["optimizer"]
    rate = optimizer["learn_rate"]
    if not rate["path"] or not Path(rate["path"]).exists():
        return
    batcher = {"batcher": rate["batcher"]} if rate.get("batcher") else {}
    total = planned_steps(
        rate["path"],
        epochs=rate["epochs"],
        words_per_batch=rate["words_per_batch"],
        tolerance=rate.get("tolerance", TOLERANCE),
        batcher=registry.resolve(batcher).get("batcher"),
    )
    optimizer["learn_rate"] = {
        "@schedules": "clinical_ner.warmup_linear.v1",
        "initial_rate": rate["initial_rate"],
        "warmup_steps": round(rate["warmup"] * total),
        "total_steps": total,
    }
    nlp.config["training"]["optimizer"] = optimizer
