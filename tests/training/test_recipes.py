from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from confection import Config
from spacy.language import Language
from spacy.training.loggers import setup_table

from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.recipes import (
    Recipe,
    asks_for_neighbours,
    list_recipes,
    read_recipe,
    read_recipes,
)
from clinical_ner.training.train import initialize, training_settings

from ..conftest import ROOT
from ..model.tiny_encoder import write_encoder

MINILM = ROOT / "configs" / "minilm.cfg"
PLAIN = '[components.ner.loss]\n@losses = "clinical_ner.WeightedCrossEntropy.v1"\n'


@pytest.fixture
def base(tmp_path: Path) -> Path:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "base.cfg").write_text(MINILM.read_text(encoding="utf-8"), encoding="utf-8")
    return tmp_path / "base.cfg"


def read(base: Path, text: str, name: str = "own") -> Recipe:
    (base.parent / "recipes" / f"{name}.cfg").write_text(text, encoding="utf-8")
    return read_recipes([name], base)[0]


def test_a_setting_changes_and_the_rest_stays(base: Path) -> None:
    config = read(base, "[components.ner.loss]\nbeta = 0.5\n").config
    expected = Config().from_disk(base, interpolate=False)
    expected["components"]["ner"]["loss"]["beta"] = 0.5
    assert config == expected


def test_another_registered_function_replaces_the_block(base: Path) -> None:
    text = '[components.ner.loss]\n@losses = "clinical_ner.LogitAdjusted.v1"\n'
    config = read(base, text + "tokens_per_batch = ${variables.words_per_batch}\n").config
    assert config["components"]["ner"]["loss"] == {
        "@losses": "clinical_ner.LogitAdjusted.v1",
        "tokens_per_batch": "${variables.words_per_batch}",
    }
    assert config.interpolate()["components"]["ner"]["loss"]["tokens_per_batch"] == 500


def test_another_factory_replaces_the_component(base: Path) -> None:
    assert read(base, '[components.ner]\nfactory = "ner"\n').config["components"]["ner"] == {
        "factory": "ner"
    }


def test_the_base_is_not_changed(base: Path) -> None:
    before = read(base, "[training]\ndropout = 0.1\n", "same").config.to_str(interpolate=False)
    (base.parent / "recipes" / "other.cfg").write_text("[training]\ndropout = 0.7\n")
    same_again, other = (recipe.config for recipe in read_recipes(["same", "other"], base))
    assert same_again.to_str(interpolate=False) == before
    assert other["training"]["dropout"] == 0.7


def test_a_complete_config_is_used_as_it_is(base: Path, tmp_path: Path) -> None:
    path = tmp_path / "whole.cfg"
    path.write_text('[nlp]\nlang = "en"\npipeline = []\n', encoding="utf-8")
    recipe = read_recipes([str(path)], base)[0]
    assert (recipe.name, recipe.path) == ("whole", path)
    assert recipe.config == {"nlp": {"lang": "en", "pipeline": []}}


def test_the_suffix_asks_for_neighbours(base: Path) -> None:
    (base.parent / "recipes" / "own.cfg").write_text(PLAIN, encoding="utf-8")
    plain, mixed = read_recipes(["own", "own+neighbours"], base)
    assert (plain.name, plain.neighbours) == ("own", False)
    assert (mixed.name, mixed.neighbours) == ("own+neighbours", True)
    assert plain.config == mixed.config


def test_a_recipe_can_ask_for_neighbours(base: Path) -> None:
    (base.parent / "recipes" / "own.cfg").write_text("[neighbours]\nadd = true\n")
    recipe = read_recipes(["own"], base)[0]
    assert (recipe.name, recipe.neighbours) == ("own+neighbours", True)
    assert not asks_for_neighbours(read_recipe("base", base).config)
    assert not asks_for_neighbours({})
    with pytest.raises(ClinicalNerError, match="neither true nor false"):
        asks_for_neighbours({"neighbours": {"add": "yes"}})


