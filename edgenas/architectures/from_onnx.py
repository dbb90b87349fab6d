"""Any ONNX file -> the kernels that an inference runtime launches for it, at batch 1.

Batch norm, activations and residual additions ride on the convolution before them; chains of elementwise operations are one
kernel; views are none. An operator that is not known is an error, never skipped.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import onnx
from google.protobuf.message import DecodeError
from onnx import helper, inliner, shape_inference

from edgenas.errors import EdgenasError
from edgenas.records import Kernel, KernelKind, Workload

INPUT = -1
SMALL = 4096  # elements of constants that shapes may depend on
VIEWS = {
    "Identity",
    "Dropout",
    "Flatten",
    "Reshape",
    "Squeeze",
    "Unsqueeze",
    "Cast",
    "QuantizeLinear",
    "DequantizeLinear",
}
SHAPES = {"Shape", "Size", "Constant", "ConstantOfShape", "Range"}  # known before the first image
POINTWISE = {
    "Abs", "And", "Ceil", "Celu", "Clip", "Div", "Elu", "Equal", "Erf", "Exp", "Floor", "Gelu", "Greater", "GreaterOrEqual",
    "HardSigmoid", "HardSwish", "LeakyRelu", "Less", "LessOrEqual", "Log", "Max", "Min", "Mish", "Mul", "Neg", "Not", "Or",
    "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Sigmoid", "Sign", "Softplus", "Softsign", "Sqrt", "Sub", "Sum",
    "Swish", "Tanh", "ThresholdedRelu", "Where", "Add", "Mean",
}  # fmt: skip
SIMPLE: dict[str, KernelKind] = {
    "Softmax": "softmax", "LogSoftmax": "softmax", "LayerNormalization": "normalization", "RMSNormalization": "normalization",
    "InstanceNormalization": "normalization", "GroupNormalization": "normalization", "LpNormalization": "normalization",
    "LRN": "normalization", "Transpose": "shuffle", "DepthToSpace": "shuffle", "SpaceToDepth": "shuffle", "Pad": "shuffle",
    "Slice": "slice", "Split": "slice", "Gather": "slice", "GatherElements": "slice", "GatherND": "slice", "Expand": "resize",
    "Tile": "resize", "Resize": "resize", "Upsample": "resize", "ReduceMax": "reduce", "ReduceMin": "reduce",
    "ReduceSum": "reduce", "ReduceL1": "reduce", "ReduceL2": "reduce", "ReduceProd": "reduce", "ReduceMean": "reduce",
    "ReduceSumSquare": "reduce", "ReduceLogSumExp": "reduce", "ArgMax": "reduce", "ArgMin": "reduce", "TopK": "reduce",
    "CumSum": "reduce",
}  # fmt: skip

SPECIAL = {
    "Conv", "Gemm", "MatMul", "Einsum", "BatchNormalization", "MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool",
    "Concat",
}  # fmt: skip
KNOWN = VIEWS | SHAPES | POINTWISE | SIMPLE.keys() | SPECIAL


def workload_from_onnx(model: onnx.ModelProto | str | Path) -> Workload:
    """The kernels of a model, dynamic batch taken as 1. Raises EdgenasError, in one line, for what cannot be read."""
    name = "the model" if isinstance(model, onnx.ModelProto) else str(model)
    loaded = _loaded(model, name)
    constants = {tensor.name: tuple(tensor.dims) for tensor in loaded.graph.initializer}
    return _Reader(_with_shapes(loaded, name), constants, name).workload()


def _loaded(model: onnx.ModelProto | str | Path, name: str) -> onnx.ModelProto:
    if not isinstance(model, onnx.ModelProto):
        try:
            model = onnx.load(str(model), load_external_data=False)
        except OSError as error:
            raise EdgenasError(f"{name} cannot be read: {error.strerror}") from error
        except DecodeError as error:
            raise EdgenasError(f"{name} is not an ONNX file") from error
    if not model.graph.node or not model.graph.input:
        raise EdgenasError(f"{name} is not an ONNX file with a network in it")
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            raise EdgenasError(
                f"{name} keeps weights outside the file ({tensor.name!r}): save it with its weights inside"
            )
    return inliner.inline_local_functions(model) if model.functions else model


def _with_shapes(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model at batch 1 with the shape of every tensor inferred anew; large weights keep their shape only."""
    fixed = onnx.ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph = fixed.graph
    graph.name = model.graph.name
    graph.node.extend(model.graph.node)
    graph.output.extend(model.graph.output)
    constants = {tensor.name for tensor in model.graph.initializer}
    graph.input.extend(value for value in model.graph.input if value.name not in constants)
    for value in graph.input:
        _fix_batch(value, name)
    for tensor in model.graph.initializer:
        if math.prod(tensor.dims) <= SMALL:
            graph.initializer.append(tensor)
        else:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    for value in fixed.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(fixed, strict_mode=False, data_prop=True)
    except shape_inference.InferenceError as error:
        raise EdgenasError(f"{name}: shapes cannot be inferred: {str(error).splitlines()[0]}") from error


