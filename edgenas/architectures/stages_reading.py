"""A network that was read, such as EfficientNet-Lite0 out of an ONNX file, as stages of equal blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias, cast, get_args

from edgenas.architectures.stages import workload_from_stages
from edgenas.architectures.stages_space import Activation
from edgenas.errors import EdgenasError
from edgenas.image_sizes import size_from_sides
from edgenas.records import BlockKind, Classes, Kernel, Stage, StagesArchitecture

WEIGHTED = ("conv", "depthwise", "linear")  # kernels with weights
POINT = (1, 1)
Layer: TypeAlias = tuple[object, ...]


def weighted(kernels: Sequence[Kernel]) -> list[int]:
    """The kernels that have weights, by their indices, in the order in which they run."""
    return [index for index, kernel in enumerate(kernels) if kernel.kind in WEIGHTED]


def stages_from_kernels(name: str, kernels: Sequence[Kernel]) -> StagesArchitecture:
    """The network of stages whose layers these are: kinds, widths, kernels, strides, activations and additions. How borders are
    padded may differ: TensorFlow pads on the other side. Raises EdgenasError for a network that is none."""
    layers = [kernels[index] for index in weighted(kernels)]
    if len(layers) < 3 or layers[0].kind != "conv" or layers[-1].kind != "linear":
        raise _none(name, "it does not begin with a convolution and end in a linear layer")
    stem, body, last = layers[0], layers[1:-1], layers[-1]
    if stem.activation not in get_args(Activation):
        raise _none(name, f"its first activation is {stem.activation or 'none'}, and relu and relu6 are possible")
    stages, rest = _stages_of(body)
    if len(rest) > 1 or not stages:
        raise _none(name, f"layer {len(layers) - 1 - len(rest)} begins no block of a known kind")
    network = StagesArchitecture(
        tuple(stages),
        Classes(last.out_channels),
        stem.in_channels,
        size_from_sides(stem.in_height, stem.in_width),
        stem_width=stem.out_channels,
        stem_stride=stem.stride[0],
        stem_kernel=stem.kernel[0],
        head_width=rest[0].out_channels if rest else 0,
        activation=cast("Activation", stem.activation),
    )
    there, ours = described(kernels), described(workload_from_stages(network).kernels)
    for place, (one, other) in enumerate(zip_longest(there, ours)):
        if one != other:
            raise _none(name, f"its layer {place} is {one}, and in stages of equal blocks it would be {other}")
    return network


def described(kernels: Sequence[Kernel]) -> list[Layer]:
    """Of every layer with weights: kind, channels in and out, kernel, stride, groups, has it a norm, its activation, is another
    map added to it."""
    added = {max(kernel.inputs) for kernel in kernels if kernel.kind == "add"}
    layers: list[Layer] = []
    for index in weighted(kernels):
        k = kernels[index]
        adds = k.residual is not None or index in added
        layers.append((k.kind, k.in_channels, k.out_channels, k.kernel, k.stride, k.groups, k.norm, k.activation, adds))
    return layers


def _stages_of(layers: Sequence[Kernel]) -> tuple[list[Stage], Sequence[Kernel]]:
    """Stages from the front on, and the layers that are left: equal blocks of stride 1 belong to the stage before."""
    stages: list[Stage] = []
    while (found := _block(layers)) is not None:
        (block, expansion), taken = found
        spatial, width = layers[1 if taken == 3 else 0], layers[taken - 1].out_channels
        stage = Stage(block, width, 1, spatial.kernel[0], spatial.stride[0], expansion)
        last = stages[-1] if stages else None
        if last is not None and stage.stride == 1 and _alike(last, stage):
            stages[-1] = Stage(block, width, last.repeats + 1, last.kernel, last.stride, expansion)
        else:
            stages.append(stage)
        layers = layers[taken:]
    return stages, layers


def _block(layers: Sequence[Kernel]) -> tuple[tuple[BlockKind, int], int] | None:
    """What block stands at the front: its kind and expansion, and how many layers it has; None where none does."""
    if len(layers) < 2:
        return None
    one, two, three = (*layers, None)[:3]
    assert one is not None
    assert two is not None
    if one.kind == "depthwise" and _is_point(two):
        return (("mbconv" if one.norm else "separable"), 1), 2
    if _is_point(one) and two.kind == "depthwise" and three is not None and _is_point(three):
        return ("mbconv", one.out_channels // one.in_channels), 3
    if one.kind == "conv" and one.kernel != POINT:
        if _is_point(two) and not two.activation:
            return ("fused", one.out_channels // one.in_channels), 2
        return ("dense", 1), 1
    return None


def _is_point(kernel: Kernel) -> bool:
    return kernel.kind == "conv" and kernel.kernel == POINT


def _alike(one: Stage, other: Stage) -> bool:
    same = (one.block, one.width, one.kernel, one.expansion)
    return same == (other.block, other.width, other.kernel, other.expansion)


def _none(name: str, why: str) -> EdgenasError:
    return EdgenasError(
        f"{name} is no network of stages of equal blocks (docs/spaces.md), as MobileNetV2 and EfficientNet-Lite are: {why}"
    )
