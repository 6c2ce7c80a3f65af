"""Products and tables in 8 bits, beside the same in higher precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from clinical_ner.onnx.quantization import quantize

WIDTH = 48


def graph(nodes: list[Any], constants: dict[str, NDArray], *, of_ids: bool = False) -> bytes:
    kind = TensorProto.INT64 if of_ids else TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", kind, ["rows", "length"] if of_ids else None)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    opset = helper.make_opsetid("", 17)
    return helper.make_model(made, opset_imports=[opset], ir_version=8).SerializeToString()


def run(file: bytes, x: NDArray) -> NDArray:
    return onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"]).run(
        ["y"], {"x": x}
    )[0]


def operators(file: bytes) -> list[str]:
    return [node.op_type for node in onnx.load_from_string(file).graph.node]


@pytest.fixture
def weights() -> NDArray[np.float32]:
    return np.random.default_rng(0).normal(size=(WIDTH, 20)).astype("float32")


@pytest.fixture
def product(weights: NDArray[np.float32]) -> bytes:
    return graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": weights})


def test_a_product_is_close_for_columns_of_any_size(weights: NDArray[np.float32]) -> None:
    # One scale for all columns would leave nothing of the small ones.
    weights[:, :10] *= 1e-3
    x = np.random.default_rng(1).normal(size=(1, 5, WIDTH)).astype("float32")
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    exact = x.astype("float64") @ weights
    error = np.abs(run(quantize(graph([node], {"w": weights})), x) - exact)
    for columns in (slice(0, 10), slice(10, 20)):
        assert error[..., columns].mean() < 0.03 * np.abs(exact[..., columns]).mean()


def test_the_largest_activations_and_weights_do_not_saturate() -> None:
    # A processor without VNNI adds two products in 16 bits.
    ones = np.ones((WIDTH, 4), dtype="float32")
    file = quantize(graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": ones}))
    found = run(file, np.ones((1, 3, WIDTH), dtype="float32"))
    np.testing.assert_allclose(found, WIDTH, rtol=0.02)


def test_rows_of_zeros_stay_zeros(product: bytes) -> None:
    found = run(quantize(product), np.zeros((1, 3, WIDTH), dtype="float32"))
    np.testing.assert_array_equal(found, 0)


def test_embeddings_are_8_bits_too() -> None:
    table = np.random.default_rng(0).normal(size=(90, WIDTH)).astype("float32")
    file = graph([helper.make_node("Gather", ["t", "x"], ["y"])], {"t": table}, of_ids=True)
    ids = np.array([[3, 1], [8, 0]])
    np.testing.assert_allclose(run(quantize(file), ids), table[ids], atol=0.03 * table.max())
    assert len(quantize(file)) < 0.5 * len(file)


def test_products_of_activations_stay_in_single_precision() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    assert operators(quantize(graph(nodes, {}))) == ["Transpose", "MatMul"]


def test_nothing_is_printed(
    product: bytes, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    quantize(product)
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")
