"""Stages of equal blocks: chains, MobileNetV2, MnasNet, EfficientNet-Lite and ResNets are such networks.

Stem convolution, stages, an optional 1x1 convolution, one global pooling, one head. The first block of a stage leads to its
width and has its stride. Every convolution has a batch norm but the depthwise one of a separable block. Blocks, from a map of
C channels to W, k = kernel, with the network's activation (ReLU or ReLU6: both are exact in INT8):

    separable  depthwise k x k; 1x1 to W, activation (the chain's)
    dense      k x k to W, activation (the chain's, VGG's)
    residual   k x k to W, activation; k x k to W, plus the input, activation (ResNet-18's; 1x1 for an input of another shape)
    mbconv     1x1 to C expansion, activation, left out at expansion 1; depthwise k x k, activation; 1x1 to W
    fused      k x k to C expansion, activation; 1x1 to W

The input is added to the result of mbconv and fused where the shape stays. Squeeze-excitation, before their last convolution:
mean of every channel, 1x1 to C / 4, ReLU, 1x1, sigmoid, and each channel is multiplied by its number.
"""

from __future__ import annotations

import functools
from itertools import pairwise
from typing import get_args

from edgenas.architectures.chain import DENSE, check_chain, layer_shapes
from edgenas.architectures.tracer import TRACES, Tracer
from edgenas.errors import EdgenasError
from edgenas.image_sizes import sides_of
from edgenas.records import BlockKind, ChainArchitecture, Stage, StagesArchitecture, Workload

BLOCKS: tuple[BlockKind, ...] = get_args(BlockKind)
EXPANDING: tuple[BlockKind, ...] = ("mbconv", "fused")  # blocks with an inner width of their own
SQUEEZE = 4  # channels of a block's input for each inner channel of squeeze-excitation (MnasNet, EfficientNet)
MOST_STAGES, MOST_BLOCKS = 64, 1000
Spans = tuple[range, ...]  # the kernels of each stage, as indices in the workload


def check_stages(architecture: StagesArchitecture) -> None:
    """Raise EdgenasError where the stages do not make a network."""
    stages = architecture.stages
    if not 1 <= len(stages) <= MOST_STAGES or sum(stage.repeats for stage in stages) > MOST_BLOCKS:
        raise EdgenasError(
            f"a network of stages has 1 to {MOST_STAGES} stages and at most {MOST_BLOCKS} blocks, not {len(stages)} and "
            f"{sum(stage.repeats for stage in stages)}"
        )
    if any(kernel % 2 == 0 for kernel in (architecture.stem_kernel, *(stage.kernel for stage in stages))):
        raise EdgenasError("kernels of a network of stages are odd: 1, 3, 5, ...")
    for place, stage in enumerate(stages):
        if stage.block not in EXPANDING and (stage.expansion != 1 or stage.squeeze):
            raise EdgenasError(
                f"stage {place} has {stage.block} blocks with expansion {stage.expansion}, squeeze {stage.squeeze}: only "
                f"{' and '.join(EXPANDING)} blocks have these"
            )


def workload_from_stages(architecture: StagesArchitecture) -> Workload:
    """Kernels as a runtime launches them: norms, activations and additions ride on the convolution before them."""
    return traced_stages(architecture)[0]


@functools.lru_cache(TRACES)
def traced_stages(architecture: StagesArchitecture) -> tuple[Workload, Spans]:
    """The workload, and which of its kernels are each stage's."""
    check_stages(architecture)
    trace = StageTracer(architecture)
    here = trace.conv(
        -1,
        architecture.stem_width,
        architecture.stem_kernel,
        stride=architecture.stem_stride,
        norm=True,
        activation=trace.activation,
    )
    starts = []
    for stage in architecture.stages:
        starts.append(len(trace.kernels))
        for index in range(stage.repeats):
            here = trace.block(here, stage, stage.stride if index == 0 else 1)
    starts.append(len(trace.kernels))
    if architecture.head_width:
        here = trace.conv(here, architecture.head_width, 1, norm=True, activation=trace.activation)
    trace.head(here, architecture.head)
    return trace.workload(), tuple(range(start, end) for start, end in pairwise(starts))


