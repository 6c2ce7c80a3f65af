"""What a recipe does to its pipeline when it is made, loaded, and before it is initialized."""

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
from thinc.api import Adam

from clinical_ner.errors import ConfigError, InputError
from clinical_ner.training.callbacks import plan_learn_rate, prepare_pipeline
from clinical_ner.training.recipes import list_recipes, read_recipe

from ..conftest import ROOT, Trained

#: More characters than spaCy's own limit; in long words, since they take their time by the word.
LONG = "fever and pneumonoultramicroscopicsilicovolcanoconiosis \n" * 17_544 + "aspirin at night."
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
    assert len(LONG) == 1_000_025
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


RATE = {
    "@schedules": "clinical_ner.warmup_linear_epochs.v1",
    "path": "${paths.train}",
    "epochs": "${variables.epochs}",
    "warmup": 0.2,
    "words_per_batch": 500,
    "initial_rate": "${variables.learn_rate}",
}
VARIABLES = {"epochs": 7, "learn_rate": 0.004}


def with_rate(rate: Any, path: Path, **optimizer: Any) -> Language:
    """A pipeline without components that plans its learning rate, before initialization."""
    config = {
        "paths": {"train": str(path)},
        "variables": VARIABLES,
        "nlp": {"lang": "en"},
        "training": {"optimizer": {"learn_rate": rate, **optimizer}},
        "initialize": {"before_init": {"@callbacks": "clinical_ner.plan_learn_rate.v1"}},
    }
    return load_model_from_config(Config(config), auto_fill=True)


def optimizer_of(nlp: Language) -> dict[str, Any]:
    return dict(nlp.config["training"]["optimizer"])


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    lengths = [150, 450, 300, 90, 510, 420, 60, 330, 480, 210]
    vocab = Vocab()
    docs = [Doc(vocab, words=["word"] * length) for length in lengths]
    path = tmp_path / "train.spacy"
    DocBin(docs=docs).to_disk(path)
    return path


@pytest.mark.parametrize(
    "further",
    [
        {},
        {"tolerance": 0.3},
        {
            "batcher": {
                "@batchers": "spacy.batch_by_words.v1",
                "size": 40,
                "tolerance": 0.1,
                "discard_oversize": False,
                "get_length": None,
            }
        },
    ],
    ids=["default", "tolerance", "batcher"],
)
def test_the_learning_rate_in_numbers_is_the_same_and_needs_no_corpus(
    further: dict[str, Any], corpus: Path
) -> None:
    rate = {**RATE, **further}
    nlp = with_rate(rate, corpus)
    made = optimizer_of(nlp)["learn_rate"]
    assert {key: made[key] for key in rate} == rate
    by_hand = {**rate, "path": str(corpus), "epochs": 7, "initial_rate": 0.004}
    expected = list(islice(registry.resolve({"of": by_hand})["of"], 100))
    # spaCy makes the optimizer, of the numbers already.
    first = nlp.initialize().schedules["learn_rate"]
    corpus.unlink()
    numbers = optimizer_of(nlp)["learn_rate"]
    assert numbers["@schedules"] == "clinical_ner.warmup_linear.v1"
    assert list(islice(registry.resolve({"of": numbers})["of"], 100)) == expected
    # An optimizer has taken the first rate.
    assert list(islice(first, 99)) == expected[1:]
    assert 0 < sum(rate > 0 for rate in expected) < 100
    nlp.initialize()
    assert optimizer_of(nlp)["learn_rate"] == numbers


def test_without_the_corpus_the_error_names_it(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.spacy"
    nlp = with_rate(RATE, path)
    with pytest.raises(InputError, match=r"nowhere\.spacy: no such file"):
        nlp.initialize()
    own = Adam(0.1)
    assert nlp.initialize(sgd=own) is own


def test_an_optimizer_resolves_without_the_variables(tmp_path: Path) -> None:
    nlp = with_rate("${variables.learn_rate}", tmp_path / "nowhere.spacy", L2="${variables.epochs}")
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    optimizer = spacy.load(tmp_path / "model").resume_training()
    assert optimizer.learn_rate == VARIABLES["learn_rate"]
    assert VARIABLES["epochs"] == optimizer.L2


def test_another_callback_is_called_with_the_numbers_there(corpus: Path) -> None:
    seen: list[str] = []

    def then(nlp: Language) -> Language:
        seen.append(optimizer_of(nlp)["learn_rate"]["@schedules"])
        return nlp

    nlp = with_rate(RATE, corpus)
    assert plan_learn_rate(then=then)(nlp) is nlp
    assert seen == ["clinical_ner.warmup_linear.v1"]


def test_an_overlay_replaces_the_other_callback_alone(tmp_path: Path) -> None:
    path = tmp_path / "own.cfg"
    path.write_text(
        '[initialize.before_init.then]\n@callbacks = "clinical_ner.restore_encoder_name.v1"\n',
        encoding="utf-8",
    )
    assert of_recipe(str(path)).config["initialize"]["before_init"] == {
        "@callbacks": "clinical_ner.plan_learn_rate.v1",
        "then": {"@callbacks": "clinical_ner.restore_encoder_name.v1"},
    }
