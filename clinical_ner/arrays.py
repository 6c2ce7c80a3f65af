"""Arithmetic on arrays of the CPU and the GPU alike that more than one folder needs."""

from __future__ import annotations

from typing import Any

from thinc.util import get_array_module

from .types import Logits, LogProbs


def log_softmax(logits: Logits) -> LogProbs:
    """Logarithm of the softmax over the last axis; finite logits of any size are safe.

    Columns of -inf stay -inf. A row without a finite entry cannot occur: the statistics have at
    least one seen tag. *Shape:* ``(n, K)``.
    """
    xp = get_array_module(logits)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - xp.log(xp.exp(shifted).sum(axis=-1, keepdims=True))


def as_like(values: Any, like: Any) -> Any:
    """Values as an array on the device and in the dtype of another."""
    return get_array_module(like).asarray(values, dtype=like.dtype)
