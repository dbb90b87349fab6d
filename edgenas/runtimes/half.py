"""A model that we wrote (runtimes/graph.py) in float16, between casts at its float32 input and output: what an FP16 board runs.

Torch-free and for our own plain graphs; trained networks are converted, and proved, by the export.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT_INPUTS = {"Resize": 1}  # from which input on a node takes float32 whatever it works on


def half_from_float(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same nodes on float16 numbers; input and output stay float32."""
    half = onnx.ModelProto()
    half.CopyFrom(model)
    graph = half.graph
    (image,), (result,) = graph.input, graph.output
    kept = {name for node in graph.node for name in node.input[FLOAT_INPUTS.get(node.op_type, len(node.input)) :]}
    for tensor in graph.initializer:
        if tensor.data_type == TensorProto.FLOAT and tensor.name not in kept:
            narrow = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(narrow, tensor.name))
    first, last = f"{image.name}_half", f"{result.name}_half"
    for node in graph.node:
        _rename(node.input, image.name, first)
        _rename(node.input, result.name, last)
        _rename(node.output, result.name, last)
    graph.node.insert(0, helper.make_node("Cast", [image.name], [first], to=TensorProto.FLOAT16))
    graph.node.append(helper.make_node("Cast", [last], [result.name], to=TensorProto.FLOAT))
    onnx.checker.check_model(half, full_check=True)
    return half


def _rename(names: list[str], old: str, new: str) -> None:
    for place, name in enumerate(names):
        if name == old:
            names[place] = new
