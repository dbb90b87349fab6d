"""Multi-branch cells: the space of NSE (Ci et al., "Evolving Search Space for Neural Architecture Search", arXiv 2011.10904).

Stem convolution, a string of cells, a 1x1 convolution, one global pooling, one head. A cell is the arithmetic mean of its
branches; where it keeps the shape (kind N), its input is one more member of the mean, and with no branch it is not there.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import combinations, product
from typing import ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking, sizes
from edgenas.architectures.tracer import TRACES, Tracer
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, sides_of
from edgenas.records import Architecture, BranchCell, Head, MultiBranchArchitecture, Record, Workload

POOLS = (19, 27, 72)
BRANCHES = 2  # at most so many in a cell of a network that is drawn; NSE itself takes any number
CellOps: TypeAlias = tuple[tuple[int, ...], ...]  # operations' indices, cell by cell


class Mobile(Record, frozen=True):
    """Inverted bottleneck: 1x1 expand, depthwise k x k, 1x1 project; `groups` of the two 1x1 convolutions."""

    kernel: int
    expand: int
    dilation: int = 1
    groups: tuple[int, int] = (1, 1)


class Dense(Record, frozen=True):
    """Bottleneck with `count` dense 3x3 convolutions in the middle, the stride in the last."""

    count: int
    expand: int


class Rectangle(Record, frozen=True):
    """Bottleneck with a dense 1xk and a dense kx1 in the middle: each halves one side where the stride is 2."""

    kernel: int
    expand: int


Operation = Mobile | Dense | Rectangle


class Convolution(Record, frozen=True):
    """One bias-free convolution with its batch norm, and a ReLU unless it is a branch's last."""

    in_channels: int
    out_channels: int
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: int = 1
    groups: int = 1
    activation: str = "relu"


def pool_operations(pool: int) -> tuple[Operation, ...]:
    """The operations of a published pool, in the order that published networks index."""
    rectangles = tuple(Rectangle(kernel, expand) for kernel in (5, 7) for expand in (1, 2, 4))
    if pool == 19:
        mobiles: tuple[Operation, ...] = tuple(Mobile(kernel, expand) for kernel in (3, 5, 7) for expand in (1, 3, 6))
        return (*mobiles, Dense(1, 1), Dense(1, 2), Dense(2, 1), Dense(2, 2), *rectangles)
    if pool not in POOLS:
        raise EdgenasError(f"there is no pool of {pool} operations: 19, 27 or 72")
    dilated = tuple(Mobile(3, expand, dilation) for expand in (1, 3, 6) for dilation in (1, 2, 3))
    plain = tuple(Mobile(kernel, expand) for kernel in (5, 7, 9, 11) for expand in (1, 3, 6))
    base: tuple[Operation, ...] = (*dilated, *plain, *rectangles)
    if pool == 27:
        return base
    grouped = product((3, 5, 7, 9, 11), (1, 3, 6), ((1, 2), (2, 1), (2, 2)))
    return (*base, *(Mobile(kernel, expand, groups=groups) for kernel, expand, groups in grouped))


