"""Encoders on ONNX Runtime: what they give, and life within a pipeline."""

from __future__ import annotations

import copy
import multiprocessing
import pickle
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from numpy.typing import NDArray
from spacy.language import Language

from clinical_ner.errors import ClinicalNerError
from clinical_ner.model.encoder import INSTALLED_ENCODERS
from clinical_ner.onnx.export import export
from clinical_ner.onnx.optimize import optimize_encoder, transformer_to_optimize
from clinical_ner.onnx.session import OnnxEncoder

from ..model.tiny_encoder import pipeline, write_encoder
from ..model.windows.windowed_examples import LONG, SHORT, examples, make_nlp, train, write_bert

TEXTS = [LONG, SHORT, "", "  \n", "fever.\n\n" + LONG, "unknown words"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Language:
    """A pipeline of PyTorch that was loaded from its folder; not to be changed."""
    folder = tmp_path_factory.mktemp("onnx")
    train(make_nlp(write_bert(folder / "bert"))).to_disk(folder / "model")
    return spacy.load(folder / "model")


@pytest.fixture(scope="module")
def fp32(trained: Language) -> Language:
    return optimize_encoder(trained, "transformer", "fp32")


@pytest.fixture(scope="module")
def int8(trained: Language) -> Language:
    return optimize_encoder(trained, "transformer", "int8")


def model_of(nlp: Language) -> Any:
    return nlp.get_pipe("transformer").model


def vectors(nlp: Language, texts: list[str]) -> list[NDArray[np.float32]]:
    """Vectors of each text's wordpieces. *Shape:* ``(n, width)``."""
    output = model_of(nlp).predict([nlp.make_doc(text) for text in texts])
    return [
        data.model_output.last_hidden_state.reshape(-1, 8) if data.model_output else np.zeros(0)
        for data in output.doc_data
    ]


def assert_same(found: list[NDArray], expected: list[NDArray], atol: float) -> None:
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=atol)


def test_single_precision_gives_the_vectors_of_pytorch(trained: Language, fp32: Language) -> None:
    assert isinstance(model_of(fp32).transformer, OnnxEncoder)
    assert_same(vectors(fp32, TEXTS), vectors(trained, TEXTS), 1e-4)
    for text in TEXTS:
        probabilities = [nlp(text).spans["ner"].attrs["scores"] for nlp in (trained, fp32)]
        np.testing.assert_allclose(*probabilities, rtol=0, atol=1e-4)


def test_eight_bits_give_vectors_close_to_them(trained: Language, int8: Language) -> None:
    expected = np.concatenate([v for v in vectors(trained, TEXTS) if v.size])
    found = np.concatenate([v for v in vectors(int8, TEXTS) if v.size])
    assert 1e-4 < np.abs(found - expected).mean() < 0.05 * expected.std()


def test_eight_bits_do_not_depend_on_the_batch(int8: Language) -> None:
    alone = [vectors(int8, [text])[0] for text in TEXTS]
    assert_same(vectors(int8, TEXTS), alone, 1e-5)


def test_it_was_the_old_pipeline_that_stays(trained: Language, int8: Language) -> None:
    assert isinstance(model_of(trained).transformer, torch.nn.Module)
    assert not isinstance(model_of(trained).transformer, OnnxEncoder)
    assert model_of(trained).tokenizer is not model_of(int8).tokenizer


def test_saving_and_loading(int8: Language, tmp_path: Path) -> None:
    int8.to_disk(tmp_path)
    for loaded in (spacy.load(tmp_path), spacy.load(tmp_path).from_bytes(int8.to_bytes())):
        assert_same(vectors(loaded, TEXTS), vectors(int8, TEXTS), 0)
        assert model_of(loaded).settings == model_of(int8).settings


def test_the_settings_of_the_windows_can_be_changed_at_loading(
    trained: Language, fp32: Language, tmp_path: Path
) -> None:
    fp32.to_disk(tmp_path)
    loaded = spacy.load(tmp_path, config={"components.transformer.model.transformer.context": 0})
    same = spacy.load(trained.path, config={"components.transformer.model.context": 0})
    assert_same(vectors(loaded, TEXTS), vectors(same, TEXTS), 1e-4)


