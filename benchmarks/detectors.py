"""Graphs of well-known detectors in plain torch, for their latency only.

Written from their published architecture tables, without any of their authors' packages (ultralytics' is AGPL, YOLOv7's GPL);
parameters and FLOPs equal the published ones (tests/benchmarks). `detector(name)`: yolov8{n,s,m,l,x}, yolov9{t,s,m},
yolov10{n,s,m}, yolo11 and yolo26{n,s,m,l,x}, yolov7, yolov7-tiny, yolox-{nano,tiny,s,m,l,x}; 80 classes, random weights, without
non-maximum suppression.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from benchmarks.detector_blocks import (
    AConv,
    C2f,
    C3k,
    Cib,
    Concat,
    Conv,
    Detect,
    DetectV7,
    Elan,
    ElanSmall,
    ElanV7,
    LastC3k2,
    MaxAndConv,
    Psa,
    ResidualPair,
    ScDown,
    SppCsp,
    SppCspTiny,
    SppElan,
    Sppf,
    Upsample,
)
from benchmarks.yolox import YoloX

# (depth, width, most channels before the width) of each size
SCALES_V8 = {
    "n": (1 / 3, 0.25, 1024),
    "s": (1 / 3, 0.5, 1024),
    "m": (2 / 3, 0.75, 768),
    "l": (1, 1, 512),
    "x": (1, 1.25, 512),
}
SCALES_11 = {"n": (0.5, 0.25, 1024), "s": (0.5, 0.5, 1024), "m": (0.5, 1, 512), "l": (1, 1, 512), "x": (1, 1.5, 512)}
Layer = tuple[int | list[int], nn.Module]


class Graph(nn.Module):
    """Layers that read the one before (-1), one by its number, or several."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        super().__init__()
        self.sources = [source for source, _ in layers]
        self.layers = nn.ModuleList(layer for _, layer in layers)

    def forward(self, x: Tensor) -> Tensor:
        found: list[Tensor] = []
        for source, layer in zip(self.sources, self.layers, strict=True):
            if isinstance(source, list):
                x = layer([found[place] for place in source])
            else:
                x = layer(x if source == -1 else found[source])
            found.append(x)
        return x


def scaled(scales: tuple[float, float, int]) -> tuple[Callable[[int], int], Callable[[int], int]]:
    """How channels and repeats of the base network become those of a size."""
    depth, width, most = scales
    return lambda channels: math.ceil(min(channels, most) * width / 8) * 8, lambda count: max(round(count * depth), 1)


def backbone(c: Callable[[int], int], blocks: Sequence[nn.Module], downs: Sequence[nn.Module]) -> list[Layer]:
    """Five halvings of the image, each of the last four followed by its block."""
    layers: list[Layer] = [(-1, Conv(3, c(64), 3, 2)), (-1, Conv(c(64), c(128), 3, 2)), (-1, blocks[0])]
    for down, block in zip(downs, blocks[1:], strict=True):
        layers += [(-1, down), (-1, block)]
    return layers


def neck(
    layers: list[Layer], p3: int, p4: int, blocks: Sequence[nn.Module], downs: Sequence[nn.Module], head: nn.Module
) -> Graph:
    """Top-down, then bottom-up paths over the maps of layers p3, p4 and the last one, and the head on the three results."""
    p5 = len(layers) - 1
    layers += [(-1, Upsample()), ([p5 + 1, p4], Concat()), (-1, blocks[0])]
    first = len(layers) - 1
    layers += [(-1, Upsample()), ([first + 1, p3], Concat()), (-1, blocks[1])]
    small = len(layers) - 1
    layers += [(-1, downs[0]), ([small + 1, first], Concat()), (-1, blocks[2])]
    middle = len(layers) - 1
    layers += [(-1, downs[1]), ([middle + 1, p5], Concat()), (-1, blocks[3])]
    return Graph([*layers, ([small, middle, len(layers) - 1], head)])


def yolov8(size: str) -> nn.Module:
    c, n = scaled(SCALES_V8[size])
    blocks = [C2f(c(k), c(k), n(r), shortcut=True) for k, r in ((128, 3), (256, 6), (512, 6), (1024, 3))]
    downs = [Conv(c(k), c(2 * k), 3, 2) for k in (128, 256, 512)]
    layers = [*backbone(c, blocks, downs), (-1, Sppf(c(1024), c(1024)))]
    up = [C2f(c(1024) + c(512), c(512), n(3)), C2f(c(512) + c(256), c(256), n(3))]
    up += [C2f(c(256) + c(512), c(512), n(3)), C2f(c(512) + c(1024), c(1024), n(3))]
    down = [Conv(c(256), c(256), 3, 2), Conv(c(512), c(512), 3, 2)]
    return neck(layers, 4, 6, up, down, Detect((c(256), c(512), c(1024))))