class MultiBranchSpace(Record, NamedChoices, frozen=True):
    """All networks of one string of cells; `channels`: of the stem, then of what each E or R cell leads to."""

    name: ClassVar[str] = "multibranch"

    pool: Literal[19, 27, 72]
    kinds: str
    channels: tuple[int, ...]
    head: Head
    in_channels: int
    image_size: ImageSize
    stem_stride: int = 2
    tail_channels: int = 1024

    def member(self, ops: CellOps, channels: tuple[int, ...] | None = None) -> MultiBranchArchitecture:
        """The network with these operations per cell, at other channel numbers if they are given."""
        channels = channels or self.channels
        return MultiBranchArchitecture(
            self.pool,
            branch_cells(self.kinds, channels, ops),
            self.head,
            channels[0],
            self.stem_stride,
            self.tail_channels,
            self.in_channels,
            self.image_size,
        )

    def choices(self) -> dict[str, Values]:
        """cell_0, ..: the indices of one operation or of two, such as "3+17"; "" leaves an N cell out."""
        one = tuple(_written(ops) for count in range(1, BRANCHES + 1) for ops in combinations(range(self.pool), count))
        return {f"cell_{index}": ("", *one) if kind == "N" else one for index, kind in enumerate(self.kinds)}

    def choose(self, answer: Answer) -> MultiBranchArchitecture:
        choices = self.choices()
        ask = asking(choices, answer)
        network = self.member(tuple(_read(str(ask(name))) for name in choices))
        check_multibranch(network)
        return network

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, MultiBranchArchitecture):
            raise EdgenasError("this network has no multi-branch cells")
        return {f"cell_{index}": _written(cell.ops) for index, cell in enumerate(network.cells)}

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, MultiBranchArchitecture)
        return workload_from_multibranch(network)

    def smallest(self) -> MultiBranchArchitecture:
        """Every cell that may be left out is; each other one has the operation of the fewest parameters."""
        ops: list[tuple[int, ...]] = [() if kind == "N" else (0,) for kind in self.kinds]
        for cell in range(len(ops)):
            if ops[cell]:
                each = [[*ops[:cell], (op,), *ops[cell + 1 :]] for op in range(self.pool)]
                ops = min(each, key=lambda chosen: workload_from_multibranch(self.member(tuple(chosen))).params)
        return self.member(tuple(ops))

    def reference(self) -> MultiBranchArchitecture:
        """The one operation in every cell that moves the most bytes."""
        each = [self.member(((op,),) * len(self.kinds)) for op in range(self.pool)]
        return max(each, key=lambda network: workload_from_multibranch(network).bytes_moved)

    def features(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """(n, cells * pool + 4): per cell and operation 1 where it is there, then sizes as `NamedChoices.features` has them."""
        rows = np.zeros((len(networks), len(self.kinds) * self.pool + 4))
        for row, network in zip(rows, networks, strict=True):
            for cell, ops in enumerate(self.choices_of(network).values()):
                row[[cell * self.pool + op for op in _read(str(ops))]] = 1
            row[-4:] = sizes(self.workload(network))
        return rows

    def contains(self, network: Architecture) -> bool:
        """With any number of branches in a cell."""
        if not isinstance(network, MultiBranchArchitecture) or len(network.cells) != len(self.kinds):
            return False
        try:
            check_multibranch(network)
        except EdgenasError:
            return False
        return self.member(tuple(cell.ops for cell in network.cells)) == network


def _written(ops: Sequence[int]) -> str:
    return "+".join(map(str, ops))


def _read(written: str) -> tuple[int, ...]:
    return tuple(map(int, written.split("+"))) if written else ()


def branch_convolutions(op: Operation, in_channels: int, out_channels: int, stride: int) -> tuple[Convolution, ...]:
    """The convolutions of one branch, in execution order: expand, middle, project. Network and workload both read this."""
    middle = in_channels * op.expand
    first, last = op.groups if isinstance(op, Mobile) else (1, 1)
    return (
        Convolution(in_channels, middle, groups=first),
        *_middle(op, middle, stride),
        Convolution(middle, out_channels, groups=last, activation=""),
    )


def _middle(op: Operation, channels: int, stride: int) -> tuple[Convolution, ...]:
    if isinstance(op, Mobile):
        pad = (op.kernel + 2 * (op.dilation - 1)) // 2  # as published: keeps the size for every pair in the pools
        side = (op.kernel, op.kernel)
        return (
            Convolution(channels, channels, side, (stride, stride), (pad, pad), dilation=op.dilation, groups=channels),
        )
    if isinstance(op, Dense):
        strides = (1,) * (op.count - 1) + (stride,)
        return tuple(Convolution(channels, channels, (3, 3), (s, s), (1, 1)) for s in strides)
    k, half = op.kernel, op.kernel // 2
    return (
        Convolution(channels, channels, (1, k), (1, stride), (0, half)),
        Convolution(channels, channels, (k, 1), (stride, 1), (half, 0)),
    )


def cell_kinds(template: str, repeats: Sequence[int]) -> str:
    """The string of cell kinds of a published template: every N is repeated, `NER` + [1, 3, 3] = N R NNN R NNN.

    `template` NR: every stage after the first is entered by an R cell; NER: the stage before the last R by an E cell, and the
    last one too, as in N R NNN R NNN R NNN E NNN R NNN E.
    """
    if template == "NR":
        return "N" * repeats[0] + "".join("R" + "N" * count for count in repeats[1:])
    if template != "NER":
        raise EdgenasError(f"cell template {template!r} is unknown: NR or NER")
    entries = ["R"] * (len(repeats) - 1)
    entries[-2] = "E"
    return (
        "N" * repeats[0] + "".join(kind + "N" * count for kind, count in zip(entries, repeats[1:], strict=True)) + "E"
    )


def branch_cells(kinds: str, channels: Sequence[int], ops: Sequence[Sequence[int]]) -> tuple[BranchCell, ...]:
    """Cells of these kinds and operations; `channels`: of the stem, then of what each E or R cell leads to."""
    stages = [sum(kind != "N" for kind in kinds[: index + 1]) for index in range(len(kinds))]
    if len(channels) != 1 + sum(kind != "N" for kind in kinds) or len(ops) != len(kinds):
        raise EdgenasError(
            f"cells {kinds} need {1 + sum(kind != 'N' for kind in kinds)} channel numbers and {len(kinds)} sets of operations, "
            f"not {len(channels)} and {len(ops)}"
        )
    return tuple(
        BranchCell(kind, channels[stage], tuple(sorted(chosen)))  # type: ignore[arg-type]
        for kind, stage, chosen in zip(kinds, stages, ops, strict=True)
    )


def check_multibranch(architecture: MultiBranchArchitecture) -> None:
    """Raise EdgenasError where the cells do not make a network."""
    operations = pool_operations(architecture.pool)
    channels = architecture.stem_channels
    for index, cell in enumerate(architecture.cells):
        where = f"cell {index} ({cell.kind})"
        if len(set(cell.ops)) != len(cell.ops) or any(not 0 <= op < len(operations) for op in cell.ops):
            raise EdgenasError(
                f"{where} has operations {list(cell.ops)}: need distinct indices below {len(operations)}"
            )
        if cell.kind != "N" and not cell.ops:
            raise EdgenasError(f"{where} has no operation: only an N cell may be left out")
        if cell.kind == "N" and cell.out_channels != channels:
            raise EdgenasError(f"{where} changes {channels} channels to {cell.out_channels}: only E and R cells do")
        for op in cell.ops:
            for conv in branch_convolutions(operations[op], channels, cell.out_channels, 1):
                if conv.in_channels % conv.groups or conv.out_channels % conv.groups:
                    raise EdgenasError(f"{where}: operation {op} has {conv.groups} groups on an odd number of channels")
        channels = cell.out_channels


@functools.lru_cache(TRACES)
def workload_from_multibranch(architecture: MultiBranchArchitecture) -> Workload:
    """Kernels as a runtime launches them: branch after branch, then the mean; norms and ReLUs ride on their convolutions."""
    check_multibranch(architecture)
    operations = pool_operations(architecture.pool)
    trace = Tracer(architecture.in_channels, *sides_of(architecture.image_size))
    here = trace.conv(-1, architecture.stem_channels, 3, stride=architecture.stem_stride, norm=True, activation="relu")
    for cell in architecture.cells:
        members = [here] if cell.kind == "N" else []
        for op in cell.ops:
            end, stride = here, 2 if cell.kind == "R" else 1
            for conv in branch_convolutions(operations[op], trace.shape(here)[0], cell.out_channels, stride):
                end = trace.conv(
                    end,
                    conv.out_channels,
                    conv.kernel,
                    stride=conv.stride,
                    padding=conv.padding,
                    dilation=conv.dilation,
                    groups=conv.groups,
                    norm=True,
                    activation=conv.activation,
                )
            members.append(end)
        here = trace.elementwise("mean", members) if len(members) > 1 else members[0]
    here = trace.conv(here, architecture.tail_channels, 1, activation="relu")
    trace.head(here, architecture.head)
    return trace.workload()
