"""How a search on a table is judged: by the front of what it trained, and by the network that it chooses under a limit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.table_files import Floats, Table
from benchmarks.table_searches import SLACK, Found, searched
from edgenas.errors import EdgenasError
from edgenas.methods.spec import MethodSpec

LIMITS = (0.2, 0.5, 0.8)  # quantiles of the axis: a tight, a middling and a wide limit


def front(gain: Floats, axis: Floats) -> list[int]:
    """Places that no other beats in both, cheapest first; of equals the first."""
    best, kept = -np.inf, []
    for place in np.lexsort((-gain, axis)):
        if gain[place] > best:
            best = gain[place]
            kept.append(int(place))
    return kept


def area(error: Sequence[float], axis: Sequence[float], corner: tuple[float, float]) -> float:
    """What points (error, axis), both to be small, dominate of the plane up to the corner (Zitzler, Thiele, PPSN 1998)."""
    ceiling, right = corner
    total = 0.0
    for along, height in sorted(zip(axis, error, strict=True)):
        if along < right and height < ceiling:
            total += (right - along) * (ceiling - height)
            ceiling = height
    return total


@dataclass(frozen=True)
class Truth:
    """The table's own front as judged: its worst error and axis are the corner, its area is 1."""

    table: Table
    corner: tuple[float, float]
    area: float

    def hypervolume(self, rows: Iterable[int]) -> float:
        """Of the front that a search presents: what is not beaten in what it saw of full trainings, judged; 1 = the table's."""
        members = np.array(list(rows), int)
        if not len(members):
            return 0.0
        axis = np.log(self.table.axis[members])
        shown = members[front(self.table.seen[self.table.full][members], axis)]
        error = 100 - self.table.judged[shown]
        return area(error.tolist(), np.log(self.table.axis[shown]).tolist(), self.corner) / self.area

    def best_within(self, limit: float) -> float:
        """Accuracy of the best member under this much of the axis."""
        return float(self.table.judged[self.table.axis <= limit].max())


def truth_of(table: Table) -> Truth:
    """Its corner is the worst of the front in both; a front of one or two members covers nothing of that: then it is the worst of
    the table."""
    axis, error = np.log(table.axis), 100 - table.judged
    best = front(table.judged, axis)
    points = error[best].tolist(), axis[best].tolist()
    for error_to, axis_to in ((error[best], axis[best]), (error, axis)):
        corner = float(error_to.max()), float(axis_to.max())
        if (covered := area(*points, corner)) > 0:
            return Truth(table, corner, covered)
    raise EdgenasError(
        "no member of this table is better than another in accuracy and axis: nothing can be searched for"
    )


@dataclass(frozen=True)
class Scores:
    """One search in numbers. hypervolume: of the search without a limit, 1 = the table's front. accuracy: judged, of the network
    chosen under each of the three limits; regret: points that it stays behind the best member there."""

    hypervolume: float
    accuracy: tuple[float, ...]
    regret: tuple[float, ...]


@dataclass(frozen=True)
class Runs:
    """The searches of one method and seed: without a limit, and under each of the LIMITS."""

    free: Found
    limited: tuple[Found, ...]


def runs_of(truth: Truth, spec: MethodSpec, budget: float, seed: int) -> Runs:
    """Search without a limit and under each limit."""
    return Runs(searched(truth.table, spec, budget, seed), under_limits(truth.table, spec, budget, seed))


def under_limits(table: Table, spec: MethodSpec, budget: float, seed: int) -> tuple[Found, ...]:
    """A search under each of the three limits."""
    return tuple(searched(table, spec, budget, seed, table.limits(cap)) for cap in limits_of(table))


def limits_of(table: Table) -> tuple[float, ...]:
    """The three limits on the axis."""
    return tuple(float(np.quantile(table.axis, share)) for share in LIMITS)


def scores_of(truth: Truth, runs: Runs, budget: float | None = None) -> Scores:
    """Of a whole search or, for a method that decides nothing by its budget, of what it had at a smaller one: then its choice is
    the best that it had seen."""
    accuracy = tuple(
        _chosen(truth.table, found, cap, budget)
        for found, cap in zip(runs.limited, limits_of(truth.table), strict=False)
    )
    best = [truth.best_within(cap) for cap in limits_of(truth.table)]
    covered = truth.hypervolume(_until(runs.free, budget))
    return Scores(covered, accuracy, tuple(b - a for a, b in zip(accuracy, best, strict=False)))


def _until(found: Found, budget: float | None) -> list[int]:
    return [row for row, spent in found.full.items() if budget is None or spent <= budget + SLACK]


def _chosen(table: Table, found: Found, cap: float, budget: float | None) -> float:
    """Judged accuracy of the choice; where nothing was found, that of the worst member within the limit."""
    if budget is None:
        row = found.choice
    else:
        seen = table.seen[table.full]
        row = max(_until(found, budget), key=lambda row: (seen[row], -table.axis[row]), default=None)
    return float(table.judged[table.axis <= cap].min() if row is None else table.judged[row])
