"""What each TensorRT documents that it reads: an ONNX file can be checked for a device before it gets there.

Source: docs/operators.md of onnx-tensorrt for 8.5 (opset up to 17; operators and types have only been added since), NVIDIA's
ONNX opset guide for 11. Integer shape and axis inputs are constants to the parser and count for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

NEWEST_OPSET = {"8.2": 13, "8.5": 17, "8.6": 17, "10": 20, "11": 25}
FLOATS = frozenset({TensorProto.FLOAT, TensorProto.FLOAT16})
WITH_INT8 = FLOATS | {TensorProto.INT8}
WITH_INTS = FLOATS | {TensorProto.INT32, TensorProto.INT64}
ANY = WITH_INT8 | WITH_INTS | {TensorProto.BOOL}

TYPES: dict[str, frozenset[int]] = {
    **dict.fromkeys(["BatchNormalization", "MatMul", "ReduceMean", "ReduceMax", "ReduceSum", "Softmax", "Resize", "Pow"], FLOATS),
    **dict.fromkeys(["Exp", "Log", "Sqrt", "Reciprocal", "QuantizeLinear", "LogSoftmax", "Erf", "ReduceL2"], FLOATS),
    **dict.fromkeys(["Conv", "Gemm", "Relu", "Clip", "Elu", "GlobalAveragePool", "GlobalMaxPool"], WITH_INT8),
    **dict.fromkeys(["HardSigmoid", "HardSwish", "LeakyRelu", "MaxPool", "PRelu", "Sigmoid", "Tanh", "Softplus"], WITH_INT8),
    **dict.fromkeys(["Add", "Sub", "Mul", "Div", "Sum", "Mean", "Max", "Min", "Neg"], WITH_INTS),
    **dict.fromkeys(["AveragePool", "Pad", "Gather"], WITH_INT8 | WITH_INTS),
    **dict.fromkeys(["Flatten", "Expand", "Split", "Where"], WITH_INTS | {TensorProto.BOOL}),
    **dict.fromkeys(["Concat", "Constant", "Identity", "Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"], ANY),
    "Cast": ANY | {TensorProto.UINT8},  # UINT8 as a network input that is cast at once, from 8.5
    "DequantizeLinear": frozenset({TensorProto.INT8, TensorProto.FLOAT, TensorProto.FLOAT16}),
}  # fmt: skip


def unsupported(model: onnx.ModelProto, version: str) -> list[str]:
    """Everything in the file that TensorRT `version` (a key of NEWEST_OPSET) does not document; [] = nothing."""
    return [*_opset(model, version), *_operators(model), *_quantisation(model, version)]


def _opset(model: onnx.ModelProto, version: str) -> Iterator[str]:
    opset = next(entry.version for entry in model.opset_import if entry.domain == "")
    if not 9 <= opset <= NEWEST_OPSET[version]:
        yield f"opset {opset}: TensorRT {version} reads 9 to {NEWEST_OPSET[version]}"


def _operators(model: onnx.ModelProto) -> Iterator[str]:
    inferred = onnx.shape_inference.infer_shapes(model)
    values = (*inferred.graph.value_info, *inferred.graph.input, *inferred.graph.output)
    types = {value.name: value.type.tensor_type.elem_type for value in values}
    types |= {tensor.name: tensor.data_type for tensor in inferred.graph.initializer}
    for node in inferred.graph.node:
        if node.op_type not in TYPES:
            yield f"{node.name}: operator {node.op_type} is not in the list"
        elif node.input[0] in types and types[node.input[0]] not in TYPES[node.op_type]:
            yield f"{node.name}: {node.op_type} of {TensorProto.DataType.Name(types[node.input[0]])} is not in the list"


def _quantisation(model: onnx.ModelProto, version: str) -> Iterator[str]:
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        if len(node.input) > 2 and np.any(numpy_helper.to_array(tensors[node.input[2]])):
            yield f"{node.name}: a zero point other than 0"
        stored = node.op_type == "DequantizeLinear" and node.input[0] in tensors
        if stored and version.startswith("8"):
            yield f"{node.name}: weights stored as int8, TensorRT 8 wants them float32 behind a pair of nodes"
