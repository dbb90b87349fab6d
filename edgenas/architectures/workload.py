"""Architecture -> workload: what a device executes, with parameters, MACs and bytes.

`Tracer` writes down kernels one after the other and keeps track of shapes; each space has its `workload_from_*`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from edgenas.errors import EdgenasError
from edgenas.records import (
    Architecture,
    CellArchitecture,
    ChainArchitecture,
    Classes,
    FbnetArchitecture,
    Head,
    Kernel,
    KernelKind,
    MultiBranchArchitecture,
    Outputs,
    Workload,
)

LARGEST_PARAMS, LARGEST_MACS = (
    10**11,
    10**15,
)  # of a network for one image; GPT-3 has 1.75e11, the largest vision models 2e10


TRACES = 256  # workloads that are remembered; a deep chain takes about 0.1 MB


class Tracer:
    """Appends kernels to a workload; every method returns the new kernel's index, to be used as an input later.

    Index -1 is the network's input, (channels, height, width).
    """

    def __init__(self, channels: int, height: int, width: int) -> None:
        self.input = (channels, height, width)
        self.kernels: list[Kernel] = []

    def shape(self, index: int) -> tuple[int, int, int]:
        """(channels, height, width) of a kernel's output, or of the network's input."""
        if index < 0:
            return self.input
        kernel = self.kernels[index]
        return kernel.out_channels, kernel.height, kernel.width

    def conv(
        self,
        source: int,
        out_channels: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | None = None,
        dilation: int = 1,
        groups: int = 1,
        norm: bool = False,
        bias: bool = False,
        activation: str = "",
        residual: int | None = None,
    ) -> int:
        """A convolution with what is fused into it; `padding` None = half the (dilated) kernel, as for odd kernels."""
        channels, height, width = self.shape(source)
        k, s = _pair(kernel), _pair(stride)
        p = (dilation * (k[0] - 1) // 2, dilation * (k[1] - 1) // 2) if padding is None else _pair(padding)
        kind: KernelKind = "depthwise" if groups == channels and groups > 1 else "conv"
        return self._append(
            Kernel(
                kind,
                channels,
                out_channels,
                (height + 2 * p[0] - dilation * (k[0] - 1) - 1) // s[0] + 1,
                (width + 2 * p[1] - dilation * (k[1] - 1) - 1) // s[1] + 1,
                height,
                width,
                (source,),
                kernel=k,
                stride=s,
                padding=p,
                dilation=(dilation, dilation),
                groups=groups,
                norm=norm,
                bias=bias,
                activation=activation,
                residual=residual,
            )
        )

    def linear(
        self, source: int, out_features: int, *, bias: bool = True, norm: bool = False, activation: str = ""
    ) -> int:
        """A fully connected layer on the flattened (channels * height * width) input."""
        channels, height, width = self.shape(source)
        features = channels * height * width
        return self._append(
            Kernel("linear", features, out_features, 1, 1, 1, 1, (source,), bias=bias, norm=norm, activation=activation)
        )

    def pool(self, kind: KernelKind, source: int, kernel: int, *, stride: int = 1, padding: int | None = None) -> int:
        """kind: maxpool or avgpool."""
        channels, height, width = self.shape(source)
        p = kernel // 2 if padding is None else padding
        out = [(side + 2 * p - kernel) // stride + 1 for side in (height, width)]
        return self._append(
            Kernel(
                kind,
                channels,
                channels,
                out[0],
                out[1],
                height,
                width,
                (source,),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=(p, p),
            )
        )

    def global_pool(self, source: int) -> int:
        channels, height, width = self.shape(source)
        return self._append(
            Kernel("globalpool", channels, channels, 1, 1, height, width, (source,), kernel=(height, width))
        )

    def elementwise(self, kind: KernelKind, sources: Sequence[int], *, activation: str = "", norm: bool = False) -> int:
        """kind: add, mul, mean or activation, over inputs of equal shape."""
        channels, height, width = self.shape(sources[0])
        return self._append(
            Kernel(
                kind, channels, channels, height, width, height, width, tuple(sources), activation=activation, norm=norm
            )
        )

    def concat(self, sources: Sequence[int]) -> int:
        channels = sum(self.shape(source)[0] for source in sources)
        _, height, width = self.shape(sources[0])
        return self._append(Kernel("concat", channels, channels, height, width, height, width, tuple(sources)))

    def channels(self, kind: KernelKind, source: int, out_channels: int, *, groups: int = 1) -> int:
        """kind: slice (the first `out_channels` channels) or shuffle (over `groups`)."""
        channels, height, width = self.shape(source)
        return self._append(
            Kernel(kind, channels, out_channels, height, width, height, width, (source,), groups=groups)
        )

    def head(self, source: int, head: Head) -> int:
        """Pooling and the last layer: logits, numbers or an embedding."""
        channels, height, width = self.shape(source)
        if isinstance(head, Classes | Outputs):
            return self.linear(self.global_pool(source), head.count)
        if head.pool == "depthwise":
            pooled = self.conv(source, channels, (height, width), padding=0, groups=channels, norm=True)
        else:
            pooled = self.elementwise("activation", [self.global_pool(source)], norm=True)
        return self.linear(pooled, head.dim, bias=False, norm=True)

    def workload(self) -> Workload:
        return Workload(tuple(self.kernels))

    def _append(self, kernel: Kernel) -> int:
        self.kernels.append(kernel)
        return len(self.kernels) - 1


def workload_from_architecture(architecture: Architecture) -> Workload:
    """The kernels of any architecture at batch 1; those of the last `TRACES` architectures are not traced again."""
    return _traced(architecture)


@functools.lru_cache(TRACES)
def _traced(architecture: Architecture) -> Workload:
    """Dispatch by record type."""
    if isinstance(architecture, ChainArchitecture):
        from edgenas.architectures.chain import workload_from_chain

        return workload_from_chain(architecture)
    if isinstance(architecture, MultiBranchArchitecture):
        from edgenas.architectures.multibranch import workload_from_multibranch

        return workload_from_multibranch(architecture)
    if isinstance(architecture, CellArchitecture):
        from edgenas.architectures.cell_workload import workload_from_cell

        return workload_from_cell(architecture)
    if isinstance(architecture, FbnetArchitecture):
        from edgenas.architectures.fbnet import workload_from_fbnet

        return workload_from_fbnet(architecture)
    raise TypeError(type(architecture).__name__)


def refuse_impossible(workload: Workload, name: str) -> Workload:
    """The workload, if a network for one image can be that large. Raises EdgenasError otherwise."""
    if workload.params > LARGEST_PARAMS or workload.macs > LARGEST_MACS:
        raise EdgenasError(
            f"{name} has {workload.params:,} parameters and {workload.macs:,} MACs: at most {LARGEST_PARAMS:.0e} and "
            f"{LARGEST_MACS:.0e} can be meant"
        )
    return workload


def _pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
