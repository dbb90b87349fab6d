"""Convolutions, linear layers, batch norms and pools of an ONNX graph -> kernels with weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx

from edgenas.architectures.onnx_facts import attribute
from edgenas.networks.onnx_reading import LAYERS, Floats, Map, OnnxReading
from edgenas.records import KernelKind

NO_BORDER = (0, 0, 0, 0)


def read_conv(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A convolution, with the border that a Pad before it laid around the map."""
    tensor, border, value = reading.padded.get(node.input[0], (node.input[0], NO_BORDER, 0.0))
    index, read = reading.map(node, tensor)
    weight = reading.weight(node, 1)
    if weight.ndim != 4 or value:
        raise reading.refused(node, f"has {weight.ndim - 2} dimensions, or padding other than 0")
    groups = int(attribute(node, "group", 1))
    if groups < 1 or read[0] % groups:
        raise reading.refused(node, f"has {groups} groups of {read[0]} channels")
    stride, dilation = _pair(node, "strides"), _pair(node, "dilations")
    kind: KernelKind = "depthwise" if groups == read[0] and groups > 1 else "conv"
    has_bias = len(node.input) > 2 and bool(node.input[2])
    made = reading.append(
        node.output[0], kind, read, (index,), kernel=weight.shape[2:], stride=stride, dilation=dilation, groups=groups,
        padding=_padding(reading, node, weight.shape[2:], read, border), bias=has_bias,
    )  # fmt: skip
    reading.weights[made] = {"conv.weight": weight} | ({"conv.bias": reading.weight(node, 2)} if has_bias else {})


def _padding(
    reading: OnnxReading, node: onnx.NodeProto, kernel: Sequence[int], read: Map, border: tuple[int, int, int, int]
) -> tuple[int, int]:
    """Above and to the left; what is missing below and to the right follows from the output's size."""
    auto = attribute(node, "auto_pad", b"NOTSET").decode()
    if auto in ("NOTSET", ""):
        pads = attribute(node, "pads", NO_BORDER)
        return border[0] + int(pads[0]), border[1] + int(pads[1])
    if auto == "VALID":
        return border[:2]
    stride, dilation, made = _pair(node, "strides"), _pair(node, "dilations"), reading.shape(node.output[0])
    inside = (read[1] + border[0] + border[2], read[2] + border[1] + border[3])
    spans = [(made[1 + i] - 1) * stride[i] + dilation[i] * (kernel[i] - 1) + 1 for i in (0, 1)]
    missing = [max(spans[i] - inside[i], 0) + (auto == "SAME_LOWER") for i in (0, 1)]
    return border[0] + missing[0] // 2, border[1] + missing[1] // 2


def _pair(node: onnx.NodeProto, name: str) -> tuple[int, int]:
    first, second = attribute(node, name, (1, 1))
    return int(first), int(second)


