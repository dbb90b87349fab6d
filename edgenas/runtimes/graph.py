"""Workload -> ONNX with nothing but onnx.helper: what boards measure, and the export for old opsets.

The same kernels, in the same order, as the workload says; batch norms are already folded into weights and biases. One that no
kernel takes in becomes what it becomes in exported files: part of the matrix product behind it, else a Mul and an Add.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from edgenas.errors import EdgenasError
from edgenas.records import Kernel, Workload
from edgenas.runtimes.norms import without_norms

OPSETS = range(13, 21)
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class KernelWeights:
    """Of one kernel, batch norm folded in. Weight of conv and depthwise: (out, in / groups, kh, kw); of linear: (out, in);
    of other kernels with a norm: its scale (out,)."""

    weight: Floats
    bias: Floats | None = None


def onnx_from_workload(
    workload: Workload,
    weights: Mapping[int, KernelWeights] | None,
    opset: int = 18,
    ir: int = 10,
    *,
    names: tuple[str, str] = ("image", "logits"),
    seed: int = 0,
) -> onnx.ModelProto:
    """A checked FP32 model with a dynamic batch, input (batch, C, H, W); the last kernel is its output.

    `weights` by index of the kernel; None = random ones from `seed`, scaled so that activations neither vanish nor overflow
    (denormal numbers would spoil timings).
    """
    if opset not in OPSETS:
        raise EdgenasError(f"ONNX opset {opset} was asked for; possible: {OPSETS[0]} to {OPSETS[-1]}")
    graph = _Graph(workload, random_weights(workload, seed) if weights is None else weights, opset, names)
    for index, kernel in enumerate(workload.kernels):
        graph.add(index, kernel)
    return graph.model(ir)


def random_weights(workload: Workload, seed: int = 0) -> dict[int, KernelWeights]:
    """He-normal weights and small biases, the same for the same seed on every machine."""
    rng = np.random.default_rng(seed)
    weights = {}
    for index, kernel in enumerate(workload.kernels):
        bias = (0.1 * rng.standard_normal(kernel.out_channels)).astype(np.float32)
        if shape := weight_shape(kernel):
            scale = np.sqrt((2 if kernel.activation else 1) / np.prod(shape[1:]))
            weights[index] = KernelWeights((scale * rng.standard_normal(shape)).astype(np.float32), bias)
        elif kernel.norm:
            weights[index] = KernelWeights(np.ones(kernel.out_channels, np.float32), bias)
    return weights


def weight_shape(kernel: Kernel) -> tuple[int, ...]:
    """Shape of a weighted kernel's weight; () for the others."""
    if kernel.kind == "linear":
        return kernel.out_channels, kernel.in_channels
    if kernel.kind in ("conv", "depthwise"):
        return kernel.out_channels, kernel.in_channels // kernel.groups, *kernel.kernel
    return ()