class StageTracer(Tracer):
    """A tracer that knows the blocks."""

    def __init__(self, architecture: StagesArchitecture) -> None:
        super().__init__(architecture.in_channels, *sides_of(architecture.image_size))
        self.activation = architecture.activation

    def block(self, source: int, stage: Stage, stride: int) -> int:
        """(C, H, W) -> (width, H / stride, W / stride), rounded up."""
        if stage.block == "dense":
            return self.active(source, stage.width, stage.kernel, stride)
        if stage.block == "separable":
            channels = self.shape(source)[0]
            here = self.conv(source, channels, stage.kernel, stride=stride, groups=channels)
            return self.active(here, stage.width, 1)
        if stage.block == "residual":
            return self._residual(source, stage, stride)
        return self._bottleneck(source, stage, stride)

    def active(self, source: int, width: int, kernel: int, stride: int = 1, groups: int = 1) -> int:
        """Convolution, norm, activation."""
        return self.conv(source, width, kernel, stride=stride, groups=groups, norm=True, activation=self.activation)

    def _residual(self, source: int, stage: Stage, stride: int) -> int:
        same = self._keeps_shape(source, stage, stride)
        inner = self.active(source, stage.width, stage.kernel, stride)
        shortcut = source if same else self.conv(source, stage.width, 1, stride=stride, norm=True)
        return self.conv(inner, stage.width, stage.kernel, norm=True, activation=self.activation, residual=shortcut)

    def _bottleneck(self, source: int, stage: Stage, stride: int) -> int:
        channels = self.shape(source)[0]
        hidden, here = channels * stage.expansion, source
        if stage.block == "fused":
            here = self.active(here, hidden, stage.kernel, stride)
        else:
            if stage.expansion > 1:
                here = self.active(here, hidden, 1)
            here = self.active(here, hidden, stage.kernel, stride, groups=hidden)
        if stage.squeeze:
            here = self._squeezed(here, max(1, channels // SQUEEZE))
        residual = source if self._keeps_shape(source, stage, stride) else None
        return self.conv(here, stage.width, 1, norm=True, residual=residual)

    def _squeezed(self, source: int, inner: int) -> int:
        """(C, H, W) -> (C, H, W), each channel times a number in 0..1."""
        gate = self.conv(self.global_pool(source), inner, 1, bias=True, activation="relu")
        gate = self.conv(gate, self.shape(source)[0], 1, bias=True, activation="sigmoid")
        return self.elementwise("mul", [source, gate])

    def _keeps_shape(self, source: int, stage: Stage, stride: int) -> bool:
        return stride == 1 and self.shape(source)[0] == stage.width


def stages_from_chain(chain: ChainArchitecture) -> StagesArchitecture:
    """The network of stages with the same layers, parameters and MACs: a stage ends where the width, operation or kernel does. It
    has one more ReLU, behind its last layer. Raises EdgenasError where a stem of several convolutions stands before the chain."""
    check_chain(chain)
    if chain.stem_strides:
        raise EdgenasError(
            f"the chain has {len(chain.stem_strides)} convolutions before its first one: a network of stages has one stem"
        )
    stages: list[Stage] = []
    for (_, width, stride), op, kernel in zip(layer_shapes(chain), chain.ops, chain.kernels, strict=True):
        last = stages[-1] if stages else None
        block: BlockKind = "dense" if op == DENSE else "separable"
        if last is not None and stride == 1 and (last.block, last.width, last.kernel) == (block, width, kernel):
            stages[-1] = Stage(block, width, last.repeats + 1, kernel, last.stride)
        else:
            stages.append(Stage(block, width, 1, kernel, stride))
    return StagesArchitecture(tuple(stages), chain.head, chain.in_channels, chain.image_size, 2 * chain.width)
