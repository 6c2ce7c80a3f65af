"""The windowed transformer: its vectors, its gradients, and life within a pipeline."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from numpy.typing import NDArray
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import fix_random_seed

from clinical_ner.model.windows.cutting import cut_windows
from clinical_ner.model.windows.windowed_transformer import CUT_TOKENS, WindowedTransformer
from clinical_ner.model.windows.wordpieces import wordpieces_of

from .windowed_examples import LONG, SHORT, examples, make_nlp, train, write_bert

TEXTS = [LONG, SHORT, "", "  \n", "fever.\n\n" + LONG, "unknown words"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("windowed") / "bert")


@pytest.fixture(scope="module")
def trained(encoder: Path) -> Language:
    """Not to be changed."""
    return train(make_nlp(encoder))


def model_of(nlp: Language) -> WindowedTransformer:
    model = nlp.get_pipe("transformer").model
    assert isinstance(model, WindowedTransformer)
    return model


def vectors(nlp: Language, text: str | Doc) -> NDArray[np.float32]:
    """Vectors of the wordpieces. *Shape:* ``(n, width)``."""
    doc = nlp.get_pipe("transformer")(nlp.make_doc(text) if isinstance(text, str) else text)
    return doc._.trf_data.model_output.last_hidden_state[0]


def token_vectors(nlp: Language, doc: Doc) -> NDArray[np.float32]:
    if len(doc) == 0:
        return np.zeros((0, 8), dtype="float32")
    return nlp.get_pipe("ner").token_vectors([doc])[0]


def bare(nlp: Language, ids: NDArray[np.int64]) -> torch.Tensor:
    """Vectors that the encoder gives the wordpieces of one window, called directly."""
    model = model_of(nlp)
    tokenizer = model.tokenizer
    row = torch.tensor([[tokenizer.cls_token_id, *ids, tokenizer.sep_token_id]])
    return model.transformer(input_ids=row).last_hidden_state[0, 1:-1]


def assemble(nlp: Language, doc: Doc, context: int) -> torch.Tensor:
    """Vectors of the wordpieces of a document, one window after the other."""
    (pieces,) = wordpieces_of(model_of(nlp).tokenizer, [doc])
    size = model_of(nlp).settings.max_wordpieces - 2
    parts = [
        bare(nlp, pieces.ids[start:end])[core_start - start : core_end - start]
        for start, end, core_start, core_end in zip(
            *cut_windows(pieces.cuts, size, context), strict=True
        )
    ]
    return torch.cat(parts)


def test_a_document_that_fits_has_the_vectors_of_the_bare_encoder(trained: Language) -> None:
    encoded = model_of(trained).tokenizer(SHORT, return_tensors="pt")
    with torch.no_grad():
        expected = model_of(trained).transformer.eval()(**encoded).last_hidden_state[0, 1:-1]
    np.testing.assert_allclose(vectors(trained, SHORT), expected.numpy(), rtol=1e-5, atol=1e-6)


def test_a_long_document_has_those_of_each_wordpieces_own_window(trained: Language) -> None:
    with torch.no_grad():
        expected = assemble(trained, trained.make_doc(LONG), context=2).numpy()
        without = assemble(trained, trained.make_doc(LONG), context=0).numpy()
    found = vectors(trained, LONG)
    assert len(found) == 40
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(without - expected).max() > 0.01


def test_tokens_have_the_mean_of_their_wordpieces(trained: Language) -> None:
    doc = Doc(trained.vocab, words=["fever", "\n", "aab", "cough"])
    pieces = vectors(trained, doc)
    assert len(pieces) == 5
    expected = [pieces[0], np.zeros(8), pieces[1:4].mean(axis=0), pieces[4]]
    np.testing.assert_allclose(token_vectors(trained, doc), expected, rtol=1e-5, atol=1e-7)


def test_a_document_does_not_depend_on_its_batch(trained: Language) -> None:
    alone = [token_vectors(trained, trained(text)) for text in TEXTS]
    for order in (TEXTS, TEXTS[::-1], TEXTS * 5):
        for doc in trained.pipe(order, batch_size=len(order)):
            expected = alone[TEXTS.index(doc.text)]
            assert len(expected) == len(doc)
            found = token_vectors(trained, doc)
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_a_token_longer_than_a_window_is_cut_and_told(trained: Language) -> None:
    words = ["fever", "and", "/".join(["a"] * 20), "and", "cough"]
    doc = Doc(trained.vocab, words=words)
    pieces = vectors(trained, doc)
    assert len(pieces) == 43
    assert doc.user_data[CUT_TOKENS] == 1
    assert doc._.trf_data.align.lengths.tolist() == [1, 1, 39, 1, 1]
    found = token_vectors(trained, doc)
    np.testing.assert_allclose(found[2], pieces[2:41].mean(axis=0), rtol=1e-5, atol=1e-6)
    # Its neighbours see what they would see of any long text.
    with torch.no_grad():
        expected = bare(trained, wordpieces_of(model_of(trained).tokenizer, [doc])[0].ids[:10])
    np.testing.assert_allclose(found[:2], expected[:2].numpy(), rtol=1e-5, atol=1e-6)


def test_documents_that_fit_tell_that_nothing_was_cut(trained: Language) -> None:
    assert [doc.user_data[CUT_TOKENS] for doc in trained.pipe([LONG, SHORT])] == [0, 0]


def test_every_token_but_whitespace_has_a_vector(trained: Language) -> None:
    doc = trained(LONG + "\n\n" + LONG)
    is_zero = (token_vectors(trained, doc) == 0).all(axis=1)
    assert is_zero.tolist() == [token.is_space for token in doc]


def calls_of(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Shapes of the input of every call of the encoder from now on."""
    transformer, shapes = model_of(nlp).transformer, []
    original = transformer.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        shapes.append(tuple(kwargs["input_ids"].shape))
        return original(*args, **kwargs)

    monkeypatch.setattr(transformer, "forward", forward)
    return shapes


