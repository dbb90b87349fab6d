"""Where a network can be regularised while it trains: which paths may be dropped, and where an auxiliary head reads."""

from __future__ import annotations

import functools
from dataclasses import dataclass

from edgenas.architectures.cell_workload import traced_cells
from edgenas.architectures.tracer import TRACES
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Architecture, CellArchitecture, Kernel, Workload

OWN = -1  # in place of an input's number: what the kernel itself computes, before its residual is added
JOINS = ("add", "mean")


@dataclass(frozen=True)
class Points:
    """`paths`: (kernel, which of its inputs) that may be dropped, OWN before a residual is added. `by_epoch`: with a probability
    that grows from epoch to epoch and is the same for all paths, else one that grows with depth. `tap`: the kernel whose output
    an auxiliary head reads."""

    paths: tuple[tuple[int, int], ...]
    by_epoch: bool = False
    tap: int | None = None


@functools.lru_cache(TRACES)
def points_of(architecture: Architecture) -> Points:
    """Of cells, as DARTS has it (arXiv 1806.09055, its code): every operation on an edge that is no identity, and the map behind
    the second reduction. (NAS-Bench-101's operations are on vertices: none.) Elsewhere what an identity shortcut leads around,
    as in stochastic depth (arXiv 1603.09382)."""
    if isinstance(architecture, CellArchitecture):
        trace = traced_cells(architecture)
        return Points(tuple(trace.edges), by_epoch=True, tap=trace.reductions[1])
    return Points(shortcut_paths(workload_from_architecture(architecture)))


def shortcut_paths(workload: Workload) -> tuple[tuple[int, int], ...]:
    """Of every sum or mean with an identity shortcut the other members: the shortcut is one that all others are computed from."""
    above = [0]  # of the network's input, then of each kernel: bit s + 1 for every source s that it is computed from
    paths: list[tuple[int, int]] = []
    for index, kernel in enumerate(workload.kernels):
        members = _members(kernel)
        for shortcut, sources in members.items():
            others = {place: read for place, read in members.items() if place == OWN or read != sources}
            from_it = (_above(above, read) >> (sources[0] + 1) & 1 for read in others.values())
            if shortcut != OWN and others and all(from_it):
                paths += [(index, place) for place in others]
                break
        above.append(_above(above, kernel.sources))
    return tuple(paths)


def _members(kernel: Kernel) -> dict[int, tuple[int, ...]]:
    """What a kernel adds up: number of the input, or OWN -> the kernels that it is computed from. Empty where it adds nothing."""
    if kernel.residual is not None:
        return {len(kernel.inputs): (kernel.residual,), OWN: kernel.inputs}
    if kernel.kind in JOINS and len(kernel.inputs) > 1:
        return {place: (source,) for place, source in enumerate(kernel.inputs)}
    return {}


def _above(above: list[int], sources: tuple[int, ...]) -> int:
    """Bits of these sources and of all that they are computed from."""
    found = 0
    for source in sources:
        found |= above[source + 1] | 1 << (source + 1)
    return found
