"""What a recipe does to its pipeline when it is made, and again when it is loaded."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import spacy
from confection import Config
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.util import load_model_from_config, registry
from spacy.vocab import Vocab

from clinical_ner.errors import ConfigError
from clinical_ner.training.callbacks import prepare_pipeline
from clinical_ner.training.recipes import list_recipes, read_recipe

from ..conftest import ROOT, Trained

CALLBACK = {"@callbacks": "clinical_ner.prepare_pipeline.v1"}
#: A character more than spaCy's own limit.
LONG = "fever and cough \n" * 58_823 + "aspirin at night."
LIMIT = 10_000_000


def of_recipe(name: str, **overrides: Any) -> Language:
    """The pipeline of a recipe, without weights."""
    config = read_recipe(name, ROOT / "configs" / "minilm.cfg").config
    text = config.to_str(interpolate=False)
    return load_model_from_config(Config().from_str(text, overrides=overrides), auto_fill=True)


@pytest.mark.parametrize("name", list_recipes(ROOT / "configs"))
def test_every_recipe_takes_long_texts(name: str) -> None:
    assert of_recipe(name).max_length == LIMIT


def test_the_limit_is_there_again_when_a_pipeline_is_loaded(tmp_path: Path) -> None:
    nlp = of_recipe("tok2vec")
    assert len(LONG) == 1_000_008
    assert nlp.make_doc(LONG).text == LONG
    # As clinical-ner calibrate, package and others do.
    for folder in (tmp_path / "first", tmp_path / "second"):
        nlp.to_disk(folder)
        nlp = spacy.load(folder)
        assert nlp.max_length == LIMIT
    assert nlp.make_doc(LONG).text == LONG


@pytest.mark.slow
def test_a_trained_and_calibrated_model_reads_a_long_note(tok2vec_model: Trained) -> None:
    doc = spacy.load(tok2vec_model.model)(LONG)
    assert len(doc.spans["ner"].attrs["scores"]) == len(doc.ents)


def test_the_limit_is_a_setting(tmp_path: Path) -> None:
    setting = "nlp.after_pipeline_creation.max_length"
    nlp = of_recipe("tok2vec", **{setting: 20})
    with pytest.raises(ValueError, match="E088"):
        nlp.make_doc("fever and cough and aspirin")
    nlp.to_disk(tmp_path)
    assert spacy.load(tmp_path).max_length == 20
    assert spacy.load(tmp_path, config={setting: 30}).max_length == 30


def test_an_overlay_changes_the_limit_alone(tmp_path: Path) -> None:
    path = tmp_path / "short.cfg"
    path.write_text("[nlp.after_pipeline_creation]\nmax_length = 5\n", encoding="utf-8")
    nlp = of_recipe(str(path))
    assert nlp.max_length == 5
    assert nlp.pipe_names == ["transformer", "ner"]


@pytest.mark.parametrize("value", [0, -1, 1.5, "many", True])
def test_what_is_no_length_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="max_length must be an integer >= 1"):
        prepare_pipeline(max_length=value)


def test_the_learning_rate_in_numbers_is_the_same_and_needs_no_corpus(tmp_path: Path) -> None:
    lengths = [150, 450, 300, 90, 510, 420, 60, 330, 480, 210]
    vocab = Vocab()
    docs = [Doc(vocab, words=["word"] * length) for length in lengths]
    path = tmp_path / "train.spacy"
    DocBin(docs=docs).to_disk(path)
    batcher = {
        "@batchers": "spacy.batch_by_words.v1",
        "size": 40,
        "tolerance": 0.1,
        "discard_oversize": False,
    }
    for further in ({}, {"tolerance": 0.3}, {"batcher": batcher}):
        rate = {
            "@schedules": "clinical_ner.warmup_linear_epochs.v1",
            "path": "${paths.train}",
            "epochs": 7,
            "warmup": 0.2,
            "words_per_batch": 500,
            "initial_rate": 0.004,
            **further,
        }
        nlp = planned(rate, str(path))
        numbers = nlp.config["training"]["optimizer"]["learn_rate"]
        assert numbers["@schedules"] == "clinical_ner.warmup_linear.v1"
        expected = registry.resolve({"of": {**rate, "path": str(path)}})["of"]
        first, second = (
            list(islice(rates, 100))
            for rates in (expected, registry.resolve({"of": numbers})["of"])
        )
        assert first == second and 0 < sum(rate > 0 for rate in first) < 100
        assert nlp.create_optimizer().schedules["learn_rate"] is not None


def test_without_the_corpus_the_config_stays() -> None:
    rate = {
        "@schedules": "clinical_ner.warmup_linear_epochs.v1",
        "path": "${paths.train}",
        "epochs": 7,
        "warmup": 0.2,
        "words_per_batch": 10,
        "initial_rate": 0.004,
    }
    found = planned(rate, "nowhere.spacy").config["training"]["optimizer"]["learn_rate"]
    assert {key: found[key] for key in rate} == rate


def planned(rate: dict[str, Any], path: str) -> Language:
    config = {
        "paths": {"train": path},
        "nlp": {
            "lang": "en",
            "after_pipeline_creation": {**CALLBACK, "max_length": 7},
        },
        "training": {"optimizer": {"learn_rate": rate}},
    }
    return spacy.util.load_model_from_config(config, auto_fill=True)
