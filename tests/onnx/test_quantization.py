"""Products and tables in 8 bits, held against the same in double precision."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from clinical_ner.onnx.quantization import ONE_SIDED_LEVELS, TWO_SIDED_LEVELS, Levels, quantize

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


def rounded(x: NDArray, levels: int) -> NDArray:
    """Rows to a number of levels of either sign, in double precision."""
    scale = np.abs(x).max(axis=-1, keepdims=True) / levels
    return np.rint(x / scale) * scale


def test_a_product_is_that_of_rounded_rows_and_columns(
    product: bytes, weights: NDArray[np.float32]
) -> None:
    x = np.random.default_rng(1).normal(size=(2, 5, WIDTH)).astype("float32")
    x[0, 2] *= 100
    found = run(quantize(product), x)
    expected = rounded(x, 127) @ rounded(weights.T, 63).T
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3 * np.abs(expected).max())
    # A large row is not paid for by the others.
    exact = x.astype("float64") @ weights
    error = np.abs(found - exact)
    assert error[1].mean() < 0.02 * np.abs(exact[1]).mean()


def test_a_row_does_not_depend_on_the_others(product: bytes) -> None:
    x = np.random.default_rng(1).normal(size=(1, 5, WIDTH)).astype("float32")
    x[0, 0] *= 1000
    file = quantize(product)
    np.testing.assert_array_equal(run(file, x)[0, 1:], run(file, x[:, 1:])[0])


@pytest.mark.parametrize("activation", ["Relu", "Gelu"])
def test_after_an_activation_weights_have_all_8_bits(
    activation: str, weights: NDArray[np.float32]
) -> None:
    half, root = np.float32(0.5), np.float32(2**0.5)
    before = {
        "Relu": [helper.make_node("Relu", ["x"], ["a"])],
        "Gelu": [
            helper.make_node("Div", ["x", "root"], ["b"]),
            helper.make_node("Erf", ["b"], ["c"]),
            helper.make_node("Add", ["c", "one"], ["d"]),
            helper.make_node("Mul", ["x", "d"], ["e"]),
            helper.make_node("Mul", ["e", "half"], ["a"]),
        ],
    }[activation]
    nodes = [*before, helper.make_node("MatMul", ["a", "w"], ["y"])]
    constants = {"w": weights, "half": half, "root": root, "one": np.float32(1)}
    constants = {k: np.asarray(v) for k, v in constants.items()}
    file = quantize(graph(nodes, constants))
    found = {
        t.name: numpy_helper.to_array(t) for t in onnx.load_from_string(file).graph.initializer
    }
    assert np.abs(found["quantized/w_int8"]).max() == 127
    x = np.random.default_rng(1).normal(size=(2, 5, WIDTH)).astype("float32")
    # Rows in which what is negative is the larger part.
    x[0] = -np.abs(x[0])
    exact = run(graph(nodes, constants), x)
    error = np.abs(run(file, x) - exact)
    assert error[1].mean() < 0.03 * np.abs(exact[1]).mean()
    if activation == "Gelu":
        assert error[0].mean() < 0.1 * np.abs(exact[0]).mean()


@pytest.mark.parametrize("levels", [TWO_SIDED_LEVELS, ONE_SIDED_LEVELS])
def test_no_sum_of_two_products_leaves_16_bits(levels: Levels) -> None:
    assert 2 * levels.weight * levels.top <= 2**15 - 1
    assert levels.weight <= 127 and levels.top <= 255


def test_the_largest_activations_and_weights_do_not_saturate() -> None:
    ones = np.ones((WIDTH, 4), dtype="float32")
    file = quantize(graph([helper.make_node("MatMul", ["x", "w"], ["y"])], {"w": ones}))
    found = run(file, np.ones((1, 3, WIDTH), dtype="float32"))
    np.testing.assert_allclose(found, WIDTH, rtol=1e-5)


def test_rows_of_zeros_stay_zeros(product: bytes) -> None:
    found = run(quantize(product), np.zeros((1, 3, WIDTH), dtype="float32"))
    np.testing.assert_array_equal(found, 0)


def test_embeddings_have_a_scale_each() -> None:
    table = np.random.default_rng(0).normal(size=(9, WIDTH)).astype("float32")
    table[3] *= 1000
    file = graph([helper.make_node("Gather", ["t", "x"], ["y"])], {"t": table}, of_ids=True)
    ids = np.array([[3, 1], [8, 0]])
    found = run(quantize(file), ids)
    np.testing.assert_allclose(found, rounded(table, 127)[ids], rtol=1e-5, atol=1e-6)
    assert len(quantize(file)) < len(file)


def test_products_of_activations_stay_as_they_are() -> None:
    nodes = [
        helper.make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["x", "t"], ["y"]),
    ]
    assert operators(quantize(graph(nodes, {}))) == ["Transpose", "MatMul"]


def test_products_of_the_same_rows_quantize_them_once(weights: NDArray[np.float32]) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("MatMul", ["x", "v"], ["b"]),
        helper.make_node("Add", ["a", "b"], ["y"]),
    ]
    file = quantize(graph(nodes, {"w": weights, "v": weights + 1}))
    assert operators(file).count("QuantizeLinear") == 1
    assert operators(file).count("MatMulIntegerToFloat") == 2
