"""Training seen epoch by epoch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from numpy.typing import NDArray
from spacy.language import Language

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.train import train

from ..conftest import ROOT


def head(nlp: Language) -> NDArray[np.float32]:
    component: Any = nlp.get_pipe("ner")
    return np.array(component.model.get_ref("head").get_param("W"))


def test_every_epoch_is_seen_with_its_weights(corpus_file: Path, tmp_path: Path) -> None:
    seen: dict[int, NDArray[np.float32]] = {}

    def run(name: str, dev: Path | None, stop_after: float) -> NDArray[np.float32]:
        train(
            *(ROOT / "configs" / "tok2vec.cfg", tmp_path / name),
            **{"train_path": corpus_file, "dev_path": dev, "epochs": 4, "stop_after": stop_after},
            # Three steps in an epoch of 42 words.
            overrides={"variables.words_per_batch": 14, "variables.learn_rate": 0.01},
            at_epoch=lambda nlp, epoch: seen.update({epoch: head(nlp)}),
        )
        return head(spacy.load(tmp_path / name / "model-last"))

    last = run("whole", corpus_file, 4)
    assert sorted(seen) == [1, 2, 3, 4]
    assert all(not np.array_equal(seen[epoch], seen[epoch + 1]) for epoch in (1, 2, 3))
    np.testing.assert_array_equal(last, seen[4])
    # Neither evaluations nor what comes later change what is learned until then.
    expected = seen[2]
    np.testing.assert_array_equal(run("ended", None, 2), expected)
    left = {path.name for path in (tmp_path / "ended").iterdir()}
    assert left == {"model-last", "training.json"}


def test_a_training_that_fails_without_dev_leaves_no_model(
    corpus_file: Path, tmp_path: Path
) -> None:
    with pytest.raises(ClinicalNerError, match="no model is kept"):
        train(
            *(ROOT / "configs" / "tok2vec.cfg", tmp_path / "out"),
            **{"train_path": corpus_file, "dev_path": None},
            overrides={"variables.learn_rate": 1e30},
        )
    assert not (tmp_path / "out").exists()