def _fix_batch(value: onnx.ValueInfoProto, name: str) -> None:
    for place, dim in enumerate(value.type.tensor_type.shape.dim):
        if place == 0 and dim.dim_value > 1:
            raise EdgenasError(
                f"{name}: {value.name!r} has batch {dim.dim_value}: export it with batch 1 or a dynamic one"
            )
        if place > 0 and dim.dim_value <= 0:
            raise EdgenasError(f"{name}: {value.name!r} has no fixed size: export it with one; only the batch may vary")
        if place == 0:
            dim.dim_value = 1


class _Reader:
    """Walks the graph once, in its (topological) order, and writes kernels down."""

    def __init__(self, model: onnx.ModelProto, constants: dict[str, tuple[int, ...]], name: str) -> None:
        self.name, self.graph, self.constants = name, model.graph, constants
        self.shapes: dict[str, tuple[int, ...]] = {}
        for value in (*model.graph.input, *model.graph.value_info, *model.graph.output):
            dims = value.type.tensor_type.shape.dim
            if value.type.tensor_type.HasField("shape") and all(dim.HasField("dim_value") for dim in dims):
                self.shapes[value.name] = tuple(dim.dim_value for dim in dims)
        self.source = {value.name: INPUT for value in model.graph.input if value.name not in self.constants}
        self.uses: dict[str, int] = {}
        for node in model.graph.node:
            for tensor in node.input:
                self.uses[tensor] = self.uses.get(tensor, 0) + 1
        self.kernels: list[Kernel] = []
        self.unknown: set[str] = set()
        self.special: dict[str, Callable[[onnx.NodeProto], None]] = {
            "Conv": self._conv, "Gemm": self._gemm, "MatMul": self._matmul, "BatchNormalization": self._norm,
            "MaxPool": self._pool, "AveragePool": self._pool, "GlobalAveragePool": self._global, "GlobalMaxPool": self._global,
            "Concat": self._concat, "Einsum": self._einsum,
        }  # fmt: skip

    def workload(self) -> Workload:
        for node in self.graph.node:
            self._read(node)
        if self.unknown:
            raise EdgenasError(
                f"{self.name} holds operators that are not known here: {', '.join(sorted(self.unknown))}"
            )
        if not self.kernels:
            raise EdgenasError(f"{self.name} computes nothing from its input")
        return Workload(tuple(self.kernels))

    def _read(self, node: onnx.NodeProto) -> None:
        dynamic = self._dynamic(node)
        if not dynamic or node.op_type in SHAPES:
            for tensor in node.output:
                self.constants[tensor] = self.shapes.get(tensor, ())
                if node.op_type == "Constant":
                    self.constants[tensor] = _constant_shape(node)
        elif node.domain not in ("", "ai.onnx") or node.op_type not in KNOWN:
            self.unknown.add(node.op_type)
            self._alias(node, self.source[dynamic[0]])  # read on: the error names all of them
        elif self.unknown:
            self._alias(node, self.source[dynamic[0]])  # shapes are gone from here on
        elif node.op_type in VIEWS:
            self._alias(node, self.source[dynamic[0]])
        elif node.op_type in POINTWISE:
            self._pointwise(node, dynamic)
        elif node.op_type in self.special:
            self.special[node.op_type](node)
        elif node.op_type == "ReduceMean" and self._shape(dynamic[0])[2:] and self._pools_everything(node):
            self._global(node)
        else:
            for tensor in node.output:
                if tensor and self.uses.get(tensor, 1):
                    self._plain(SIMPLE[node.op_type], dynamic, tensor)

    # -------- shapes

    def _shape(self, tensor: str) -> tuple[int, ...]:
        if tensor not in self.shapes:
            raise EdgenasError(
                f"{self.name}: the shape of {tensor!r} cannot be inferred: export the model with a fixed input size"
            )
        return self.shapes[tensor]

    def _map(self, tensor: str) -> tuple[int, int, int]:
        """(channels, height, width) whose product is the tensor's elements: NCHW maps, or tokens x features."""
        shape = self._shape(tensor)
        if len(shape) == 4 and shape[0] == 1:
            return shape[1], shape[2], shape[3]
        return (shape[-1], math.prod(shape[:-1]), 1) if shape else (1, 1, 1)

    def _dynamic(self, node: onnx.NodeProto) -> list[str]:
        """Inputs that depend on the image."""
        return [tensor for tensor in node.input if tensor in self.source]

    def _alias(self, node: onnx.NodeProto, kernel: int) -> None:
        for tensor in node.output:
            self.source[tensor] = kernel

    def _append(self, tensor: str, kernel: Kernel) -> None:
        self.kernels.append(kernel)
        self.source[tensor] = len(self.kernels) - 1

    def _plain(self, kind: KernelKind, dynamic: list[str], tensor: str, **more: Any) -> None:
        """A kernel that only moves bytes; it reads its full-size inputs (a slice reads what it keeps)."""
        channels, height, width = self._map(tensor)
        full = [name for name in dynamic if math.prod(self._shape(name)) >= channels * height * width] or dynamic
        inputs = tuple(self.source[name] for name in full)
        reads = (channels, height, width) if kind in ("slice", "concat", "add", "mul", "mean") else self._map(full[0])
        self._append(tensor, Kernel(kind, reads[0], channels, height, width, reads[1], reads[2], inputs, **more))

    # -------- elementwise operations, and what rides on the kernel before them

    def _pointwise(self, node: onnx.NodeProto, dynamic: list[str]) -> None:
        groups = {self.source[tensor] for tensor in dynamic}
        last = max(groups)
        elements = math.prod(self._shape(node.output[0]))
        if len(groups) == 1 and last != INPUT and elements == self.kernels[last].output_elements:
            kernel = self.kernels[last]
            if node.op_type not in ("Add", "Mul", "Div", "Sub", "Pow"):
                self.kernels[last] = msgspec.structs.replace(kernel, activation=node.op_type.lower())
            self._alias(node, last)
        elif node.op_type == "Add" and (carrier := self._carrier(dynamic)) is not None:
            other = next(self.source[tensor] for tensor in dynamic if self.source[tensor] != carrier)
            self.kernels[carrier] = msgspec.structs.replace(self.kernels[carrier], residual=other)
            self._alias(node, carrier)
        else:
            kind: KernelKind = "activation" if len(dynamic) == 1 else "mul" if node.op_type in ("Mul", "Div") else "add"
            self._plain(kind, dynamic, node.output[0], activation=node.op_type.lower() if len(dynamic) == 1 else "")

    def _carrier(self, tensors: list[str]) -> int | None:
        """The convolution or linear layer that an addition of two equal maps rides on: the later one, read by nothing else."""
        if len(tensors) != 2 or self._shape(tensors[0]) != self._shape(tensors[1]):
            return None
        tensor = max(tensors, key=lambda name: self.source[name])
        index = self.source[tensor]
        if index == INPUT or any(index in (*kernel.inputs, kernel.residual) for kernel in self.kernels[index + 1 :]):
            return None
        kernel = self.kernels[index]
        fits = kernel.kind in ("conv", "depthwise", "linear") and kernel.residual is None and not kernel.activation
        return index if fits and self.uses.get(tensor, 0) == 1 else None

    def _norm(self, node: onnx.NodeProto) -> None:
        index = self.source[node.input[0]]
        alone = self.uses.get(node.input[0], 0) == 1
        if index != INPUT and alone and self.kernels[index].kind in ("conv", "depthwise", "linear"):
            kernel = self.kernels[index]
            if not kernel.norm and not kernel.activation and kernel.residual is None:
                self.kernels[index] = msgspec.structs.replace(kernel, norm=True)
                self._alias(node, index)
                return
        self._plain("activation", [node.input[0]], node.output[0], norm=True)

    # -------- convolutions, products, pools

    def _conv(self, node: onnx.NodeProto) -> None:
        weight = self.constants.get(node.input[1])
        if weight is None or len(weight) not in (3, 4):
            raise EdgenasError(
                f"{self.name}: {node.name or 'a convolution'} is not a 1-d or 2-d convolution with constant weights"
            )
        channels, height, width = self._image(node.input[0])
        out_channels, out_height, out_width = self._image(node.output[0])
        groups = int(_attribute(node, "group", 1))
        kind: KernelKind = "depthwise" if groups == channels and groups > 1 else "conv"
        self._append(
            node.output[0],
            Kernel(
                kind, channels, out_channels, out_height, out_width, height, width, (self.source[node.input[0]],),
                kernel=_pair(weight[2:]), stride=_pair(_attribute(node, "strides", (1, 1))),
                padding=_pair(_attribute(node, "pads", (0, 0)), fill=0), dilation=_pair(_attribute(node, "dilations", (1, 1))),
                groups=groups, bias=len(node.input) > 2 and bool(node.input[2]),
            ),
        )  # fmt: skip

    def _image(self, tensor: str) -> tuple[int, int, int]:
        shape = self._shape(tensor)
        return (shape[1], shape[2], shape[3]) if len(shape) == 4 else (shape[1], 1, shape[2])

    def _gemm(self, node: onnx.NodeProto) -> None:
        weight = self.constants.get(node.input[1])
        if weight is None or node.input[0] in self.constants:
            self._product(node)
            return
        features, out = (weight[1], weight[0]) if _attribute(node, "transB", 0) else weight
        self._linear(node, features, out, bias=len(node.input) > 2)

    def _matmul(self, node: onnx.NodeProto) -> None:
        weight = self.constants.get(node.input[1])
        if weight is not None and len(weight) == 2:
            self._linear(node, weight[0], weight[1], bias=False)
        else:
            self._product(node)

    def _linear(self, node: onnx.NodeProto, features: int, out: int, *, bias: bool) -> None:
        """One linear layer, applied to every token."""
        tokens = math.prod(self._shape(node.output[0])) // out
        source = (self.source[node.input[0]],)
        self._append(node.output[0], Kernel("linear", features, out, tokens, 1, tokens, 1, source, bias=bias))

    def _product(self, node: onnx.NodeProto) -> None:
        """A product of two computed matrices: (rows, inner) x (inner, columns) for every head."""
        inner, columns = self._shape(node.input[0])[-1], self._shape(node.output[0])[-1]
        rows = math.prod(self._shape(node.output[0])) // columns
        inputs = tuple(self.source[tensor] for tensor in self._dynamic(node))
        self._append(node.output[0], Kernel("matmul", inner, columns, rows, 1, rows, 1, inputs))

    def _einsum(self, node: onnx.NodeProto) -> None:
        """A contraction of two computed tensors is a matrix product; of one, a permutation or a sum."""
        terms, _, out = _attribute(node, "equation", b"").decode().replace(" ", "").partition("->")
        labels = terms.split(",")
        dynamic = self._dynamic(node)
        if len(labels) != 2:
            self._plain("shuffle" if len(labels) == 1 else "mul", dynamic, node.output[0])
            return
        sizes = {label: size for term, tensor in zip(labels, node.input, strict=True)
                 for label, size in zip(term, self._any_shape(tensor), strict=True)}  # fmt: skip
        inner = math.prod(sizes[label] for label in set(labels[0]) & set(labels[1]) - set(out))
        columns = math.prod(sizes[label] for label in set(labels[1]) & set(out) - set(labels[0]))
        rows = math.prod(self._shape(node.output[0])) // columns
        inputs = tuple(self.source[tensor] for tensor in dynamic)
        self._append(node.output[0], Kernel("matmul", inner, columns, rows, 1, rows, 1, inputs))

    def _any_shape(self, tensor: str) -> tuple[int, ...]:
        return self.constants[tensor] if tensor in self.constants else self._shape(tensor)

    def _pool(self, node: onnx.NodeProto) -> None:
        kind: KernelKind = "maxpool" if node.op_type == "MaxPool" else "avgpool"
        channels, height, width = self._image(node.input[0])
        _, out_height, out_width = self._image(node.output[0])
        self._append(
            node.output[0],
            Kernel(
                kind, channels, channels, out_height, out_width, height, width, (self.source[node.input[0]],),
                kernel=_pair(_attribute(node, "kernel_shape", (1, 1))), stride=_pair(_attribute(node, "strides", (1, 1))),
                padding=_pair(_attribute(node, "pads", (0, 0)), fill=0),
            ),
        )  # fmt: skip

    def _global(self, node: onnx.NodeProto) -> None:
        channels, height, width = self._map(node.input[0])
        source = (self.source[node.input[0]],)
        kernel = Kernel("globalpool", channels, channels, 1, 1, height, width, source, kernel=(height, width))
        self._append(node.output[0], kernel)

    def _pools_everything(self, node: onnx.NodeProto) -> bool:
        """Is this mean taken over all pixels of an NCHW map?"""
        before, after = self._shape(node.input[0]), self._shape(node.output[0])
        return len(before) == 4 and before[0] == 1 and math.prod(after) == before[1] and after[:2] == before[:2]

    def _concat(self, node: onnx.NodeProto) -> None:
        dynamic = self._dynamic(node)
        channels, height, width = self._map(node.output[0])
        inputs = tuple(self.source[tensor] for tensor in dynamic)
        self._append(node.output[0], Kernel("concat", channels, channels, height, width, height, width, inputs))


def _attribute(node: onnx.NodeProto, name: str, default: Any) -> Any:
    for attribute in node.attribute:
        if attribute.name == name:
            return helper.get_attribute_value(attribute)
    return default


def _constant_shape(node: onnx.NodeProto) -> tuple[int, ...]:
    value = _attribute(node, "value", None)
    return tuple(value.dims) if isinstance(value, onnx.TensorProto) else ()


def _pair(values: Any, fill: int = 1) -> tuple[int, int]:
    """(vertical, horizontal) of an attribute; 1-d convolutions are one pixel high; the first half of four paddings."""
    numbers = [int(value) for value in values]
    half = numbers[: len(numbers) // 2] if len(numbers) == 4 else numbers
    if fill == 0 and len(numbers) == 2 and numbers[0] != numbers[1]:
        half = [max(numbers)]
    return (half[0], half[1]) if len(half) == 2 else (fill, half[0])
