"""A trained pipeline of random weights for the benchmark of speed, small enough for a test."""

from __future__ import annotations

from pathlib import Path

from thinc.api import fix_random_seed

from ..model.windows.windowed_examples import examples, make_nlp, write_bert

TEXTS = ["fever and cough . aspirin " * 10, "", "cough and fever"]


def write_model(folder: Path) -> Path:
    """Write a pipeline that finds entities, with windows of 12 of the encoder's 32 places."""
    nlp = make_nlp(write_bert(folder / "encoder"))
    fix_random_seed(0)
    batch = examples(nlp)
    optimizer = nlp.initialize(lambda: batch)
    optimizer.learn_rate = 0.02
    for _ in range(40):
        nlp.update(batch, sgd=optimizer)
    nlp.to_disk(folder / "model")
    return folder / "model"
