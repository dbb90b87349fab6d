"""The networks that a guided search looks at before it trains one: members within the limits, with what they cost."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import fmean

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.space import Space
from edgenas.errors import EdgenasError
from edgenas.methods import CostOf
from edgenas.methods.guided_prior import Prior
from edgenas.records import Architecture, Cost, Limits

Array = NDArray[np.float64]
TRIES = 8  # draws for each new member that is looked for, before fewer must do
PRIOR = 1.0
PROBED = 15  # random networks, of which three are measured
ALIKE = 1e-9  # standard deviation under which a feature tells nothing


def latency_of(cost: Cost) -> float:
    """Milliseconds on the slowest target."""
    return max((latency.ms for latency in cost.latencies.values()), default=0.0)


def energy_of(cost: Cost) -> float:
    """Millijoules on the target that takes the most."""
    return max((latency.energy_mj or 0.0 for latency in cost.latencies.values()), default=0.0)


QUANTITIES: dict[str, Callable[[Cost], float]] = {  # by the name of their limit
    "latency_ms": latency_of,
    "params": lambda cost: float(cost.params),
    "size_mb": lambda cost: cost.size_mb,
    "memory_mb": lambda cost: cost.memory_mb,
    "mmacs": lambda cost: cost.macs / 1e6,
    "energy_mj": energy_of,
}


@dataclass(frozen=True)
class Axis:
    """The cost that networks are compared over, as a logarithm. `limit`: the most that is allowed; None where nothing is."""

    quantity: str
    limit: float | None

    def __call__(self, cost: Cost) -> float:
        return math.log(max(QUANTITIES[self.quantity](cost), 1e-12))


def axis_for(limits: Limits, costs: Sequence[Cost]) -> Axis:
    """Latency where it is limited, or where nothing is and it is known; else the limited quantity that most of these networks are
    over, the first of equals; parameters where nothing is known of either."""
    given = {name: limit for name in QUANTITIES if (limit := getattr(limits, name)) is not None}
    given = {name: limit for name, limit in given.items() if any(QUANTITIES[name](cost) > 0 for cost in costs)}
    if "latency_ms" in given or (not given and all(cost.latencies for cost in costs)):
        return Axis("latency_ms", limits.latency_ms)
    if not given:
        return Axis("params", None)

    def over(name: str) -> int:
        return sum(QUANTITIES[name](cost) > given[name] for cost in costs)

    binding = max(given, key=over)
    return Axis(binding, given[binding])


@dataclass(frozen=True, eq=False)
class Member:
    """A network within the limits: its cost, and `row`, what is known of it as numbers."""

    network: Architecture
    cost: Cost
    row: Array


@dataclass
class Pool:
    """Members by fingerprint, in the order in which they were found. Costs are asked for once.

    measure: what costs are in truth where `cost` only guesses latencies; None where it does not. measured: those that are known;
    ratios: by target that is measured, the logarithms of measured over guessed latency."""

    space: Space
    cost: CostOf
    limits: Limits
    priors: tuple[Prior, ...] = ()
    measure: CostOf | None = None
    measured: dict[str, Cost] = field(default_factory=dict)
    ratios: dict[str, list[float]] = field(default_factory=dict)
    members: dict[str, Member] = field(default_factory=dict)
    over: dict[str, Cost] = field(default_factory=dict)  # those that break a limit

    def add(self, networks: Sequence[Architecture]) -> list[str]:
        """Fingerprints of those within the limits, new or not."""
        new: dict[str, tuple[Architecture, Cost]] = {}
        named = {network.fingerprint: network for network in networks}
        for name, network in named.items():
            if name in self.members or name in self.over:
                continue
            cost = self.cost(network)
            if self.limits.broken(self._scaled(cost)):
                self.over[name] = cost
            else:
                new[name] = network, cost
        if new:
            rows = self._rows([network for network, _ in new.values()], [cost for _, cost in new.values()])
            for (name, (network, cost)), row in zip(new.items(), rows, strict=True):
                self.members[name] = Member(network, cost, row)
        return [name for name in named if name in self.members]

    def probe(self, rng: random.Random) -> None:
        """Where costs are guesses: measure a small, a middling and a large network, so that guesses are of the right size."""
        if self.measure is not None:
            drawn = sorted((self.space.draw(rng) for _ in range(PROBED)), key=lambda network: self.cost(network).macs)
            for network in (drawn[0], drawn[PROBED // 2], drawn[-1]):
                self.learn(network, self.measure(network))

    def learn(self, network: Architecture, cost: Cost) -> None:
        """This is what it costs in truth."""
        if self.measure is None:
            return
        if latency_of(cost) > 0:
            self.measured[network.fingerprint] = cost
        guessed = self.cost(network).latencies
        for name, one in cost.latencies.items():
            if one.origin == "measured" and one.ms > 0 and name in guessed:
                self.ratios.setdefault(name, []).append(math.log(one.ms / max(guessed[name].ms, 1e-12)))

    def cost_of(self, name: str) -> Cost:
        """Of a member, as far as it is known."""
        return self.measured.get(name) or self._scaled(self.members[name].cost)

    def within(self, name: str) -> bool:
        """Is a member still taken to be within the limits?"""
        return self.measure is None or not self.limits.broken(self.cost_of(name))

    def _scaled(self, cost: Cost) -> Cost:
        """With the latencies to be expected of a measurement, which has no interval, on the targets that are measured."""
        scaled = {
            name: msgspec.structs.replace(
                cost.latencies[name], ms=math.exp(fmean(ratios)) * cost.latencies[name].ms, low=None, high=None
            )
            for name, ratios in self.ratios.items()
        }
        return msgspec.structs.replace(cost, latencies=cost.latencies | scaled) if scaled else cost

    def draw(self, count: int, rng: random.Random) -> list[str]:
        """So many different random members; fewer where TRIES draws for each did not find them."""
        found: dict[str, None] = {}
        for _ in range(TRIES):
            if len(found) >= count:
                break
            found |= dict.fromkeys(self.add([self.space.draw(rng) for _ in range(count - len(found))]))
        return list(found)

    def around(self, parents: Sequence[str], count: int, rng: random.Random) -> list[str]:
        """Up to so many neighbours of each parent."""
        near = [self.add(list(self._neighbours(self.members[parent].network, count, rng))) for parent in parents]
        return list(dict.fromkeys(name for names in near for name in names))

    def _rows(self, networks: Sequence[Architecture], costs: Sequence[Cost]) -> Array:
        """(n, d): the space's own features; the logarithms of parameters, MACs, and latency on each target; what each prior
        expects."""
        features = self.space.features(networks)
        known = [[math.log(max(1, cost.params)), math.log(max(1, cost.macs)), *_latencies(cost)] for cost in costs]
        expected = [prior(features)[:, None] for prior in self.priors]
        return np.hstack([features, np.array(known, np.float64), *expected])

    def _neighbours(self, network: Architecture, count: int, rng: random.Random) -> Iterator[Architecture]:
        for _ in range(count):
            try:
                yield self.space.neighbour(network, rng)
            except EdgenasError:  # noqa: PERF203  it has none
                return


@dataclass(frozen=True)
class Scaling:
    """Features as the surrogate has them: those that differ between the members of the first pool, standardised over it. What
    priors expect weighs, together, as much as PRIOR of all others."""

    kept: NDArray[np.intp]
    mean: Array
    sd: Array

    @classmethod
    def over(cls, rows: Array, priors: int = 0) -> Scaling:
        """From (n, d) rows of the first pool, of which the last `priors` columns are what priors expect."""
        sd = rows.std(0)
        kept = np.flatnonzero(sd > ALIKE)
        others = int((kept < rows.shape[1] - priors).sum())
        weight = np.where(kept < rows.shape[1] - priors, 1.0, max(1.0, PRIOR * others / max(1, priors)) ** 0.5)
        return cls(kept, rows.mean(0)[kept], sd[kept] / weight)

    def __call__(self, rows: Array) -> Array:
        """(n, d) -> (n, number of kept features)."""
        return np.asarray((rows[:, self.kept] - self.mean) / self.sd)


def _latencies(cost: Cost) -> list[float]:
    return [math.log(max(cost.latencies[name].ms, 1e-12)) for name in sorted(cost.latencies)]
