"""oneDNN is off while an encoder predicts, and only then."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch

from clinical_ner.model import onednn
from clinical_ner.model.onednn import without_onednn

from .windows.windowed_examples import LONG, make_nlp, train, write_bert


def is_on() -> bool:
    return torch.backends.mkldnn.enabled


@pytest.fixture(autouse=True)
def x86(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "IS_X86", True)


@pytest.mark.parametrize("before", [True, False])
def test_it_is_put_back(before: bool) -> None:
    flags = torch.backends.mkldnn.set_flags(before)
    try:
        with without_onednn():
            assert not is_on()
        assert is_on() == before
        with pytest.raises(ValueError, match="x"), without_onednn():
            raise ValueError("x")
        assert is_on() == before
    finally:
        torch.backends.mkldnn.set_flags(flags[0])


def test_by_the_last_thread_that_leaves() -> None:
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        with without_onednn():
            entered.set()
            leave.wait(60)

    assert is_on()
    thread = threading.Thread(target=other)
    with without_onednn():
        thread.start()
        assert entered.wait(60)
    assert not is_on()
    leave.set()
    thread.join()
    assert is_on()


def test_where_matrices_need_it_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onednn, "IS_X86", False)
    with without_onednn():
        assert is_on()


def test_prediction_goes_without_and_training_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = train(make_nlp(write_bert(tmp_path / "bert")), steps=0)
    model: Any = nlp.get_pipe("transformer").model
    encoder = model.transformer
    original, seen = encoder.forward, []

    def forward(*args: Any, **kwargs: Any) -> Any:
        seen.append(is_on())
        return original(*args, **kwargs)

    monkeypatch.setattr(encoder, "forward", forward)
    docs = [nlp.make_doc(LONG)]
    model(docs, False)
    predicting = list(seen)
    seen.clear()
    model(docs, True)
    assert predicting and not any(predicting)
    assert seen and all(seen)
    assert is_on()
