"""Workload -> torch module: one builder for every space. What a kernel means is said in records.Kernel and runtimes/graph.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import reduce
from operator import add, mul

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Kernel, Workload
from edgenas.runtimes.graph import pads

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "relu": F.relu, "relu6": F.relu6, "sigmoid": torch.sigmoid, "tanh": torch.tanh, "elu": F.elu, "leakyrelu": F.leaky_relu,
    "hardsigmoid": F.hardsigmoid, "hardswish": F.hardswish, "silu": F.silu,
}  # fmt: skip
WEIGHTED = ("conv", "depthwise", "linear")


def network_from_workload(workload: Workload) -> Network:
    """A freshly initialised network; layers draw their weights (global generator of torch) in the order of the kernels.

    Raises EdgenasError for a kernel whose computation the workload does not say (matmul, layer norms, reductions).
    """
    return Network(workload)


class Network(nn.Module):
    """(N, C, H, W) -> (N, features), or the last map (N, C, H, W). `kernels[i]` computes the workload's kernel i.

    architecture: what it was made of, where that is known.
    """

    architecture: Architecture | None = None

    def __init__(self, workload: Workload) -> None:
        super().__init__()
        self.workload = workload
        flat = _read_flat(workload)
        self.kernels = nn.ModuleList(KernelModule(i, kernel, i in flat) for i, kernel in enumerate(workload.kernels))
        self.sources = [kernel.sources for kernel in workload.kernels]
        last_read = {source: index for index, sources in enumerate(self.sources) for source in sources}
        self.relus = {i for i, kernel in enumerate(workload.kernels) if _is_relu(kernel) and i in last_read}
        # A slice that reads what the kernel before it read shares its ReLU.
        self.repeats = {
            i
            for i, k in enumerate(workload.kernels)
            if i and k.kind == "slice" and i - 1 not in self.relus and self.sources[i] == self.sources[i - 1]
        }
        self.done = [[s for s in set(sources) if last_read[s] == index] for index, sources in enumerate(self.sources)]

    def forward(self, x: Tensor) -> Tensor:
        return self.computed(x, {}, None)[0]

    def computed(
        self, x: Tensor, kept: Mapping[int, Mapping[int, Tensor]], tap: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """The output, and what kernel `tap` computes. `kept`: of some kernels factors (N, 1, 1, 1) of some of their inputs, by
        the input's number; -1 is for what the kernel computes before its residual is added."""
        values: dict[int, Tensor] = {-1: x}
        read: list[Tensor] = []
        tapped: Tensor | None = None
        for index, kernel in enumerate(self.kernels):
            if index in self.relus:  # left to those that read it
                values[index] = values[self.sources[index][0]]
            else:
                if index not in self.repeats:
                    read.clear()
                    read += [values[s].relu() if s in self.relus else values[s] for s in self.sources[index]]
                values[index] = kernel(*read) if index not in kept else _with_dropped(kernel, read, kept[index])
            if index == tap:
                tapped = values[index]
            for source in self.done[index]:  # evaluation keeps no map longer than it is read
                del values[source]
        last = values[len(self.kernels) - 1]
        return (last.flatten(1) if last.shape[2:] == (1, 1) else last), tapped


