"""An encoder saved without pickle: weights as safetensors, configuration and tokenizer as data.

spacy-transformers stores a torch pickle, loads weights that do not fit with ``strict=False``, and
unpacks the tokenizer's files under whatever names the model gives them.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

import safetensors.torch
import srsly
import torch
from spacy.util import SimpleFrozenDict
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers.hf_shim import HFShim
from thinc.api import get_torch_default_device
from transformers import CONFIG_MAPPING

from ..errors import ClinicalNerWarning, InputError, damage_in_one_line
from .exact_config import with_epsilons

#: If set, models whose weights are a pickle are refused.
NO_PICKLE = "CLINICAL_NER_NO_PICKLE"
#: Files that tokenizers consist of; nothing that can be run is among them.
TOKENIZER_SUFFIXES = {".bpe", ".codes", ".jinja", ".json", ".model", ".txt"}
TOKENIZER_CONFIG = "tokenizer_config.json"
#: More layers than any encoder has. Of a number that is not believed, layers would be made forever.
MOST_LAYERS = 1000


class SafeShim(HFShim):
    """The stock wrapper of an encoder, saved and loaded without pickle and strictly."""

    def to_bytes(self) -> bytes:
        """Serialize the encoder; one without weights as the stock wrapper does."""
        objects = self._hfmodel
        if objects.transformer is None:
            stock: bytes = super().to_bytes()
            return stock
        # Copied, since safetensors refuses tensors that share their memory.
        weights = {
            name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            for name, tensor in self._model.state_dict().items()
        }
        message: bytes = srsly.msgpack_dumps(
            {
                "config": objects.transformer.config.to_dict(),
                "safetensors": safetensors.torch.save(weights),
                "tokenizer": _tokenizer_files(objects),
            }
        )
        return message

    def from_bytes(self, bytes_data: bytes) -> SafeShim:
        """Load the encoder.

        Raises:
            InputError: it is damaged, or not what ``to_bytes`` gives; or its weights are a pickle,
                and ``CLINICAL_NER_NO_PICKLE`` is set.
        """
        with damage_in_one_line("The encoder"):
            message = srsly.msgpack_loads(bytes_data)
            if not message["config"]:
                super().from_bytes(bytes_data)
                return self
            weights = _weights(message)
            config = _config(message["config"])
            tokenizer, vocab = self._tokenizer(message["tokenizer"])
            encoder = self._encoder(config, weights)
        empty = SimpleFrozenDict()
        self._hfmodel = HFObjects(tokenizer, encoder, vocab, empty, empty)
        self._model = encoder
        return self

    def _tokenizer(self, files: Mapping[str, Any]) -> tuple[Any, bytes | None]:
        """The tokenizer, and the content of its vocabulary where it keeps one for saving."""
        fast = bool(files.get("kwargs", {}).get("use_fast", True))
        with TemporaryDirectory() as name:
            folder = Path(name)
            for file, content in files.items():
                if file == "kwargs":
                    continue
                if file != PurePosixPath(file).name or "\\" in file or ":" in file:
                    raise _damaged("the name of a tokenizer's file is a path")
                if Path(file).suffix not in TOKENIZER_SUFFIXES:
                    raise _damaged("a file is not one of a tokenizer")
                if file == TOKENIZER_CONFIG:
                    content = _local(content)
                (folder / file).write_bytes(content)
            tokenizer = self.tokenizer_cls.from_pretrained(
                name, use_fast=fast, trust_remote_code=False, local_files_only=True
            )
            vocab = None
            if hasattr(tokenizer, "vocab_file"):
                vocab = (folder / tokenizer.vocab_files_names["vocab_file"]).read_bytes()
        return tokenizer, vocab

    def _encoder(self, config: Any, weights: dict[str, torch.Tensor]) -> Any:
        # First without memory: sizes that the configuration claims are not believed.
        with torch.device("meta"):
            _check_fit(self.model_cls.from_config(config).state_dict(), weights)
        encoder = self.model_cls.from_config(config)
        encoder.load_state_dict(weights)
        return encoder.to(get_torch_default_device())


def _tokenizer_files(objects: HFObjects) -> dict[str, Any]:
    """The files of a tokenizer by name, and under "kwargs" what it is loaded with."""
    tokenizer = objects.tokenizer
    with TemporaryDirectory() as name:
        folder = Path(name)
        if hasattr(tokenizer, "vocab_file"):
            vocab = folder / tokenizer.vocab_files_names["vocab_file"]
            vocab.write_bytes(objects.vocab_file_contents)
            tokenizer.vocab_file = str(vocab)
        tokenizer.save_pretrained(name)
        files = {file.name: file.read_bytes() for file in folder.iterdir()}
    return {"kwargs": {"use_fast": tokenizer.is_fast}, **files}


def _weights(message: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    if "safetensors" in message:
        weights: dict[str, torch.Tensor] = safetensors.torch.load(message["safetensors"])
        return weights
    if os.environ.get(NO_PICKLE, "0") not in ("", "0"):
        raise InputError(
            "The weights of the encoder are a torch pickle, which an earlier version saved, and "
            f"{NO_PICKLE} is set: load the model without it where it can be trusted, and save it "
            "again (nlp.to_disk)."
        )
    warnings.warn(
        "The weights of the encoder are a torch pickle, which an earlier version saved. Only "
        "tensors are read from it. Save the pipeline again (nlp.to_disk), which writes "
        f"safetensors; set {NO_PICKLE}=1 to refuse such models.",
        ClinicalNerWarning,
        stacklevel=3,
    )
    return dict(torch.load(BytesIO(message["state"]), map_location="cpu", weights_only=True))


def _config(stored: Mapping[str, Any]) -> Any:
    """The configuration, of a class of transformers; code that it names is never loaded."""
    config = with_epsilons({key: value for key, value in stored.items() if key != "auto_map"})
    kind = str(config.get("model_type"))
    if kind not in CONFIG_MAPPING:
        raise _damaged("its type is not one of transformers")
    found = CONFIG_MAPPING[kind].from_dict(config)
    if getattr(found, "num_hidden_layers", 0) > MOST_LAYERS:
        raise _damaged(f"it claims more than {MOST_LAYERS} layers")
    return found


def _local(tokenizer_config: bytes) -> bytes:
    """A tokenizer's settings without names of other files, and of code."""
    settings = json.loads(tokenizer_config)
    kept = {k: v for k, v in settings.items() if not k.endswith("_file") and k != "auto_map"}
    return json.dumps(kept).encode("utf-8")


def _check_fit(expected: Mapping[str, Any], found: Mapping[str, Any]) -> None:
    """Raise InputError unless the weights are those of the encoder, each of its size."""
    missing, unknown = expected.keys() - found.keys(), found.keys() - expected.keys()
    sizes = [
        name
        for name in expected.keys() & found.keys()
        # Bytes of a file have no size before they are loaded.
        if expected[name].shape != found[name].shape and expected[name].dtype != torch.uint8
    ]
    if missing or unknown or sizes:
        raise _damaged(
            f"of its weights {len(missing)} are missing, {len(unknown)} unknown and {len(sizes)} "
            "of another size"
        )


def _damaged(reason: str) -> InputError:
    return InputError(
        f"The encoder is damaged or was changed ({reason}): install or copy the model again, or "
        "train it again."
    )
