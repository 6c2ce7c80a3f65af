"""The attention of an encoder as one operator of ONNX Runtime, where it has no padding to mask.

Written out in operators it goes through the memory five times (scores, mask, softmax, product, and
rows put back together); the operator keeps a block of the scores in the cache.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch

#: Domain of the operators that ONNX Runtime adds to the standard.
RUNTIME = "com.microsoft"


@contextmanager
def attention_in_one_operator() -> Iterator[None]:
    """While it lasts, PyTorch's attention is exported as one operator, and without its mask.

    What is exported is right for rows without padding only, and for encoders in which each
    wordpiece looks at all others of its row: compare it with what PyTorch gives.

    RAISES ValueError: within the block, for attention that looks at earlier wordpieces only.
    """
    with mock.patch("torch.nn.functional.scaled_dot_product_attention", _attention):
        yield


def _attention(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attn_mask: torch.Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> torch.Tensor:
    """Stand for ``torch.nn.functional.scaled_dot_product_attention``.

    query, key, value: *Shape of each:* ``(rows, heads, length, size)``.
    """
    if is_causal:
        raise ValueError("attention that looks at earlier wordpieces only")
    heads, size = int(query.shape[1]), int(query.shape[3])
    scale = 1 / math.sqrt(size) if scale is None else scale
    found: Any = _Attention.apply(query, key, value, heads, size, scale)
    return found


class _Attention(torch.autograd.Function):
    """Attention that the exporter of PyTorch writes as ``MultiHeadAttention``."""

    @staticmethod
    def forward(
        ctx: Any,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        heads: int,
        size: int,
        scale: float,
    ) -> torch.Tensor:
        """Softmax of the scaled products of queries and keys, times the values."""
        scores = query @ key.transpose(-1, -2) * scale
        return scores.softmax(dim=-1) @ value

    @staticmethod
    def symbolic(
        g: Any, query: Any, key: Any, value: Any, heads: int, size: int, scale: float
    ) -> Any:
        """Write the operator; the runtime drops transpositions that undo each other."""

        def numbers(*values: int) -> Any:
            return g.op("Constant", value_t=torch.tensor(values, dtype=torch.int64))

        rows = [
            # 0 keeps a size: from (rows, heads, length, size) to (rows, length, width).
            g.op(
                "Reshape",
                g.op("Transpose", tensor, perm_i=[0, 2, 1, 3]),
                numbers(0, -1, heads * size),
            )
            for tensor in (query, key, value)
        ]
        found = g.op(f"{RUNTIME}::MultiHeadAttention", *rows, num_heads_i=heads, scale_f=scale)
        by_head = g.op("Reshape", found, numbers(0, -1, heads, size))
        return g.op("Transpose", by_head, perm_i=[0, 2, 1, 3]).setType(query.type())
