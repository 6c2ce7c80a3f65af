"""Encoders are saved without pickle, loaded strictly, and never run or write what a model holds."""

from __future__ import annotations

import copy
import os
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import srsly
import torch
from spacy_transformers.layers.hf_shim import HFShim
from transformers import AutoTokenizer

from clinical_ner.errors import ConfigError, InputError
from clinical_ner.model.safe_shim import SafeShim
from clinical_ner.model.windows.windowed_transformer import build_windowed_transformer

from ..pickles import pickles_in
from .windows.windowed_examples import LONG, make_nlp, train, write_bert


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> SafeShim:
    folder = write_bert(tmp_path_factory.mktemp("safe") / "bert")
    pipe: Any = train(make_nlp(folder), steps=0).get_pipe("transformer")
    found: SafeShim = pipe.model.layers[0].shims[0]
    return found


def load(shim: SafeShim, message: dict[str, Any]) -> SafeShim:
    return copy.deepcopy(shim).from_bytes(srsly.msgpack_dumps(message))


def safe(shim: SafeShim) -> dict[str, Any]:
    message: dict[str, Any] = srsly.msgpack_loads(shim.to_bytes())
    return message


def old(shim: SafeShim) -> dict[str, Any]:
    """As spacy-transformers saves it."""
    message: dict[str, Any] = srsly.msgpack_loads(HFShim.to_bytes(shim))
    return message


def test_weights_tokenizer_and_configuration_stay_and_nothing_is_a_pickle(shim: SafeShim) -> None:
    message = safe(shim)
    assert set(message) == {"config", "safetensors", "tokenizer"}
    loaded = load(shim, message)
    expected = shim._model.state_dict()
    assert all(torch.equal(t, expected[name]) for name, t in loaded._model.state_dict().items())
    assert loaded._model.config.to_dict() == shim._model.config.to_dict()
    encoded = [of._hfmodel.tokenizer(LONG)["input_ids"] for of in (shim, loaded)]
    assert encoded[0] == encoded[1]
    assert list(pickles_in("safe", srsly.msgpack_dumps({"shims": [shim.to_bytes()]}))) == []
    # The control.
    (found,) = pickles_in("old", srsly.msgpack_dumps({"shims": [HFShim.to_bytes(shim)]}))
    assert found.startswith("old:packed") and found.endswith("/data.pkl")


