"""A transformer of spacy-transformers with its encoder on ONNX Runtime."""

from functools import partial
from typing import Any

from spacy.tokens import Doc
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel
from thinc.api import Model

from ..errors import InputError
from ..model.safe_shim import SafeShim
from .session import OnnxEncoder, not_trainable

ARCHITECTURE = "clinical_ner.OnnxEncoder.v1"


def build_onnx_encoder(transformer: Model[list[Doc], Any]) -> Model[list[Doc], Any]:
    """Let the encoder of a transformer run on ONNX Runtime.

    ``clinical-ner optimize`` makes such a model; it predicts, and cannot be trained.

    Register name: ``clinical_ner.OnnxEncoder.v1`` (``@architectures``).

    Args:
        transformer: a model that is, or holds, the stock transformer or one made from it.

    Returns:
        The same model, its encoder to be loaded.

    Raises:
        ClinicalNerError: it holds no transformer.
    """
    found = [node for node in transformer.walk() if isinstance(node, TransformerModel)]
    if not found:
        raise InputError(
            f"The model '{transformer.name}' holds no transformer whose encoder could run on ONNX "
            "Runtime."
        )
    for model in found:
        settings = model._init_tokenizer_config, model._init_transformer_config
        # In the place of the wrapper for an encoder of PyTorch.
        model.layers[0].shims[0] = SafeShim(
            HFObjects(None, None, None, *settings), grad_scaler_config={}, model_cls=OnnxEncoder
        )
        model.attrs["set_transformer"] = refuse_transformer
        model.attrs["replace_listener_cfg"] = partial(
            replace_listener_cfg, of_transformer=model.attrs["replace_listener_cfg"]
        )
    return transformer


def refuse_transformer(model: TransformerModel, loaded: HFObjects) -> None:
    """Refuse a pretrained encoder of PyTorch, as training from a config would give it."""
    raise not_trainable()


def replace_listener_cfg(
    transformer: dict[str, Any], listener: dict[str, Any], *, of_transformer: Any
) -> dict[str, Any]:
    """Config of a component's own transformer after ``nlp.replace_listeners``.

    ``of_transformer`` is the same function of the transformer inside.
    """
    own = of_transformer(transformer["transformer"], listener)
    return {**transformer, "transformer": own}
