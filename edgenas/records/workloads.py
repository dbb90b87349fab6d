"""Workloads: what a device executes, and what stands at the end of a network."""

from __future__ import annotations

from typing import Literal

from edgenas.ranges import (
    Channels,
    ClassCount,
)
from edgenas.records.base import BYTES, Record


class Classes(Record, frozen=True, tag="classes", tag_field="kind"):
    """Global average pool, then a linear layer with bias to `count` logits."""

    count: ClassCount


class Embedding(Record, frozen=True, tag="embedding", tag_field="kind"):
    """Global pool (average, or a depthwise convolution over the whole map), BN, linear to `dim`, BN."""

    dim: Channels
    pool: Literal["average", "depthwise"] = "average"


class Outputs(Record, frozen=True, tag="outputs", tag_field="kind"):
    """Global average pool, then a linear layer with bias to `count` numbers that mean what the task says, such as an angle."""

    count: ClassCount


Head = Classes | Embedding | Outputs


KernelKind = Literal[
    "conv", "depthwise", "linear", "maxpool", "avgpool", "globalpool", "add", "mul", "mean", "concat", "slice",
    "activation", "shuffle", "normalization", "matmul", "softmax", "resize", "reduce", "convtranspose",
]  # fmt: skip


class Kernel(Record, frozen=True):
    """One launched kernel, after the runtime's fusions (conv + BN + activation is one).

    `height`, `width`: of the *output*; `in_height`, `in_width`: of (each) input, in pixels. `inputs`: indices of the kernels
    in the workload whose outputs this one reads, -1 = the network's input. `norm`: a folded batch norm (2 x out_channels
    trained parameters). `residual`: index of a kernel whose output is added in the same launch (one more read).
    `begin`: first channel of a slice. `counts_padding`: does an average pool divide by padded pixels as well?
    """

    kind: KernelKind
    in_channels: int
    out_channels: int
    height: int
    width: int
    in_height: int
    in_width: int
    inputs: tuple[int, ...]
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1
    norm: bool = False
    bias: bool = False
    activation: str = ""
    residual: int | None = None
    begin: int = 0
    counts_padding: bool = False

    @property
    def weights(self) -> int:
        """Weights of the operation itself, without bias or norm."""
        if self.kind not in ("conv", "depthwise", "linear", "convtranspose"):
            return 0
        return self.in_channels // self.groups * self.out_channels * self.kernel[0] * self.kernel[1]

    @property
    def params(self) -> int:
        """Trained parameters: weights, bias, and two per channel for a batch norm (running statistics are not counted)."""
        return self.weights + self.out_channels * (2 * self.norm + self.bias)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the convolution or linear layer at batch 1; 0 for everything else."""
        transposed = self.kind == "convtranspose"  # every *input* pixel meets every weight once
        return self.weights * (self.in_height * self.in_width if transposed else self.height * self.width)

    @property
    def sources(self) -> tuple[int, ...]:
        """The kernels that it reads, an added residual last."""
        return self.inputs if self.residual is None else (*self.inputs, self.residual)

    @property
    def input_elements(self) -> int:
        # Of a product, a gate (C, 1, 1) counts as a map, 3 % of MnasNet-A1's bytes: all profiles are fitted to it.
        return self.in_channels * self.in_height * self.in_width * (1 if self.kind == "concat" else len(self.inputs))

    @property
    def output_elements(self) -> int:
        return self.out_channels * self.height * self.width

    @property
    def elements_moved(self) -> int:
        """Elements read and written once: inputs, an added residual, output, weights."""
        residual = 0 if self.residual is None else self.output_elements
        return self.input_elements + residual + self.output_elements + self.weights


class Workload(Record, frozen=True):
    """The kernels of one network at batch 1, in execution order."""

    kernels: tuple[Kernel, ...]

    @property
    def macs(self) -> int:
        return sum(kernel.macs for kernel in self.kernels)

    @property
    def params(self) -> int:
        return sum(kernel.params for kernel in self.kernels)

    @property
    def bytes_moved(self) -> int:
        """Bytes read and written by all kernels at FP32, batch 1."""
        return 4 * sum(kernel.elements_moved for kernel in self.kernels)

    def size_mb(self, precision: str = "fp32") -> float:
        """Weights as stored at `precision`, MB."""
        return self.params * BYTES[precision] / 1e6

    def memory_mb(self, precision: str = "fp32") -> float:
        """Peak of live activations plus all weights at `precision`, batch 1, MB."""
        last_read: dict[int, int] = {}
        for index, kernel in enumerate(self.kernels):
            last_read.update(dict.fromkeys(kernel.sources, index))
        first = self.kernels[0]
        live = {-1: first.in_channels * first.in_height * first.in_width}
        peak = 0
        for index, kernel in enumerate(self.kernels):
            live[index] = kernel.output_elements
            peak = max(peak, sum(live.values()))
            live = {source: size for source, size in live.items() if last_read.get(source, -1) > index}
        return (peak + self.params) * BYTES[precision] / 1e6
