"""PyTorch's use of oneDNN, which keeps something for every shape of a tensor."""

from __future__ import annotations

import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch

#: Where PyTorch multiplies matrices of single precision by another library, so that an encoder
#: uses oneDNN for its activations only. On ARM it multiplies with it.
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")

_lock = threading.Lock()
_users = 0
_enabled = True


@contextmanager
def without_onednn() -> Iterator[None]:
    """Let PyTorch compute without oneDNN on x86; elsewhere nothing changes.

    It keeps up to 1,024 primitives, one for every shape of an activation. They come to lie between
    the tensors of the call that makes them, so that the heap gets holes, and memory grows for
    thousands of documents. Without them it does not, at the same speed.

    The switch is one of the whole process, so the last thread that leaves puts it back.
    """
    global _users, _enabled
    if not IS_X86:
        yield
        return
    with _lock:
        if _users == 0:
            (_enabled, *_) = torch.backends.mkldnn.set_flags(False, _fp32_precision=None)
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                torch.backends.mkldnn.set_flags(_enabled, _fp32_precision=None)
