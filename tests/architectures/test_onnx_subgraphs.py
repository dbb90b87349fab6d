"""Nodes with graphs inside: written out where their course is known, refused where it is not, never taken as constant."""

import time
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgenas.architectures import onnx_graph
from edgenas.architectures.from_onnx import read_onnx, workload_from_onnx
from edgenas.errors import EdgenasError
from tests.architectures.graphs import CONV, W, conv, graph, node, pooled, value

SQUARE = 8 * 8 * 9 * 16 * 16  # MACs of a 3x3 convolution, 8 -> 8 channels, on 16 x 16


def branch(name: str, *nodes: onnx.NodeProto) -> onnx.GraphProto:
    return helper.make_graph(list(nodes), name, [], [value(name, None)])


def both(condition: str) -> onnx.NodeProto:
    """An `If` with a convolution in one branch and two in the other."""
    one = branch("t", conv("c", "t", "u"))
    two = branch("e", conv("c", "e1", "u"), conv("e1", "e", "u"))
    return node("If", [condition], ["d"], then_branch=one, else_branch=two)


@pytest.mark.parametrize(("wanted", "macs"), [(8, CONV + SQUARE + SQUARE), (9, CONV + 2 * SQUARE + SQUARE)])
def test_the_branch_that_a_known_condition_takes_is_part_of_the_network(wanted: int, macs: int) -> None:
    nodes = [
        conv(),
        node("Shape", ["c"], ["s"]),
        node("Gather", ["s", "one"], ["channels"]),
        node("Equal", ["channels", "wanted"], ["condition"]),
        both("condition"),
        conv("d", "e", "u"),
        pooled("e"),
    ]
    constants = {**W, "u": (8, 8, 3, 3), "one": np.array(1, np.int64), "wanted": np.array(wanted, np.int64)}
    assert workload_from_onnx(graph(nodes, constants)).macs == macs


def test_a_branch_that_the_image_chooses_is_refused() -> None:
    nodes = [
        conv(),
        node("ReduceMean", ["x"], ["mean"], keepdims=0),
        node("Greater", ["mean", "half"], ["condition"]),
        both("condition"),
        pooled("d"),
    ]
    model = graph(nodes, {**W, "u": (8, 8, 3, 3), "half": np.array(0.5, np.float32)})
    with pytest.raises(EdgenasError, match="an If chooses its branch by the image"):
        read_onnx(model)


def test_names_and_constants_of_a_branch_are_its_own() -> None:
    inner = branch("t", node("Constant", [], ["u"], value=helper.make_tensor("k", 1, [8, 8, 1, 1], [0.1] * 64)),
                   node("Conv", ["c", "u"], ["t"]))  # fmt: skip
    nodes = [conv(), node("If", ["yes"], ["d"], then_branch=inner, else_branch=inner), conv("d", "e", "u"), pooled("e")]
    model = graph(nodes, {**W, "u": (8, 8, 3, 3), "yes": np.array(True)})
    assert workload_from_onnx(model).macs == CONV + 64 * 256 + SQUARE


def loop(times: Any, condition: Any = True, **more: Any) -> onnx.ModelProto:
    """`times` passes over one convolution; the body also stacks a number per pass."""
    body = helper.make_graph(
        [conv("h", "h1", "u"), node("Identity", ["go"], ["on"]), node("ReduceMean", ["h1"], ["row"], keepdims=0)],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("h", None)],
        [value("on", [], TensorProto.BOOL), value("h1", None), value("row", [])],
    )
    nodes = [conv(), node("Loop", ["times", "yes", "c"], ["l", "rows"], body=body), pooled("l")]
    constants = {**W, "u": (8, 8, 3, 3), "times": np.array(times, np.int64), "yes": np.array(condition)}
    return graph(nodes, constants, **more)


@pytest.mark.parametrize(("times", "condition", "passes"), [(3, True, 3), (0, True, 0), (-1, True, 0), (3, False, 0)])
def test_a_loop_of_a_known_length_is_written_out(times: int, condition: bool, passes: int) -> None:
    assert workload_from_onnx(loop(times, condition)).macs == CONV + passes * SQUARE


def test_the_rows_that_a_loop_stacks_have_its_length() -> None:
    model = loop(3)
    model.graph.output.append(value("rows", None))
    kernels = workload_from_onnx(model).kernels
    assert [kernel.kind for kernel in kernels].count("concat") == 1
    assert next(kernel for kernel in kernels if kernel.kind == "concat").out_channels == 3


