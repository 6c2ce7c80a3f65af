"""An encoder's ONNX file in integers of 8 bits, its activations quantised as they come.

The quantiser of ONNX Runtime gives all activations of a batch one scale: the few wordpieces with
very large values coarsen it for the others, and a document's result depends on those it shares a
batch with. Here each wordpiece has a scale of its own. What either costs is measured in
benchmarks/README.md.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .attention import RUNTIME
from .export import import_onnx

#: Keeps a wordpiece of nothing but zeros from a division by zero.
TINY = np.float32(1e-12)
#: Activations after which few values are negative, and those small. Written out in operators, GELU
#: has an error function up to three operators before its end.
ONE_SIDED = ("Erf", "Relu")
STEPS_BACK = 4


@dataclass(frozen=True)
class Levels:
    """How a product divides 15 bits between its factors.

    Processors without instructions for products of 8 bits (VNNI) add two of them in 16 bits, and
    saturate. With these numbers no sum of two can reach the limit, so that results do not depend
    on the processor.

    weight: largest absolute weight.
    zero: activation that stands for 0.
    top: largest activation.
    """

    weight: int
    zero: int
    top: int


TWO_SIDED_LEVELS = Levels(weight=63, zero=128, top=255)
ONE_SIDED_LEVELS = Levels(weight=127, zero=16, top=127)


def quantize(file: bytes) -> bytes:
    """Write products with constant weights, and tables of embeddings, in 8 bits.

    A weight matrix has a scale per column, an embedding and a wordpiece's activations one each.
    The products of activations with each other, in the attention, stay as they are.

    file: content of an ONNX file in single precision.

    RETURNS: that of the new one, for ONNX Runtime only.
    RAISES ClinicalNerError: ONNX is not installed.
    """
    onnx = import_onnx()
    model = onnx.load_from_string(file)
    writer = _Writer(onnx, model.graph)
    writer.rewrite()
    if RUNTIME not in {used.domain for used in model.opset_import}:
        model.opset_import.append(onnx.helper.make_opsetid(RUNTIME, 1))
    return bytes(model.SerializeToString())


class _Writer:
    """Replaces nodes of a graph, and drops the constants that none of them uses any more."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self.onnx = onnx
        self.graph = graph
        self.constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer
        }
        self.producers = {name: node for node in graph.node for name in node.output}
        # Name of the quantised activations and of their scales, by name and levels.
        self.quantized: dict[tuple[str, Levels], tuple[str, str]] = {}
        self.nodes: list[Any] = []

    def rewrite(self) -> None:
        for node in self.graph.node:
            if node.op_type == "MatMul" and self._is_table(node.input[1]):
                self._product(node)
            elif node.op_type == "Gather" and self._is_table(node.input[0]):
                self._lookup(node)
            else:
                self.nodes.append(node)
        used = {name for node in self.nodes for name in node.input}
        for field, kept in (
            (self.graph.node, self.nodes),
            (self.graph.initializer, [t for t in self.graph.initializer if t.name in used]),
        ):
            del field[:]
            field.extend(kept)

    def _is_table(self, name: str) -> bool:
        found = self.constants.get(name)
        return found is not None and found.ndim == 2 and found.dtype == np.float32

    def _product(self, node: Any) -> None:
        """Rows of activations times a weight matrix."""
        rows, matrix = node.input
        levels = ONE_SIDED_LEVELS if self._is_one_sided(rows) else TWO_SIDED_LEVELS
        activations, scale = self._activations(rows, levels)
        integers, scales = _symmetric(self.constants[matrix], levels.weight, axis=0)
        product = self._add(
            "MatMulIntegerToFloat",
            [
                activations,
                self._constant(f"{matrix}_int8", integers),
                self._constant("one", np.float32(1)),
                self._constant(f"{matrix}_scales", scales[0]),
                self._constant(f"zero_{levels.zero}", np.uint8(levels.zero)),
            ],
            domain=RUNTIME,
        )
        self._add("Mul", [product, scale], output=node.output[0])

    def _activations(self, rows: str, levels: Levels) -> tuple[str, str]:
        key = rows, levels
        if key not in self.quantized:
            above = self._constant(f"above_{levels.zero}", np.float32(levels.top - levels.zero))
            if levels is TWO_SIDED_LEVELS:
                largest = self._add("ReduceMax", [self._add("Abs", [rows])], axes=[-1])
                scale = self._add("Div", [largest, above])
            else:
                below = self._constant(f"below_{levels.zero}", np.float32(-levels.zero))
                ends = (("ReduceMax", above), ("ReduceMin", below))
                sides = [self._add("Div", [self._add(o, [rows], axes=[-1]), n]) for o, n in ends]
                scale = self._add("Max", sides)
            scale = self._add("Max", [scale, self._constant("tiny", TINY)])
            inverse = self._add("Reciprocal", [scale])
            zero = self._constant(f"zero_{levels.zero}", np.uint8(levels.zero))
            scaled = self._add("Mul", [rows, inverse])
            one = self._constant("one", np.float32(1))
            self.quantized[key] = self._add("QuantizeLinear", [scaled, one, zero]), scale
        return self.quantized[key]

    def _lookup(self, node: Any) -> None:
        """Rows of a table of embeddings."""
        table, indices = node.input
        integers, scales = _symmetric(self.constants[table], 127, axis=1)
        rows, of_rows = (
            self._add("Gather", [self._constant(f"{table}_{end}", values), indices])
            for end, values in (("int8", integers), ("scales", scales))
        )
        floats = self._add("Cast", [rows], to=self.onnx.TensorProto.FLOAT)
        self._add("Mul", [floats, of_rows], output=node.output[0])

    def _is_one_sided(self, name: str, steps: int = STEPS_BACK) -> bool:
        node = self.producers.get(name)
        if node is None or not steps or node.op_type == "MatMul":
            return False
        if node.op_type in ONE_SIDED:
            return True
        return any(self._is_one_sided(before, steps - 1) for before in node.input)

    def _constant(self, name: str, value: Any) -> str:
        name = f"quantized/{name}"
        if name not in self.constants:
            self.constants[name] = np.asarray(value)
            self.graph.initializer.append(
                self.onnx.numpy_helper.from_array(np.asarray(value), name)
            )
        return name

    def _add(self, operator: str, inputs: list[str], *, output: str = "", **settings: Any) -> str:
        output = output or f"quantized/{operator}_{len(self.nodes)}"
        self.nodes.append(self.onnx.helper.make_node(operator, inputs, [output], **settings))
        return output


def _symmetric(
    table: NDArray[np.float32], most: int, *, axis: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """A table as integers of at most an absolute value, and the scales along an axis."""
    largest = np.abs(table).max(axis=axis, keepdims=True)
    scales = np.maximum(largest / np.float32(most), TINY).astype(np.float32)
    return np.rint(table / scales).astype(np.int8), scales
