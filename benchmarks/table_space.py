"""The networks of a published table as a space that any method of this project can search: its members are the table's rows.

The table's own space (the cells of NAS-Bench-101, ..) says what can be chosen; what is no row means the row nearest to it.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import cast

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.space import Answer, NamedChoices, Values
from edgenas.errors import EdgenasError
from edgenas.records import Architecture, Cost, Record

KNOWN = 200_000  # networks whose counts are remembered
NEIGHBOURS = 8  # rows that count as neighbours where fewer lie at the smallest distance


class Row(Record, frozen=True, tag="row", tag_field="type"):
    """One row of a table, in the place of its architecture: small, so that thousands of searches are quick."""

    table: str
    number: int

    @property
    def fingerprint(self) -> str:
        return f"{self.table} {self.number}"


def network_of(table: str, number: int) -> Architecture:
    """The row as what methods pass around: none of them looks into an architecture, they ask their space."""
    return cast("Architecture", Row(table, number))


def number_of(network: Architecture) -> int:
    """The row's number."""
    return cast("Row", network).number


@dataclass(frozen=True, eq=False)
class TableSpace:
    """The rows as a `Space`.

    real: the space that the table was sampled from; architecture: a row's own. code: an architecture as zeros and ones, codes:
    those of all rows (n, d); the distance of two networks is the number of entries that differ. axis: what they cost (n,).
    """

    name: str
    real: NamedChoices
    architecture: Callable[[int], Architecture]
    code: Callable[[Architecture], NDArray[np.float32]]
    codes: NDArray[np.float32]
    axis: NDArray[np.float64]
    around: dict[int, tuple[int, ...]] = field(default_factory=dict)

    def choices(self) -> dict[str, Values]:
        return self.real.choices()

    def choose(self, answer: Answer) -> Architecture:
        """The row nearest to the network of these choices, of equals the first. Raises EdgenasError where they make none."""
        code = self.code(self.real.choose(answer))
        return network_of(self.name, int(np.argmin(self._distances(code))))

    def smallest(self) -> Architecture:
        """The row of the smallest axis: where it breaks a limit on that, all do."""
        return network_of(self.name, int(np.argmin(self.axis)))

    def reference(self) -> Architecture:
        return network_of(self.name, int(np.argmax(self.axis)))

    def draw(self, rng: random.Random) -> Architecture:
        """Every row with equal probability."""
        return network_of(self.name, rng.randrange(len(self.axis)))

    def neighbour(self, network: Architecture, rng: random.Random) -> Architecture:
        """One of the rows at the smallest distance; one of the NEIGHBOURS nearest where those are fewer."""
        return network_of(self.name, rng.choice(self.nearest(number_of(network))))

    def nearest(self, row: int) -> tuple[int, ...]:
        """The rows that `neighbour` chooses from, nearest first."""
        if row not in self.around:
            distances = self._distances(self.codes[row])
            distances[row] = np.inf
            order = np.argsort(distances, kind="stable")[: len(distances) - 1]
            closest = int((distances == distances[order[0]]).sum())
            self.around[row] = tuple(int(other) for other in order[: max(closest, NEIGHBOURS)])
        return self.around[row]

    def features(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """What the real space knows of each network."""
        if not networks:
            return self.real.features([])
        return np.array([_described(self.real, self.architecture(number_of(network))) for network in networks])

    def words(self, network: Architecture) -> str:
        return f"row {number_of(network)}"

    def contains(self, network: Architecture) -> bool:
        return isinstance(network, Row) and network.table == self.name and 0 <= network.number < len(self.axis)

    def _distances(self, code: NDArray[np.float32]) -> NDArray[np.float32]:
        """Entries that differ, from every row: |a - b| of zeros and ones is |a| + |b| - 2 ab."""
        return self.codes.sum(1) + code.sum() - 2 * (self.codes @ code)


@functools.lru_cache(KNOWN)
def _described(real: NamedChoices, network: Architecture) -> tuple[float, ...]:
    """Tables of other devices have the same networks."""
    return tuple(real.features([network])[0].tolist())


@functools.lru_cache(KNOWN)
def counted(real: NamedChoices, network: Architecture) -> Cost:
    """Parameters, MACs and sizes of a network, without a latency."""
    load = real.workload(network)
    return Cost(load.params, load.macs, load.bytes_moved, load.size_mb(), load.memory_mb())


def one_of(values: Sequence[object], chosen: object) -> list[float]:
    """Alternatives: a one at the chosen value. Two different values are two entries apart."""
    if chosen not in values:
        raise EdgenasError(f"{chosen!r} is none of {', '.join(map(str, values))}")
    return [float(value == chosen) for value in values]


def at_least(values: Sequence[int], chosen: int) -> list[float]:
    """Sizes, smallest first: a one for every value above the first that is reached. Distances are steps between them."""
    return [float(chosen >= value) for value in values[1:]]
