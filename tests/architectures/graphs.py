"""Small ONNX graphs in the forms that exporters write. Their MACs are counted by hand in the tests."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CONV = 8 * 3 * 9 * 16 * 16  # MACs of a 3x3 convolution, 3 -> 8 channels, on 16 x 16
LAST = 8 * 16 * 16 * 10  # of a linear layer on all that it gives
IMAGE = ("N", 3, 16, 16)
node = helper.make_node


def value(name: str, shape: Sequence[Any] | None, kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def graph(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any],
    *,
    inputs: Sequence[onnx.ValueInfoProto] = (),
    outputs: Sequence[onnx.ValueInfoProto] = (),
    opset: int = 17,
    **more: Any,
) -> onnx.ModelProto:
    """Shapes (tuples) become float tensors, arrays are kept; the input x is an image, the output y has no shape."""
    tensors = [
        numpy_helper.from_array(weights(*value_) if isinstance(value_, tuple) else value_, name)
        for name, value_ in constants.items()
    ]
    made = helper.make_graph(
        list(nodes), "g", list(inputs or [value("x", IMAGE)]), list(outputs or [value("y", None)]), tensors
    )
    opsets = [helper.make_opsetid("", opset), *more.pop("opsets", [])]
    return helper.make_model(made, opset_imports=opsets, ir_version=min(10, max(4, opset - 4)), **more)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).normal(size=shape).astype(np.float32)


def numbers(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def conv(source: str = "x", out: str = "c", weight: str = "w", **attributes: Any) -> onnx.NodeProto:
    return node("Conv", [source, weight], [out], pads=[1] * 4, **attributes)


def pooled(source: str = "c") -> onnx.NodeProto:
    return node("GlobalAveragePool", [source], ["y"])


def flat(source: str = "c") -> list[onnx.NodeProto]:
    return [node("Flatten", [source], ["f"]), node("Gemm", ["f", "v", "b"], ["y"], transB=1)]


W: dict[str, Any] = {"w": (8, 3, 3, 3)}
WVB: dict[str, Any] = {**W, "v": (10, 2048), "b": (10,)}
