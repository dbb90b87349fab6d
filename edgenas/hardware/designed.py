"""Untrained networks to learn a device from: every kind of kernel at many sizes, and whole networks of several families.

After nn-Meter's idea (Zhang et al., MobiSys 2021) of measuring what a predictor has to price, chosen rather than found: of ten
networks four are chains of one kernel, two are small and four are whole. A network depends on `seed` and its number alone, so
that fifty more continue fifty. Sizes are bounded: no network has more than 12 million weights (48 MB, what an agent takes).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgenas.architectures.tracer import Tracer
from edgenas.errors import EdgenasError
from edgenas.records import Classes, Record, Workload

MOST_PARAMS = 12_000_000
MOST_MACS = 1_500_000_000
MOST_ELEMENTS = 4_000_000  # of one map
TRIES = 100
CLASSES = Classes(100)
ACTIVATIONS = ("relu", "relu6", "hardswish", "silu")
Draw = np.random.Generator


class Designed(Record, frozen=True):
    """One network to measure."""

    number: int
    name: str
    workload: Workload


def designed_network(number: int, seed: int) -> Designed:
    """The network of that number, from 0 on."""
    kind, build = _PLAN[number % len(_PLAN)]
    for again in range(TRIES):
        draw = np.random.default_rng((seed, number, again))
        turn = number // len(_PLAN)
        try:
            workload = build(draw, turn)
        except EdgenasError:  # such as a window that does not fit what is left of the image
            continue
        if fits(workload):
            return Designed(number, f"{kind} {number}", workload)
    raise EdgenasError(f"no network {number} of seed {seed} was found within the bounds: choose another --seed")


def fits(workload: Workload) -> bool:
    """Can any board take it, and in seconds?"""
    largest = max(kernel.output_elements for kernel in workload.kernels)
    return workload.params <= MOST_PARAMS and workload.macs <= MOST_MACS and largest <= MOST_ELEMENTS


# ---------------------------------------------------------------- chains of one kernel


def _chain(draw: Draw, kinds: tuple[str, ...], turn: int) -> Workload:
    """Some layers of one kind on one map: what they cost stands out against launching and reading the image."""
    kind = kinds[turn % len(kinds)]
    channels = _channels(draw, 8, 512)
    side = int(draw.choice([7, 14, 28, 56, 112]))
    net = Tracer(channels, side, side)
    here = -1
    for _ in range(int(draw.integers(3, 9))):
        here = _LAYERS[kind](net, here, channels, draw)
    net.head(here, CLASSES)
    return net.workload()


def _dense(kernel: int, stride: int = 1) -> Callable[[Tracer, int, int, Draw], int]:
    def add(net: Tracer, here: int, channels: int, draw: Draw) -> int:
        return net.conv(here, channels, kernel, stride=stride, norm=True, activation=_one(draw, ("relu", "")))

    return add


def _depthwise(kernel: int) -> Callable[[Tracer, int, int, Draw], int]:
    def add(net: Tracer, here: int, channels: int, draw: Draw) -> int:
        act = _one(draw, ACTIVATIONS)
        return net.conv(here, channels, kernel, groups=channels, norm=True, activation=act)

    return add


def _grouped(net: Tracer, here: int, channels: int, draw: Draw) -> int:
    groups = int(draw.choice([group for group in (2, 4, 8) if channels % group == 0] or [1]))
    return net.conv(here, channels, 3, groups=groups, norm=True, activation="relu")


def _pooled(net: Tracer, here: int, _width: int, draw: Draw) -> int:
    return net.pool("maxpool" if draw.random() < 0.5 else "avgpool", here, 3)


def _passes(net: Tracer, here: int, channels: int, draw: Draw) -> int:
    """Whole passes over memory between convolutions: additions, concatenations, activations that nothing takes in."""
    way = int(draw.integers(3))
    one = net.conv(here, channels, 1, norm=True)
    if way == 0:
        return net.elementwise("add", [one, here]) if here >= 0 else one
    if way == 1:
        half = max(1, channels // 2)
        return net.concat([net.conv(one, half, 1, norm=True), net.conv(one, channels - half, 3, norm=True)])
    return net.elementwise("activation", [one], activation=_one(draw, ("silu", "hardswish", "sigmoid")))


def _first(draw: Draw) -> Workload:
    """A first layer on the image, and not much behind it."""
    side = int(draw.choice([96, 128, 160, 192, 224, 256]))
    net = Tracer(int(draw.choice([1, 3, 3, 3])), side, side)
    kernel = int(draw.choice([3, 5, 7]))
    here = net.conv(
        -1, _channels(draw, 8, 96), kernel, stride=int(draw.choice([1, 2, 4])), norm=True, activation="relu"
    )
    net.head(here, CLASSES)
    return net.workload()


def _linear(draw: Draw) -> Workload:
    """Linear layers, which read their weights and little else."""
    net = Tracer(_channels(draw, 16, 256), 7, 7)
    here = net.linear(
        -1 if draw.random() < 0.5 else net.global_pool(-1), int(draw.choice([256, 512, 1024])), activation="relu"
    )
    for _ in range(int(draw.integers(1, 4))):
        here = net.linear(here, int(draw.choice([256, 512, 1024])), activation="relu")
    return net.workload()


_LAYERS: dict[str, Callable[[Tracer, int, int, Draw], int]] = {
    "dense1": _dense(1), "dense3": _dense(3), "dense5": _dense(5), "strided3": _dense(3, 2), "depthwise3": _depthwise(3),
    "depthwise5": _depthwise(5), "depthwise7": _depthwise(7), "grouped": _grouped, "pool": _pooled, "passes": _passes,
}  # fmt: skip


# ---------------------------------------------------------------- whole networks


def _residual(draw: Draw, sides: tuple[int, ...]) -> Workload:
    """ResNet's: dense blocks of two 3x3 convolutions, or bottlenecks, with additions."""
    side, width = int(draw.choice(sides)), _channels(draw, 24, 80)
    net = Tracer(3, side, side)
    large = side >= 96
    here = net.conv(-1, width, 7 if large else 3, stride=2 if large else 1, norm=True, activation="relu")
    here = net.pool("maxpool", here, 3, stride=2) if large else here
    narrow = draw.random() < 0.4
    for stage in range(int(draw.integers(3, 5))):
        out = width * 2**stage
        for block in range(int(draw.integers(1, 4))):
            stride = 2 if stage and not block else 1
            same = stride == 1 and net.shape(here)[0] == out * (2 if narrow else 1)
            across = here if same else net.conv(here, out * (2 if narrow else 1), 1, stride=stride, norm=True)
            inner = net.conv(here, out, 1, norm=True, activation="relu") if narrow else here
            inner = net.conv(inner, out, 3, stride=stride, norm=True, activation="relu")
            last, kernel = (out * 2, 1) if narrow else (out, 3)
            here = net.conv(inner, last, kernel, norm=True, activation="relu", residual=across)
    net.head(here, CLASSES)
    return net.workload()