def read_gemm(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A linear layer."""
    if attribute(node, "alpha", 1.0) != 1 or attribute(node, "beta", 1.0) != 1 or attribute(node, "transA", 0):
        raise reading.refused(node, "has factors or a transposed input")
    weight = reading.weight(node, 1)
    bias = reading.weight(node, 2) if len(node.input) > 2 and node.input[2] else None
    _linear(reading, node, weight if attribute(node, "transB", 0) else weight.T, bias)


def read_matmul(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A linear layer without bias."""
    _linear(reading, node, reading.weight(node, 1).T, None)


def _linear(reading: OnnxReading, node: onnx.NodeProto, weight: Floats, bias: Floats | None) -> None:
    tensor = node.input[0]
    shape = reading.graph.facts[tensor].shape
    if tensor not in reading.source or shape is None or len(shape) != 2 or weight.ndim != 2:
        raise reading.refused(node, "is no layer on (N, features)")
    index = reading.append(
        node.output[0], "linear", (weight.shape[1], 1, 1), (reading.source[tensor],), bias=bias is not None
    )
    reading.weights[index] = {"linear.weight": weight}
    if bias is not None:
        if bias.size not in (1, len(weight)):
            raise reading.refused(node, f"has {bias.size} numbers as the bias of {len(weight)} outputs")
        reading.weights[index]["linear.bias"] = np.broadcast_to(bias.reshape(-1), weight.shape[:1])


def read_norm(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A part of the layer before it, or a kernel of its own."""
    tensor, kernel = node.input[0], reading.end(node.input[0])
    if attribute(node, "training_mode", 0):
        raise reading.refused(node, "is in training mode")
    if kernel is not None and kernel.kind in LAYERS and not kernel.norm and reading.source[tensor] not in reading.fixed:
        index = reading.extend(tensor, node.output[0], norm=True)
    else:
        before, read = reading.map(node, tensor)
        index = reading.append(node.output[0], "activation", read, (before,), norm=True)
    names = ("weight", "bias", "running_mean", "running_var")
    arrays = {f"norm.{name}": reading.weight(node, place) for place, name in enumerate(names, 1)}
    reading.weights[index] = reading.weights.get(index, {}) | arrays
    reading.epsilons[index] = float(attribute(node, "epsilon", 1e-5))


# ---------------------------------------------------------------- pools


def read_pool(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A largest or average pool."""
    most = node.op_type == "MaxPool"
    tensor, border, value = reading.padded.get(node.input[0], (node.input[0], NO_BORDER, -np.inf))
    index, read = reading.map(node, tensor)
    kernel, stride = _pair(node, "kernel_shape"), _pair(node, "strides")
    if (
        _pair(node, "dilations") != (1, 1)
        or len(node.output) > 1
        or not ((most and value == -np.inf) or border == NO_BORDER)
    ):
        raise reading.refused(node, "is dilated, gives places, or has padding that counts")
    padding = _padding(reading, node, kernel, read, border)
    pads = [int(pad) for pad in attribute(node, "pads", NO_BORDER)]
    ends = (border[2] + pads[2], border[3] + pads[3])
    if any(pad >= side for pad, side in zip((*padding, *ends), kernel * 2, strict=True)):
        raise reading.refused(node, "has padding that is not less than its kernel")
    counted = not most and bool(attribute(node, "count_include_pad", 0)) and (any(pads) or any(padding))
    whole = [(read[1 + i] + 2 * padding[i] - kernel[i]) // stride[i] + 1 for i in (0, 1)] == [
        *reading.shape(node.output[0])[1:]
    ]
    if counted and not (whole and pads[:2] == pads[2:]):
        raise reading.refused(node, "counts padding that is not the same on both sides")
    reading.append(
        node.output[0], "maxpool" if most else "avgpool", read, (index,), kernel=kernel, stride=stride, padding=padding,
        counts_padding=counted,
    )  # fmt: skip


def read_global_pool(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """The mean or the largest of all pixels."""
    index, read = reading.map(node, node.input[0])
    kind: KernelKind = "maxpool" if node.op_type == "GlobalMaxPool" else "globalpool"
    reading.append(node.output[0], kind, read, (index,), kernel=read[1:])


def read_mean(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A mean over all pixels is a global pool."""
    axes = reading.numbers(node, 1, "axes")
    shape = reading.graph.facts[node.input[0]].shape
    if axes is None or shape is None or len(shape) != 4 or sorted(axis % 4 for axis in axes) != [2, 3]:
        raise reading.refused(node, "is no mean over the pixels of a map")
    read_global_pool(reading, node)


def read_sum(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A sum over channels that stay an axis, such as that of a grey conversion, is a convolution with ones."""
    axes = reading.numbers(node, 1, "axes")
    index, read = reading.map(node, node.input[0])
    if axes not in ([1], [-3]) or not attribute(node, "keepdims", 1):
        raise reading.refused(node, "is no sum over the channels of a map")
    made = reading.append(node.output[0], "conv", read, (index,))
    reading.weights[made] = {"conv.weight": np.ones((1, read[0], 1, 1), np.float32)}
    reading.fixed.add(made)
