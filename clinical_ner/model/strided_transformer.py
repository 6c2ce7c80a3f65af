"""A transformer that reads the text in windows with more overlap when it predicts than in training.

A token that stands in two windows has two vectors per wordpiece, and spacy-transformers pools both.
In prediction that is an ensemble for the price of a longer forward pass; in training every window
more costs a backward pass, too. What it gains is measured in benchmarks/README.md.
"""

from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc, Span
from spacy_transformers.data_classes import FullTransformerBatch
from spacy_transformers.layers import TransformerModel
from spacy_transformers.layers._util import replace_listener_cfg
from spacy_transformers.layers.transformer_model import forward as transformer_forward
from thinc.api import Model

SpanGetter = Callable[[list[Doc]], list[list[Span]]]


def build_strided_transformer(
    name: str,
    get_spans: SpanGetter,
    get_training_spans: SpanGetter,
    tokenizer_config: dict[str, Any],
    transformer_config: dict[str, Any],
    mixed_precision: bool,
    grad_scaler_config: dict[str, Any],
) -> Model[list[Doc], FullTransformerBatch]:
    """Build a pretrained transformer with windows of its own for training.

    Everything but ``get_training_spans`` is as in ``spacy-transformers.TransformerModel.v3``, and
    so are the parameters and their file.

    Register name: ``clinical_ner.StridedTransformer.v1`` (``@architectures``).

    name: public name or folder of the pretrained model.
    get_spans: windows of each document in prediction.
    get_training_spans: windows of each document in training.
    tokenizer_config, transformer_config: settings for Hugging Face's tokenizer and model.
    mixed_precision: whether to compute in half precision where that is safe, on a GPU.
    grad_scaler_config: settings of the gradient scaler for mixed precision.

    RETURNS: a model from documents to the transformer's output.
    """
    return StridedTransformer(
        name,
        get_spans,
        get_training_spans,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
    )


class StridedTransformer(TransformerModel):
    """The stock model with a second span getter, for training."""

    def __init__(
        self,
        name: str,
        get_spans: SpanGetter,
        get_training_spans: SpanGetter,
        tokenizer_config: dict[str, Any],
        transformer_config: dict[str, Any],
        mixed_precision: bool,
        grad_scaler_config: dict[str, Any],
    ) -> None:
        super().__init__(
            name,
            get_spans,
            tokenizer_config,
            transformer_config,
            mixed_precision,
            grad_scaler_config,
        )
        self._func = forward
        self.attrs["get_training_spans"] = get_training_spans
        self.attrs["replace_listener_cfg"] = without_training_spans

    def copy(self) -> "StridedTransformer":
        """Deep copy with new node ids; the stock method would lose the training windows."""
        copied = super().copy()
        # The stock copy is a stock model: it becomes one of ours by what ours adds.
        copied.__class__ = StridedTransformer
        copied._func = forward
        copied.attrs.update(self.attrs)
        return copied


def forward(
    model: StridedTransformer, docs: list[Doc], is_train: bool
) -> tuple[FullTransformerBatch, Callable]:
    """The stock forward pass, on the training windows where it trains."""
    if not is_train:
        return transformer_forward(model, docs, is_train)
    for_prediction = model.attrs["get_spans"]
    model.attrs["get_spans"] = model.attrs["get_training_spans"]
    try:
        return transformer_forward(model, docs, is_train)
    finally:
        model.attrs["get_spans"] = for_prediction


def without_training_spans(transformer: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    """Config of the component's own transformer after ``nlp.replace_listeners``: a stock one."""
    stock = {key: value for key, value in transformer.items() if key != "get_training_spans"}
    stock["@architectures"] = "spacy-transformers.TransformerModel.v3"
    return replace_listener_cfg(stock, listener)
