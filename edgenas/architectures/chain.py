"""The chain: the space of GNAS (arXiv 2502.03553) and TRG-NAS (CAIP 2023).

Stem convolution, `depth` layers in three stages of doubling width, one global pooling, one head. No skips. Before images of more
than 32 px stand convolutions of stride 2 (stem.py). A rectangle is halved as often as the square of as many pixels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking, sizes
from edgenas.architectures.stem import Stem, growing_stem
from edgenas.architectures.tracer import TRACES, Tracer
from edgenas.architectures.traits import receptive_field
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, sides_of, square_side
from edgenas.records import Architecture, ChainArchitecture, Embedding, Head, Record, Workload

SEPARABLE, DENSE = 0, 1
LAYERS = {SEPARABLE: "separable", DENSE: "dense"}
CHAIN_FEATURES = 16


class ChainSpace(Record, NamedChoices, frozen=True):
    """Bounds of the macro search and the operations of the micro search."""

    name: ClassVar[str] = "chain"

    head: Head
    in_channels: int
    image_size: ImageSize
    min_depth: int
    max_depth: int
    min_width: int
    max_width: int
    width_step: int = 2
    kernels: tuple[int, ...] = (3, 5)
    stem: Stem = "wide"

    def __post_init__(self) -> None:
        if not 3 <= self.min_depth <= self.max_depth:
            raise EdgenasError(f"depth bounds {self.min_depth}..{self.max_depth}: need 3 <= min_depth <= max_depth")
        if not 1 <= self.min_width <= self.max_width:
            raise EdgenasError(f"width bounds {self.min_width}..{self.max_width}: need 1 <= min_width <= max_width")
        if self.width_step < 1:
            raise EdgenasError(f"width step {self.width_step}: must be at least 1")
        if not self.kernels or any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise EdgenasError(f"kernels {list(self.kernels)}: need one or more, each of them odd")

    def chain(
        self, depth: int, width: int, ops: tuple[int, ...] | None = None, kernels: tuple[int, ...] | None = None
    ) -> ChainArchitecture:
        """The member of this depth and width; all separable 3x3 unless told otherwise (without 3, the smallest kernel)."""
        usual = 3 if 3 in self.kernels else min(self.kernels)
        return chain(
            width,
            depth,
            ops=ops or (SEPARABLE,) * depth,
            kernels=kernels or (usual,) * depth,
            head=self.head,
            in_channels=self.in_channels,
            image_size=self.image_size,
            stem=self.stem,
        )

    def choices(self) -> dict[str, Values]:
        """depth, width, and per layer its operation (op_0, ..) and kernel (kernel_0, ..)."""
        layers = range(self.max_depth)
        return {
            "depth": range(self.min_depth, self.max_depth + 1),
            "width": range(self.min_width, self.max_width + 1, self.width_step),
            **{f"op_{layer}": range(2) for layer in layers},
            **{f"kernel_{layer}": self.kernels for layer in layers},
        }

    def choose(self, answer: Answer) -> ChainArchitecture:
        ask = asking(self.choices(), answer)
        depth, width = int(ask("depth")), int(ask("width"))
        ops = tuple(int(ask(f"op_{layer}")) for layer in range(depth))
        return self.chain(depth, width, ops, tuple(int(ask(f"kernel_{layer}")) for layer in range(depth)))

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, ChainArchitecture):
            raise EdgenasError("this network is no chain")
        return {
            "depth": network.depth,
            "width": network.width,
            **{f"op_{layer}": op for layer, op in enumerate(network.ops)},
            **{f"kernel_{layer}": kernel for layer, kernel in enumerate(network.kernels)},
        }

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, ChainArchitecture)
        return workload_from_chain(network)

    def smallest(self) -> ChainArchitecture:
        """The shallowest and narrowest, of separable layers with the smallest kernel: it has the fewest parameters."""
        return self.simplest()[0]

    def simplest(self) -> tuple[ChainArchitecture, ...]:
        """The shallowest and narrowest with the smallest kernel, all separable and all dense. Separable layers have the fewest
        parameters, and two kernels where a dense one has one: where starting kernels is most of the time, dense is faster."""
        depth, kernels = self.min_depth, (min(self.kernels),) * self.min_depth
        return tuple(self.chain(depth, self.min_width, (op,) * depth, kernels) for op in (SEPARABLE, DENSE))

    def reference(self) -> ChainArchitecture:
        """The deepest and widest, all separable, of the usual kernel."""
        return self.chain(self.max_depth, self.max_width)

    def features(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """(n, CHAIN_FEATURES): see `chain_features`; their number does not grow with the depth."""
        rows = [chain_features(network) for network in networks if isinstance(network, ChainArchitecture)]
        return np.array(rows, np.float64).reshape(len(networks), CHAIN_FEATURES)

    def contains(self, network: Architecture) -> bool:
        """A width between the steps is a member, too: GNAS matches sizes one channel at a time."""
        if not isinstance(network, ChainArchitecture):
            return False
        within = self.min_depth <= network.depth <= self.max_depth and self.min_width <= network.width <= self.max_width
        if not within or not {*network.kernels} <= {*self.kernels} or not {*network.ops} <= {SEPARABLE, DENSE}:
            return False
        return self.chain(network.depth, network.width, network.ops, network.kernels) == network


def chain(
    width: int,
    depth: int,
    ops: tuple[int, ...],
    kernels: tuple[int, ...],
    head: Head,
    in_channels: int = 3,
    image_size: ImageSize = 32,
    stem: Stem = "wide",
) -> ChainArchitecture:
    """A chain whose strides fit `image_size`: large images are first brought to 32 px (embeddings: 28 px) or less by
    stride-2 convolutions, `stem`; for small ones reductions are dropped, the later first, so that the last stage keeps 4x4."""
    stem_strides = (2,) * stem_reductions(head, image_size)
    side = -(-square_side(image_size) // 2 ** len(stem_strides))
    strides: tuple[int, int] = (2, 2)
    if side < 13:  # 13 -> 7 -> 4
        strides = (2, 1)
    if side < 7:
        strides = (1, 1)
    kind: Stem = stem if stem_strides else "wide"
    return ChainArchitecture(width, depth, ops, kernels, head, in_channels, image_size, stem_strides, strides, kind)


def stem_reductions(head: Head, image_size: ImageSize) -> int:
    """How often images of this size are halved before a chain begins."""
    first_stage = 28 if isinstance(head, Embedding) else 32
    reductions, side = 0, square_side(image_size)
    while side > first_stage:
        reductions, side = reductions + 1, -(-side // 2)
    return reductions


def layer_shapes(architecture: ChainArchitecture) -> list[tuple[int, int, int]]:
    """(in_channels, out_channels, stride) of every layer: the working width doubles at floor(L/3) and floor(2L/3)."""
    first, second = architecture.depth // 3, 2 * architecture.depth // 3
    shapes = []
    channels, working = 2 * architecture.width, architecture.width
    for index in range(architecture.depth):
        stride = 1
        if index in (first, second):
            working *= 2
            stride = architecture.stage_strides[0 if index == first else 1]
        shapes.append((channels, working, stride))
        channels = working
    return shapes


def check_chain(architecture: ChainArchitecture) -> None:
    """Raise EdgenasError where lengths, operations or kernels do not make a network."""
    depth = architecture.depth
    if depth < 3 or architecture.width < 1:
        raise EdgenasError(f"a chain needs depth >= 3 and width >= 1, not depth {depth}, width {architecture.width}")
    if len(architecture.ops) != depth or len(architecture.kernels) != depth:
        raise EdgenasError(
            f"a chain of depth {depth} needs {depth} ops and kernels, not {len(architecture.ops)} and {len(architecture.kernels)}"
        )
    if any(op not in (SEPARABLE, DENSE) for op in architecture.ops):
        raise EdgenasError("chain operations are 0 (separable) and 1 (dense)")
    if any(k < 1 or k % 2 == 0 for k in architecture.kernels):
        raise EdgenasError("chain kernels are odd: 3, 5, 7, ...")
    if architecture.stem == "growing" and set(architecture.stem_strides) != {2}:
        raise EdgenasError(
            f"a growing stem has convolutions of stride 2 only, and at least one, not {list(architecture.stem_strides)}"
        )


@functools.lru_cache(TRACES)
def workload_from_chain(architecture: ChainArchitecture) -> Workload:
    """Kernels as a runtime launches them: every ReLU rides on the convolution before it.

    A layer is ReLU, convolutions, BN; so the activation of layer i+1 is fused into the last convolution of layer i.
    """
    check_chain(architecture)
    trace = Tracer(architecture.in_channels, *sides_of(architecture.image_size))
    shapes = layer_shapes(architecture)
    if architecture.stem == "growing":
        here = growing_stem(trace, 2 * architecture.width, len(architecture.stem_strides))
    else:
        here = -1
        for stride in architecture.stem_strides:
            here = trace.conv(here, 2 * architecture.width, 3, stride=stride, norm=True, activation="relu")
        here = trace.conv(here, 2 * architecture.width, 3, norm=True, activation="relu")
    for index, (channels, out_channels, stride) in enumerate(shapes):
        activation: Literal["relu", ""] = "relu" if index < architecture.depth - 1 else ""
        kernel = architecture.kernels[index]
        if architecture.ops[index] == DENSE:
            here = trace.conv(here, out_channels, kernel, stride=stride, norm=True, activation=activation)
        else:
            here = trace.conv(here, channels, kernel, stride=stride, groups=channels)
            here = trace.conv(here, out_channels, 1, norm=True, activation=activation)
    trace.head(here, architecture.head)
    return trace.workload()


def chain_features(network: ChainArchitecture) -> tuple[float, ...]:
    """CHAIN_FEATURES numbers: layers / 10, log2 of the width; of each third of the layers the share of dense ones, of kernels
    of 5, and of 7 or more; log2 of the receptive field; then what every space has (`space.sizes`)."""
    workload, depth = workload_from_chain(network), network.depth
    thirds = (range(depth // 3), range(depth // 3, 2 * depth // 3), range(2 * depth // 3, depth))
    kinds = [(op == DENSE, kernel == 5, kernel >= 7) for op, kernel in zip(network.ops, network.kernels, strict=True)]
    shares = (sum(kinds[layer][kind] for layer in third) / len(third) for third in thirds for kind in range(3))
    return (depth / 10, math.log2(network.width), *shares, math.log2(receptive_field(workload)), *sizes(workload))