def _mobile(draw: Draw, sides: tuple[int, ...]) -> Workload:
    """MobileNet's and EfficientNet's: inverted residuals, depthwise in the middle, some with a gate."""
    side, width, act = int(draw.choice(sides)), _channels(draw, 12, 40), _one(draw, ACTIVATIONS)
    net = Tracer(3, side, side)
    here = net.conv(-1, width, 3, stride=2 if side >= 96 else 1, norm=True, activation=act)
    gated = draw.random() < 0.4
    for stage in range(int(draw.integers(4, 7))):
        out, kernel, wider = (
            int(width * 1.6**stage) // 8 * 8 or 8,
            int(draw.choice([3, 5])),
            int(draw.choice([1, 3, 4, 6])),
        )
        for block in range(int(draw.integers(1, 4))):
            stride = 2 if stage and not block else 1
            channels = net.shape(here)[0]
            inner = net.conv(here, channels * wider, 1, norm=True, activation=act) if wider > 1 else here
            inner = net.conv(
                inner, channels * wider, kernel, stride=stride, groups=channels * wider, norm=True, activation=act
            )
            inner = _gate(net, inner) if gated else inner
            same = stride == 1 and channels == out
            here = net.conv(inner, out, 1, norm=True, residual=here if same else None)
    here = net.conv(here, 4 * net.shape(here)[0], 1, norm=True, activation=act)
    net.head(here, CLASSES)
    return net.workload()


