"""What happens when the memory does not suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.errors import ClinicalNerError
from clinical_ner.model.windows.encoder_calls import cpu_items, is_out_of_memory

from .windowed_examples import LONG, SHORT, make_nlp, train, write_bert

CPU = "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory: you tried"
ERRORS = [torch.cuda.OutOfMemoryError("CUDA out of memory."), RuntimeError(CPU), MemoryError()]


@pytest.fixture(scope="module")
def nlp(tmp_path_factory: pytest.TempPathFactory) -> Language:
    return train(make_nlp(write_bert(tmp_path_factory.mktemp("memory") / "bert")))


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """With more, windows are divided among them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def limit_rows(nlp: Language, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[int]]:
    """Let the encoder fail on batches of more rows; gives the rows of each try."""

    def limit(rows: int, error: Exception) -> list[int]:
        tried: list[int] = []
        transformer = nlp.get_pipe("transformer").model.transformer
        original = transformer.forward

        def forward(*args: Any, **kwargs: Any) -> Any:
            tried.append(len(kwargs["input_ids"]))
            if tried[-1] > rows:
                raise error
            return original(*args, **kwargs)

        monkeypatch.setattr(transformer, "forward", forward)
        return tried

    return limit


def make_doc(nlp: Language, text: str, name: str) -> Doc:
    doc = nlp.make_doc(text)
    doc.user_data["clinical_ner.id"] = name
    return doc


@pytest.mark.parametrize("is_train", [False, True])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_is_halved_once(
    error: Exception, is_train: bool, nlp: Language, limit_rows: Callable[..., list[int]]
) -> None:
    model, docs = nlp.get_pipe("transformer").model, [nlp.make_doc(LONG)]
    expected = model(docs, is_train)[0].model_output.last_hidden_state
    tried = limit_rows(2, error)
    output, backprop = model(docs, is_train)
    assert tried[:3] == [4, 2, 2]
    np.testing.assert_allclose(
        output.model_output.last_hidden_state, expected, rtol=1e-5, atol=1e-6
    )
    backprop(output)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_batch_of_one_of_two_threads_is_halved(
    error: Exception, nlp: Language, limit_rows: Callable[..., list[int]]
) -> None:
    model, docs = nlp.get_pipe("transformer").model, [nlp.make_doc(LONG)] * 2
    expected = model(docs, False)[0].model_output.last_hidden_state
    torch.set_num_threads(2)
    tried = limit_rows(3, error)
    output, _ = model(docs, False)
    assert tried.count(4) >= 2 and tried.count(2) >= 2 * tried.count(4)
    np.testing.assert_allclose(
        output.model_output.last_hidden_state, expected, rtol=1e-5, atol=1e-6
    )
    limit_rows(1, error)
    with pytest.raises(ClinicalNerError, match="Lower max_batch_items"):
        model(docs, False)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_then_one_error_names_the_setting_and_the_document(
    error: Exception, nlp: Language, limit_rows: Callable[..., list[int]]
) -> None:
    tried = limit_rows(1, error)
    docs = [make_doc(nlp, SHORT, "a.txt"), make_doc(nlp, LONG, "b.txt")]
    message = r"2 windows of 12 .* Lower max_batch_items .*\(now 48\)\. Documents: b\.txt\.$"
    with pytest.raises(ClinicalNerError, match=message) as caught:
        nlp.get_pipe("transformer").predict(docs)
    assert tried == [4, 2]
    assert "fever" not in str(caught.value)


def test_a_single_window_names_the_length_of_windows(
    nlp: Language, limit_rows: Callable[..., list[int]]
) -> None:
    tried = limit_rows(0, MemoryError())
    with pytest.raises(ClinicalNerError, match=r"Lower max_wordpieces .*\(now 12\).*: a\.txt\.$"):
        nlp.get_pipe("transformer").predict([make_doc(nlp, SHORT, "a.txt")])
    assert tried == [1]


def test_the_backward_pass_is_not_tried_again(
    nlp: Language, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, backprop = nlp.get_pipe("transformer").model([make_doc(nlp, SHORT, "a.txt")], True)

    def fail(*args: Any, **kwargs: Any) -> None:
        raise torch.cuda.OutOfMemoryError

    monkeypatch.setattr(torch.autograd, "backward", fail)
    with pytest.raises(ClinicalNerError, match=r"backward pass .* max_batch_items .*: a\.txt\.$"):
        backprop(output)


def test_many_documents_are_not_all_named(
    nlp: Language, limit_rows: Callable[..., list[int]]
) -> None:
    limit_rows(1, MemoryError())
    docs = [make_doc(nlp, SHORT, f"{i}.txt") for i in range(9)]
    with pytest.raises(ClinicalNerError, match=r"Documents: 0\.txt, 1\.txt, 2\.txt \.\.\.\.$"):
        nlp.get_pipe("transformer").predict(docs)


def test_other_errors_pass(nlp: Language, limit_rows: Callable[..., list[int]]) -> None:
    tried = limit_rows(0, RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    with pytest.raises(RuntimeError, match="mat1"):
        nlp.get_pipe("transformer").predict([nlp.make_doc(SHORT)])
    assert len(tried) == 1
    assert not is_out_of_memory(ValueError("can't allocate memory"))


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_vector(nlp: Language, threads: int) -> None:
    model = nlp.get_pipe("transformer").model
    docs = [nlp.make_doc(text) for text in (LONG, SHORT, LONG + " " + SHORT, "fever")]
    expected, _ = model(docs, False)
    torch.set_num_threads(threads)
    found, _ = model(docs, False)
    for one, other in zip(found.doc_data, expected.doc_data, strict=True):
        np.testing.assert_allclose(
            one.model_output.last_hidden_state,
            other.model_output.last_hidden_state,
            rtol=1e-5,
            atol=1e-6,
        )


def test_threads_of_a_server_do_not_train_each_others_encoder(tmp_path: Path) -> None:
    dropping = train(make_nlp(write_bert(tmp_path / "bert", dropout=0.5)), steps=1)
    model = dropping.get_pipe("transformer").model
    docs = [dropping.make_doc(LONG)]
    expected = model(docs, False)[0].model_output.last_hidden_state
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: model(docs, False)[0], range(40)))
    for output in found:
        np.testing.assert_array_equal(output.model_output.last_hidden_state, expected)


@pytest.mark.parametrize("wordpieces, threads, items", [(9_000, 2, 512), (900, 2, 450), (5, 8, 1)])
def test_calls_are_small_enough_for_all_threads(wordpieces: int, threads: int, items: int) -> None:
    torch.set_num_threads(threads)
    assert cpu_items(wordpieces, 4096) == items
    assert cpu_items(wordpieces, 128) == min(items, 128)
