"""A fingerprint of the weights of a model, by which what was saved beside them knows them."""

from __future__ import annotations

import hashlib
from typing import Any

from thinc.api import Model


def weights_digest(model: Model) -> str | None:
    """SHA-256 of all weights of a model in the order of its layers; None before it has any."""
    digest = hashlib.sha256()
    found = False
    for node in model.walk():
        weights: dict[str, Any] = {name: node.maybe_get_param(name) for name in node.param_names}
        for shim in node.shims:
            encoder: Any = getattr(shim, "_model", None)
            weights |= {} if encoder is None else encoder.state_dict()
        for name, array in sorted(weights.items()):
            if array is None:
                continue
            found = True
            digest.update(f"{name} {array.dtype} {tuple(array.shape)}\n".encode())
            if hasattr(array, "cpu"):
                # Only an encoder of torch comes here, whose import others are to be spared. As
                # bytes, since numpy lacks some of its types.
                import torch

                array = array.detach().cpu().flatten().view(torch.uint8).numpy()
            digest.update(node.ops.to_numpy(array).tobytes())
    return digest.hexdigest() if found else None