def _gate(net: Tracer, here: int) -> int:
    """Squeeze and excitation."""
    channels = net.shape(here)[0]
    small = net.conv(net.global_pool(here), max(8, channels // 8), 1, bias=True, activation="relu")
    return net.elementwise("mul", [here, net.conv(small, channels, 1, bias=True, activation="sigmoid")])


def _plain(draw: Draw, sides: tuple[int, ...]) -> Workload:
    """VGG's and AlexNet's: dense convolutions and pools in a row."""
    side, width = int(draw.choice(sides)), _channels(draw, 16, 64)
    net = Tracer(3, side, side)
    here = net.conv(-1, width, 3, stride=2 if side >= 96 else 1, norm=True, activation="relu")
    for stage in range(int(draw.integers(3, 5))):
        for _ in range(int(draw.integers(1, 4))):
            here = net.conv(here, min(512, width * 2**stage), 3, norm=True, activation="relu")
        here = net.pool("maxpool", here, 2, stride=2, padding=0)
    net.head(here, CLASSES)
    return net.workload()


def _branches(draw: Draw, sides: tuple[int, ...]) -> Workload:
    """SqueezeNet's, GoogLeNet's and YOLO's: branches side by side, joined by a concatenation."""
    side, width, act = int(draw.choice(sides)), _channels(draw, 16, 48), _one(draw, ("relu", "silu"))
    net = Tracer(3, side, side)
    here = net.conv(-1, width, 3, stride=2 if side >= 96 else 1, norm=True, activation=act)
    for stage in range(int(draw.integers(3, 5))):
        here = net.conv(here, width * 2**stage, 3, stride=2, norm=True, activation=act)
        for _ in range(int(draw.integers(1, 4))):
            half = width * 2**stage // 2
            left, right = (net.conv(here, half, 1, norm=True, activation=act) for _ in range(2))
            for _ in range(int(draw.integers(1, 3))):
                deeper = net.conv(right, half, 3, norm=True, activation=act)
                right = net.elementwise("add", [deeper, right]) if draw.random() < 0.5 else deeper
            here = net.conv(net.concat([left, right]), width * 2**stage, 1, norm=True, activation=act)
    net.head(here, CLASSES)
    return net.workload()


_FAMILIES = (_mobile, _residual, _branches, _plain)
LARGE, SMALL = (128, 160, 192, 224), (28, 32, 48, 64)


def _family(offset: int, sides: tuple[int, ...]) -> Callable[[Draw, int], Workload]:
    return lambda draw, turn: _FAMILIES[(turn + offset) % len(_FAMILIES)](draw, sides)


def _kernels(*kinds: str) -> Callable[[Draw, int], Workload]:
    return lambda draw, turn: _chain(draw, kinds, turn)


def _edge(draw: Draw, turn: int) -> Workload:
    return (_first if turn % 2 else _linear)(draw)


_PLAN: tuple[tuple[str, Callable[[Draw, int], Workload]], ...] = (
    ("whole", _family(0, LARGE)),
    ("kernels", _kernels("dense3", "dense1", "dense5", "strided3")),
    ("whole", _family(1, LARGE)),
    ("kernels", _kernels("depthwise3", "depthwise5", "depthwise7", "grouped")),
    ("small", _family(0, SMALL)),
    ("whole", _family(2, LARGE)),
    ("kernels", _kernels("dense1", "passes", "pool")),
    ("whole", _family(3, LARGE)),
    ("edge", _edge),
    ("small", _family(1, SMALL)),
)


def _channels(draw: Draw, least: int, most: int) -> int:
    """Log-uniform; three in four are multiples of 8, as in most networks, the others of 4."""
    step = 8 if draw.random() < 0.75 else 4
    return max(step, int(np.exp(draw.uniform(np.log(least), np.log(most)))) // step * step)


def _one(draw: Draw, choices: tuple[str, ...]) -> str:
    return choices[int(draw.integers(len(choices)))]
