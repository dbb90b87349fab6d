"""Cell networks as torch modules; architectures/cell.py says what the cells are, cell_workload.py what devices execute.

Every convolution is followed by its own batch norm, and modules run in the order of the workload's kernels.
"""

from __future__ import annotations

from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.cell import (
    NASBENCH201_EDGES,
    check_cell_network,
    live_edges,
    stem_reductions,
    vertex_channels,
)
from edgenas.networks.heads import head_module
from edgenas.records import CellArchitecture, DartsCell, Nasbench101Cell, Nasbench201Cell

Layers: TypeAlias = "list[nn.Module]"


def network_from_cell(architecture: CellArchitecture) -> nn.Module:
    """(N, in_channels, S, S) -> (N, classes or dim)."""
    check_cell_network(architecture)
    cell = architecture.cell
    if isinstance(cell, Nasbench101Cell):
        return _with_head(architecture, *_nasbench101(cell, architecture))
    if isinstance(cell, Nasbench201Cell):
        return _with_head(architecture, *_nasbench201(cell, architecture))
    return Darts(cell, architecture)


class ConvNorm(nn.Sequential):
    """Conv k x k without bias, BN, and a ReLU where asked for."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, *, relu: bool = False
    ) -> None:
        super().__init__(
            nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        if relu:
            self.append(nn.ReLU())


class ReluConvNorm(nn.Sequential):
    """ReLU, conv k x k without bias, BN."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(nn.ReLU(), *ConvNorm(in_channels, out_channels, kernel, stride))


def _stem(architecture: CellArchitecture) -> tuple[Layers, int]:
    """The stride-2 convolutions that bring large images to 32 px, and the channels after them."""
    layers: Layers = []
    channels = architecture.in_channels
    for _ in range(stem_reductions(architecture)):
        layers.append(ConvNorm(channels, architecture.channels, 3, 2, relu=True))
        channels = architecture.channels
    return layers, channels


def _with_head(architecture: CellArchitecture, layers: Layers, channels: int) -> nn.Sequential:
    return nn.Sequential(*layers, head_module(architecture.head, channels, last_side(architecture)))


