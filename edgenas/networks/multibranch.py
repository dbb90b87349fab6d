"""Multi-branch cells as torch modules; see architectures/multibranch.py for the record."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.multibranch import (
    Convolution,
    Operation,
    branch_convolutions,
    check_multibranch,
    pool_operations,
)
from edgenas.networks.heads import head_module
from edgenas.records import MultiBranchArchitecture


class ConvNorm(nn.Module):
    """Convolution, batch norm, and ReLU where the record says so."""

    def __init__(self, conv: Convolution) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            conv.in_channels,
            conv.out_channels,
            conv.kernel,
            conv.stride,
            conv.padding,
            conv.dilation,
            conv.groups,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(conv.out_channels)
        self.relu = conv.activation == "relu"

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return F.relu(y, inplace=True) if self.relu else y


def branch(op: Operation, in_channels: int, out_channels: int, stride: int) -> nn.Sequential:
    """One operation: expand, middle, project. (N, in, H, W) -> (N, out, H/stride, W/stride)."""
    return nn.Sequential(*(ConvNorm(conv) for conv in branch_convolutions(op, in_channels, out_channels, stride)))


def mean(members: Sequence[Tensor]) -> Tensor:
    """Arithmetic mean of maps of one shape: a sum and one multiplication, also in the exported graph."""
    if len(members) == 1:
        return members[0]
    total = members[0]
    for member in members[1:]:
        total = total + member
    return total * (1.0 / len(members))


class BranchCellModule(nn.Module):
    """The mean of the branches, and of the input where the cell keeps the shape."""

    def __init__(self, operations: Sequence[Operation], in_channels: int, out_channels: int, kind: str) -> None:
        super().__init__()
        self.identity = kind == "N"
        stride = 2 if kind == "R" else 1
        self.branches = nn.ModuleList(branch(op, in_channels, out_channels, stride) for op in operations)

    def forward(self, x: Tensor) -> Tensor:
        branches = [one(x) for one in self.branches]  # each (N, in, H, W) -> (N, out, H/s, W/s)
        return mean([x, *branches] if self.identity else branches)


class MultiBranch(nn.Module):
    """(N, in_channels, S, S) -> (N, classes or dim)."""

    def __init__(self, architecture: MultiBranchArchitecture) -> None:
        super().__init__()
        check_multibranch(architecture)
        operations = pool_operations(architecture.pool)
        channels, stride = architecture.stem_channels, architecture.stem_stride
        side = -(-architecture.image_size // stride)
        stem = Convolution(architecture.in_channels, channels, (3, 3), (stride, stride), (1, 1))
        self.stem = ConvNorm(stem)
        self.cells = nn.Sequential()
        for cell in architecture.cells:
            chosen = [operations[op] for op in cell.ops]
            self.cells.append(BranchCellModule(chosen, channels, cell.out_channels, cell.kind))
            channels, side = cell.out_channels, -(-side // 2) if cell.kind == "R" else side
        self.tail = nn.Conv2d(channels, architecture.tail_channels, 1, bias=False)
        self.head = head_module(architecture.head, architecture.tail_channels, side)

    def forward(self, x: Tensor) -> Tensor:
        x = self.cells(self.stem(x))  # (N, in, S, S) -> (N, C, S', S')
        x = F.relu(self.tail(x), inplace=True)  # -> (N, tail, S', S')
        y: Tensor = self.head(x)  # -> (N, classes or dim)
        return y
