"""How much of what is possible a front covers: the two-dimensional hypervolume, fronts scaled together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Point = tuple[float, float]  # both to be small, such as error and latency


def hypervolumes(fronts: Mapping[str, Sequence[Point]]) -> dict[str, float]:
    """The share (0 to 1) that each front dominates of the box between the best and the worst of all fronts in both directions.

    Zitzler, Thiele, "Multiobjective Optimization Using Evolutionary Algorithms", PPSN 1998; reference point: the nadir.
    """
    everything = [point for front in fronts.values() for point in front]
    (low_x, high_x), (low_y, high_y) = ((min(axis), max(axis)) for axis in zip(*everything, strict=True))

    def scaled(point: Point) -> Point:
        x, y = point
        return (x - low_x) / ((high_x - low_x) or 1.0), (y - low_y) / ((high_y - low_y) or 1.0)

    return {name: _dominated(sorted(map(scaled, front))) for name, front in fronts.items()}


def _dominated(points: list[Point]) -> float:
    """Area of the unit square that points, sorted, dominate."""
    area, ceiling = 0.0, 1.0
    for x, y in points:
        if y < ceiling:
            area += (1 - x) * (ceiling - y)
            ceiling = y
    return area
