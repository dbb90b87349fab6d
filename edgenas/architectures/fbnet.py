"""The FBNet space as HW-NAS-Bench measured it: 22 searched layers, nine choices each; `fbnet:` and 22 digits."""

from __future__ import annotations

from typing import Literal

from edgenas.architectures.workload import Tracer
from edgenas.errors import EdgenasError
from edgenas.records import Classes, FbnetArchitecture, Record, Workload


class Block(Record, frozen=True):
    """Inverted residual: 1x1 expansion, depthwise, 1x1 projection; both 1x1 in `groups`, shuffled in between."""

    kernel: int
    expansion: int
    groups: int


SKIP = 8
BLOCKS = (
    Block(3, 1, 1), Block(3, 1, 2), Block(3, 3, 1), Block(3, 6, 1),
    Block(5, 1, 1), Block(5, 1, 2), Block(5, 3, 1), Block(5, 6, 1),
)  # fmt: skip
LAYERS = (1, 4, 4, 4, 4, 4, 1)
CHANNELS = (16, 24, 32, 64, 112, 184, 352)
STRIDES = {32: (1, 1, 2, 2, 1, 2, 1), 224: (1, 2, 2, 2, 1, 2, 1)}
STEM_STRIDE = {32: 1, 224: 2}
HEAD_CHANNELS = {32: 1504, 224: 1984}
CLASSES = {32: 100, 224: 1000}
PREFIX = "fbnet:"


def fbnet_from_text(text: str, image_size: Literal[32, 224] = 32) -> FbnetArchitecture:
    """The network of `fbnet:` followed by 22 digits 0..8."""
    digits = text.removeprefix(PREFIX)
    if not text.startswith(PREFIX) or len(digits) != sum(LAYERS) or not set(digits) <= set("012345678"):
        raise EdgenasError(f"{text!r} is not an FBNet architecture: write fbnet: and {sum(LAYERS)} digits 0..8")
    return FbnetArchitecture(tuple(map(int, digits)), Classes(CLASSES[image_size]), image_size)


def workload_from_fbnet(architecture: FbnetArchitecture) -> Workload:
    """Kernels in order; a skipped layer is nothing where the shape stays, a 1x1 convolution where it changes."""
    size = architecture.image_size
    if len(architecture.ops) != sum(LAYERS) or not all(0 <= op <= SKIP for op in architecture.ops):
        raise EdgenasError(f"an FBNet architecture has {sum(LAYERS)} ops 0..8, not {architecture.ops}")
    trace = Tracer(architecture.in_channels, size, size)
    here = trace.conv(-1, 16, 3, stride=STEM_STRIDE[size], norm=True, activation="relu")
    ops = iter(architecture.ops)
    for layers, channels, stage_stride in zip(LAYERS, CHANNELS, STRIDES[size], strict=True):
        for index in range(layers):
            here = _layer(trace, here, next(ops), channels, stage_stride if index == 0 else 1)
    here = trace.conv(here, HEAD_CHANNELS[size], 1, norm=True, activation="relu")
    trace.head(here, architecture.head)
    return trace.workload()


def _layer(trace: Tracer, source: int, op: int, channels: int, stride: int) -> int:
    same = trace.shape(source)[0] == channels and stride == 1
    if op == SKIP:
        return source if same else trace.conv(source, channels, 1, stride=stride, norm=True, activation="relu")
    block = BLOCKS[op]
    hidden = trace.shape(source)[0] * block.expansion
    here = trace.conv(source, hidden, 1, groups=block.groups, norm=True, activation="relu")
    if block.groups > 1:
        here = trace.channels("shuffle", here, hidden, groups=block.groups)
    here = trace.conv(here, hidden, block.kernel, stride=stride, groups=hidden, norm=True, activation="relu")
    return trace.conv(here, channels, 1, groups=block.groups, norm=True, residual=source if same else None)