@pytest.mark.parametrize(
    "duplicate",
    [lambda m: m.copy(), copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_the_same(int8: Language, duplicate: Callable[[Any], Any]) -> None:
    expected = vectors(int8, TEXTS)
    copied = duplicate(model_of(int8))
    assert copied.transformer._sessions == {}
    output = copied.predict([int8.make_doc(LONG)])
    assert_same([output.doc_data[0].model_output.last_hidden_state[0]], expected[:1], 0)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_stock_transformer_can_be_optimized_too(precision: str, tmp_path: Path) -> None:
    nlp = pipeline(str(write_encoder(tmp_path / "encoder")))
    nlp.initialize()
    nlp.to_disk(tmp_path / "model")
    before = spacy.load(tmp_path / "model")
    optimize_encoder(before, "transformer", precision).to_disk(tmp_path / "optimized")
    after = spacy.load(tmp_path / "optimized")
    texts = ["fever and cough " * 12, "aspirin"]
    found, expected = (
        [
            data.model_output.last_hidden_state[data.wordpieces.attention_mask > 0]
            for data in (doc._.trf_data for doc in nlp.pipe(texts))
        ]
        for nlp in (after, before)
    )
    assert found[0].shape[0] > 12 * 3
    assert_same(found, expected, 1e-4 if precision == "fp32" else 0.2)


def test_replaced_listeners_keep_their_encoder(int8: Language, tmp_path: Path) -> None:
    texts = [text for text in TEXTS if text.strip()]
    expected = [doc.spans["ner"].attrs["scores"] for doc in int8.pipe(texts)]
    int8.to_disk(tmp_path / "with")
    nlp = spacy.load(tmp_path / "with")
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    nlp.to_disk(tmp_path / "without")
    found = [
        doc.spans["ner"].attrs["scores"] for doc in spacy.load(tmp_path / "without").pipe(texts)
    ]
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-6)


def test_training_is_refused(int8: Language, tmp_path: Path) -> None:
    int8.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    with pytest.raises(ClinicalNerError, match="train the pipeline that it was made from"):
        nlp.update(examples(nlp), sgd=nlp.resume_training())


def test_training_from_its_config_is_refused(int8: Language) -> None:
    nlp = spacy.util.load_model_from_config(int8.config)
    with pytest.raises(ClinicalNerError, match="train the pipeline that it was made from"):
        nlp.initialize(lambda: examples(nlp))


def test_a_frozen_one_serves_what_is_trained_on_it(int8: Language, tmp_path: Path) -> None:
    int8.to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    with nlp.select_pipes(disable=["transformer"]):
        optimizer = nlp.resume_training()
    losses = nlp.update(
        examples(nlp), sgd=optimizer, exclude=["transformer"], annotates=["transformer"]
    )
    assert losses["ner"] > 0


def test_no_file_of_it_names_a_folder_of_this_machine(
    int8: Language, fp32: Language, tmp_path: Path
) -> None:
    for nlp in (int8, fp32):
        file = model_of(nlp).transformer.file
        for path in (sys.prefix, str(Path(__file__).parents[2]), "/tmp/", "site-packages"):
            assert path.encode() not in file


def test_without_onnxruntime_loading_names_the_extra(
    int8: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    int8.to_disk(tmp_path)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        ClinicalNerError,
        match=r"An encoder on ONNX Runtime needs onnxruntime: .*clinical-ner\[onnx\]",
    ):
        spacy.load(tmp_path)


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_without_the_extra_optimizing_names_it(
    trained: Language, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        ClinicalNerError,
        match=rf"An encoder on ONNX Runtime needs {package}: .*clinical-ner\[onnx\]",
    ):
        optimize_encoder(trained, "transformer", "fp32")


def test_an_encoder_too_large_for_one_file(
    trained: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinical_ner.onnx.export.MAX_BYTES", 1000)
    with pytest.raises(ClinicalNerError, match="GB of weights, more than the 2 GB that one"):
        optimize_encoder(trained, "transformer", "int8")


class Inexact(torch.nn.Module):
    """An encoder whose traced graph is wrong for other shapes: it holds the length it was traced
    with."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    def forward(self, **inputs: torch.Tensor) -> Any:
        output = self.encoder(**inputs)
        output.last_hidden_state = output.last_hidden_state * float(inputs["input_ids"].shape[1])
        return output


@pytest.mark.filterwarnings("ignore")
def test_an_encoder_that_cannot_be_traced(
    trained: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinical_ner.onnx.export._written_out", Inexact)
    model = model_of(trained)
    with pytest.raises(
        ClinicalNerError, match="would differ.*Use the pipeline as it is, or train with"
    ) as raised:
        export("owner/encoder", model.transformer, model.tokenizer)
    assert "\n" not in str(raised.value)


class Unknown(torch.nn.Module):
    """An encoder with an operator that ONNX does not have."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder
        self.config = encoder.config

    def forward(self, **inputs: torch.Tensor) -> Any:
        output = self.encoder(**inputs)
        output.last_hidden_state = torch.special.i1e(output.last_hidden_state)
        return output


def test_an_operator_that_onnx_does_not_have_gives_one_line(
    trained: Language, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("clinical_ner.onnx.export._written_out", Unknown)
    model = model_of(trained)
    with pytest.raises(
        ClinicalNerError, match="Use the pipeline as it is, or train with"
    ) as raised:
        export("owner/encoder", model.transformer, model.tokenizer)
    assert "\n" not in str(raised.value)
    # The exporter would print the graph.
    assert capfd.readouterr().out == ""


def test_padding_on_the_left_is_refused(trained: Language) -> None:
    model = model_of(trained)
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.padding_side = "left"
    with pytest.raises(ClinicalNerError, match="left.*Use the pipeline as it is, or train with"):
        export("owner/encoder", model.transformer, tokenizer)


def test_padding_has_no_vectors(fp32: Language) -> None:
    encoder = model_of(fp32).transformer.eval()
    ids = torch.tensor([[2, 5, 6, 3, 0, 0], [2, 5, 6, 7, 8, 3], [0] * 6])
    found = encoder(ids, (ids > 0).float(), torch.zeros_like(ids)).last_hidden_state
    assert found.shape == (3, 6, 8)
    assert (found[0, :4] != 0).all() and (found[1] != 0).all()
    assert (found[0, 4:] == 0).all() and (found[2] == 0).all()


def test_an_optimized_pipeline_is_not_optimized_again(int8: Language) -> None:
    with pytest.raises(ClinicalNerError, match="Name the pipeline that it was made from"):
        transformer_to_optimize(int8)


def test_a_full_memory_halves_the_batch(
    fp32: Language, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = vectors(fp32, [LONG])
    encoder = model_of(fp32).transformer
    session, calls = encoder._session(), []

    class Full:
        def run(self, names: list[str], inputs: dict[str, NDArray]) -> Any:
            calls.append(len(inputs["input_ids"]))
            if len(calls) == 1:
                raise Exception("Failed to allocate memory for requested buffer of size 7")
            return session.run(names, inputs)

    monkeypatch.setattr(encoder, "_session", Full)
    assert_same(vectors(fp32, [LONG]), expected, 1e-5)
    # One row a call; the first failed.
    assert set(calls) == {1} and len(calls) > 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_two_processes_find_the_same(int8: Language, method: str) -> None:
    expected = [doc.spans["ner"].attrs["scores"] for doc in int8.pipe(TEXTS)]
    before = multiprocessing.get_start_method()
    multiprocessing.set_start_method(method, force=True)
    try:
        found = list(int8.pipe(TEXTS, n_process=2, batch_size=2))
    finally:
        multiprocessing.set_start_method(before, force=True)
    for doc, scores in zip(found, expected, strict=True):
        np.testing.assert_allclose(doc.spans["ner"].attrs["scores"], scores, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_the_embedded_encoder(tmp_path: Path) -> None:
    folder = INSTALLED_ENCODERS["sentence-transformers/all-MiniLM-L6-v2"].locate()
    if folder is None:
        pytest.skip("the weights of all-MiniLM-L6-v2 are not installed")
    sizes = {"max_wordpieces": 64, "context": 8, "training_context": 8, "max_batch_items": 256}
    train(make_nlp(folder, **sizes), steps=0).to_disk(tmp_path)
    nlp = spacy.load(tmp_path)
    texts = [" ".join(["He was given 5 mg of warfarin, then fell (BP 90/60)."] * 12), "No fever."]
    found = {
        precision: np.concatenate(
            [
                doc._.trf_data.model_output.last_hidden_state[0]
                for doc in optimized.get_pipe("transformer").pipe(map(nlp.make_doc, texts))
            ]
        )
        for precision in ("fp32", "int8")
        for optimized in [optimize_encoder(nlp, "transformer", precision)]
    }
    expected = np.concatenate(
        [
            doc._.trf_data.model_output.last_hidden_state[0]
            for doc in nlp.get_pipe("transformer").pipe(map(nlp.make_doc, texts))
        ]
    )
    np.testing.assert_allclose(found["fp32"], expected, rtol=0, atol=1e-4)
    cosines = (found["int8"] * expected).sum(axis=1) / (
        np.linalg.norm(found["int8"], axis=1) * np.linalg.norm(expected, axis=1)
    )
    assert cosines.min() > 0.95
    assert cosines.mean() > 0.99
