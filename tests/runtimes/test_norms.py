"""No exported file holds a batch norm: what became of each computes what it did, by its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgenas.errors import EdgenasError
from edgenas.export.onnx import onnx_from_network, unfolded_norms
from edgenas.export.parity import check_parity, input_from_pixels
from edgenas.export.precision import half_from_onnx, int8_from_onnx
from edgenas.runtimes.norms import without_norms
from edgenas.runtimes.onnx_session import open_session
from tests.export.test_families import FAMILIES, cases_of, preprocessing, trained

SIDE = 16
NB201 = FAMILIES["NAS-Bench-201"]


def test_a_norm_that_became_a_scale_and_a_shift_passes_the_gate_in_fp16() -> None:
    """FP32 of every family is held in test_families.py."""
    network = trained(NB201)
    model = half_from_onnx(onnx_from_network(network, NB201, opset=13, ir=7))
    assert check_parity(network, model, "fp16", cases_of(NB201), preprocessing(NB201)).passed


def test_a_norm_between_a_sum_and_a_relu_stays_float_in_int8() -> None:
    """As it did when it was a BatchNormalization: one scale of 8 bits for all channels would cost exactness for nothing."""
    plain = onnx_from_network(trained(NB201), NB201, opset=13, ir=7)
    pixels = np.random.default_rng(0).integers(0, 256, (8, SIDE, SIDE, 3), dtype=np.uint8)
    model = int8_from_onnx(plain, input_from_pixels(pixels, preprocessing(NB201)))
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in plain.graph.initializer}
    kept = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for name in ("norm_scale_0", "norm_shift_0"):
        assert np.array_equal(kept[name], weights[name])
        (reader,) = [node for node in model.graph.node if name in node.input]
        assert reader.op_type in ("Mul", "Add")


# ---------------------------------------------------------------- one norm, by its definition


def graph_of(nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["batch", 3])],
        tensors,
    )
    model = helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])
    onnx.checker.check_model(model, full_check=True)
    return model


RNG = np.random.default_rng(3)
NORM = {"s": RNG.uniform(0.5, 2, 4), "b": RNG.normal(size=4), "m": RNG.normal(size=4), "v": RNG.uniform(0.1, 3, 4)}
NODE = helper.make_node("BatchNormalization", ["x", "s", "b", "m", "v"], ["n"], name="Norm", epsilon=1e-3)
FLAT = helper.make_node("Flatten", ["n"], ["f"], axis=1)


def outputs(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with open_session(model.SerializeToString()) as session:
        return np.asarray(session.run({"x": x})["y"])


def by_definition(x: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N, 4, H, W) -> the normed maps."""
    s, b, m, v = (np.asarray(NORM[name]).reshape(1, 4, 1, 1) for name in "sbmv")
    return (x - m) / np.sqrt(v + 1e-3) * s + b


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("transposed", [1, 0])
def test_a_norm_of_maps_goes_into_the_matrix_product_that_reads_them_flat(transposed: int, bias: bool) -> None:
    """(N, 4, 2, 3) -> 24 features, six of each channel."""
    weight, offset = RNG.normal(size=(3, 24)), RNG.normal(size=3)
    names = ["f", "w", *(["c"] if bias else [])]
    product = helper.make_node("Gemm", names, ["y"], transB=transposed, alpha=1.0, beta=1.0)
    weights = NORM | {"w": weight if transposed else weight.T} | ({"c": offset} if bias else {})
    model = without_norms(graph_of([NODE, FLAT, product], [4, 2, 3], weights))
    assert [node.op_type for node in model.graph.node] == ["Flatten", "Gemm"]
    x = RNG.normal(size=(5, 4, 2, 3)).astype(np.float32)
    wanted = by_definition(x).reshape(5, 24) @ weight.T + (offset if bias else 0)
    np.testing.assert_allclose(outputs(model, x), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("why", ["another reader", "a scaled product", "features that are no whole images"])
def test_a_norm_that_no_product_can_take_in_becomes_a_scale_and_a_shift(why: str) -> None:
    weight = RNG.normal(size=(3, 4))
    nodes, scaled = [NODE, FLAT], 2.0 if why == "a scaled product" else 1.0
    shape, rows = [4, 1, 1], slice(None)
    if why == "another reader":
        nodes.append(helper.make_node("Relu", ["n"], ["r"]))
        nodes.append(helper.make_node("Flatten", ["r"], ["g"], axis=1))
        nodes.append(helper.make_node("Add", ["f", "g"], ["h"]))
    features = "h" if why == "another reader" else "f"
    weights: dict[str, NDArray[Any]] = NORM | {"w": weight}
    if why == "features that are no whole images":  # (N, 4, 2, 1) as 2 N rows of 4
        shape = [4, 2, 1]
        nodes[1] = helper.make_node("Reshape", ["n", "four"], ["f"])
    nodes.append(helper.make_node("Gemm", [features, "w"], ["y"], transB=1, alpha=scaled))
    plain = graph_of(nodes, shape, weights) if "four" not in nodes[1].input else _reshaped(nodes, shape, weights)
    model = without_norms(plain)
    assert [node.op_type for node in model.graph.node][:2] == ["Mul", "Add"]
    x = RNG.normal(size=(5, *shape)).astype(np.float32)
    normed = by_definition(x).reshape(-1, 4)[rows]
    wanted = scaled * (normed + np.maximum(normed, 0) if why == "another reader" else normed) @ weight.T
    np.testing.assert_allclose(outputs(model, x), wanted, rtol=1e-5, atol=1e-5)


def test_a_norm_that_a_product_shares_with_another_reader_stays_for_both() -> None:
    """Folded into the product, it would be missing before the ReLU."""
    weight = RNG.normal(size=(3, 4))
    nodes = [
        NODE,
        FLAT,
        helper.make_node("Gemm", ["f", "w"], ["p"], transB=1),
        helper.make_node("Relu", ["n"], ["r"]),
        helper.make_node("Flatten", ["r"], ["g"], axis=1),
        helper.make_node("Gemm", ["g", "w"], ["q"], transB=1),
        helper.make_node("Add", ["p", "q"], ["y"]),
    ]
    model = without_norms(graph_of(nodes, [4, 1, 1], NORM | {"w": weight}))
    x = RNG.normal(size=(5, 4, 1, 1)).astype(np.float32)
    normed = by_definition(x).reshape(5, 4)
    wanted = normed @ weight.T + np.maximum(normed, 0) @ weight.T
    np.testing.assert_allclose(outputs(model, x), wanted, rtol=1e-5, atol=1e-5)


def _reshaped(nodes: list[onnx.NodeProto], shape: list[int], weights: dict[str, NDArray[Any]]) -> onnx.ModelProto:
    tensors = [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()]
    tensors.append(numpy_helper.from_array(np.array([-1, 4], np.int64), "four"))
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", *shape])
    made = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])
    graph = helper.make_graph(nodes, "g", [given], [made], tensors)
    return helper.make_model(graph, ir_version=8, opset_imports=[helper.make_opsetid("", 17)])


def test_numbers_that_are_not_in_the_file_are_refused_in_one_line() -> None:
    nodes = [
        helper.make_node("Identity", ["s"], ["computed"]),
        helper.make_node("BatchNormalization", ["x", "computed", "b", "m", "v"], ["n"], name="Norm"),
        FLAT,
        helper.make_node("Gemm", ["f", "w"], ["y"], transB=1),
    ]
    model = graph_of(nodes, [4, 1, 1], NORM | {"w": RNG.normal(size=(3, 4))})
    with pytest.raises(EdgenasError, match="batch norm Norm: computed is no number of the file"):
        without_norms(model)


def test_a_scale_that_could_have_ridden_on_the_layer_before_it_is_found() -> None:
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("Mul", ["c", "norm_scale_0"], ["y"], name="M"),
    ]
    model = helper.make_model(helper.make_graph(nodes, "g", [], []))
    assert unfolded_norms(model) == ["M"]
    nodes.append(helper.make_node("Relu", ["c"], ["z"]))
    assert unfolded_norms(helper.make_model(helper.make_graph(nodes, "g", [], []))) == []