@pytest.mark.parametrize("is_train", [False, True])
def test_no_call_is_larger_than_the_settings_allow(
    is_train: bool, trained: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = calls_of(trained, monkeypatch)
    texts = [SHORT, LONG, SHORT, LONG + "\n" + LONG * 10, *[SHORT] * 9]
    model_of(trained)([trained.make_doc(text) for text in texts], is_train)
    assert max(length for _, length in shapes) == 12
    assert max(rows * length for rows, length in shapes) == 48
    # Windows of different documents share a call, which is as long as its longest.
    assert max(rows for rows, length in shapes if length == 5) > 5


def gradients(nlp: Language) -> dict[str, torch.Tensor]:
    named = model_of(nlp).transformer.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}


def backpropagated(nlp: Language, docs: list[Doc], weights: list[NDArray]) -> dict:
    """Gradients of the sum of the wordpieces' vectors times the weights."""
    model_of(nlp).transformer.zero_grad()
    output, backprop = model_of(nlp)(docs, True)
    backprop(output.unsplit_by_doc([[w[None]] for w in weights]))
    return gradients(nlp)


def weights_for(nlp: Language, docs: list[Doc]) -> list[NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    pieces = wordpieces_of(model_of(nlp).tokenizer, docs)
    return [rng.normal(size=(len(p.ids), 8)).astype("float32") for p in pieces]


@pytest.mark.parametrize("items", [10_000, 48, 12])
def test_gradients_are_those_of_automatic_differentiation(encoder: Path, items: int) -> None:
    # Of one call, of several whose memory is kept or not, and of one call for each window.
    nlp = train(make_nlp(encoder, max_batch_items=items), steps=0)
    docs = [nlp.make_doc(text) for text in (LONG, SHORT)]
    weights = weights_for(nlp, docs)
    found = backpropagated(nlp, docs, weights)
    model_of(nlp).transformer.zero_grad()
    for doc, weight in zip(docs, weights, strict=True):
        (assemble(nlp, doc, context=1) * torch.from_numpy(weight)).sum().backward()
    expected = gradients(nlp)
    assert found.keys() >= expected.keys()
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-4)


