"""The GPU that a command was told to use."""

from __future__ import annotations

import spacy

from ..errors import InputError


def use_gpu(gpu_id: int) -> None:
    """Compute on a GPU from now on; nothing happens for an id below 0, which means the CPU.

    Raises:
        ClinicalNerError: there is no such GPU, or the packages that it needs are missing.
    """
    if gpu_id < 0:
        return
    try:
        spacy.require_gpu(gpu_id)
    except ValueError as error:
        raise InputError(
            f"GPU {gpu_id} cannot be used ({str(error)}). Use --gpu-id -1 for the CPU, or install "
            "cupy for your CUDA version."
        ) from error
