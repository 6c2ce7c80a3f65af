"""Writing a pretrained encoder as an ONNX file."""

from __future__ import annotations

import copy
import io
import warnings
from typing import Any
from unittest import mock

import torch
from transformers import AutoModel

from ..errors import InputError, missing_extra
from ..model.windows.window_settings import longest_window
from .attention import attention_in_one_operator
from .session import INPUTS, OUTPUT, import_onnxruntime, make_session

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
#: Names that transformers gives to attention as PyTorch computes it, and written out in operators.
#: The first is exported as one operator, which is faster; not every encoder has it.
PLAIN = "eager"
ATTENTIONS = ("sdpa", PLAIN)


def export(name: str, transformer: Any, tokenizer: Any) -> bytes:
    """Write an encoder as ONNX, in single precision.

    It takes the inputs that the tokenizer gives, but for a mask: its rows have no padding. It only
    gives the last hidden state; numbers of rows and wordpieces are free.

    name: the encoder's, for messages.

    RETURNS: the content of the file.
    RAISES ClinicalNerError: ONNX or ONNX Runtime is not installed, the encoder is too large, its
        tokenizer pads on the left, or the exporter of PyTorch cannot write it, or not such that it
        gives the same vectors.
    """
    import_onnx()
    import_onnxruntime()
    size = sum(p.numel() * p.element_size() for p in transformer.parameters())
    if size > MAX_BYTES:
        raise InputError(
            f"The encoder '{name}' has {size / 1e9:.1f} GB of weights, more than the 2 GB that "
            "one ONNX file can hold. Train with a smaller encoder."
        )
    if tokenizer.padding_side != "right":
        reason = "its tokenizer pads on the left"
        raise InputError(
            f"The encoder '{name}' cannot be written as ONNX ({reason}). Use the pipeline as it "
            "is, or train with another encoder."
        )
    inputs = _inputs(tokenizer)
    longest = min(longest_window(tokenizer, transformer) or LONGEST_PROBE, LONGEST_PROBE)
    reason = ""
    for attention in ATTENTIONS:
        # Encoder, exporter and runtime each raise whatever suits what they cannot do.
        try:
            encoder, plain = (
                _Encoder(_with_attention(transformer, each), inputs).eval()
                for each in (attention, PLAIN)
            )
            file = _write(encoder)
            difference = _difference(plain, file, longest)
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            continue
        if difference <= TOLERANCE:
            return file
        reason = f"its vectors would differ by {difference:.2g} of the largest value"
    raise InputError(
        f"The encoder '{name}' cannot be written as ONNX ({reason}). Use the pipeline as it is, "
        "or train with another encoder."
    )


def import_onnx() -> Any:
    """The module onnx.

    RAISES ClinicalNerError: it is not installed.
    """
    try:
        import onnx
    except ImportError as error:
        raise missing_extra("An encoder on ONNX Runtime", "onnx", "onnx") from error
    return onnx


class _Encoder(torch.nn.Module):
    """An encoder that takes its inputs by position and gives one tensor, as the exporter asks."""

    def __init__(self, transformer: Any, inputs: list[str]) -> None:
        super().__init__()
        self.transformer = transformer
        self.inputs = inputs

    def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
        output = self.transformer(**dict(zip(self.inputs, tensors, strict=True)))
        return output.last_hidden_state


def _with_attention(transformer: Any, implementation: str) -> Any:
    """A copy that computes its attention in another of the ways that transformers has."""
    config = copy.deepcopy(transformer.config)
    copied = AutoModel.from_config(config, attn_implementation=implementation)
    copied.load_state_dict(transformer.state_dict())
    return copied


def _write(encoder: _Encoder) -> bytes:
    """What the exporter of PyTorch makes of an encoder."""
    names = encoder.inputs
    buffer: Any = io.BytesIO()
    # On an error the exporter prints the whole graph to stdout, whether it is asked to or not.
    silent = mock.patch("torch._C._jit_onnx_log", create=True)
    with warnings.catch_warnings(), torch.no_grad(), attention_in_one_operator(), silent:
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


def _inputs(tokenizer: Any) -> list[str]:
    with_types = "token_type_ids" in tokenizer.model_input_names
    return [name for name in INPUTS if with_types or name != "token_type_ids"]


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
