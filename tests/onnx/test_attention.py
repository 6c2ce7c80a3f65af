"""Attention as one operator, held against that of PyTorch in double precision."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from clinical_ner.onnx.attention import attention_in_one_operator


class Attention(torch.nn.Module):
    """Attention with four heads of five numbers, as an encoder computes it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self.settings = settings

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        by_head = [t.view(*t.shape[:2], 4, 5).transpose(1, 2) for t in tensors]
        found = torch.nn.functional.scaled_dot_product_attention(*by_head, **self.settings)
        return found.transpose(1, 2).reshape(tensors[0].shape)


def rows(shape: tuple[int, int]) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(shape[1])
    return [3 * torch.randn((*shape, 20), generator=generator) for _ in range(3)]


def written(attention: Attention) -> bytes:
    buffer: Any = io.BytesIO()
    names = ["query", "key", "value"]
    axes = {name: {0: "rows", 1: "length"} for name in names}
    example = tuple(rows((2, 7)))
    with attention_in_one_operator():
        torch.onnx.export(
            attention,
            example,
            buffer,
            input_names=names,
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
    return bytes(buffer.getvalue())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("scale", [None, 0.25])
def test_it_gives_what_pytorch_gives_for_any_shape(scale: float | None) -> None:
    attention = Attention(scale=scale)
    file = written(attention)
    operators = [node.op_type for node in onnx.load_from_string(file).graph.node]
    assert operators.count("MultiHeadAttention") == 1
    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    for shape in ((2, 7), (1, 1), (3, 40)):
        inputs = rows(shape)
        expected = attention(*(tensor.double() for tensor in inputs)).numpy()
        named = zip(("query", "key", "value"), inputs, strict=True)
        (found,) = session.run(None, {name: tensor.numpy() for name, tensor in named})
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_while_it_lasts_pytorch_gives_the_same() -> None:
    inputs = rows((2, 7))
    expected = Attention()(*inputs)
    with attention_in_one_operator():
        torch.testing.assert_close(Attention()(*inputs), expected)


def test_attention_to_earlier_wordpieces_is_refused() -> None:
    with attention_in_one_operator(), pytest.raises(ValueError, match="earlier"):
        Attention(is_causal=True)(*rows((2, 7)))


def test_afterwards_attention_is_that_of_pytorch() -> None:
    before = torch.nn.functional.scaled_dot_product_attention
    with pytest.raises(KeyError), attention_in_one_operator():
        raise KeyError
    assert torch.nn.functional.scaled_dot_product_attention is before
