"""Frozen components: what would have no weights, or would not run, is said before training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spacy
from confection import Config
from spacy.language import Language

from clinical_ner.cli import main
from clinical_ner.errors import ClinicalNerError
from clinical_ner.training.recipes import read_recipe
from clinical_ner.training.train import initialize, train, training_settings

from ..conftest import ROOT
from ..model.tiny_encoder import write_encoder

CONFIGS = ROOT / "configs"


def made(recipe: str | Path, corpus: Path, **training: Any) -> Language:
    settings = training_settings(corpus, corpus)
    settings |= {f"training.{key}": value for key, value in training.items()}
    return initialize(read_recipe(recipe, CONFIGS / "minilm.cfg"), settings)


@pytest.fixture
def sourced(tmp_path: Path, corpus_file: Path) -> Path:
    """A config whose tok2vec comes from another pipeline."""
    made("tok2vec", corpus_file).to_disk(tmp_path / "first")
    config = Config().from_disk(CONFIGS / "tok2vec.cfg", interpolate=False)
    config["components"]["ner"]["model"]["tok2vec"]["width"] = 96
    config["components"]["tok2vec"] = {"source": str(tmp_path / "first")}
    config.to_disk(tmp_path / "sourced.cfg", interpolate=False)
    return tmp_path / "sourced.cfg"


@pytest.mark.parametrize("frozen", ["tok2vec", "ner"])
@pytest.mark.parametrize("annotating", [[], ["tok2vec"]])
def test_a_new_component_cannot_be_frozen(
    frozen: str, annotating: list[str], corpus_file: Path
) -> None:
    with pytest.raises(
        ClinicalNerError, match=rf"'{frozen}', which the recipe makes new.*components\.{frozen}\]"
    ):
        made("tok2vec", corpus_file, frozen_components=[frozen], annotating_components=annotating)


def test_nor_can_a_new_transformer(corpus_file: Path, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder")
    settings = training_settings(corpus_file, corpus_file, encoder=str(encoder))
    settings["training.frozen_components"] = ["transformer"]
    with pytest.raises(ClinicalNerError, match="'transformer', which the recipe makes new"):
        initialize(read_recipe("minilm", CONFIGS / "minilm.cfg"), settings)


def test_a_frozen_component_that_others_learn_from_must_annotate(
    sourced: Path, corpus_file: Path
) -> None:
    with pytest.raises(
        ClinicalNerError,
        match=r"'tok2vec', whose vectors ner learns from.*annotating_components = \[\"tok2vec\"\]",
    ):
        made(sourced, corpus_file, frozen_components=["tok2vec"])


def test_a_frozen_transformer_must_too(corpus_file: Path, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder", places=128)
    settings = training_settings(corpus_file, corpus_file, encoder=str(encoder))
    initialize(read_recipe("minilm", CONFIGS / "minilm.cfg"), settings).to_disk(tmp_path / "first")
    config = Config().from_disk(CONFIGS / "minilm.cfg", interpolate=False)
    config["components"]["transformer"] = {"source": str(tmp_path / "first")}
    del config["variables"]["encoder"]
    config.to_disk(tmp_path / "sourced.cfg", interpolate=False)
    with pytest.raises(ClinicalNerError, match="'transformer', whose vectors ner learns from"):
        made(tmp_path / "sourced.cfg", corpus_file, frozen_components=["transformer"])


def test_the_command_says_it_in_one_line(
    sourced: Path, corpus_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["train", sourced, tmp_path / "out", "--train", corpus_file, "--dev", corpus_file]
    with pytest.raises(SystemExit, match="1"):
        main([*map(str, arguments), "--training.frozen_components", '["tok2vec"]'])
    error = capsys.readouterr().err
    assert "annotating_components" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_with_what_is_said_the_training_runs(
    sourced: Path, corpus_file: Path, tmp_path: Path
) -> None:
    frozen = {"training.frozen_components": ["tok2vec"]}
    train(
        sourced,
        tmp_path / "out",
        train_path=corpus_file,
        dev_path=corpus_file,
        epochs=1,
        overrides={**frozen, "training.annotating_components": ["tok2vec"]},
    )
    before, after = (
        spacy.load(path).get_pipe("tok2vec").model.to_bytes()
        for path in (tmp_path / "first", tmp_path / "out" / "model-last")
    )
    assert before == after
