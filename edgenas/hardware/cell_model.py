"""Latency of NAS-Bench-201 networks: a price for each operation that runs.

All cells of the space have equal MACs per operation and stage, so counts suffice; what differs between devices is *which*
operations run. Six readings of a cell are fitted and averaged by their cross-validated error.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from edgenas.architectures.cell import NASBENCH201_EDGES as EDGES
from edgenas.architectures.cell import edges_reaching_output, live_edges
from edgenas.hardware.least_squares import Array, cross_validated_error, fit_prices
from edgenas.ranges import AnyPrice
from edgenas.records import Nasbench201Cell, Record

SKIP, CONV1, CONV3, POOL, NONE = "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3", "none"
CONVS = (CONV1, CONV3)
RIDGE = 1e-4
OWN_SHARE, MIXTURE_RIDGE = 0.5, 1e-2  # where other devices help
SHARPNESS = 10  # weight of a reading ~ error ** -SHARPNESS
CHAIN_LENGTH = {SKIP: 0.0, CONV1: 0.5, CONV3: 1.0, POOL: 0.5}  # of an operation, in 3x3 convolutions


class Reading(Record, frozen=True):
    """The prices of one reading and its share in the average."""

    weight: AnyPrice
    prices: tuple[AnyPrice, ...]


class CellModel(Record, frozen=True):
    """Fitted readings, by name."""

    readings: dict[str, Reading]

    def __post_init__(self) -> None:
        for name, reading in self.readings.items():
            if name not in READINGS or len(reading.prices) != len(_counted(name, (SKIP,) * 6)):
                raise ValueError(f"the reading {name!r} is not known, or has not its number of prices")

    def predict(self, cells: Sequence[Nasbench201Cell]) -> Array:
        """Milliseconds of each cell's network."""
        total = np.zeros(len(cells))
        for name, reading in self.readings.items():
            total += reading.weight * (quantities(cells, name) @ np.array(reading.prices))
        return total

    def helped_by(self, others: Sequence[CellModel], cells: Sequence[Nasbench201Cell], ms: Array) -> CellModel:
        """This model averaged with the non-negative mixture of other devices' models that fits the rows best.

        Prices are linear in the models, so the average is again a model.
        """
        theirs = np.column_stack([np.ones(len(cells)), *(other.predict(cells) for other in others)])
        constant, *shares = ((1 - OWN_SHARE) * fit_prices(theirs, ms, MIXTURE_RIDGE)).tolist()
        readings = {}
        for name in READINGS:
            prices = sum(
                share * model.readings[name].weight * np.array(model.readings[name].prices)
                for share, model in zip((OWN_SHARE, *shares), (self, *others), strict=True)
            )
            readings[name] = Reading(1.0, tuple(np.asarray(prices).tolist()))
        first = next(iter(READINGS))
        base, *rest = readings[first].prices
        readings[first] = Reading(1.0, (base + constant, *rest))
        return CellModel(readings)


def fit_cells(cells: Sequence[Nasbench201Cell], ms: Array) -> CellModel:
    """Fit every reading and weigh it by its error on rows left out."""
    errors = np.array([cross_validated_error(quantities(cells, name), ms, RIDGE) for name in READINGS])
    weights = (np.maximum(errors, 1e-9) / max(errors.min(), 1e-9)) ** -SHARPNESS
    weights /= weights.sum()
    return CellModel({
        name: Reading(float(weight), tuple(fit_prices(quantities(cells, name), ms, RIDGE).tolist()))
        for name, weight in zip(READINGS, weights, strict=True)
    })  # fmt: skip


def quantities(cells: Sequence[Nasbench201Cell], reading: str) -> Array:
    """One row per cell: 1, then what the reading counts."""
    return np.array([_counted(reading, cell.ops) for cell in cells])


@functools.lru_cache(maxsize=2**17)
def _counted(reading: str, ops: tuple[str, str, str, str, str, str]) -> tuple[float, ...]:
    return (1.0, *READINGS[reading](Nasbench201Cell(ops)))


# ---------------------------------------------------------------- the readings


def _counts(cell: Nasbench201Cell, runs: Sequence[bool], ops: Sequence[str]) -> list[float]:
    return [float(sum(run and op == counted for op, run in zip(cell.ops, runs, strict=True))) for counted in ops]


def _sources(cell: Nasbench201Cell, runs: Sequence[bool], ops: Sequence[str]) -> float:
    """Number of nodes that feed at least one running operation of this kind."""
    return float(len({source for op, run, (source, _) in zip(cell.ops, runs, EDGES, strict=True) if run and op in ops}))


def _additions(runs: Sequence[bool]) -> float:
    into = [sum(run for run, (_, node) in zip(runs, EDGES, strict=True) if node == target) for target in (1, 2, 3)]
    return float(sum(max(0, edges - 1) for edges in into))


def _critical_path(cell: Nasbench201Cell, runs: Sequence[bool]) -> float:
    length = [0.0] * 4
    for op, run, (source, node) in zip(cell.ops, runs, EDGES, strict=True):
        if run:
            length[node] = max(length[node], length[source] + CHAIN_LENGTH[op])
    return length[3]


def _everything(cell: Nasbench201Cell) -> list[float]:
    """Eager frameworks: every edge is launched, `none` as a multiplication by zero."""
    return _counts(cell, (True,) * 6, (SKIP, CONV1, CONV3, POOL, NONE))


def _everything_but_none(cell: Nasbench201Cell) -> list[float]:
    return _counts(cell, (True,) * 6, (SKIP, CONV1, CONV3, POOL))


def _reaching_output(cell: Nasbench201Cell) -> list[float]:
    """Unused kernels are removed; a cell that never reads its input leaves almost nothing to run."""
    reaching = edges_reaching_output(cell)
    return [*_counts(cell, reaching, (SKIP, CONV1, CONV3, POOL)), float(any(live_edges(cell)))]


def _live(cell: Nasbench201Cell) -> list[float]:
    """Graph compilers: only what carries the input to the output, and its additions."""
    live = live_edges(cell)
    return [*_counts(cell, live, (SKIP, CONV1, CONV3, POOL)), _additions(live)]


def _live_shared_pools(cell: Nasbench201Cell) -> list[float]:
    """Live, equal pools of one node computed once, branches side by side: the longest path counts as well."""
    live = live_edges(cell)
    return [*_counts(cell, live, (SKIP, CONV1, CONV3)), _sources(cell, live, (POOL,)), _critical_path(cell, live)]


def _reaching_interior(cell: Nasbench201Cell) -> list[float]:
    """Reaching the output, where interior edges and further convolutions of one node cost extra (Jetson TX2)."""
    reaching = edges_reaching_output(cell)
    interior = float(sum(run and source > 0 for run, (source, _) in zip(reaching, EDGES, strict=True)))
    further = sum(_counts(cell, reaching, CONVS)) - _sources(cell, reaching, CONVS)
    return [*_counts(cell, reaching, (SKIP, CONV1, CONV3, POOL)), interior, further]


READINGS: dict[str, Callable[[Nasbench201Cell], list[float]]] = {
    "everything": _everything,
    "everything-but-none": _everything_but_none,
    "reaching-output": _reaching_output,
    "live": _live,
    "live-shared-pools": _live_shared_pools,
    "reaching-interior": _reaching_interior,
}