class KernelModule(nn.Module):
    """One kernel: its operation, then batch norm, the added residual (the last input) and activation."""

    def __init__(self, index: int, kernel: Kernel, flat: bool) -> None:
        super().__init__()
        self.kernel, self.flat = kernel, flat
        top, left, bottom, right = pads(kernel)
        even = (top, left) == (bottom, right)
        if kernel.kind in ("maxpool", "avgpool"):  # torch's pools pad by half a kernel at most
            even = even and 2 * top <= kernel.kernel[0] and 2 * left <= kernel.kernel[1]
        self.padding = (top, left) if even else (0, 0)
        self.extra = None if even else (left, right, top, bottom)  # as F.pad takes it
        if kernel.kind in ("conv", "depthwise"):
            k = kernel
            self.conv = nn.Conv2d(
                k.in_channels, k.out_channels, k.kernel, k.stride, self.padding, k.dilation, k.groups, bias=k.bias
            )
        elif kernel.kind == "linear" and kernel.height == 1:
            self.linear = nn.Linear(kernel.in_channels, kernel.out_channels, bias=kernel.bias)
        elif kernel.kind not in ("maxpool", "avgpool", *_OPERATIONS):
            raise EdgenasError(f"kernel {index} ({kernel.kind}): a workload does not say enough about it to compute it")
        if kernel.activation and kernel.activation not in ACTIVATIONS:
            raise EdgenasError(
                f"kernel {index}: activation {kernel.activation!r} is not known here; possible: {', '.join(sorted(ACTIVATIONS))}"
            )
        if kernel.norm:
            self.norm = (nn.BatchNorm1d if kernel.kind == "linear" else nn.BatchNorm2d)(kernel.out_channels)

    def forward(self, *inputs: Tensor, kept: Tensor | None = None) -> Tensor:
        kernel = self.kernel
        x = self._operation(inputs[: len(kernel.inputs)])
        if kernel.norm:
            x = self.norm(x)
        if kept is not None:
            x = x * kept.to(x.dtype)
        if kernel.residual is not None:
            x = x + _map(inputs[-1])
        if kernel.activation == "relu":  # in place where the tensor is this kernel's own and no gradient needs it
            return F.relu(x, inplace=kernel.norm or kernel.kind in WEIGHTED)
        return ACTIVATIONS[kernel.activation](x) if kernel.activation else x

    def _operation(self, inputs: tuple[Tensor, ...]) -> Tensor:
        kind, maps = self.kernel.kind, [_map(x) for x in inputs]
        if kind == "linear":
            y: Tensor = self.linear(inputs[0].flatten(1))  # (N, C, H, W) -> (N, C H W) -> (N, out)
        elif kind in WEIGHTED:
            y = self.conv(maps[0] if self.extra is None else F.pad(maps[0], self.extra))
        elif kind == "maxpool":
            x = maps[0] if self.extra is None else F.pad(maps[0], self.extra, value=-torch.inf)
            y = F.max_pool2d(x, self.kernel.kernel, self.kernel.stride, self.padding)
        elif kind == "avgpool":
            y = self._average(maps[0])
        elif self.flat:
            y = maps[0].mean((2, 3))  # (N, C, H, W) -> (N, C)
        else:
            y = _OPERATIONS[kind](self.kernel, maps)
        return y

    def _average(self, x: Tensor) -> Tensor:
        """Over the pixels that are there, unless padding counts."""
        kernel = self.kernel
        if self.extra is None:
            counted = kernel.counts_padding
            return F.avg_pool2d(x, kernel.kernel, kernel.stride, self.padding, count_include_pad=counted)
        there = F.avg_pool2d(F.pad(torch.ones_like(x[:1, :1]), self.extra), kernel.kernel, kernel.stride)
        return F.avg_pool2d(F.pad(x, self.extra), kernel.kernel, kernel.stride) / there


def _with_dropped(kernel: nn.Module, read: list[Tensor], kept: Mapping[int, Tensor]) -> Tensor:
    inputs = [x * kept[place].to(x.dtype) if place in kept else x for place, x in enumerate(read)]
    computed: Tensor = kernel(*inputs, kept=kept.get(-1))
    return computed


def _is_relu(kernel: Kernel) -> bool:
    """A ReLU of its own. The workload has one for all readers, as runtimes do; here every reader applies it for itself, as the
    published networks do: the gradients of a shared one would be summed in another order, and trainings end elsewhere."""
    return kernel.kind == "activation" and kernel.activation == "relu" and not kernel.norm and kernel.residual is None


def _read_flat(workload: Workload) -> set[int]:
    """Global pools that only linear layers read."""
    pools = {i for i, kernel in enumerate(workload.kernels) if kernel.kind == "globalpool" and not kernel.norm}
    for kernel in workload.kernels:
        if kernel.kind != "linear":
            pools -= {*kernel.sources}
    return pools


def _map(x: Tensor) -> Tensor:
    return x if x.ndim == 4 else x[:, :, None, None]  # (N, features) -> (N, features, 1, 1)


# ---------------------------------------------------------------- kernels without weights


def _mean(_: Kernel, inputs: list[Tensor]) -> Tensor:
    """A sum and one multiplication, also in the exported graph."""
    return reduce(add, inputs) * (1.0 / len(inputs))


def _slice(kernel: Kernel, inputs: list[Tensor]) -> Tensor:
    """Some channels, the last rows and columns."""
    rows, columns = kernel.in_height - kernel.height, kernel.in_width - kernel.width
    return inputs[0][:, kernel.begin : kernel.begin + kernel.out_channels, rows:, columns:]


def _shuffle(kernel: Kernel, inputs: list[Tensor]) -> Tensor:
    groups, channels, height, width = kernel.groups, kernel.in_channels, kernel.height, kernel.width
    split = inputs[0].reshape(-1, groups, channels // groups, height, width)  # (N, g, C / g, H, W)
    return split.transpose(1, 2).reshape(-1, channels, height, width)  # (N, C / g, g, H, W) -> (N, C, H, W)


_OPERATIONS: dict[str, Callable[[Kernel, list[Tensor]], Tensor]] = {
    "globalpool": lambda _, inputs: F.adaptive_avg_pool2d(inputs[0], 1),
    "add": lambda _, inputs: reduce(add, inputs),
    "mul": lambda _, inputs: reduce(mul, inputs),
    "mean": _mean,
    "concat": lambda _, inputs: torch.cat(inputs, 1),
    "slice": _slice,
    "shuffle": _shuffle,
    "activation": lambda _, inputs: inputs[0],
    "softmax": lambda _, inputs: inputs[0].softmax(1),
    "resize": lambda kernel, inputs: F.interpolate(inputs[0], size=(kernel.height, kernel.width), mode="nearest"),
}
