"""A training without dev documents: it ends where it is told, and nothing is chosen."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.training.loop import train as train_loop

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.recipes import read_recipe
from clinical_ner.training.train import initialize, train, training_settings

from ..conftest import ROOT

RECIPE = ROOT / "configs" / "tok2vec.cfg"


def test_it_is_spacys_training_up_to_that_epoch(corpus_file: Path, tmp_path: Path) -> None:
    settings = training_settings(corpus_file, corpus_file, epochs=6, seed=3)
    settings["variables.words_per_batch"] = 14
    expected = initialize(read_recipe(RECIPE), settings | {"training.max_epochs": 4})
    train_loop(expected)
    record = train(
        *(RECIPE, tmp_path / "ours"),
        train_path=corpus_file,
        dev_path=None,
        epochs=6,
        stop_after=4,
        seed=3,
        overrides={"variables.words_per_batch": 14},
    )
    assert record["epochs"] == 4
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == [
        *("model-last", "training.json")
    ]
    made = spacy.load(tmp_path / "ours" / "model-last").get_pipe("ner")
    found, wanted = made.model.get_ref("head"), expected.get_pipe("ner").model.get_ref("head")
    assert np.abs(wanted.get_param("W")).sum() > 0
    for name in ("W", "b"):
        np.testing.assert_array_equal(found.get_param(name), wanted.get_param(name))


def test_a_failed_training_leaves_no_model(corpus_file: Path, tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="no model is kept"):
        train(
            *(RECIPE, tmp_path / "out"),
            train_path=corpus_file,
            dev_path=None,
            overrides={"variables.learn_rate": 1e30},
        )
    assert not (tmp_path / "out").exists()
