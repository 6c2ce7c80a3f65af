"""Windows of training and of prediction, and that all else is the stock model."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.training import Example
from thinc.api import fix_random_seed

from clinical_ner.model.strided_transformer import StridedTransformer

from .tiny_encoder import write_encoder

TEXT = "fever and cough and aspirin and fever"
STRIDED = "spacy-transformers.strided_spans.v1"


def spans(window: int, stride: int) -> dict[str, Any]:
    return {"@span_getters": STRIDED, "window": window, "stride": stride}


def make_nlp(encoder: Path, **spans_by_use: dict[str, Any]) -> Language:
    """A pipeline with our transformer, or with the stock one where there is only get_spans."""
    is_ours = "get_training_spans" in spans_by_use
    model: dict[str, Any] = {
        "@architectures": "clinical_ner.StridedTransformer.v1"
        if is_ours
        else "spacy-transformers.TransformerModel.v3",
        "name": str(encoder),
        "tokenizer_config": {"use_fast": True, "model_max_length": 64},
        "transformer_config": {},
        "mixed_precision": False,
        "grad_scaler_config": {},
        **spans_by_use,
    }
    nlp = spacy.blank("en")
    nlp.add_pipe("transformer", config={"model": model})
    listener = {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "pooling": {"@layers": "reduce_mean.v1"},
    }
    settings = {"model": {"tok2vec": listener}, "keep_transformer_output": True}
    nlp.add_pipe("clinical_ner", name="ner", config=settings)
    return nlp


def train(nlp: Language) -> Language:
    fix_random_seed(0)
    example = Example.from_dict(nlp.make_doc(TEXT), {"entities": [(0, 5, "Sign")]})
    optimizer = nlp.initialize(lambda: [example])
    for _ in range(3):
        nlp.update([example], sgd=optimizer)
    return nlp


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_encoder(tmp_path_factory.mktemp("strided") / "encoder")


@pytest.fixture
def ours(encoder: Path) -> Language:
    return train(make_nlp(encoder, get_spans=spans(4, 2), get_training_spans=spans(4, 4)))


def windows(nlp: Language, *, is_train: bool) -> list[tuple[int, int]]:
    output, _ = nlp.get_pipe("transformer").model([nlp.make_doc(TEXT)], is_train)
    return [(span.start, span.end) for span in output.spans[0]]


def test_training_and_prediction_have_windows_of_their_own(ours: Language) -> None:
    assert windows(ours, is_train=True) == [(0, 4), (4, 7)]
    assert windows(ours, is_train=False) == [(0, 4), (2, 6), (4, 7)]
    assert windows(ours, is_train=True) == [(0, 4), (4, 7)]


def test_training_is_that_of_the_stock_model_with_the_training_windows(
    ours: Language, encoder: Path
) -> None:
    stock = train(make_nlp(encoder, get_spans=spans(4, 4)))
    states = [nlp.get_pipe("transformer").model.transformer.state_dict() for nlp in (ours, stock)]
    for name, value in states[0].items():
        np.testing.assert_array_equal(value.numpy(), states[1][name].numpy())
    other = train(make_nlp(encoder, get_spans=spans(4, 2)))
    changed = other.get_pipe("transformer").model.transformer.state_dict()
    assert any((changed[name] != value).any() for name, value in states[0].items())


def test_prediction_is_that_of_the_stock_model_with_the_prediction_windows(
    ours: Language, encoder: Path
) -> None:
    stock = train(make_nlp(encoder, get_spans=spans(4, 2)))
    stock.get_pipe("transformer").model.from_bytes(ours.get_pipe("transformer").model.to_bytes())
    vectors = [nlp(TEXT)._.trf_data.model_output.last_hidden_state for nlp in (ours, stock)]
    assert vectors[0].shape[0] == 3
    np.testing.assert_allclose(vectors[0], vectors[1], rtol=1e-5, atol=1e-6)


def test_a_failing_pass_leaves_the_prediction_windows(ours: Language) -> None:
    with pytest.raises(TypeError):
        ours.get_pipe("transformer").model([None], True)
    assert len(windows(ours, is_train=False)) == 3


def test_saving_and_loading_keeps_both(ours: Language, tmp_path: Path) -> None:
    ours.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert windows(loaded, is_train=True) == [(0, 4), (4, 7)]
    np.testing.assert_array_equal(
        loaded.get_pipe("ner").predict([loaded.get_pipe("transformer")(loaded.make_doc(TEXT))])[0],
        ours.get_pipe("ner").predict([ours.get_pipe("transformer")(ours.make_doc(TEXT))])[0],
    )


@pytest.mark.parametrize("duplicate", [lambda m: m.copy(), lambda m: pickle.loads(pickle.dumps(m))])
def test_a_copy_keeps_both(ours: Language, duplicate: Any) -> None:
    copied = duplicate(ours.get_pipe("transformer").model)
    assert isinstance(copied, StridedTransformer)
    doc = ours.make_doc(TEXT)
    assert len(copied([doc], True)[0].spans[0]) == 2
    output = copied([doc], False)[0]
    assert len(output.spans[0]) == 3
    expected = ours.get_pipe("transformer").model([doc], False)[0].model_output
    np.testing.assert_array_equal(output.model_output.last_hidden_state, expected.last_hidden_state)


def test_replaced_listeners_get_a_stock_transformer_that_loads(
    ours: Language, tmp_path: Path
) -> None:
    expected = ours.get_pipe("ner").predict([ours(TEXT)])[0]
    ours.replace_listeners("transformer", "ner", ["model.tok2vec"])
    ours.remove_pipe("transformer")
    ours.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    found = loaded.get_pipe("ner").predict([loaded.make_doc(TEXT)])[0]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