def test_a_call_that_is_made_again_drops_the_same_units(tmp_path: Path) -> None:
    nlp = train(make_nlp(write_bert(tmp_path / "bert", dropout=0.3)), steps=0)
    docs = [nlp.make_doc(LONG)]
    weights = weights_for(nlp, docs)
    model = model_of(nlp)
    found = []
    for max_items in (10_000, 12):
        # Equal batches: only what is kept differs.
        model.settings = replace(model.settings, max_batch_items=max_items)
        torch.manual_seed(1)
        found.append(_one_by_one(nlp, docs, weights))
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-4, atol=1e-5)


class Scaler:
    """What thinc's gradient scaler does, which works on a GPU alone."""

    found_inf = False

    def scale(self, tensors: Any, inplace: bool) -> list[torch.Tensor]:
        return [tensor * 1024 for tensor in tensors]

    def unscale(self, tensors: list[torch.Tensor]) -> bool:
        for tensor in tensors:
            tensor /= 1024
        return False


@pytest.mark.filterwarnings("ignore:CUDA is not available")
def test_gradients_of_several_calls_are_unscaled_once(encoder: Path) -> None:
    nlp = train(make_nlp(encoder, max_batch_items=12), steps=0)
    docs = [nlp.make_doc(LONG)]
    weights = weights_for(nlp, docs)
    expected = backpropagated(nlp, docs, weights)
    shim = model_of(nlp).layers[0].shims[0]
    shim._grad_scaler, shim._mixed_precision = Scaler(), True
    found = backpropagated(nlp, docs, weights)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def test_mixed_precision_changes_nothing_on_a_cpu(encoder: Path) -> None:
    nlp = train(make_nlp(encoder, mixed_precision=True))
    plain = train(make_nlp(encoder))
    np.testing.assert_array_equal(vectors(nlp, LONG), vectors(plain, LONG))


