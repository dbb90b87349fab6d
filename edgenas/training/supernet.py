"""The supernet of one NSE round: all operations of the subspace, sharing weights; a network is a choice of operations per cell.

A weight step trains the weights of one network. A fitness step compares two networks and learns how likely each operation
should be; the weights stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.multibranch import CellOps, Convolution, Operation, branch_convolutions, pool_operations
from edgenas.architectures.subspace import AdditiveCost, Fitness, RoundPlan, probability
from edgenas.architectures.tracer import Tracer
from edgenas.image_sizes import sides_of
from edgenas.networks import network_from_workload

REDRAWS = 1000


class Fork(NamedTuple):
    """Two different operation sets of one cell, and the probability of the first when one of the two is certain."""

    first: tuple[int, ...]
    second: tuple[int, ...]
    weight: Tensor  # scalar, a function of the cell's fitness


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
    """Arithmetic mean of maps of one shape, computed as a network that is built from its workload does."""
    if len(members) == 1:
        return members[0]
    total = members[0]
    for member in members[1:]:
        total = total + member
    return total * (1.0 / len(members))


class SuperCell(nn.Module):
    """All operations of one cell; the mean of those that are chosen, and of the input where the cell keeps the shape."""

    def __init__(self, ops: Sequence[int], pool: int, in_channels: int, out_channels: int, kind: str) -> None:
        super().__init__()
        self.identity = kind == "N"
        operations = pool_operations(pool)
        self.branches = nn.ModuleDict(
            {str(op): branch(operations[op], in_channels, out_channels, 2 if kind == "R" else 1) for op in ops}
        )

    def forward(self, x: Tensor, chosen: Sequence[int]) -> Tensor:
        branches = [self.branches[str(op)](x) for op in chosen]  # each (N, in, H, W) -> (N, out, H/s, W/s)
        return mean([x, *branches] if self.identity else branches)

    def fork(self, x: Tensor, fork: Fork) -> Tensor:
        first = self(x, fork.first)  # (N, out, H/s, W/s)
        with torch.no_grad():
            second = self(x, fork.second)
        return straight_through(first, second, fork.weight)


def straight_through(first: Tensor, second: Tensor, weight: Tensor) -> Tensor:
    """The value of `first`, the gradient of `weight * first + (1 - weight) * second` towards the weight, and that of `first`
    towards the cell's input."""
    one = 1 + weight - weight.detach()
    nothing = weight.detach() - weight
    return one * first + nothing * second