class _Graph:
    """Nodes and initialisers under construction; `outputs[i]` is the tensor that kernel i ends in."""

    def __init__(
        self, workload: Workload, weights: Mapping[int, KernelWeights], opset: int, names: tuple[str, str]
    ) -> None:
        self.workload, self.weights, self.opset = workload, weights, opset
        self.input_name, self.output_name = names
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.made: set[str] = set()
        self.outputs: list[str] = []
        self.flat: set[str] = set()  # tensors of shape (batch, features), as linear layers leave them

    def add(self, index: int, kernel: Kernel) -> None:
        build = {
            "conv": self._conv, "depthwise": self._conv, "linear": self._linear, "maxpool": self._pool, "avgpool": self._pool,
            "globalpool": self._global_pool, "add": self._elementwise, "mul": self._elementwise, "mean": self._mean,
            "concat": self._concat, "slice": self._slice, "activation": self._same, "normalization": self._same,
            "shuffle": self._shuffle, "softmax": self._softmax, "resize": self._resize,
        }.get(kernel.kind)  # fmt: skip
        if build is None:
            raise EdgenasError(
                f"kernel {index} ({kernel.kind}): a workload does not say enough about it to rebuild it as ONNX; "
                "measure the original ONNX file instead"
            )
        tensor = build(f"k{index}", index, kernel)
        if kernel.norm and not weight_shape(kernel):
            tensor = self._scale(f"k{index}", index, tensor)
        if kernel.residual is not None:
            tensor = self._node("Add", [tensor, self._map(kernel.residual)], f"k{index}_sum")
        self.outputs.append(self._activation(f"k{index}", tensor, kernel.activation))

    def model(self, ir: int) -> onnx.ModelProto:
        first, last = self.workload.kernels[0], self.workload.kernels[-1]
        shape = ["batch", last.out_channels, last.height, last.width]
        tensor = self.outputs[-1]
        if last.height == last.width == 1:  # logits and embeddings are (batch, features)
            tensor = self._features(len(self.outputs) - 1)
            shape = shape[:2]
        self._finish(tensor)
        graph = helper.make_graph(
            self.nodes,
            "edgenas",
            [_value(self.input_name, ["batch", first.in_channels, first.in_height, first.in_width])],
            [_value(self.output_name, shape)],
            list(self.initializers.values()),
        )
        model = helper.make_model(
            graph, producer_name="edgenas", ir_version=ir, opset_imports=[helper.make_opsetid("", self.opset)]
        )
        model = without_norms(model)
        onnx.checker.check_model(model, full_check=True)
        return model

    def _finish(self, tensor: str) -> None:
        """Let the output's name be `output_name`."""
        if self.nodes and self.nodes[-1].output[0] == tensor:
            self.nodes[-1].output[0] = self.output_name
        else:
            self._node("Identity", [tensor], self.output_name)

    # ------------------------------------------------------------ tensors

    def _source(self, index: int) -> str:
        return self.input_name if index < 0 else self.outputs[index]

    def _map(self, index: int) -> str:
        """The tensor as (batch, C, H, W)."""
        tensor = self._source(index)
        if tensor not in self.flat:
            return tensor
        axes = self._constant("axes_hw", np.array([2, 3], np.int64))
        return self._node("Unsqueeze", [tensor, axes], f"{tensor}_map")

    def _features(self, index: int) -> str:
        """The tensor as (batch, features)."""
        tensor = self._source(index)
        if tensor in self.flat:
            return tensor
        flat = self._node("Flatten", [tensor], f"{tensor}_flat", axis=1)
        self.flat.add(flat)
        return flat

    def _node(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        if output not in self.made:  # a reshaped tensor may be wanted twice
            self.made.add(output)
            self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def _constant(self, name: str, value: NDArray[Any]) -> str:
        self.initializers[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def _weighted(self, name: str, index: int, kernel: Kernel) -> list[str]:
        """Names of weight and bias, after checking that they are there and of the right shape."""
        given = self.weights.get(index)
        shape = weight_shape(kernel) or (kernel.out_channels,)
        if given is None or given.weight.shape != shape:
            have = "none" if given is None else str(given.weight.shape)
            raise EdgenasError(f"kernel {index} ({kernel.kind}) needs weights of shape {shape}; given: {have}")
        names = [self._constant(f"{name}_weight", given.weight.astype(np.float32))]
        if kernel.norm or kernel.bias:
            if given.bias is None or given.bias.shape != (kernel.out_channels,):
                raise EdgenasError(f"kernel {index} ({kernel.kind}) needs a bias of {kernel.out_channels} numbers")
            names.append(self._constant(f"{name}_bias", given.bias.astype(np.float32)))
        return names

    # ------------------------------------------------------------ kernels

    def _conv(self, name: str, index: int, kernel: Kernel) -> str:
        inputs = [self._map(kernel.inputs[0]), *self._weighted(name, index, kernel)]
        return self._node(
            "Conv",
            inputs,
            name,
            kernel_shape=kernel.kernel,
            strides=kernel.stride,
            pads=pads(kernel),
            dilations=kernel.dilation,
            group=kernel.groups,
        )

    def _linear(self, name: str, index: int, kernel: Kernel) -> str:
        inputs = [self._features(kernel.inputs[0]), *self._weighted(name, index, kernel)]
        self.flat.add(name)
        return self._node("Gemm", inputs, name, transB=1)

    def _pool(self, name: str, _: int, kernel: Kernel) -> str:
        op = "MaxPool" if kernel.kind == "maxpool" else "AveragePool"
        counted = {"count_include_pad": 1} if kernel.counts_padding else {}
        return self._node(
            op,
            [self._map(kernel.inputs[0])],
            name,
            kernel_shape=kernel.kernel,
            strides=kernel.stride,
            pads=pads(kernel),
            **counted,
        )

    def _global_pool(self, name: str, _: int, kernel: Kernel) -> str:
        return self._node("GlobalAveragePool", [self._map(kernel.inputs[0])], name)

    def _elementwise(self, name: str, _: int, kernel: Kernel) -> str:
        op = "Mul" if kernel.kind == "mul" else "Add"
        tensor = self._map(kernel.inputs[0])
        for position, source in enumerate(kernel.inputs[1:], 1):
            last = position == len(kernel.inputs) - 1
            tensor = self._node(op, [tensor, self._map(source)], name if last else f"{name}_{position}")
        return tensor if len(kernel.inputs) > 1 else self._node("Identity", [tensor], name)

    def _mean(self, name: str, _: int, kernel: Kernel) -> str:
        total = self._node("Sum", [self._map(source) for source in kernel.inputs], f"{name}_total")
        share = self._constant(f"{name}_share", np.array(1 / len(kernel.inputs), np.float32))
        return self._node("Mul", [total, share], name)

    def _concat(self, name: str, _: int, kernel: Kernel) -> str:
        return self._node("Concat", [self._map(source) for source in kernel.inputs], name, axis=1)

    def _slice(self, name: str, _: int, kernel: Kernel) -> str:
        """Some channels, the last rows and columns."""
        rows, columns = kernel.in_height - kernel.height, kernel.in_width - kernel.width
        begins = self._constant(f"{name}_begin", np.array([kernel.begin, rows, columns], np.int64))
        end = kernel.begin + kernel.out_channels
        ends = self._constant(f"{name}_end", np.array([end, kernel.in_height, kernel.in_width], np.int64))
        axes = self._constant("slice_axes", np.array([1, 2, 3], np.int64))
        return self._node("Slice", [self._map(kernel.inputs[0]), begins, ends, axes], name)

    def _shuffle(self, name: str, _: int, kernel: Kernel) -> str:
        groups, channels, height, width = kernel.groups, kernel.in_channels, kernel.height, kernel.width
        split = self._constant(f"{name}_split", np.array([0, groups, channels // groups, height, width], np.int64))
        joined = self._constant(f"{name}_joined", np.array([0, channels, height, width], np.int64))
        tensor = self._node("Reshape", [self._map(kernel.inputs[0]), split], f"{name}_groups")  # (N, g, C / g, H, W)
        tensor = self._node("Transpose", [tensor], f"{name}_turned", perm=[0, 2, 1, 3, 4])  # (N, C / g, g, H, W)
        return self._node("Reshape", [tensor, joined], name)  # (N, C, H, W)

    def _same(self, _name: str, index: int, kernel: Kernel) -> str:
        """An activation or a normalisation of its own: the input as it is, for what follows."""
        tensor = self._source(kernel.inputs[0])
        if kernel.kind == "normalization" and not kernel.norm:
            tensor = self._scale(f"k{index}", index, tensor)
        return tensor

    def _softmax(self, name: str, _: int, kernel: Kernel) -> str:
        return self._node("Softmax", [self._map(kernel.inputs[0])], name, axis=1)

    def _resize(self, name: str, _: int, kernel: Kernel) -> str:
        factors = np.array([1, 1, kernel.height / kernel.in_height, kernel.width / kernel.in_width], np.float32)
        return self._node(
            "Resize",
            [self._map(kernel.inputs[0]), "", self._constant(f"{name}_factors", factors)],
            name,
            mode="nearest",
            coordinate_transformation_mode="asymmetric",
            nearest_mode="floor",
        )

    def _scale(self, name: str, index: int, tensor: str) -> str:
        """A batch norm that nothing took in: y = scale x + bias, as one BatchNormalization of mean 0 and variance 1."""
        kernel = self.workload.kernels[index]
        given = self.weights.get(index)
        size = (kernel.out_channels,)
        if given is None or given.bias is None or given.weight.shape != size or given.bias.shape != size:
            raise EdgenasError(
                f"kernel {index} ({kernel.kind}) needs a scale and a bias of {kernel.out_channels} numbers each"
            )
        statistics = [
            self._constant(f"{name}_scale", given.weight.astype(np.float32)),
            self._constant(f"{name}_shift", given.bias.astype(np.float32)),
            self._constant(f"{name}_mean", np.zeros(size, np.float32)),
            self._constant(f"{name}_variance", np.ones(size, np.float32)),
        ]
        scaled = self._node("BatchNormalization", [tensor, *statistics], f"{name}_norm", epsilon=0.0)
        if tensor in self.flat:
            self.flat.add(scaled)
        return scaled

    def _activation(self, name: str, tensor: str, activation: str) -> str:
        if not activation:
            return tensor
        output = f"{name}_{activation}"
        if activation in _ONE_NODE:
            op, attributes = _ONE_NODE[activation]
            self._node(op, [tensor], output, **attributes)
        elif activation == "relu6":
            bounds = [self._constant("zero", np.array(0, np.float32)), self._constant("six", np.array(6, np.float32))]
            self._node("Clip", [tensor, *bounds], output)
        elif activation in _GATED:
            op, attributes = _ONE_NODE[_GATED[activation]]
            gate = self._node(op, [tensor], f"{output}_gate", **attributes)
            self._node("Mul", [tensor, gate], output)
        else:
            known = sorted({*_ONE_NODE, *_GATED, "relu6"})
            raise EdgenasError(f"activation {activation!r} has no ONNX form here; possible: {', '.join(known)}")
        if tensor in self.flat:
            self.flat.add(output)
        return output


_ONE_NODE: dict[str, tuple[str, dict[str, Any]]] = {
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "tanh": ("Tanh", {}),
    "elu": ("Elu", {}),
    "leakyrelu": ("LeakyRelu", {"alpha": 0.01}),
    "hardsigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
}
_GATED = {"hardswish": "hardsigmoid", "silu": "sigmoid"}  # x * gate(x): HardSwish is an operator only from opset 14


def pads(kernel: Kernel) -> list[int]:
    """Explicit pads (top, left, bottom, right): symmetric where that gives the output's size, else what is missing at the end."""
    ends = []
    for axis, (inside, outside) in enumerate([(kernel.in_height, kernel.height), (kernel.in_width, kernel.width)]):
        begin, stride = kernel.padding[axis], kernel.stride[axis]
        span = kernel.dilation[axis] * (kernel.kernel[axis] - 1) + 1
        symmetric = (inside + 2 * begin - span) // stride + 1
        ends.append(begin if symmetric == outside else max((outside - 1) * stride + span - inside - begin, 0))
    return [*kernel.padding, *ends]


def _value(name: str, shape: list[Any]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
