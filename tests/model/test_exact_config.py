"""The numbers of an encoder's configuration, which JSON with ten decimals would round."""

from __future__ import annotations

import copy
import pickle
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.util import load_model_from_config
from spacy_transformers.layers.hf_shim import HFShim
from transformers import (
    AutoConfig,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizerFast,
)

from clinical_ner.model.exact_config import with_epsilons
from clinical_ner.model.safe_shim import SafeShim

from .windows.windowed_examples import LONG, SHORT, WORDS, make_nlp, train, write_bert

#: Numbers that ten decimals cannot hold, and one with all of them.
NUMBERS = {
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.12345678901234567,
    "hidden_dropout_prob": 1 / 3,
    "attention_probs_dropout_prob": 0.1,
}


def transformer(nlp: Language, component: str = "transformer") -> Any:
    model = nlp.get_pipe(component).model
    return next(node.transformer for node in model.walk() if hasattr(node, "transformer"))


def numbers(nlp: Language, component: str = "transformer") -> dict[str, float]:
    config = transformer(nlp, component).config
    return {key: getattr(config, key) for key in NUMBERS}


def saved_and_loaded(nlp: Language, folder: Path) -> Language:
    nlp.to_disk(folder)
    return spacy.load(folder)


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> Language:
    """Not to be changed."""
    folder = write_bert(tmp_path_factory.mktemp("exact") / "bert")
    config = AutoConfig.from_pretrained(folder)
    config.update(NUMBERS)
    config.save_pretrained(folder)
    return train(make_nlp(folder))


@pytest.fixture
def before(exact: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pipeline that was loaded and saved by a version that rounded."""
    with monkeypatch.context() as patch:
        for method in ("to_bytes", "from_bytes"):
            patch.setattr(SafeShim, method, getattr(HFShim, method))
        saved_and_loaded(exact, tmp_path / "first").to_disk(tmp_path / "before")
    return tmp_path / "before"


def test_numbers_stay_however_often_a_pipeline_is_loaded(exact: Language, tmp_path: Path) -> None:
    nlp = exact
    for number in range(3):
        nlp = saved_and_loaded(nlp, tmp_path / str(number))
        assert numbers(nlp) == NUMBERS
        norms = [m for m in transformer(nlp).modules() if isinstance(m, torch.nn.LayerNorm)]
        assert {norm.eps for norm in norms} == {1e-12}
        assert {norm.weight.requires_grad for norm in norms} == {True}


def test_numbers_stay_in_a_component_of_its_own(exact: Language, tmp_path: Path) -> None:
    nlp = saved_and_loaded(exact, tmp_path / "first")
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    assert numbers(saved_and_loaded(nlp, tmp_path / "own"), "ner") == NUMBERS


def test_numbers_stay_in_bytes_and_in_copies(exact: Language) -> None:
    nlp = load_model_from_config(exact.config).from_bytes(exact.to_bytes())
    assert numbers(nlp) == NUMBERS
    model = nlp.get_pipe("transformer").model
    for copied in (model.copy(), copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        again = copied.from_bytes(copied.to_bytes())
        assert again.transformer.config.initializer_range == NUMBERS["initializer_range"]
        assert again.transformer.config.layer_norm_eps == 1e-12


def test_loading_says_nothing_of_numbers_that_are_there(exact: Language, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        saved_and_loaded(exact, tmp_path / "saved")


def test_an_encoder_divides_no_constant_row_by_zero(tmp_path: Path) -> None:
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", "[UNK]", *WORDS]
    (tmp_path / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    MPNetTokenizerFast(str(tmp_path / "vocab.txt"), model_max_length=32).save_pretrained(tmp_path)
    config = MPNetConfig(
        vocab_size=len(words),
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
    )
    encoder = MPNetModel(config)
    with torch.no_grad():
        # What an embedding that was never trained may be: the same number in all its columns.
        for embedding in (
            encoder.embeddings.word_embeddings,
            encoder.embeddings.position_embeddings,
        ):
            embedding.weight.fill_(1.0)
    encoder.save_pretrained(tmp_path)
    nlp = train(make_nlp(tmp_path), steps=0)
    loaded = saved_and_loaded(nlp, tmp_path / "model")
    assert transformer(loaded).config.layer_norm_eps == 1e-12
    rows = [n.get_pipe("ner").token_vectors([n(LONG)])[0] for n in (nlp, loaded)]
    assert np.isfinite(rows[0]).all()
    np.testing.assert_array_equal(*rows)


def test_a_pipeline_of_before_loads_with_one_line_and_predicts_the_same(
    exact: Language, before: Path, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match=r"'bert'.* loaded with layer_norm_eps = 1e-12") as told:
        nlp = spacy.load(before)
    pickle_told, _ = (str(of.message) for of in told)
    assert "torch pickle" in pickle_told
    assert "\n" not in pickle_told
    assert transformer(nlp).config.layer_norm_eps == 1e-12
    for text in (LONG, SHORT):
        found, expected = (n.get_pipe("ner").token_vectors([n(text)])[0] for n in (nlp, exact))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        saved_and_loaded(nlp, tmp_path / "again")


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"model_type": "mpnet", "layer_norm_eps": 0.0}, {"layer_norm_eps": 1e-12}),
        # Of a class whose own is too large to have been rounded to 0.
        ({"model_type": "gpt2", "layer_norm_epsilon": 0.0}, {"layer_norm_epsilon": 1e-12}),
        ({"model_type": "funnel", "layer_norm_eps": 0}, {"layer_norm_eps": 1e-12}),
        # Smoothing of labels, 0 by default.
        ({"model_type": "prophetnet", "eps": 0.0}, {}),
        ({"model_type": "bert", "layer_norm_eps": 1e-5, "attention_dropout": 0.0}, {}),
        # Nothing of the class reads it.
        ({"model_type": "bert", "own_eps": 0.0}, {}),
        ({"model_type": "not a type", "layer_norm_eps": 0.0}, {}),
        ({}, {}),
    ],
)
def test_only_an_epsilon_that_was_lost_is_replaced(config: dict, expected: dict) -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        assert with_epsilons(config) == {**config, **expected}
    assert len(told) == bool(expected)
