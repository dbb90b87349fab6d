"""Batch norms that stand alone in a graph, as what every runtime reads: part of a matrix product, or one Mul and one Add.

Those behind a convolution or a matrix product are folded before a file gets here. A lone one behind pooled features was seen
to stop older converters, which expect maps there; folded, it also costs nothing when the network runs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from edgenas.errors import EdgenasError

Doubles = NDArray[np.float64]
NORM = "BatchNormalization"
VIEWS = ("Flatten", "Reshape", "Squeeze", "Identity")  # between maps of (C, H, W) and the features of a matrix product
SCALE, SHIFT = "norm_scale", "norm_shift"  # names of what a norm became begin with these


@dataclass(frozen=True)
class _Affine:
    """y = scale x + shift per channel (C,)."""

    scale: Doubles
    shift: Doubles


def without_norms(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same function without a BatchNormalization: in the matrix product that alone reads it, else as Mul and Add.

    Computed in float64, rounded once. EdgenasError for a norm whose numbers are not in the file.
    """
    if all(node.op_type != NORM for node in model.graph.node):
        return model
    result = onnx.ModelProto()
    result.CopyFrom(model)
    shapes = _shapes(result)
    for number, norm in enumerate([node for node in result.graph.node if node.op_type == NORM]):
        affine = _affine(norm, _constants(result))
        product = _product_behind(result, norm, len(affine.scale), shapes)
        if product is None:
            _as_scale_and_shift(result, norm, affine, shapes, number)
        else:
            _into_product(result, product, affine, number)
            _bypass(result, norm)
    _drop_unused(result)
    return result


def scale_and_shift_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes that a norm became: float, as the norm was, where the rest is quantised."""
    return [node.name for node in model.graph.node if any(name.startswith((SCALE, SHIFT)) for name in node.input)]


def _affine(norm: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> _Affine:
    if missing := [name for name in norm.input[1:] if name not in constants]:
        raise EdgenasError(f"batch norm {norm.name}: {', '.join(missing)} is no number of the file: report this")
    weight, bias, mean, variance = (constants[name].astype(np.float64) for name in norm.input[1:])
    epsilon = next((a.f for a in norm.attribute if a.name == "epsilon"), 1e-5)
    scale = weight / np.sqrt(variance + epsilon)
    return _Affine(scale, bias - mean * scale)


def _product_behind(
    model: onnx.ModelProto, norm: onnx.NodeProto, channels: int, shapes: Mapping[str, tuple[int, ...]]
) -> onnx.NodeProto | None:
    """The Gemm that alone reads the norm's output as features, whole and in order; None where there is another reader."""
    features = math.prod(shapes.get(norm.input[0], (0,)))
    tensor = norm.output[0]
    while True:
        readers = [node for node in model.graph.node if tensor in node.input]
        if len(readers) != 1 or tensor in (output.name for output in model.graph.output):
            return None
        reader: onnx.NodeProto = readers[0]
        if reader.op_type in VIEWS and reader.input[0] == tensor:
            tensor = reader.output[0]
            continue
        constants = _constants(model)
        plain = reader.op_type == "Gemm" and reader.input[0] == tensor and reader.input[1] in constants
        plain = plain and all(name in constants for name in reader.input[2:])
        if not plain or not _unscaled(reader) or features % channels or features != _inner(reader, constants):
            return None
        return reader


def _inner(product: onnx.NodeProto, constants: Mapping[str, NDArray[Any]]) -> int:
    """How many features a Gemm sums over."""
    return int(constants[product.input[1]].shape[1 if _transposed(product) else 0])


def _unscaled(product: onnx.NodeProto) -> bool:
    """alpha = beta = 1 and A as it is?"""
    given = {a.name: helper.get_attribute_value(a) for a in product.attribute}
    return (given.get("alpha", 1.0), given.get("beta", 1.0), given.get("transA", 0)) == (1.0, 1.0, 0)


def _transposed(product: onnx.NodeProto) -> bool:
    return any(a.name == "transB" and a.i for a in product.attribute)


def _into_product(model: onnx.ModelProto, product: onnx.NodeProto, affine: _Affine, number: int) -> None:
    """W (s x + t) + b = (W s) x + (W t + b); a channel's features stand beside each other."""
    constants = _constants(model)
    stored = constants[product.input[1]].astype(np.float64)
    weight = stored if _transposed(product) else stored.T  # (out, features)
    each = weight.shape[1] // len(affine.scale)
    scale, shift = np.repeat(affine.scale, each), np.repeat(affine.shift, each)
    bias = weight @ shift
    if len(product.input) > 2:
        bias = bias + constants[product.input[2]].astype(np.float64).reshape(-1)
    folded = weight * scale
    names = [f"folded_weight_{number}", f"folded_bias_{number}"]
    _add(model, names[0], folded if _transposed(product) else folded.T)
    _add(model, names[1], bias)
    kept = product.input[0]
    del product.input[:]
    product.input.extend([kept, *names])


def _bypass(model: onnx.ModelProto, norm: onnx.NodeProto) -> None:
    """Whoever read the norm reads what it read."""
    for node in model.graph.node:
        for index, name in enumerate(node.input):
            if name == norm.output[0]:
                node.input[index] = norm.input[0]
    model.graph.node.remove(norm)


def _as_scale_and_shift(
    model: onnx.ModelProto, norm: onnx.NodeProto, affine: _Affine, shapes: Mapping[str, tuple[int, ...]], number: int
) -> None:
    sides = (1, len(affine.scale), *[1] * (len(shapes[norm.input[0]]) - 1))  # (1, C, 1, 1) for maps
    scale, shift, scaled = f"{SCALE}_{number}", f"{SHIFT}_{number}", f"scaled_by_norm_{number}"
    _add(model, scale, affine.scale.reshape(sides))
    _add(model, shift, affine.shift.reshape(sides))
    place = list(model.graph.node).index(norm)
    nodes = list(model.graph.node)
    nodes[place : place + 1] = [
        helper.make_node("Mul", [norm.input[0], scale], [scaled], name=f"Mul_{scaled}"),
        helper.make_node("Add", [scaled, shift], [norm.output[0]], name=f"Add_{scaled}"),
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _add(model: onnx.ModelProto, name: str, values: Doubles) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))


def _constants(model: onnx.ModelProto) -> dict[str, NDArray[Any]]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every tensor without its batch, such as (C, H, W); only of those that are known whole."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    found = {}
    for value in (*graph.value_info, *graph.input, *graph.output):
        sides = [side.dim_value for side in value.type.tensor_type.shape.dim][1:]
        if all(sides):
            found[value.name] = tuple(sides)
    return found


def _drop_unused(model: onnx.ModelProto) -> None:
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