def yolov10(size: str) -> nn.Module:
    c, n = scaled(SCALES_V8[size])

    def cib(into: int, out: int, *, large: bool) -> C2f:
        return C2f(into, out, n(3), block=lambda hidden: Cib(hidden, large))

    last = C2f(c(1024), c(1024), n(3), shortcut=True) if size == "n" else cib(c(1024), c(1024), large=size == "s")
    blocks = [C2f(c(k), c(k), n(r), shortcut=True) for k, r in ((128, 3), (256, 6), (512, 6))]
    downs = [Conv(c(128), c(256), 3, 2), ScDown(c(256), c(512)), ScDown(c(512), c(1024))]
    layers = [*backbone(c, [*blocks, last], downs), (-1, Sppf(c(1024), c(1024))), (-1, Psa(c(1024), 1))]
    middle = cib(c(256) + c(512), c(512), large=False) if size == "m" else C2f(c(256) + c(512), c(512), n(3))
    up = [C2f(c(1024) + c(512), c(512), n(3)), C2f(c(512) + c(256), c(256), n(3)), middle]
    up.append(cib(c(512) + c(1024), c(1024), large=size in "ns"))
    down = [Conv(c(256), c(256), 3, 2), ScDown(c(512), c(512))]
    return neck(layers, 4, 6, up, down, Detect((c(256), c(512), c(1024)), light=True, end_to_end=True))


def yolo11(size: str, *, later: bool = False) -> nn.Module:
    """YOLO11, or (`later`) YOLO26, whose head regresses distances directly and ends in the 300 best boxes."""
    c, n = scaled(SCALES_11[size])
    large = size in "mlx"

    def k2(into: int, out: int, *, deep: bool, share: float = 0.5) -> C2f:
        return C2f(
            into, out, n(2), share=share, block=C3k if deep or large else lambda hidden: ResidualPair(hidden, 0.5)
        )

    blocks = [k2(c(128), c(256), deep=False, share=0.25), k2(c(256), c(512), deep=False, share=0.25)]
    blocks += [k2(c(512), c(512), deep=True), k2(c(1024), c(1024), deep=True)]
    downs = [Conv(c(256), c(256), 3, 2), Conv(c(512), c(512), 3, 2), Conv(c(512), c(1024), 3, 2)]
    layers = [*backbone(c, blocks, downs), (-1, Sppf(c(1024), c(1024), shortcut=later)), (-1, Psa(c(1024), n(2)))]
    up = [
        k2(c(1024) + c(512), c(512), deep=later),
        k2(2 * c(512), c(256), deep=later),
        k2(c(256) + c(512), c(512), deep=later),
    ]
    final = C2f(c(512) + c(1024), c(1024), 1, block=LastC3k2) if later else k2(c(512) + c(1024), c(1024), deep=True)
    down = [Conv(c(256), c(256), 3, 2), Conv(c(512), c(512), 3, 2)]
    head = Detect((c(256), c(512), c(1024)), bins=1 if later else 16, light=True, end_to_end=later)
    return neck(layers, 4, 6, [*up, final], down, head)


