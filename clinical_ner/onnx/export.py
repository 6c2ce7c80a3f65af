"""Writing a pretrained encoder as an ONNX file."""

from __future__ import annotations

import copy
import io
import math
import warnings
from typing import Any
from unittest import mock

import torch
from transformers import AutoModel

from ..errors import InputError
from ..model.windows.window_settings import longest_window
from .session import INPUTS, OUTPUT, import_extra, make_session

#: Version of the operators: the first with one for layer normalization.
OPSET = 17
#: Limit of protobuf, the format of the file; the graph itself takes a few MB of it.
MAX_BYTES = 2**31 - 2**24
#: Largest difference between the vectors of the file and those of PyTorch, as a multiple of the
#: largest value.
TOLERANCE = 1e-3
#: Rows and wordpieces of what the file is tried with; the first is what it is traced with. And the
#: most wordpieces of one more, as long as the encoder reads them: some look at near ones only.
PROBES = ((2, 7), (1, 3), (3, 24))
LONGEST_PROBE = 512


def export(name: str, transformer: Any, tokenizer: Any) -> bytes:
    """Write an encoder as ONNX, in single precision.

    It takes the inputs that the tokenizer gives, but for a mask: its rows have no padding. It only
    gives the last hidden state; numbers of rows and wordpieces are free.

    Returns:
        The content of the file.

    Raises:
        InputError: ONNX or ONNX Runtime is not installed, the encoder is too large, its tokenizer
            pads on the left, or what the exporter of PyTorch writes does not give the same vectors.
    """
    import_extra("onnx")
    import_extra("onnxruntime")
    size = sum(p.numel() * p.element_size() for p in transformer.parameters())
    if size > MAX_BYTES:
        raise InputError(
            f"The encoder '{name}' has {size / 1e9:.1f} GB of weights, more than the 2 GB that "
            "one ONNX file can hold. Train with a smaller encoder."
        )
    difference = math.inf
    if tokenizer.padding_side != "right":
        reason = "its tokenizer pads on the left"
    else:
        longest = min(longest_window(tokenizer, transformer) or LONGEST_PROBE, LONGEST_PROBE)
        # Encoder, exporter and runtime each raise whatever suits what they cannot do.
        try:
            inputs = [name for name in INPUTS if name in tokenizer.model_input_names]
            encoder = _Encoder(_written_out(transformer), inputs).eval()
            file = _write(encoder)
            difference = _difference(encoder, file, longest)
            reason = f"its vectors would differ by {difference:.2g} of the largest value"
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
    if difference <= TOLERANCE:
        return file
    raise InputError(
        f"The encoder '{name}' cannot be written as ONNX ({reason}). Use the pipeline as it is, "
        "or train with another encoder."
    )


class _Encoder(torch.nn.Module):
    """An encoder that takes its inputs by position and gives one tensor, as the exporter asks."""

    def __init__(self, transformer: Any, inputs: list[str]) -> None:
        super().__init__()
        self.transformer = transformer
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        output = self.transformer(**dict(zip(self.inputs, tensors, strict=True)))
        return output.last_hidden_state


def _written_out(transformer: Any) -> Any:
    """A copy that computes its attention by matrix products, not by one function of PyTorch."""
    config = copy.deepcopy(transformer.config)
    copied = AutoModel.from_config(config, attn_implementation="eager")
    copied.load_state_dict(transformer.state_dict())
    return copied


def _write(encoder: _Encoder) -> bytes:
    """What the exporter of PyTorch makes of an encoder."""
    names = encoder.inputs
    buffer: Any = io.BytesIO()
    # On an error the exporter prints the whole graph to stdout, whether it is asked to or not.
    silent = mock.patch("torch._C._jit_onnx_log", create=True)
    with warnings.catch_warnings(), torch.no_grad(), silent:
        # That it traces, and that another exporter is newer: that one needs a package more.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            encoder,
            _probe(encoder, *PROBES[0]),
            buffer,
            input_names=names,
            output_names=[OUTPUT],
            dynamic_axes={key: {0: "rows", 1: "length"} for key in (*names, OUTPUT)},
            opset_version=OPSET,
            dynamo=False,
        )
    return bytes(buffer.getvalue())


def _probe(encoder: _Encoder, rows: int, length: int) -> tuple[torch.Tensor, ...]:
    """Made-up inputs."""
    generator = torch.Generator().manual_seed(0)
    n_words = encoder.transformer.config.vocab_size
    values = {
        "input_ids": torch.randint(n_words, (rows, length), generator=generator),
        "token_type_ids": torch.zeros((rows, length), dtype=torch.int64),
    }
    return tuple(values[name] for name in encoder.inputs)


def _difference(encoder: _Encoder, file: bytes, longest: int) -> float:
    """Largest difference to PyTorch, as a multiple of the largest value."""
    session = make_session(file)
    largest = 0.0
    for rows, length in (*PROBES, (1, longest)):
        inputs = _probe(encoder, rows, min(length, longest))
        with torch.no_grad():
            expected = encoder(*inputs)
        named = zip(encoder.inputs, inputs, strict=True)
        (found,) = session.run([OUTPUT], {name: tensor.numpy() for name, tensor in named})
        difference = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
        # Not max(): one that is not a number would be lost in it.
        largest = float(difference) if not difference <= largest else largest
    return largest