def _one_by_one(nlp: Language, docs: list[Doc], weights: list[NDArray]) -> dict:
    """As backpropagated, with one window for each call."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "clinical_ner.model.windows.encoder_calls.batches_by_length",
            lambda lengths, items: [np.array([i]) for i in range(len(lengths))],
        )
        return backpropagated(nlp, docs, weights)


def test_training_is_the_same_whatever_the_batches(encoder: Path) -> None:
    losses = []
    for items in (10_000, 12):
        nlp = make_nlp(encoder, max_batch_items=items)
        batch = examples(nlp)
        fix_random_seed(0)
        optimizer = nlp.initialize(lambda batch=batch: batch)
        optimizer.learn_rate = 0.01
        losses.append([nlp.update(batch, sgd=optimizer)["ner"] for _ in range(25)])
    np.testing.assert_allclose(losses[0][:4], losses[1][:4], rtol=1e-3)
    assert all(of_run[-1] < 0.8 * of_run[0] for of_run in losses)


def test_whitespace_and_empty_documents_train(encoder: Path) -> None:
    nlp = train(make_nlp(encoder))
    docs = [nlp.make_doc(text) for text in ("", " \n", SHORT)]
    nlp.update([spacy.training.Example(doc, doc.copy()) for doc in docs])


def same_entities_and_vectors(found: Language, expected: Language) -> None:
    for text in TEXTS:
        docs = [nlp(text) for nlp in (found, expected)]
        rows = [token_vectors(nlp, doc) for nlp, doc in zip((found, expected), docs, strict=True)]
        np.testing.assert_allclose(rows[0], rows[1], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "duplicate",
    [lambda m: m.copy(), copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["copy", "deepcopy", "pickle"],
)
def test_a_copy_is_the_same_and_apart(
    encoder: Path, duplicate: Callable[[WindowedTransformer], WindowedTransformer]
) -> None:
    nlp = train(make_nlp(encoder))
    doc = nlp.make_doc(LONG)
    expected = model_of(nlp).predict([doc]).model_output.last_hidden_state
    copied = duplicate(model_of(nlp))
    assert isinstance(copied, WindowedTransformer)
    with torch.no_grad():
        for parameter in model_of(nlp).transformer.parameters():
            parameter.zero_()
    found = copied.predict([doc]).model_output.last_hidden_state
    np.testing.assert_array_equal(found, expected)
    assert copied.settings == model_of(nlp).settings


def training_output(nlp: Language) -> NDArray[np.float32]:
    """Vectors of the wordpieces of LONG in training. *Shape:* ``(n, width)``."""
    output, _ = model_of(nlp)([nlp.make_doc(LONG)], True)
    return np.array(output.doc_data[0].model_output.last_hidden_state[0])


def test_training_may_cut_elsewhere_each_time(encoder: Path) -> None:
    nlp = train(make_nlp(encoder, training_shift=True), steps=0)
    fix_random_seed(1)
    found = [training_output(nlp) for _ in range(4)]
    assert any(not np.allclose(found[0], other, atol=1e-4) for other in found[1:])
    fix_random_seed(1)
    for earlier in found:
        np.testing.assert_array_equal(training_output(nlp), earlier)
    # All are of windows that begin somewhere, and prediction keeps its own.
    (pieces,) = wordpieces_of(model_of(nlp).tokenizer, [nlp.make_doc(LONG)])
    with torch.no_grad():
        possible = [
            torch.cat(
                [
                    bare(nlp, pieces.ids[start:end])[core - start : core_end - start]
                    for start, end, core, core_end in zip(
                        *cut_windows(pieces.cuts, 10, 1, first=first), strict=True
                    )
                ]
            ).numpy()
            for first in range(2, 10)
        ]
    for rows in found:
        assert any(np.allclose(rows, other, atol=1e-5) for other in possible)
    np.testing.assert_array_equal(vectors(nlp, LONG), vectors(nlp, LONG))


def test_training_cuts_at_the_same_places_without_a_shift(trained: Language) -> None:
    first = training_output(trained)
    np.testing.assert_array_equal(training_output(trained), first)


def test_saving_and_loading(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path)
    loaded = spacy.load(tmp_path)
    assert model_of(loaded).settings == model_of(trained).settings
    same_entities_and_vectors(loaded, trained)


def test_settings_can_be_changed_at_loading(trained: Language, tmp_path: Path) -> None:
    trained.to_disk(tmp_path)
    loaded = spacy.load(tmp_path, config={"components.transformer.model.context": 0})
    with torch.no_grad():
        expected = assemble(trained, trained.make_doc(LONG), context=0).numpy()
    np.testing.assert_allclose(vectors(loaded, LONG), expected, rtol=1e-5, atol=1e-6)


def test_replaced_listeners_keep_the_windows(encoder: Path, tmp_path: Path) -> None:
    nlp = train(make_nlp(encoder, training_shift=True))
    expected = [token_vectors(nlp, nlp(text)) for text in TEXTS if text]
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    nlp.to_disk(tmp_path)
    copied = copy.deepcopy(nlp.get_pipe("ner").model.get_ref("tok2vec")).copy()
    loaded = spacy.load(tmp_path)
    for text, rows in zip(filter(None, TEXTS), expected, strict=True):
        doc = nlp.make_doc(text)
        for layer in (loaded.get_pipe("ner").model.get_ref("tok2vec"), copied):
            np.testing.assert_allclose(layer.predict([doc])[0], rows, rtol=1e-5, atol=1e-6)
    assert isinstance(copied.layers[0].layers[0], WindowedTransformer)
    assert copied.layers[0].layers[0].settings.training_shift
    losses = loaded.update(examples(loaded), sgd=loaded.resume_training())
    assert losses["ner"] > 0


def test_output_reads_like_that_of_the_stock_model(trained: Language) -> None:
    docs = [trained.make_doc(text) for text in TEXTS]
    output = model_of(trained).predict(docs)
    assert [len(spans) for spans in output.spans] == [1, 1, 0, 1, 1, 1]
    n = output.model_output.last_hidden_state.shape[1]
    assert output.wordpieces.input_ids.shape == (1, n)
    assert output.wordpieces.lengths == [len(output.wordpieces.strings[0])] == [n]
    assert len(output.align.lengths) == sum(map(len, docs))
    assert output.align.dataXd.max() == n - 1
    last = output.doc_data[-1]
    assert last.wordpieces.strings == [["[UNK]", "[UNK]"]]
    copied = type(last).empty().from_bytes(last.to_bytes())
    np.testing.assert_array_equal(
        copied.model_output.last_hidden_state, last.model_output.last_hidden_state
    )
