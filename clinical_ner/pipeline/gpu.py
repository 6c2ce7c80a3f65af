"""The GPU that a command was told to use."""

from __future__ import annotations

import spacy

from ..errors import ClinicalNerError, Errors


def use_gpu(gpu_id: int) -> None:
    """Compute on a GPU from now on; nothing happens for an id below 0, which means the CPU.

    RAISES ClinicalNerError: there is no such GPU, or the packages that it needs are missing.
    """
    if gpu_id < 0:
        return
    try:
        spacy.require_gpu(gpu_id)
    except ValueError as error:
        raise ClinicalNerError(Errors.E214.format(gpu_id=gpu_id, reason=str(error))) from error