def yolov9_small(size: str) -> nn.Module:
    """YOLOv9 t and s."""
    b, c, d, e, f = ((1 if size == "t" else 2) * channels for channels in (16, 32, 64, 96, 128))
    blocks = [ElanSmall(c, c, c, b), Elan(d, d, d, c, 3), Elan(e, e, e, e // 2, 3), Elan(f, f, f, f // 2, 3)]
    layers: list[Layer] = [(-1, Conv(3, b, 3, 2)), (-1, Conv(b, c, 3, 2)), (-1, blocks[0])]
    for down, block in zip((AConv(c, d), AConv(d, e), AConv(e, f)), blocks[1:], strict=True):
        layers += [(-1, down), (-1, block)]
    layers.append((-1, SppElan(f, f)))
    up = [Elan(f + e, e, e, e // 2, 3), Elan(e + d, d, d, c, 3), Elan(e // 2 + e, e, e, e // 2, 3)]
    up.append(Elan(f // 2 + f, f, f, f // 2, 3))
    return neck(layers, 4, 6, up, [AConv(d, e // 2), AConv(e, f // 2)], Detect((d, e, f)))


def yolov9_medium() -> nn.Module:
    blocks = [Elan(64, 128, 128, 64, 1), *(Elan(k, k, k, k // 2, 1) for k in (240, 360, 480))]
    layers: list[Layer] = [(-1, Conv(3, 32, 3, 2)), (-1, Conv(32, 64, 3, 2)), (-1, blocks[0])]
    for down, block in zip((AConv(128, 240), AConv(240, 360), AConv(360, 480)), blocks[1:], strict=True):
        layers += [(-1, down), (-1, block)]
    layers.append((-1, SppElan(480, 480)))
    up = [
        Elan(840, 360, 360, 180, 1),
        Elan(600, 240, 240, 120, 1),
        Elan(544, 360, 360, 180, 1),
        Elan(720, 480, 480, 240, 1),
    ]
    return neck(layers, 4, 6, up, [AConv(240, 184), AConv(360, 240)], Detect((240, 360, 480)))


def yolov7() -> nn.Module:
    def down(into: int, out: int) -> ElanV7:
        return ElanV7(into, out, out, take=(-1, -2, -3, -4, -5, -6), inner=out // 2)

    layers: list[Layer] = [
        (-1, Conv(3, 32, 3)),
        (-1, Conv(32, 64, 3, 2)),
        (-1, Conv(64, 64, 3)),
        (-1, Conv(64, 128, 3, 2)),
    ]
    layers += [
        (-1, ElanV7(128, 64, 256)),
        (-1, MaxAndConv(256, 128)),
        (-1, ElanV7(256, 128, 512)),
        (-1, MaxAndConv(512, 256)),
    ]
    layers += [
        (-1, ElanV7(512, 256, 1024)),
        (-1, MaxAndConv(1024, 512)),
        (-1, ElanV7(1024, 256, 1024)),
        (-1, SppCsp(1024, 512)),
    ]
    layers += [(-1, Conv(512, 256)), (-1, Upsample()), (8, Conv(1024, 256)), ([14, 13], Concat()), (-1, down(512, 256))]
    layers += [(-1, Conv(256, 128)), (-1, Upsample()), (6, Conv(512, 128)), ([19, 18], Concat()), (-1, down(256, 128))]
    layers += [(-1, MaxAndConv(128, 128)), ([22, 16], Concat()), (-1, down(512, 256))]
    layers += [(-1, MaxAndConv(256, 256)), ([25, 11], Concat()), (-1, down(1024, 512))]
    layers += [(21, Conv(128, 256, 3)), (24, Conv(256, 512, 3)), (27, Conv(512, 1024, 3))]
    return Graph([*layers, ([28, 29, 30], DetectV7((256, 512, 1024)))])


def yolov7_tiny() -> nn.Module:
    leaky = nn.LeakyReLU(0.1)

    def conv(into: int, out: int, side: int = 1, stride: int = 1) -> Conv:
        return Conv(into, out, side, stride, act=leaky)

    def elan(into: int, hidden: int, out: int) -> ElanV7:
        return ElanV7(into, hidden, out, count=2, take=(-1, -2, -3, -4), act=leaky)

    layers: list[Layer] = [
        (-1, conv(3, 32, 3, 2)),
        (-1, conv(32, 64, 3, 2)),
        (-1, elan(64, 32, 64)),
        (-1, nn.MaxPool2d(2)),
    ]
    layers += [(-1, elan(64, 64, 128)), (-1, nn.MaxPool2d(2)), (-1, elan(128, 128, 256)), (-1, nn.MaxPool2d(2))]
    layers += [(-1, elan(256, 256, 512)), (-1, SppCspTiny(512, 256, leaky)), (-1, conv(256, 128)), (-1, Upsample())]
    layers += [
        (6, conv(256, 128)),
        ([12, 11], Concat()),
        (-1, elan(256, 64, 128)),
        (-1, conv(128, 64)),
        (-1, Upsample()),
    ]
    layers += [(4, conv(128, 64)), ([17, 16], Concat()), (-1, elan(128, 32, 64)), (-1, conv(64, 128, 3, 2))]
    layers += [([20, 14], Concat()), (-1, elan(256, 64, 128)), (-1, conv(128, 256, 3, 2)), ([23, 9], Concat())]
    layers += [(-1, elan(512, 128, 256)), (19, conv(64, 128, 3)), (22, conv(128, 256, 3)), (25, conv(256, 512, 3))]
    return Graph([*layers, ([26, 27, 28], DetectV7((128, 256, 512)))])


def detector(name: str) -> nn.Module | None:
    """The detector of that name with random weights, None where it is not one of these."""
    size = name[-1]
    if name.startswith("yolov8") and name[6:] in SCALES_V8:
        return yolov8(size)
    if name in ("yolov9t", "yolov9s"):
        return yolov9_small(size)
    if name in ("yolov10n", "yolov10s", "yolov10m"):
        return yolov10(size)
    if name[:-1] in ("yolo11", "yolo26") and size in SCALES_11:
        return yolo11(size, later=name.startswith("yolo26"))
    if name.startswith("yolox-"):
        return YoloX(name.removeprefix("yolox-"))
    others: dict[str, Callable[[], nn.Module]] = {
        "yolov9m": yolov9_medium,
        "yolov7": yolov7,
        "yolov7-tiny": yolov7_tiny,
    }
    return others[name]() if name in others else None


def cost(network: nn.Module, side: int) -> tuple[int, int]:
    """Parameters, and MACs of the convolutions on an image of that side."""
    macs = 0

    def count(layer: nn.Module, _: object, out: Tensor) -> None:
        nonlocal macs
        assert isinstance(layer, nn.Conv2d)
        macs += out.numel() * layer.in_channels // layer.groups * layer.kernel_size[0] * layer.kernel_size[1]

    hooks = [layer.register_forward_hook(count) for layer in network.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        network.eval()(torch.zeros(1, 3, side, side))
    for hook in hooks:
        hook.remove()
    return sum(parameter.numel() for parameter in network.parameters()), macs