class Supernet(nn.Module):
    """(N, in_channels, H, W) and a choice per cell -> (N, classes or dim)."""

    def __init__(self, plan: RoundPlan) -> None:
        super().__init__()
        space = plan.space
        channels, stride = space.channels[0], space.stem_stride
        sides = [-(-side // stride) for side in sides_of(space.image_size)]
        self.stem = ConvNorm(Convolution(space.in_channels, channels, (3, 3), (stride, stride), (1, 1)))
        self.cells = nn.ModuleList()
        for cell, ops in zip(space.member(_any_member(plan)).cells, plan.subspace, strict=True):
            self.cells.append(SuperCell(ops, space.pool, channels, cell.out_channels, cell.kind))
            channels = cell.out_channels
            sides = [-(-side // 2) for side in sides] if cell.kind == "R" else sides
        self.tail = nn.Conv2d(channels, space.tail_channels, 1, bias=False)
        head = Tracer(space.tail_channels, *sides)
        head.head(-1, space.head)
        self.head = network_from_workload(head.workload())

    def forward(self, x: Tensor, paths: Sequence[tuple[int, ...] | Fork]) -> Tensor:
        x = self.stem(x)  # (N, in, H, W) -> (N, C, H', W')
        for cell, path in zip(self.cells, paths, strict=True):
            assert isinstance(cell, SuperCell)
            x = cell.fork(x, path) if isinstance(path, Fork) else cell(x, path)
        x = F.relu(self.tail(x), inplace=True)  # -> (N, tail, H'', W'')
        y: Tensor = self.head(x)  # -> (N, classes or dim)
        return y


def _any_member(plan: RoundPlan) -> CellOps:
    return tuple(ops[:1] for ops in plan.subspace)


def draw_path(plan: RoundPlan, fitness: Fitness, keep: float, rng: np.random.Generator) -> CellOps:
    """The operations of every cell for one weight step. Keep each operation that was not dropped with probability `keep`; in
    cells that change the shape (E, R), draw again until one is kept."""
    return tuple(
        _draw_set(kind, ops, {op: keep for op, alpha in zip(ops, alphas, strict=True) if alpha is not None}, rng)
        for kind, ops, alphas in zip(plan.space.kinds, plan.subspace, fitness, strict=True)
    )


def _draw_set(kind: str, ops: Sequence[int], p: dict[int, float], rng: np.random.Generator) -> tuple[int, ...]:
    for _ in range(REDRAWS):
        chosen = tuple(op for op in ops if op in p and rng.random() < p[op])
        if chosen or kind == "N":
            return chosen
    return (max(p, key=lambda op: p[op]),)  # every operation of the cell is as unlikely as can be


class FitnessOfCell:
    """The learned fitness of one cell's operations: `alphas` are on the CPU in double precision, for they are few."""

    def __init__(self, kind: str, ops: tuple[int, ...]) -> None:
        self.kind, self.ops = kind, ops
        self.alive = [True] * len(ops)
        self.alphas = nn.Parameter(torch.zeros(len(ops), dtype=torch.float64))

    def values(self) -> tuple[float | None, ...]:
        return tuple(a if alive else None for a, alive in zip(self.alphas.tolist(), self.alive, strict=True))

    def log_probability(self, chosen: Sequence[int]) -> Tensor:
        """Of exactly this set, under one Bernoulli draw per operation that is still there."""
        alive = torch.tensor(self.alive)
        p = 0.999 * torch.sigmoid(self.alphas[alive]) + 0.0005
        member = torch.tensor([op in chosen for op, here in zip(self.ops, self.alive, strict=True) if here])
        return torch.where(member, p, 1 - p).log().sum()

    def draw_fork(self, rng: np.random.Generator) -> Fork | tuple[int, ...]:
        """Two different sets; the first is the one that the forward pass sees, so it is drawn by its weight. A cell that has
        only one possible set returns that set."""
        values = self.values()
        p = {op: probability(a) for op, a in zip(self.ops, values, strict=True) if a is not None}
        if len(p) < (1 if self.kind == "N" else 2):
            return tuple(p)
        one = _draw_set(self.kind, self.ops, p, rng)
        other = self._draw_other(one, p, rng)
        weight = torch.sigmoid(self.log_probability(one) - self.log_probability(other))
        if rng.random() < weight.item():
            return Fork(one, other, weight)
        return Fork(other, one, 1 - weight)

    def _draw_other(self, one: tuple[int, ...], p: dict[int, float], rng: np.random.Generator) -> tuple[int, ...]:
        for _ in range(REDRAWS):
            other = _draw_set(self.kind, self.ops, p, rng)
            if other != one:
                return other
        # All but certain operations: the other set differs in the least certain one.
        least = min(p, key=lambda op: abs(p[op] - 0.5))
        other = tuple(op for op in self.ops if op in p and (op in one) != (op == least))
        return other if other or self.kind == "N" else tuple(op for op in self.ops if op in p)


def expected_cost(plan: RoundPlan, forks: Sequence[Fork | tuple[int, ...]]) -> Tensor:
    """Probability-weighted cost of the two sets of every cell, with stem and tail; M MACs or ms."""
    total = torch.tensor(plan.cost.base, dtype=torch.float64)
    for cell, fork in enumerate(forks):
        if isinstance(fork, Fork):
            first, second = (_cost_of_set(plan.cost, plan, cell, chosen) for chosen in (fork.first, fork.second))
            total = total + fork.weight * first + (1 - fork.weight) * second
        else:
            total = total + _cost_of_set(plan.cost, plan, cell, fork)
    return total


def _cost_of_set(cost: AdditiveCost, plan: RoundPlan, cell: int, chosen: Sequence[int]) -> float:
    shares = dict(zip(plan.subspace[cell], cost.operations[cell], strict=True))
    return sum(shares[op] for op in chosen)
