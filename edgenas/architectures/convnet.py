"""`convnet_...` names of the Jetson Nano TensorRT measurements: plain stride-1 networks, as data.

`convnet_L{layers}_F{filters}_K{k}x{k}_W{input}[_DWS]`, or two kernels that alternate, `K{a}x{a}_{na}_K{b}x{b}_{nb}`.
"""

from __future__ import annotations

import re

from edgenas.architectures.tracer import Tracer
from edgenas.errors import EdgenasError
from edgenas.records import Workload

NAME = re.compile(
    r"convnet_L(?P<layers>\d{1,9})_F(?P<filters>\d{1,9})_K(?P<a>\d{1,9})x(?P=a)"
    r"(?:_(?P<na>\d{1,4})_K(?P<b>\d{1,9})x(?P=b)_(?P<nb>\d{1,4}))?_W(?P<side>\d{1,9})(?P<separable>_DWS)?"
)


def workload_from_convnet(name: str) -> Workload:
    """The kernels of a `convnet_...` name: layers with bias and ReLU on 3 x W x W, then one linear layer to 10."""
    match = NAME.fullmatch(name)
    if match is None:
        raise EdgenasError(f"{name!r} is not of the form convnet_L2_F64_K3x3_W32, ..._K3x3_1_K5x5_1_W32 or ..._W32_DWS")
    layers, filters, side = (int(match[key]) for key in ("layers", "filters", "side"))
    if layers > 1000:
        raise EdgenasError(f"{name!r}: at most 1000 layers can be meant")
    kernels = _kernels(match, layers)
    if filters > 65_536 or side > 16_384 or max(kernels) > 99:
        raise EdgenasError(f"{name!r}: at most 65536 filters, 99-pixel kernels and 16384 pixels can be meant")
    if min(layers, filters, side, *kernels) < 1:
        raise EdgenasError(f"{name!r} has a zero in it: layers, filters, kernels and input side are at least 1")
    trace = Tracer(3, side, side)
    here = -1
    for kernel, padding in zip(kernels, _paddings(match, kernels), strict=True):
        if kernel > trace.shape(here)[1] + 2 * padding:
            raise EdgenasError(
                f"{name!r}: a {kernel}x{kernel} kernel does not fit its {trace.shape(here)[1]}-pixel input"
            )
        if match["separable"]:
            channels = trace.shape(here)[0]
            here = trace.conv(here, channels, kernel, padding=padding, groups=channels, bias=True)
            here = trace.conv(here, filters, 1, bias=True, activation="relu")
        else:
            here = trace.conv(here, filters, kernel, padding=padding, bias=True, activation="relu")
    trace.linear(here, 10)
    return trace.workload()


def _kernels(match: re.Match[str], layers: int) -> list[int]:
    """The kernel side of every layer: one, or two that alternate until one of them runs out."""
    if match["b"] is None:
        return [int(match["a"])] * layers
    left = {"a": int(match["na"]), "b": int(match["nb"])}
    if sum(left.values()) != layers:
        raise EdgenasError(f"{match.string!r}: {left['a']} + {left['b']} kernels do not make {layers} layers")
    order: list[int] = []
    turn = "a"
    while any(left.values()):
        turn = turn if left[turn] else ("b" if turn == "a" else "a")
        order.append(int(match[turn]))
        left[turn] -= 1
        turn = "b" if turn == "a" else "a"
    return order


def _paddings(match: re.Match[str], kernels: list[int]) -> list[int]:
    """As measured: 1 for small odd kernels, otherwise 2; with two kernels 2 until the first odd one, 1 from there on."""
    if match["b"] is not None:
        first_odd = next((i for i, kernel in enumerate(kernels) if kernel % 2), len(kernels))
        return [2 if index < first_odd else 1 for index in range(len(kernels))]
    narrow = (3,) if match["separable"] else (1, 3)
    return [1 if kernel in narrow else 2 for kernel in kernels]
