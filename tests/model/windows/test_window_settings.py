"""Settings of windows that do not go together, or with the encoder, and what the error says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from transformers import BertTokenizer, RobertaConfig, RobertaModel

from clinical_ner.errors import ClinicalNerError
from clinical_ner.model.windows.window_settings import SpecialTokens, longest_window

from .test_wordpieces import byte_level
from .windowed_examples import SHORT, make_nlp, train, write_bert


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("settings") / "bert")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_wordpieces": 0}, "max_wordpieces of the transformer must be an integer >= 1, got 0"),
        ({"context": -1}, "context of the transformer must be an integer >= 0, got -1"),
        ({"training_context": -1}, "training_context of the transformer must be an integer"),
        ({"max_batch_items": 0}, "max_batch_items of the transformer must be an integer"),
        ({"max_batch_items": 11}, "max_batch_items of the transformer is 11, too few for one"),
        ({"context": 6}, "context of the transformer is 6: on both sides it fills a window"),
        ({"training_context": 7}, "training_context of the transformer is 7"),
    ],
)
def test_numbers_that_do_not_go_together(settings: dict, message: str, encoder: Path) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        make_nlp(encoder, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"max_wordpieces": 33}, "max_wordpieces of the transformer is 33, but .* has 32 places"),
        ({"context": 5}, "context .* is 5: .* 12, 2 of them special tokens. Set it to at most 4"),
        ({"tokenizer_config": {"use_fast": False}}, "set use_fast = true"),
        ({"transformer_config": {"output_attentions": True}}, "asked for output_attentions"),
    ],
)
def test_settings_that_do_not_fit_the_encoder(settings: dict, message: str, encoder: Path) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        train(make_nlp(encoder, **settings))


def test_settings_that_do_not_fit_the_encoder_are_found_at_loading(
    encoder: Path, tmp_path: Path
) -> None:
    train(make_nlp(encoder)).to_disk(tmp_path)
    overrides = {"components.transformer.model.max_wordpieces": 40}
    with pytest.raises(ClinicalNerError, match="has 32 places"):
        spacy.load(tmp_path, config=overrides)


def test_the_longest_window_and_the_largest_context_work(encoder: Path) -> None:
    nlp = train(make_nlp(encoder, max_wordpieces=32, context=14))
    doc = nlp(" ".join([SHORT] * 40))
    assert len(doc._.trf_data.align.lengths) == 120


def roberta() -> tuple[Any, RobertaModel]:
    config = RobertaConfig(
        vocab_size=300,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=34,
        pad_token_id=1,
    )
    return byte_level(), RobertaModel(config)


def test_positions_of_roberta_begin_behind_that_of_the_padding() -> None:
    tokenizer, transformer = roberta()
    limit = longest_window(tokenizer, transformer)
    assert limit == 32
    transformer(torch.full((1, limit), 5))
    with pytest.raises((IndexError, RuntimeError)):
        transformer(torch.full((1, limit + 1), 5))


def test_no_limit_is_known_of_an_encoder_that_states_none() -> None:
    tokenizer, transformer = roberta()
    tokenizer.model_max_length = 10**30
    transformer.config.max_position_embeddings = -1
    transformer.embeddings.position_embeddings = None
    assert longest_window(tokenizer, transformer) is None


def test_special_tokens_are_those_that_the_tokenizer_adds(encoder: Path) -> None:
    bert = SpecialTokens.of(BertTokenizer.from_pretrained(encoder, use_fast=False))
    assert (bert.prefix.tolist(), bert.suffix.tolist(), bert.pad) == ([2], [3], 0)
    assert bert.types is not None
    roberta = SpecialTokens.of(byte_level())
    assert (roberta.prefix.tolist(), roberta.suffix.tolist(), roberta.pad) == ([0], [2], 1)
    assert roberta.types is None
    assert roberta.count == 2


def test_a_tokenizer_of_bytes_works_in_a_pipeline(tmp_path: Path) -> None:
    tokenizer, transformer = roberta()
    tokenizer.save_pretrained(tmp_path)
    transformer.save_pretrained(tmp_path)
    nlp = train(make_nlp(tmp_path, max_wordpieces=32))
    doc = nlp.get_pipe("transformer")(nlp.make_doc("Patient had fever. Took aspirin"))
    model = nlp.get_pipe("transformer").model
    with torch.no_grad():
        direct = model.transformer.eval()(**tokenizer(doc.text, return_tensors="pt"))
    np.testing.assert_allclose(
        doc._.trf_data.model_output.last_hidden_state,
        direct.last_hidden_state[:, 1:-1].numpy(),
        rtol=1e-5,
        atol=1e-6,
    )