@pytest.mark.parametrize("reached", [True, False])
def test_a_loop_without_end_is_refused_at_once_whether_an_image_reaches_it_or_not(reached: bool) -> None:
    model = loop(2**62)
    if not reached:
        model.graph.node[1].input[2] = "k"
        model.graph.initializer.append(helper.make_tensor("k", 1, [1, 8, 4, 4], [0.0] * 128))
    began = time.monotonic()
    with pytest.raises(EdgenasError, match="a Loop runs 4,611,686,018,427,387,904 times, and at most"):
        read_onnx(model)
    assert time.monotonic() - began < 60


def test_a_loop_that_the_image_ends_is_refused() -> None:
    model = loop(3)
    model.graph.node[1].input[0] = "often"
    cast = [node("ReduceMax", ["x"], ["m"], keepdims=0), node("Cast", ["m"], ["often"], to=TensorProto.INT64)]
    for place, one in enumerate(cast):
        model.graph.node.insert(place, one)
    with pytest.raises(EdgenasError, match="how often a Loop runs depends on the image"):
        read_onnx(model)


def test_other_nodes_with_graphs_inside_are_named_even_if_only_constants_go_in() -> None:
    body = helper.make_graph([node("Identity", ["a"], ["b"])], "body", [value("a", [3])], [value("b", [3])])
    nodes = [conv(), node("Scan", ["k"], ["s"], body=body, num_scan_inputs=1), node("ReduceMean", ["s"], ["m"], keepdims=0),
             node("Add", ["c", "m"], ["y"])]  # fmt: skip
    with pytest.raises(EdgenasError, match="not known here: Scan"):
        read_onnx(graph(nodes, {**W, "k": (5, 3)}))


# -------- functions


def function(name: str, nodes: list[onnx.NodeProto], **more: Any) -> onnx.FunctionProto:
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my", 1)]
    return helper.make_function("my", name, ["a", "k"], ["r"], nodes, opsets, **more)


def calling(name: str, functions: list[onnx.FunctionProto], **attributes: Any) -> onnx.ModelProto:
    call = node(name, ["x", "w"], ["c"], domain="my", **attributes)
    return graph([call, pooled()], W, functions=functions, opsets=[helper.make_opsetid("my", 1)])


def test_functions_are_written_out_with_the_attributes_of_the_call() -> None:
    strided = node("Conv", ["a", "k"], ["q"], pads=[1] * 4)
    strided.attribute.append(onnx.AttributeProto(name="strides", ref_attr_name="step", type=onnx.AttributeProto.INTS))
    made = function("Block", [strided, node("Relu", ["q"], ["r"])], attributes=["step"])
    assert workload_from_onnx(calling("Block", [made], step=[2, 2])).macs == CONV // 4
    assert workload_from_onnx(calling("Block", [made])).macs == CONV


def test_a_function_that_calls_itself_is_refused() -> None:
    one = function("A", [node("B", ["a", "k"], ["r"], domain="my")])
    two = function("B", [node("A", ["a", "k"], ["r"], domain="my")])
    with pytest.raises(EdgenasError, match="its function 'A' calls itself"):
        read_onnx(calling("A", [one, two]))


def test_thirty_functions_that_call_each_other_twice_are_refused_at_once() -> None:
    last = function("F30", [node("Add", ["a", "a"], ["r"])])
    others = [
        function(
            f"F{i}",
            [node(f"F{i + 1}", ["a", "k"], ["q"], domain="my"), node(f"F{i + 1}", ["q", "k"], ["r"], domain="my")],
        )
        for i in range(30)
    ]
    began = time.monotonic()
    with pytest.raises(EdgenasError, match="make more than 20,000 operators"):
        read_onnx(calling("F0", [*others, last]))
    assert time.monotonic() - began < 60


def test_ten_doublings_are_within_the_bound() -> None:
    last = function("F10", [node("Add", ["a", "a"], ["r"])])
    others = [
        function(
            f"F{i}",
            [node(f"F{i + 1}", ["a", "k"], ["q"], domain="my"), node(f"F{i + 1}", ["q", "k"], ["r"], domain="my")],
        )
        for i in range(10)
    ]
    assert (
        len(workload_from_onnx(calling("F0", [*others, last])).kernels) == 2
    )  # one chain of additions, and the pooling


def test_nodes_that_stand_in_the_file_itself_do_not_count_against_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_graph, "LARGEST_GRAPH", 10)
    chain = [node("Relu", [f"r{i}" if i else "x"], [f"r{i + 1}"]) for i in range(50)]
    assert len(workload_from_onnx(graph([*chain, node("Identity", ["r50"], ["y"])], {})).kernels) == 1
    with pytest.raises(EdgenasError, match="make more than 10 operators"):
        workload_from_onnx(loop(9))