def test_a_model_of_before_loads_with_a_warning_that_can_be_made_an_error(
    shim: SafeShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.warns(UserWarning, match="are a torch pickle"):
        loaded = load(shim, old(shim))
    assert safe(loaded) == safe(shim)
    monkeypatch.setenv("CLINICAL_NER_NO_PICKLE", "1")
    with pytest.raises(InputError, match="CLINICAL_NER_NO_PICKLE is set"):
        load(shim, old(shim))
    assert safe(load(shim, safe(shim))) == safe(shim)


class _Touch:
    """As a pickle, code that makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.mknod, (str(self.path),)


@pytest.mark.filterwarnings("ignore:The weights of the encoder are a torch pickle")
@pytest.mark.parametrize("format_", [safe, old])
@pytest.mark.parametrize("name", ["../escaped.json", "/tmp/../escaped.json", "..\\escaped.json"])
def test_a_tokenizer_is_unpacked_under_plain_names_only(
    shim: SafeShim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: Any, name: str
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    message = format_(shim)
    message["tokenizer"][name] = b"{}"
    with pytest.raises(InputError, match="the name of a tokenizer's file is a path"):
        load(shim, message)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("ignore:The weights of the encoder are a torch pickle")
def test_what_is_unpacked_is_gone_when_the_process_is_asked_to_end(
    shim: SafeShim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stopped(folder: str, **settings: Any) -> None:
        assert Path(folder).parent == tmp_path and any(Path(folder).iterdir())
        raise SystemExit(143)

    message = safe(shim)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(AutoTokenizer, "from_pretrained", stopped)
    with pytest.raises(SystemExit):
        load(shim, message)
    assert list(tmp_path.iterdir()) == []


def test_code_in_the_weights_does_not_run(shim: SafeShim, tmp_path: Path) -> None:
    state = BytesIO()
    torch.save({"embeddings": _Touch(tmp_path / "ran")}, state)
    with pytest.raises(InputError, match=r"cannot be read \(UnpicklingError\)"):
        load(shim, {**old(shim), "state": state.getvalue()})
    assert not list(tmp_path.iterdir())


def test_code_beside_the_tokenizer_does_not_run(
    shim: SafeShim, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_MODULES_CACHE", str(tmp_path))
    code = f"import os\nos.mknod({str(tmp_path / 'ran')!r})\n".encode()
    files = safe(shim)["tokenizer"]
    files["kwargs"] |= {"trust_remote_code": True}
    settings = srsly.json_loads(files["tokenizer_config.json"])
    settings |= {"auto_map": {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}}
    settings |= {"tokenizer_class": "Evil", "tokenizer_file": "/etc/passwd"}
    files["tokenizer_config.json"] = srsly.json_dumps(settings).encode()
    with pytest.raises(InputError, match="The encoder cannot be read"):
        load(shim, {**safe(shim), "tokenizer": files})
    with pytest.raises(InputError, match="a file is not one of a tokenizer"):
        load(shim, {**safe(shim), "tokenizer": {**files, "evil.py": code}})
    assert not list(tmp_path.iterdir())


def test_code_that_the_configuration_names_is_not_asked_for(
    shim: SafeShim, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("builtins.input", lambda _: pytest.fail("asked whether to run code"))
    named = {"auto_map": {"AutoConfig": "owner/evil--evil.Config", "AutoModel": "evil.Model"}}
    message = safe(shim)
    load(shim, {**message, "config": message["config"] | named})
    with pytest.raises(InputError, match="its type is not one of transformers"):
        load(shim, {**message, "config": message["config"] | named | {"model_type": "evil"}})


WORDS = "embeddings.word_embeddings.weight"
FIT = "of its weights {} are missing, {} unknown and {} of another size"


@pytest.mark.filterwarnings("ignore:The weights of the encoder are a torch pickle")
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda weights: weights.pop(WORDS), FIT.format(1, 0, 0)),
        (lambda weights: weights.update(other=weights.pop(WORDS)), FIT.format(1, 1, 0)),
        (lambda weights: weights.update({WORDS: weights[WORDS][:-1]}), FIT.format(0, 0, 1)),
    ],
)
def test_weights_must_be_those_of_the_encoder(shim: SafeShim, change: Any, reason: str) -> None:
    changed = copy.deepcopy(shim)
    weights = dict(shim._model.state_dict())
    change(weights)
    changed._model.state_dict = lambda: weights
    for format_ in (safe, old):
        with pytest.raises(InputError, match=reason):
            load(shim, format_(changed))


@pytest.mark.parametrize(
    "change",
    [
        {"safetensors": b""},
        {"safetensors": b"\xff" * 40},
        {"tokenizer": {}},
        {"config": {"model_type": "bert", "num_hidden_layers": 10**9}},
        {"config": {"model_type": "bert", "hidden_size": 10**9, "num_attention_heads": 10**8}},
        {"config": {"model_type": "bert", "hidden_size": "many"}},
        {"config": []},
        {"config": "bert"},
    ],
)
def test_a_damaged_encoder_ends_in_one_line(shim: SafeShim, change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="^The encoder (is damaged|cannot be read)") as told:
        load(shim, {**safe(shim), **change})
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_encoder_ends_in_one_line(shim: SafeShim, share: float) -> None:
    data = shim.to_bytes()
    with pytest.raises(InputError, match="cannot be read"):
        copy.deepcopy(shim).from_bytes(data[: int(share * len(data))])


@pytest.mark.parametrize("config", ["tokenizer_config", "transformer_config"])
def test_an_encoder_that_brings_code_is_refused_before_any_is_read(config: str) -> None:
    settings = {"tokenizer_config": {"use_fast": True}, "transformer_config": {}}
    settings[config] = {**settings[config], "trust_remote_code": True}
    with pytest.raises(ConfigError, match="code that comes with an encoder is not run"):
        build_windowed_transformer(
            *("x", 128, 16, 16, 4096),
            **settings,
            mixed_precision=False,
            grad_scaler_config={},
        )
