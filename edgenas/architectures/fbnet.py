"""The FBNet space as HW-NAS-Bench measured it: 22 searched layers, nine choices each; `fbnet:` and 22 digits."""

from __future__ import annotations

import functools
from typing import ClassVar, Literal

from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking
from edgenas.architectures.tracer import TRACES, Tracer
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, size_in_words
from edgenas.ranges import Channels
from edgenas.records import Architecture, Classes, FbnetArchitecture, Head, Record, Workload


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
OPERATIONS = (  # as choices are called: kernel, expansion, groups
    "k3_e1", "k3_e1_g2", "k3_e3", "k3_e6", "k5_e1", "k5_e1_g2", "k5_e3", "k5_e6", "skip",
)  # fmt: skip


class FbnetSpace(Record, NamedChoices, frozen=True):
    """All 9^22 networks for images of 32 or 224 px."""

    name: ClassVar[str] = "fbnet"

    head: Head
    in_channels: Channels = 3
    image_size: Literal[32, 224] = 32

    def choices(self) -> dict[str, Values]:
        """block_0 to block_21: an operation each."""
        return {f"block_{layer}": OPERATIONS for layer in range(sum(LAYERS))}

    def choose(self, answer: Answer) -> FbnetArchitecture:
        choices = self.choices()
        ask = asking(choices, answer)
        ops = tuple(OPERATIONS.index(str(ask(name))) for name in choices)
        return FbnetArchitecture(ops, self.head, self.image_size, self.in_channels)

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, FbnetArchitecture):
            raise EdgenasError("this network is none of FBNet's")
        check_fbnet(network)
        return {f"block_{layer}": OPERATIONS[op] for layer, op in enumerate(network.ops)}

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, FbnetArchitecture)
        return workload_from_fbnet(network)


def fbnet_space(head: Head, in_channels: int, image_size: ImageSize) -> FbnetSpace:
    """FBNet for these data. Raises EdgenasError for images that are not of 32 or 224 px."""
    if image_size not in STRIDES:
        raise EdgenasError(
            f"space fbnet is for images of 32 or 224 px, not {size_in_words(image_size)}: set --image-size 32 or 224"
        )
    return FbnetSpace(head, in_channels, 32 if image_size == 32 else 224)


def fbnet_from_text(text: str, image_size: Literal[32, 224] = 32) -> FbnetArchitecture:
    """The network of `fbnet:` followed by 22 digits 0..8."""
    digits = text.removeprefix(PREFIX)
    if not text.startswith(PREFIX) or len(digits) != sum(LAYERS) or not set(digits) <= set("012345678"):
        raise EdgenasError(f"{text!r} is not an FBNet architecture: write fbnet: and {sum(LAYERS)} digits 0..8")
    return FbnetArchitecture(tuple(map(int, digits)), Classes(CLASSES[image_size]), image_size)


def check_fbnet(architecture: FbnetArchitecture) -> None:
    """Raise EdgenasError where there are not 22 operations 0..8."""
    if len(architecture.ops) != sum(LAYERS) or not all(0 <= op <= SKIP for op in architecture.ops):
        raise EdgenasError(f"an FBNet architecture has {sum(LAYERS)} ops 0..8, not {architecture.ops}")


@functools.lru_cache(TRACES)
def workload_from_fbnet(architecture: FbnetArchitecture) -> Workload:
    """Kernels in order; a skipped layer is nothing where the shape stays, a 1x1 convolution where it changes."""
    check_fbnet(architecture)
    size = architecture.image_size
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
