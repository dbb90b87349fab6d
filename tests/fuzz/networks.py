"""ONNX files: honest ones, those that were found to do harm, and honest ones with parts of their graph changed."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from onnx import TensorProto, helper, numpy_helper

from tests.architectures.graphs import conv, flat, graph, node, numbers, pooled, value
from tests.fuzz.mutation import RANDOMS, mutations
from tests.remote.models import (
    bomb_by_constant,
    bomb_by_input,
    bomb_by_nodes,
    built,
    endless,
    external_data,
    foreign_domain,
    honest,
    unknown_operator,
)

OPERATORS = (
    "Conv", "Gemm", "MatMul", "Relu", "Reshape", "Flatten", "Transpose", "Concat", "Slice", "Gather", "Shape", "Split",
    "Pad", "Resize",
    "GlobalAveragePool", "AveragePool", "MaxPool", "BatchNormalization", "Add", "Mul", "Clip", "Softmax", "Squeeze",
    "Unsqueeze", "Expand",
    "ConstantOfShape", "Constant", "Identity", "ReduceMean", "ConvTranspose", "QuantizeLinear", "DequantizeLinear",
    "QLinearConv", "Cast",
    "Loop", "If", "Scan", "Range", "Tile", "Where", "Einsum", "DepthToSpace", "TopK", "NonZero", "LSTM",
    "InstanceNormalization", "Nope",
)  # fmt: skip
SIZES = (-(2**63), -7, -1, 0, 1, 2, 3, 5, 64, 65_537, 2**31, 2**40, 2**62)


def forms() -> tuple[onnx.ModelProto, ...]:
    """Small honest networks with most of what exporters write."""
    w, v, b = (8, 3, 3, 3), (10, 2048), (10,)
    reshaped = [conv(), node("Shape", ["c"], ["s"]), node("Gather", ["s", "zero"], ["n"]), node("Unsqueeze", ["n", "axes"],
        ["u"]),
                node("Concat", ["u", "minus"], ["t"], axis=0), node("Reshape", ["c", "t"], ["f"]),
                node("Gemm", ["f", "v", "b"], ["y"], transB=1)]  # fmt: skip
    constants: dict[str, Any] = {
        "w": w,
        "v": v,
        "b": b,
        "zero": np.array(0, np.int64),
        "axes": numbers(0),
        "minus": numbers(-1),
    }
    branch = [helper.make_graph([node("Relu", ["c"], [name])], name, [], [value(name, None)]) for name in ("r", "t")]
    chosen = node("If", ["yes"], ["i"], then_branch=branch[0], else_branch=branch[1])
    pads = {
        "w": w,
        "pads": numbers(0, 0, 1, 1, 0, 0, 1, 1),
        "sizes": numbers(1, 8, 32, 32),
        "from": numbers(0),
        "to": numbers(4),
    }
    resized = [conv(), node("Pad", ["c", "pads"], ["p"]), node("Resize", ["p", "", "", "sizes"], ["z"]),
               node("Slice", ["z", "from", "to", "axis"], ["q"]), node("MaxPool", ["q"], ["m"], kernel_shape=[3, 3],
                   strides=[2, 2]),
               pooled("m")]  # fmt: skip
    squeezed = [conv(), node("GlobalAveragePool", ["c"], ["g"]), node("Sigmoid", ["g"], ["h"]), node("Mul", ["c", "h"], ["e"]),
                node("BatchNormalization", ["e", "s1", "s1", "s1", "s1"], ["n"]), node("HardSwish", ["n"], ["k"]),
                pooled("k")]  # fmt: skip
    return (
        onnx.load_model_from_string(honest()),
        graph([conv(), *flat()], {"w": w, "v": v, "b": b}),
        graph(reshaped, constants),
        graph([conv(), chosen, pooled("i")], {"w": w, "yes": np.array(True)}),
        graph(resized, {**pads, "axis": numbers(1)}),
        graph(squeezed, {"w": w, "s1": (8,)}),
        graph([conv(group=1), node("Split", ["c"], ["a", "d"], axis=1), node("Concat", ["d", "a"], ["j"], axis=1),
            pooled("j")], {"w": w}),
    )  # fmt: skip


def found_before() -> tuple[bytes, ...]:
    from tests.architectures.test_onnx_subgraphs import calling, function, loop

    twice = [node("F1", ["a"], ["b"], domain="f"), node("F1", ["b"], ["c"], domain="f")]
    itself = calling("F1", [function("F1", twice)])
    nested = [
        function(f"F{i}", [node(f"F{i + 1}", ["a"], ["b"], domain="f"), node(f"F{i + 1}", ["b"], ["c"], domain="f")])
        for i in range(30)
    ]
    small = graph([conv(), pooled()], {"w": (8, 3, 3, 3)})
    grouped = graph([conv(group=0), pooled()], {"w": (8, 3, 3, 3)})
    other_domain = onnx.ModelProto.FromString(small.SerializeToString())
    other_domain.opset_import[0].domain = "ai.onnx"
    listed = onnx.ModelProto.FromString(small.SerializeToString())  # IR 3: weights are inputs, too
    listed.ir_version = 3
    listed.graph.input.append(value("w", (8, 3, 3, 3)))
    models = (
        *forms(), small, itself, calling("F0", [*nested, function("F30", [node("Relu", ["a"], ["c"])])]), grouped,
        other_domain, listed,
        loop(2**62), loop(-1), loop(3), graph([node("Relu", ["y"], ["y"])], {}), graph([node("Nope", [], [])], {}),
    )  # fmt: skip
    files = (b"", b"not onnx", b"\x0a", bomb_by_constant(), bomb_by_input(), bomb_by_nodes(100_000),
        external_data("../../etc/passwd"),
             external_data(""), foreign_domain(), unknown_operator(), endless(40), honest()[:-200], built([], [1,
                 4]))  # fmt: skip
    return (*(model.SerializeToString() for model in models), *files)


def _changed(model: onnx.ModelProto, rng: Random) -> bytes:
    changed = onnx.ModelProto.FromString(model.SerializeToString())
    for _ in range(rng.randint(1, 3)):
        rng.choice((_operator, _attribute, _attribute, _dims, _wiring, _node, _constant, _header))(changed, rng)
    return changed.SerializeToString()


def _operator(model: onnx.ModelProto, rng: Random) -> None:
    if model.graph.node:
        rng.choice(model.graph.node).op_type = rng.choice(OPERATORS)


def _attribute(model: onnx.ModelProto, rng: Random) -> None:
    nodes = [one for one in model.graph.node if one.attribute]
    if not nodes:
        return
    attribute = rng.choice(rng.choice(nodes).attribute)
    if attribute.ints:
        change = rng.randrange(3)
        if change == 0:
            attribute.ints[rng.randrange(len(attribute.ints))] = rng.choice(SIZES)
        elif change == 1:
            attribute.ints.append(rng.choice(SIZES))
        else:
            attribute.ints.pop()
    elif attribute.type == onnx.AttributeProto.INT:
        attribute.i = rng.choice(SIZES)
    elif rng.random() < 0.5:
        attribute.name = rng.choice(("group", "axis", "pads", "kernel_shape", "perm", "to", "", "value"))
    else:
        attribute.type = rng.randrange(14)


def _dims(model: onnx.ModelProto, rng: Random) -> None:
    values = [*model.graph.input, *model.graph.output, *model.graph.value_info]
    if rng.random() < 0.4 and model.graph.initializer:
        tensor = rng.choice(model.graph.initializer)
        if tensor.dims:
            tensor.dims[rng.randrange(len(tensor.dims))] = rng.choice(SIZES)
        return
    dims = rng.choice(values).type.tensor_type.shape.dim
    if not dims or rng.random() < 0.2:
        dims.add().dim_value = rng.choice(SIZES)
    elif rng.random() < 0.2:
        dims[rng.randrange(len(dims))].dim_param = rng.choice(("N", "height", "", "-1", "\u202e", "x" * 3000))
    else:
        dims[rng.randrange(len(dims))].dim_value = rng.choice(SIZES)


def _wiring(model: onnx.ModelProto, rng: Random) -> None:
    names = [name for one in model.graph.node for name in (*one.input, *one.output)] + ["", "nowhere"]
    one = rng.choice(model.graph.node)
    ports = one.input if rng.random() < 0.7 else one.output
    if ports:
        ports[rng.randrange(len(ports))] = rng.choice(names)
    else:
        ports.append(rng.choice(names))


def _node(model: onnx.ModelProto, rng: Random) -> None:
    nodes = model.graph.node
    place = rng.randrange(len(nodes))
    if rng.random() < 0.5 and len(nodes) > 1:
        del nodes[place]
    else:
        nodes.add().CopyFrom(nodes[place])


def _constant(model: onnx.ModelProto, rng: Random) -> None:
    whole = [tensor for tensor in model.graph.initializer if tensor.data_type == TensorProto.INT64]
    if not whole or rng.random() < 0.3:
        if model.graph.initializer:
            rng.choice(model.graph.initializer).data_type = rng.randrange(24)
        return
    tensor = rng.choice(whole)
    try:
        values = numpy_helper.to_array(tensor).copy()
    except ValueError:
        return  # changed before
    if values.size:
        values.flat[rng.randrange(values.size)] = rng.choice(SIZES)
    tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def _header(model: onnx.ModelProto, rng: Random) -> None:
    change = rng.randrange(4)
    if change == 0:
        model.ir_version = rng.choice((0, 2, 3, 8, 99, 2**62))
    elif change == 1 and model.opset_import:
        model.opset_import[0].version = rng.choice((-1, 0, 1, 6, 9, 13, 99, 2**62))
    elif change == 2 and model.graph.input:
        model.graph.input[0].name = rng.choice(("", "y", "c", "x\x1b", "w"))
    elif model.graph.output:
        del model.graph.output[0]


def networks(*more: onnx.ModelProto) -> SearchStrategy[bytes]:
    """Graphs with changed parts, and files with changed bytes."""
    bases = (*forms(), *more)
    files = [base.SerializeToString() for base in bases]
    return st.builds(_changed, st.sampled_from(bases), RANDOMS) | mutations(*files)