@pytest.mark.parametrize(
    ("text", "key", "close"),
    [
        (PLAIN + 'weigths = "none"', "components.ner.loss.weigths", "weights"),
        ("[components.ner]\nprior_strenght = 0.5", "prior_strenght", "prior_strength"),
        ("[trainin]\ndropout = 0.5", "'trainin'", "training"),
        ("[training]\ndropuot = 0.5", "training.dropuot", "dropout"),
        ("[training.batcher]\ntolerence = 0.5", "training.batcher.tolerence", "tolerance"),
        ("[training.score_weights]\nents_macrof = 1", "ents_macrof", "ents_macro_f"),
        ("[variables]\nepoch = 1", "variables.epoch", "epochs"),
        ("[corpora.train]\nlimt = 1", "corpora.train.limt", "limit"),
        ('[components.nerr]\nfactory = "ner"', "components.nerr", "ner"),
        (
            "[components.transformer.model]\nmax_wordpiece = 9",
            "components.transformer.model.max_wordpiece",
            "max_wordpieces",
        ),
    ],
)
def test_an_unknown_key_is_named_with_what_is_near_it(
    base: Path, text: str, key: str, close: str
) -> None:
    with pytest.raises(ClinicalNerError, match="' is no setting of the base recipe, of") as raised:
        read(base, text + "\n")
    message = str(raised.value)
    assert str(base.parent / "recipes" / "own.cfg") in message
    assert key in message and close in message.split("Did you mean")[1]
    assert "\n" not in message


@pytest.mark.parametrize(
    "text",
    [
        PLAIN + 'weights = {"Mass": 2.0}',
        "[components.transformer.model.tokenizer_config]\nmodel_max_length = 256",
        '[training.before_update]\n@callbacks = "clinical_ner.restore_encoder_name.v1"',
        '[initialize.components.ner]\nlabels = ["Mass"]',
        "[components.ner]\noverlaps = true\n\n[training.score_weights]\nspans_f = 1.0",
        "[training]\neval_frequency = 100",
    ],
)
def test_free_values_and_defaults_of_spacy_are_no_unknown_keys(base: Path, text: str) -> None:
    assert read(base, text + "\n").name == "own"


@pytest.mark.parametrize(
    ("text", "close"),
    [
        ('[components.ner.loss]\n@losses = "clinical_ner.Focall.v1"', "clinical_ner.Focal.v1"),
        ('[components.ner.loss]\n@lossess = "clinical_ner.Focal.v1"', "losses"),
        ('[components.ner]\nfactory = "nerr"', "ner"),
    ],
)
def test_an_unknown_name_is_named_with_what_is_near_it(base: Path, text: str, close: str) -> None:
    with pytest.raises(ClinicalNerError, match="', which is not among the registered") as raised:
        read(base, text + "\n")
    assert close in str(raised.value).split("Did you mean")[1]


@pytest.mark.parametrize(
    "text",
    ["no config\n", "[a]\nx = 1\n[a]\ny = 1\n", "[components.ner.loss]\n[components]\n"],
)
def test_a_file_that_is_no_config(base: Path, text: str) -> None:
    with pytest.raises(
        ClinicalNerError, match=r"own\.cfg.*not a recipe in spaCy's config format"
    ) as raised:
        read(base, text)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("name", ["plian", "plian.cfg", "plian+neighbours"])
def test_an_unknown_recipe_is_named_with_what_is_near_it(base: Path, name: str) -> None:
    (base.parent / "recipes" / "plain.cfg").write_text(PLAIN, encoding="utf-8")
    with pytest.raises(ClinicalNerError, match="has none of this name.*Did you mean plain"):
        read_recipes([name], base)


def test_two_recipes_of_one_name(base: Path, tmp_path: Path) -> None:
    for path in (base.parent / "recipes" / "own.cfg", tmp_path / "own.cfg"):
        path.write_text(PLAIN, encoding="utf-8")
    with pytest.raises(ClinicalNerError, match="both would have runs named '"):
        read_recipes(["own", str(tmp_path / "own.cfg")], base)


