"""Which ONNX files may be loaded: whole, without external data, with the operators that convolutional networks are made of."""

from __future__ import annotations

import onnx

from edgenas.errors import EdgenasError

OPERATORS = frozenset([
    "Add", "And", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Constant",
    "ConstantOfShape", "Conv", "DequantizeLinear", "Div", "Elu", "Equal", "Erf", "Exp", "Expand", "Flatten",
    "Gather", "Gelu", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid", "HardSwish", "Identity",
    "InstanceNormalization", "LayerNormalization", "LeakyRelu", "Log", "LogSoftmax", "MatMul", "Max", "MaxPool",
    "Mean", "Min", "Mul", "Neg", "PRelu", "Pad", "Pow", "QuantizeLinear", "Range", "Reciprocal", "ReduceL2",
    "ReduceMax", "ReduceMean", "ReduceSum", "Relu", "Reshape", "Resize", "Shape", "Sigmoid", "Slice", "Softmax",
    "Softplus", "Split", "Sqrt", "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze", "Where",
])  # fmt: skip


def check_safe(model: onnx.ModelProto, name: str, error: type[EdgenasError] = EdgenasError) -> None:
    """Raise `error` where the model refers to other files, holds functions or subgraphs, or operators not allowed."""
    for tensor in _tensors(model):
        if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
            raise error(
                f"{name} keeps weights outside the file ({tensor.name!r}): only files that hold their weights are accepted"
            )
    if model.functions:
        raise error(f"{name} defines functions of its own: inline them")
    domains = sorted({node.domain for node in model.graph.node} - {"", "ai.onnx"})
    others = sorted({node.op_type for node in model.graph.node} - OPERATORS)
    if domains or others:
        raise error(f"{name} holds operators that are not allowed: {', '.join(others or domains)}")
    if any(attribute.HasField("g") or attribute.graphs for node in model.graph.node for attribute in node.attribute):
        raise error(f"{name} holds subgraphs: only plain networks are accepted")


def _tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    sparse = [part for tensor in model.graph.sparse_initializer for part in (tensor.values, tensor.indices)]
    inside = [a.t for node in model.graph.node for a in node.attribute if a.HasField("t")]
    return [*model.graph.initializer, *sparse, *inside]
