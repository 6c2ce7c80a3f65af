"""An encoder's ONNX file in integers of 8 bits, its activations quantised as they come."""

from __future__ import annotations

import tempfile
from pathlib import Path


def quantize(file: bytes) -> bytes:
    """Write products with constant weights, and tables of embeddings, in 8 bits.

    ONNX Runtime's dynamic quantizer: a weight matrix has a scale per column, and the activations of
    a call have one together, so a call must not hold rows of several documents; see
    `session.OnnxEncoder`. Weights have 7 bits: processors without instructions for products of 8
    bits (VNNI) add two of them in 16 bits, which would saturate with 8.

    Returns:
        The content of the new file, for ONNX Runtime only.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as folder:
        given, prepared, written = (Path(folder) / name for name in ("given", "prepared", "int8"))
        given.write_bytes(file)
        # The quantizer needs the types of all values. Nothing else is changed here.
        quant_pre_process(given, prepared, skip_optimization=True, skip_symbolic_shape=True)
        quantize_dynamic(
            prepared, written, per_channel=True, reduce_range=True, weight_type=QuantType.QInt8
        )
        return written.read_bytes()