def last_side(architecture: CellArchitecture) -> int:
    """Pixels on a side of the maps that the head sees."""
    return int(architecture.image_size // (4 * 2 ** stem_reductions(architecture)))


# ---------------------------------------------------------------- NAS-Bench-101


def _nasbench101(cell: Nasbench101Cell, architecture: CellArchitecture) -> tuple[Layers, int]:
    layers, channels = _stem(architecture)
    layers.append(ConvNorm(channels, architecture.channels, 3, relu=True))
    channels = out_channels = architecture.channels
    for stage in range(3):
        if stage > 0:
            layers.append(nn.MaxPool2d(2))
            out_channels *= 2
        for _ in range(architecture.cells_per_stage):
            layers.append(Nasbench101Module(cell, channels, out_channels))
            channels = out_channels
    return layers, channels


class Nasbench101Module(nn.Module):
    """One cell: vertices add what arrives (truncated to their channels), the output concatenates."""

    def __init__(self, cell: Nasbench101Cell, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.matrix, self.last = cell.matrix, len(cell.ops) - 1
        self.channels = vertex_channels(cell.matrix, in_channels, out_channels)
        self.projections = nn.ModuleDict()
        self.ops = nn.ModuleDict()
        for vertex in range(1, self.last + 1):
            width = self.channels[vertex]
            if cell.matrix[0][vertex]:
                self.projections[str(vertex)] = ConvNorm(in_channels, width, 1, relu=True)
            if cell.ops[vertex] == "maxpool3x3":
                self.ops[str(vertex)] = nn.MaxPool2d(3, 1, padding=1)
            elif vertex < self.last:
                kernel = 3 if cell.ops[vertex] == "conv3x3-bn-relu" else 1
                self.ops[str(vertex)] = ConvNorm(width, width, kernel, relu=True)

    def forward(self, x: Tensor) -> Tensor:
        values = [x]
        for vertex in range(1, self.last):
            arriving = [values[i][:, : self.channels[vertex]] for i in range(1, vertex) if self.matrix[i][vertex]]
            if self.matrix[0][vertex]:
                arriving.append(self.projections[str(vertex)](x))
            values.append(self.ops[str(vertex)](_total(arriving)))  # (N, channels[vertex], H, W)
        parts = [values[i] for i in range(1, self.last) if self.matrix[i][self.last]]
        outputs = [torch.cat(parts, 1)] if parts else []  # (N, out_channels, H, W)
        if self.matrix[0][self.last]:
            outputs.append(self.projections[str(self.last)](x))
        return _total(outputs)


def _total(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


# ---------------------------------------------------------------- NAS-Bench-201


def _nasbench201(cell: Nasbench201Cell, architecture: CellArchitecture) -> tuple[Layers, int]:
    layers, channels = _stem(architecture)
    layers.append(ConvNorm(channels, architecture.channels, 3))
    channels = architecture.channels
    for stage in range(3):
        if stage > 0:
            layers.append(ResidualReduction(channels, 2 * channels))
            channels *= 2
        layers += [Nasbench201Module(cell, channels) for _ in range(architecture.cells_per_stage)]
    return [*layers, nn.BatchNorm2d(channels), nn.ReLU()], channels


class Nasbench201Module(nn.Module):
    """One cell of four nodes; edges that do not carry the input to the output are not there."""

    def __init__(self, cell: Nasbench201Cell, channels: int) -> None:
        super().__init__()
        self.edges = nn.ModuleDict()
        for op, (source, node), live in zip(cell.ops, NASBENCH201_EDGES, live_edges(cell), strict=True):
            if not live:
                continue
            if op == "skip_connect":
                self.edges[f"{source}-{node}"] = nn.Identity()
            elif op == "avg_pool_3x3":
                self.edges[f"{source}-{node}"] = nn.AvgPool2d(3, 1, padding=1, count_include_pad=False)
            else:
                self.edges[f"{source}-{node}"] = ReluConvNorm(channels, channels, 3 if op == "nor_conv_3x3" else 1)

    def forward(self, x: Tensor) -> Tensor:
        values = {0: x}
        for node in (1, 2, 3):
            arriving = [
                self.edges[f"{source}-{node}"](values[source])
                for source in range(node)
                if f"{source}-{node}" in self.edges
            ]
            if arriving:
                values[node] = _total(arriving)  # (N, C, H, W)
        return values[3]


class ResidualReduction(nn.Module):
    """Basic block of stride 2; shortcut: 2x2 average, 1x1 convolution without batch norm."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            ReluConvNorm(in_channels, out_channels, 3, 2), ReluConvNorm(out_channels, out_channels, 3)
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(in_channels, out_channels, 1, bias=False))

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.body(x)  # (N, C, H, W) -> (N, 2C, H/2, W/2)
        short: Tensor = self.shortcut(x)
        return short + y


# ---------------------------------------------------------------- DARTS


class Darts(nn.Module):
    """3 n + 2 cells, each reading the two before it."""

    def __init__(self, cell: DartsCell, architecture: CellArchitecture) -> None:
        super().__init__()
        channels, per_stage = architecture.channels, architecture.cells_per_stage
        large = stem_reductions(architecture) > 0
        if large:
            self.stem = nn.Sequential(
                ConvNorm(architecture.in_channels, channels // 2, 3, 2, relu=True),
                ConvNorm(channels // 2, channels, 3, 2),
            )
            self.second_stem: nn.Module = ReluConvNorm(channels, channels, 3, 2)
            widths = (channels, channels)
        else:
            self.stem = nn.Sequential(ConvNorm(architecture.in_channels, 3 * channels, 3))
            self.second_stem = nn.Identity()
            widths = (3 * channels, 3 * channels)
        self.cells = nn.ModuleList()
        was_reduced = large
        for index in range(3 * per_stage + 2):
            reduces = index in (per_stage, 2 * per_stage + 1)
            channels *= 1 + reduces
            self.cells.append(DartsModule(cell, widths, channels, reduces, was_reduced))
            widths, was_reduced = (widths[1], 4 * channels), reduces
        self.head = head_module(architecture.head, 4 * channels, last_side(architecture))

    def forward(self, x: Tensor) -> Tensor:
        before = self.stem(x)
        here = self.second_stem(before)
        for cell in self.cells:
            before, here = here, cell(before, here)
        y: Tensor = self.head(here)  # (N, 4C, H, W) -> (N, classes or dim)
        return y


class DartsModule(nn.Module):
    """One cell: both inputs brought to C channels, four nodes that add two operations each, concatenated to 4 C."""

    def __init__(
        self, cell: DartsCell, widths: tuple[int, int], channels: int, reduces: bool, was_reduced: bool
    ) -> None:
        super().__init__()
        first = FactorizedReduction if was_reduced else _relu_conv1x1
        self.inputs = nn.ModuleList([first(widths[0], channels), _relu_conv1x1(widths[1], channels)])
        genotype = cell.reduce if reduces else cell.normal
        self.sources = [source for _, source in genotype]
        self.ops = nn.ModuleList(
            darts_operation(op, channels, 2 if reduces and source < 2 else 1) for op, source in genotype
        )

    def forward(self, before: Tensor, here: Tensor) -> Tensor:
        states = [self.inputs[0](before), self.inputs[1](here)]  # (N, C, H, W) each
        for node in range(4):
            edges = range(2 * node, 2 * node + 2)
            states.append(_total([self.ops[edge](states[self.sources[edge]]) for edge in edges]))
        return torch.cat(states[2:], 1)  # (N, 4C, H, W), or half the side in a reduction cell


def _relu_conv1x1(in_channels: int, out_channels: int) -> nn.Module:
    return ReluConvNorm(in_channels, out_channels, 1)


class FactorizedReduction(nn.Module):
    """ReLU, then two stride-2 1x1 convolutions side by side, the second on the map shifted by one pixel."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.even = ConvNorm(in_channels, out_channels // 2, 1, 2)
        self.odd = ConvNorm(in_channels, out_channels - out_channels // 2, 1, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(x)
        return torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1)  # (N, C, H, W) -> (N, out, H/2, W/2)


def darts_operation(op: str, channels: int, stride: int) -> nn.Module:
    """The module of one DARTS edge."""
    if op == "skip_connect":
        return nn.Identity() if stride == 1 else FactorizedReduction(channels, channels)
    if op == "max_pool_3x3":
        return nn.MaxPool2d(3, stride, padding=1)
    if op == "avg_pool_3x3":
        return nn.AvgPool2d(3, stride, padding=1, count_include_pad=False)
    kernel = 5 if op.endswith("5x5") else 3
    if op.startswith("dil"):
        return nn.Sequential(nn.ReLU(), *_separable(channels, kernel, stride, dilation=2))
    first = _separable(channels, kernel, stride, dilation=1)
    return nn.Sequential(nn.ReLU(), *first, nn.ReLU(), *_separable(channels, kernel, 1, dilation=1))


def _separable(channels: int, kernel: int, stride: int, dilation: int) -> Layers:
    padding = dilation * (kernel - 1) // 2
    return [
        nn.Conv2d(channels, channels, kernel, stride, padding, dilation, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    ]