def test_a_missing_base(tmp_path: Path) -> None:
    overlay = tmp_path / "own.cfg"
    overlay.write_text(PLAIN, encoding="utf-8")
    with pytest.raises(ClinicalNerError, match=r"own\.cfg: an overlay, and its base.*no\.cfg"):
        read_recipe(overlay, tmp_path / "no.cfg")


def test_a_name_is_looked_up_beside_the_base_and_among_the_overlays(base: Path) -> None:
    read(base, PLAIN)
    assert read_recipe("base", base).path == base
    assert read_recipe("own", base).path == base.parent / "recipes" / "own.cfg"


def test_outside_the_project_a_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="'plain': .* holds no recipes. Run the command in"):
        read_recipe("plain", tmp_path / "configs" / "minilm.cfg")


def test_recipes_are_listed_with_the_comment_they_begin_with(base: Path) -> None:
    read(base, "# What it does.\n\n" + PLAIN)
    assert list_recipes(base.parent)["own"] == "What it does."
    assert list(list_recipes(base.parent)) == ["base", "own"]


@pytest.mark.parametrize("name", list_recipes(ROOT / "configs"))
def test_no_two_columns_of_the_log_are_headed_alike(name: str) -> None:
    of_recipe = read_recipe(name, MINILM).config["training"]["score_weights"]
    for weights in (of_recipe, Language.get_factory_meta("clinical_ner").default_score_weights):
        shown = [score for score, weight in weights.items() if weight is not None]
        heads, *_ = setup_table(cols=shown, widths=[6] * len(shown))
        assert len(set(heads)) == len(shown) > 2


def test_paper_is_the_recipe_of_the_paper_on_the_embedded_encoder() -> None:
    recipe = read_recipe("paper", MINILM)
    config = recipe.config.interpolate()
    base = Config().from_disk(MINILM)
    assert config["components"]["transformer"] == base["components"]["transformer"]
    loss = config["components"]["ner"]["loss"]
    assert loss["@losses"] == "clinical_ner.BinaryTokenLabels.v2"
    assert (loss["problems"], loss["weights"]) == ("batch", "paper")
    batcher = config["training"]["batcher"]
    assert batcher["@batchers"] == "clinical_ner.batch_by_entity.v1"
    assert loss["tokens_per_batch"] == batcher["size"]
    # The schedules count the steps of the batcher that trains.
    training = config["training"]
    for block in (
        training["eval_frequency"],
        training["patience"],
        training["optimizer"]["learn_rate"],
    ):
        assert block["batcher"] == batcher
    assert asks_for_neighbours(recipe.config)


def test_biobert_changes_the_encoder_and_how_long_and_fast_it_learns() -> None:
    expected = Config().from_disk(MINILM, interpolate=False)
    expected["variables"] |= {
        "encoder": "dmis-lab/biobert-base-cased-v1.1",
        "epochs": 20,
        "learn_rate": 0.00005,
    }
    expected["components"]["ner"]["learn_rate_factor"] = 10.0
    assert read_recipe("biobert", MINILM).config == expected


def test_paper_is_a_valid_config(tmp_path: Path, corpus_file: Path) -> None:
    encoder = str(write_encoder(tmp_path / "encoder", places=128))
    settings = training_settings(corpus_file, corpus_file, encoder=encoder)
    nlp = initialize(read_recipe("paper", MINILM), settings)
    nlp.to_disk(tmp_path / "model")
    # The step after training reads it in the model.
    assert asks_for_neighbours(spacy.load(tmp_path / "model").config)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "recipes").glob("*.cfg")), ids=str)
def test_every_overlay_of_the_project_merges(path: Path) -> None:
    recipe = read_recipes([path.stem], MINILM)[0]
    assert recipe.config.interpolate() != Config().from_disk(MINILM).interpolate() or (
        path.stem == "sqrt_inverse"
    )
    first, second, *_ = path.read_text(encoding="utf-8").splitlines()
    assert first.startswith("# ") and second in ("", "#")
