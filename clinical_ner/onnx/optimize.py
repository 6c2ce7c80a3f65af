"""A pipeline with its encoder on ONNX Runtime, made from one with an encoder of PyTorch."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

from spacy.language import Language
from spacy.util import load_config, load_model_from_config
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel
from spacy_transformers.layers.transformer_model import set_pytorch_transformer

from ..errors import InputError
from .architecture import ARCHITECTURE
from .export import export
from .quantization import quantize
from .session import OnnxEncoder


def transformer_to_optimize(nlp: Language, model: str) -> str:
    """Name of the component whose model is a transformer with an encoder of PyTorch.

    model: the pipeline, for the message of an error.

    RAISES ClinicalNerError: there is none, or more than one, or its encoder runs on ONNX Runtime.
    """
    found = [name for name, pipe in nlp.components if _is_transformer(pipe)]
    if len(found) != 1:
        components = ", ".join(nlp.component_names) or "none"
        raise InputError(
            f"{model}: has {len(found) or 'no'} components that hold a transformer to optimize "
            f"(components: {components}), not one. Name a pipeline that was trained with an "
            "encoder."
        )
    pipe: Any = nlp.get_pipe(found[0])
    if isinstance(pipe.model.transformer, OnnxEncoder):
        raise InputError(f"{model}: is optimized already. Name the pipeline that it was made from.")
    return found[0]


def optimize_encoder(nlp: Language, name: str, precision: str) -> Language:
    """Load a pipeline once more, with its encoder on ONNX Runtime.

    nlp: the pipeline, as it was loaded from its folder; it stays as it is.
    name: component of the transformer; see `transformer_to_optimize`.
    precision: "int8" or "fp32".

    RAISES ClinicalNerError: what it needs is not installed, or the encoder cannot be written as
        ONNX; see `export.export`.
    """
    old: Any = nlp.get_pipe(name)
    model = old.model
    tokenizer, encoder = model.tokenizer, model.transformer
    file = export(model.attrs["name"], encoder, tokenizer)
    if precision == "int8":
        file = quantize(file)
    folder = Path(nlp.path)
    config = load_config(folder / "config.cfg")
    settings = config["components"][name]
    settings["model"] = {"@architectures": ARCHITECTURE, "transformer": settings["model"]}
    optimized = load_model_from_config(config, meta=nlp.meta)
    optimized.from_disk(folder, exclude=[name])
    pipe: Any = optimized.get_pipe(name)
    pipe.cfg = copy.deepcopy(old.cfg)
    pipe.model.attrs["name"] = model.attrs["name"]
    loaded = HFObjects(
        copy.deepcopy(tokenizer),
        OnnxEncoder(copy.deepcopy(encoder.config), file),
        model.layers[0].shims[0]._hfmodel.vocab_file_contents,
    )
    set_pytorch_transformer(pipe.model, loaded)
    return optimized


def _is_transformer(pipe: object) -> bool:
    return isinstance(getattr(pipe, "model", None), TransformerModel)
