"""Elementwise operations, constants, and what moves channels in an ONNX graph -> kernels, or parts of the kernel before them."""

from __future__ import annotations

import numpy as np
import onnx

from edgenas.architectures.onnx_facts import attribute
from edgenas.networks.onnx_reading import LAYERS, Floats, OnnxReading
from edgenas.records import KernelKind

# The activation of a kernel, with the attributes that it has, and those that the operator has where none are written.
ACTIVATIONS: dict[str, tuple[str, dict[str, float], dict[str, float]]] = {
    "Relu": ("relu", {}, {}), "Sigmoid": ("sigmoid", {}, {}), "Tanh": ("tanh", {}, {}), "HardSwish": ("hardswish", {}, {}),
    "Elu": ("elu", {"alpha": 1.0}, {"alpha": 1.0}), "LeakyRelu": ("leakyrelu", {"alpha": 0.01}, {"alpha": 0.01}),
    "HardSigmoid": ("hardsigmoid", {"alpha": 1 / 6, "beta": 0.5}, {"alpha": 0.2, "beta": 0.5}),
}  # fmt: skip
GATES = {"Sigmoid": "silu", "HardSigmoid": "hardswish"}  # x * gate(x)


def read_activation(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """An activation, as a part of the kernel before it where that can be; x * gate(x) is one."""
    name, ours, defaults = ACTIVATIONS[node.op_type]
    for key, value in ours.items():
        if not np.isclose(attribute(node, key, defaults[key]), value, rtol=1e-6):
            raise reading.refused(node, f"has {key} {attribute(node, key, defaults[key]):g}, which is not {value:g}")
    tensor, gated = node.input[0], _gated(reading, node)
    if gated is None:
        _activate(reading, tensor, node.output[0], name, node)
        return
    # x * gate(x): the product is read here and now.
    if reading.end_but_for(tensor, (node, gated)):
        reading.extend(tensor, gated.output[0], activation=GATES[node.op_type])
    else:
        index, read = reading.map(node, tensor)
        reading.append(gated.output[0], "activation", read, (index,), activation=GATES[node.op_type])


def _gated(reading: OnnxReading, node: onnx.NodeProto) -> onnx.NodeProto | None:
    """The product of a gate with what it reads, if that is all the gate is for."""
    if node.op_type not in GATES or not reading.is_alone(node.output[0]):
        return None
    (product,) = reading.readers[node.output[0]]
    same = product.op_type == "Mul" and sorted(product.input) == sorted((node.input[0], node.output[0]))
    return product if same else None


def _activate(reading: OnnxReading, tensor: str, output: str, name: str, node: onnx.NodeProto) -> None:
    if reading.end(tensor) is not None:
        reading.extend(tensor, output, activation=name)
    else:
        index, read = reading.map(node, tensor)
        reading.append(output, "activation", read, (index,), activation=name)


def read_clip(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """Between 0 and 6, which is the one that networks have."""
    low, high = (_bound(reading, node, place, name) for place, name in ((1, "min"), (2, "max")))
    if (low, high) not in ((0, 6), (0, np.inf)):
        raise reading.refused(node, f"clips to {low:g}..{high:g}, not to 0..6")
    _activate(reading, node.input[0], node.output[0], "relu6" if high == 6 else "relu", node)


def _bound(reading: OnnxReading, node: onnx.NodeProto, place: int, name: str) -> float:
    if place < len(node.input) and node.input[place]:
        return float(reading.weight(node, place).reshape(-1)[0])
    return float(attribute(node, name, -np.inf if name == "min" else np.inf))


def read_softmax(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """Over the channels."""
    index, read = reading.map(node, node.input[0])
    dimensions = len(reading.graph.facts[node.input[0]].shape or ())
    if attribute(node, "axis", -1) % dimensions != 1:
        raise reading.refused(node, "is not over channels")
    reading.append(node.output[0], "softmax", read, (index,))


# ---------------------------------------------------------------- sums, products, constants


def read_add(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A sum of maps, with those of a sum before it that nothing else reads; or a map and a constant."""
    if any(reading.is_constant(tensor) for tensor in node.input):
        read_affine(reading, node)
        return
    first, sources, shape = reading.end(node.input[0]), reading.maps(node), reading.shape(node.output[0])
    if first is not None and first.kind == "add" and (first.height, first.width) == shape[1:]:
        sources = (*first.inputs, *sources[1:])  # the shorter sum is read by nothing from here on
    reading.append(node.output[0], "add", shape, sources)


def read_mul(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A product of maps; a sum of n maps times 1 / n is their mean; or a map times a constant."""
    constants = [place for place, tensor in enumerate(node.input) if reading.is_constant(tensor)]
    if not constants:
        reading.append(node.output[0], "mul", reading.shape(node.output[0]), reading.maps(node))
        return
    tensor = node.input[1 - constants[0]]
    kernel, factor = reading.end(tensor), reading.weight(node, constants[0])
    if kernel is not None and kernel.kind == "add" and factor.size == 1 and np.isclose(
        factor.item(), 1 / len(kernel.inputs), rtol=1e-6
    ):  # fmt: skip
        reading.extend(tensor, node.output[0], kind="mean")
    else:
        read_affine(reading, node)


def read_affine(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """x + c, x - c, c - x, x * c, x / c: a bias where the layer before lacks one, else a layer of fixed weights."""
    constants = [place for place, tensor in enumerate(node.input) if reading.is_constant(tensor)]
    if len(node.input) != 2 or len(constants) != 1 or (node.op_type == "Div" and constants == [0]):
        raise reading.refused(node, "is no sum or product of maps, nor of a map and one constant")
    tensor, value = node.input[1 - constants[0]], reading.weight(node, constants[0])
    index, read = reading.map(node, tensor)
    constant = _per_channel(reading, node, tensor, value)
    one, zero = np.ones(read[0], np.float32), np.zeros(read[0], np.float32)
    negative = node.op_type == "Sub" and constants == [0]
    scale, shift = {
        "Add": (one, constant), "Sum": (one, constant), "Sub": (-one, constant) if negative else (one, -constant),
        "Mul": (constant, zero), "Div": (one / constant if node.op_type == "Div" else one, zero),
    }[node.op_type]  # fmt: skip
    kernel = reading.end(tensor)
    if kernel is not None and index in reading.fixed and kernel.bias:
        weights = reading.weights[reading.extend(tensor, node.output[0])]
        weights["conv.weight"] = weights["conv.weight"] * scale[:, None, None, None]
        weights["conv.bias"] = weights["conv.bias"] * scale + shift
    elif kernel is not None and node.op_type == "Add" and kernel.kind in LAYERS and not (kernel.bias or kernel.norm):
        reading.extend(tensor, node.output[0], bias=True)
        reading.weights[index]["linear.bias" if kernel.kind == "linear" else "conv.bias"] = shift
    else:
        kind: KernelKind = "depthwise" if read[0] > 1 else "conv"
        made = reading.append(node.output[0], kind, read, (index,), groups=read[0], bias=True)
        reading.weights[made] = {"conv.weight": scale.reshape(-1, 1, 1, 1), "conv.bias": shift}
        reading.fixed.add(made)


def _per_channel(reading: OnnxReading, node: onnx.NodeProto, tensor: str, value: Floats) -> Floats:
    """(C,): a constant that is one number, or one for every channel."""
    shape = reading.graph.facts[tensor].shape or ()
    alone = [side for place, side in enumerate(value.shape) if place - value.ndim + len(shape) != 1]
    if value.ndim > len(shape) or any(side != 1 for side in alone):
        raise reading.refused(node, f"has a constant of shape {value.shape}, which is not one number per channel")
    return np.broadcast_to(value.reshape(-1), shape[1:2]).astype(np.float32)


# ---------------------------------------------------------------- channels


def read_concat(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """Maps side by side."""
    shape = reading.graph.facts[node.output[0]].shape or (1,)
    if attribute(node, "axis", 1) % len(shape) != 1 or any(reading.is_constant(tensor) for tensor in node.input):
        raise reading.refused(node, "does not put maps side by side by their channels")
    reading.append(node.output[0], "concat", reading.shape(node.output[0]), reading.maps(node))


def read_split(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """Slices of the channels, for every part that is read."""
    index, read = reading.map(node, node.input[0])
    dimensions = len(reading.graph.facts[node.input[0]].shape or ())
    if attribute(node, "axis", 0) % dimensions != 1:
        raise reading.refused(node, "does not split channels")
    begin = 0
    for tensor in node.output:
        size = reading.shape(tensor)[0]
        if tensor in reading.readers or tensor in reading.graph.outputs:
            reading.append(tensor, "slice", read, (index,), begin=begin)
        begin += size


def read_slice(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """Some channels; of rows and columns the last ones."""
    index, read = reading.map(node, node.input[0])
    starts, ends = reading.numbers(node, 1, "starts") or [], reading.numbers(node, 2, "ends") or []
    axes = reading.numbers(node, 3, "axes") or list(range(len(starts)))
    steps = reading.numbers(node, 4, "steps") or [1] * len(starts)
    dimensions, begin = len(reading.graph.facts[node.input[0]].shape or ()), 0
    for axis, start, end, step in zip((axis % dimensions for axis in axes), starts, ends, steps, strict=True):
        whole = (1, *read)[axis]
        first, last, _ = slice(start, end).indices(whole)
        if step != 1 or (axis == 0 and (first, last) != (0, 1)) or (axis > 1 and last != whole):
            raise reading.refused(node, "takes other than neighbouring channels and last rows or columns")
        begin = first if axis == 1 else begin
    reading.append(node.output[0], "slice", read, (index,), begin=begin)


def read_pad(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """A border, for the convolution or pool that reads it."""
    tensor, pads = node.input[0], reading.numbers(node, 1, "pads") or []
    reading.map(node, tensor)
    value = reading.weight(node, 2).item() if len(node.input) > 2 and node.input[2] else attribute(node, "value", 0.0)
    plain = attribute(node, "mode", b"constant") == b"constant" and len(pads) == 8 and len(node.input) < 4
    if not plain or min(pads) < 0 or any(pads[:2] + pads[4:6]):
        raise reading.refused(node, "is no constant border around a map")
    reading.padded[node.output[0]] = (tensor, (pads[2], pads[3], pads[6], pads[7]), float(value))


# ---------------------------------------------------------------- the same numbers in another shape


def read_view(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """Flattened maps, and maps of one pixel as features and back; three reshapings that shuffle channels."""
    tensor, output = node.input[0], node.output[0]
    if tensor not in reading.source:
        raise reading.refused(node, f"reads {tensor!r}, which is no map of its own")
    before, after = (reading.graph.facts[name].shape or () for name in (tensor, output))
    if len(after) == 5:
        _shuffle(reading, node)
        return
    index = reading.source[tensor]
    flat = len(after) == 2 and after[0] == 1
    if not flat and not (len(after) == 4 and reading.shape(output) == reading.made(index)):
        raise reading.refused(node, f"makes {after} of {before}")
    reading.source[output] = index
    if reading.ends.get(index) == tensor and reading.is_alone(tensor) and reading.shape(output) == reading.made(index):
        reading.ends[index] = output


def _shuffle(reading: OnnxReading, node: onnx.NodeProto) -> None:
    """(1, C, H, W) -> (1, g, C / g, H, W) -> (1, C / g, g, H, W) -> (1, C, H, W)."""
    index, read = reading.map(node, node.input[0])
    chain = [node]
    while len(chain) < 3 and reading.is_alone(chain[-1].output[0]):
        chain += reading.readers[chain[-1].output[0]]
    shape = reading.graph.facts[node.output[0]].shape or ()
    fits = [one.op_type for one in chain] == ["Reshape", "Transpose", "Reshape"] and shape[1] * shape[2] == read[0]
    if not fits or attribute(chain[1], "perm", ()) != [0, 2, 1, 3, 4] or reading.shape(chain[2].output[0]) != read:
        raise reading.refused(node, f"makes {shape}, and what follows does not shuffle channels")
    reading.append(chain[2].output[0], "shuffle", read, (index,), groups=shape[1])
    reading.passed.update(chain[1].output)
