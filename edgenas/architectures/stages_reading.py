"""A network that was read, such as EfficientNet-Lite0 out of an ONNX file, as stages of equal blocks."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest
from typing import TypeAlias, TypeGuard, cast, get_args

import msgspec

from edgenas.architectures.stages import workload_from_stages
from edgenas.architectures.stages_space import Activation
from edgenas.errors import EdgenasError
from edgenas.image_sizes import size_from_sides
from edgenas.records import BlockKind, Classes, Kernel, Stage, StagesArchitecture

WEIGHTED = ("conv", "depthwise", "linear")  # kernels with weights
POINT = (1, 1)
Layer: TypeAlias = dict[str, object]


def weighted(kernels: Sequence[Kernel]) -> list[int]:
    """The kernels that have weights, by their indices, in the order in which they run."""
    return [index for index, kernel in enumerate(kernels) if kernel.kind in WEIGHTED]


def stages_from_kernels(name: str, kernels: Sequence[Kernel]) -> StagesArchitecture:
    """The network of stages whose layers these are: kinds, widths, kernels, strides, dilations, sizes of maps, activations and
    additions. On which side a border is padded may differ: TensorFlow takes the other one. Raises EdgenasError for a network that
    is none."""
    places = weighted(kernels)
    layers = [kernels[index] for index in places]
    if len(layers) < 3 or layers[0].kind != "conv" or layers[-1].kind != "linear":
        raise _none(name, "it does not begin with a convolution and end in a linear layer")
    for index, kernel in enumerate(kernels[: places[-1]]):
        if kernel.kind not in (*WEIGHTED, "add") and not (index > places[-2] and _is_global_mean(kernel)):
            raise _none(
                name,
                f"its kernel {index} is a {kernel.kind}, and between the layers there are only additions, before the last one "
                "the mean of the whole map",
            )
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
            raise _none(name, f"its layer {place} {_difference(one, other)}")
    return network


def described(kernels: Sequence[Kernel]) -> list[Layer]:
    """What every layer with weights computes, by words; of the side on which a border is padded nothing. A bias before a norm
    only moves the mean, and the last layer's belongs to its classes."""
    added = {max(kernel.inputs) for kernel in kernels if kernel.kind == "add"}
    return [
        {
            "kind": k.kind,
            "channels in": k.in_channels,
            "channels out": k.out_channels,
            "kernel": k.kernel,
            "stride": k.stride,
            "dilation": (1, 1) if k.kernel == POINT else k.dilation,
            "groups": k.groups,
            "size": (k.height, k.width),
            "bias": k.bias and not k.norm and k.kind != "linear",
            "batch norm": k.norm,
            "activation": k.activation,
            "addition": k.residual is not None or index in added,
        }
        for index, k in ((index, kernels[index]) for index in weighted(kernels))
    ]


def _difference(one: Layer | None, other: Layer | None) -> str:
    if one is None or other is None:
        return "is missing" if one is None else "is one too many"
    words = [f"{name} {one[name] or 'none'}, not {other[name] or 'none'}" for name in one if one[name] != other[name]]
    return f"has {'; '.join(words)} as in stages of equal blocks"


def _is_global_mean(kernel: Kernel) -> bool:
    whole = kernel.kernel == (kernel.in_height, kernel.in_width)
    return kernel.kind == "globalpool" or (kernel.kind == "avgpool" and whole)


def _stages_of(layers: Sequence[Kernel]) -> tuple[list[Stage], Sequence[Kernel]]:
    """Stages from the front on, and the layers that are left: equal blocks of stride 1 belong to the stage before."""
    stages: list[Stage] = []
    while (found := _block(layers)) is not None:
        stage, taken = found
        last = stages[-1] if stages else None
        if last is not None and stage.stride == 1 and _alike(last, stage):
            stages[-1] = msgspec.structs.replace(last, repeats=last.repeats + 1)
        else:
            stages.append(stage)
        layers = layers[taken:]
    return stages, layers


def _block(layers: Sequence[Kernel]) -> tuple[Stage, int] | None:
    """The block at the front, as a stage of its own, and how many layers it has; None where none stands there, as before the last
    1x1 convolution."""
    one, two, three = (*layers, None, None, None)[:3]
    if one is not None and one.kind == "depthwise" and _is_point(two):
        return _stage("mbconv" if one.norm else "separable", one, two), 2
    if one is None or one.kind != "conv" or not one.norm:
        return None
    if _is_point(one) and two is not None and two.kind == "depthwise" and two.norm and _is_point(three):
        return _stage("mbconv", two, three, one), 3
    if _ends_residual(two):
        return _stage("residual", one, two), 2
    if _is_point(two) and not two.activation:
        return (_stage("residual", one, three), 3) if _ends_residual(three) else (_stage("fused", one, two, one), 2)
    if two is None and _is_point(one) and one.stride == (1, 1):
        return None
    return _stage("dense", one, one), 1


def _stage(block: BlockKind, spatial: Kernel, last: Kernel, expanding: Kernel | None = None) -> Stage:
    """Of one block: its k x k layer, its last one, and the one that widens the map, where it has one."""
    expansion = 1 if expanding is None else max(1, expanding.out_channels // expanding.in_channels)
    return Stage(block, last.out_channels, 1, spatial.kernel[0], spatial.stride[0], expansion)


def _is_point(kernel: Kernel | None) -> TypeGuard[Kernel]:
    return kernel is not None and kernel.kind == "conv" and kernel.kernel == POINT and kernel.norm


def _ends_residual(kernel: Kernel | None) -> TypeGuard[Kernel]:
    """Is a map added before its activation? Behind mbconv and fused blocks there is none."""
    return kernel is not None and kernel.kind == "conv" and kernel.residual is not None and bool(kernel.activation)


def _alike(one: Stage, other: Stage) -> bool:
    same = (one.block, one.width, one.kernel, one.expansion)
    return same == (other.block, other.width, other.kernel, other.expansion)


def _none(name: str, why: str) -> EdgenasError:
    return EdgenasError(
        f"{name} is no network of stages of equal blocks (docs/spaces.md), as MobileNetV2 and EfficientNet-Lite are: {why}"
    )
