"""NSE's numbers: the published rules, what its networks cost, the cost that a search aims at, and how wide networks become."""

from __future__ import annotations

from typing import Literal

import numpy as np

from edgenas.architectures.branch_spaces import is_published
from edgenas.architectures.multibranch import CellOps, MultiBranchSpace
from edgenas.architectures.subspace import additive_cost
from edgenas.errors import LimitError
from edgenas.methods import CostOf
from edgenas.ranges import Channels, Depth, Factor, Megabytes, Milliseconds, Networks, Tries
from edgenas.records import Architecture, Limits, MultiBranchArchitecture, Record

WIDEST, NARROWEST, FACTORS = 1.5, 0.25, 81  # channel factors that are tried to meet the target


class NseRules(Record, frozen=True):
    """The published numbers, unless a preset says otherwise. Bands are shares of the target.

    target_mmacs, target_ms: the cost that the search aims at; see `target_of` for what it is without them.
    """

    operations: Networks = 5  # K, per cell
    rounds: Depth | None = None  # None: as many as the pool needs, (size - 1) // (K - 1)
    target_mmacs: Megabytes | None = None
    target_ms: Milliseconds | None = None
    band_low: Factor = 0.9
    band_high: Factor = 1.05
    cheap_low: Factor = 0.6  # the cheaper band ends where the band begins
    networks: Networks = 2000
    cheap_networks: Networks = 100
    finals: Networks = 4  # of the last round, trained from scratch
    control: Tries = 0  # random members of the whole space, trained from scratch beside them
    channel_step: Channels = 8
    limit_share: Factor = 0.95  # of a limit on latency or MACs, as the target


class Economy:
    """Cost of a network: ms where the rules or a limit speak of latency, M MACs otherwise; and whether it keeps the limits."""

    def __init__(self, cost: CostOf, limits: Limits, rules: NseRules) -> None:
        self.cost, self.limits = cost, limits
        timed = rules.target_ms is not None or (rules.target_mmacs is None and limits.latency_ms is not None)
        self.unit: Literal["M MACs", "ms"] = "ms" if timed else "M MACs"
        self.asked = rules.target_ms if timed else rules.target_mmacs
        self.share = rules.limit_share

    def expense(self, architecture: Architecture) -> float:
        """M MACs, or the slowest target's ms: the upper ends of the intervals, where a limit on these is what is aimed at."""
        cost = self.cost(architecture)
        if self.unit == "M MACs":
            return cost.macs / 1e6
        if not cost.latencies:
            broken = ", ".join(self.limits.broken(cost))
            raise LimitError(
                f"a network that has to be timed breaks a limit ({broken}): raise it, or take a smaller space (--preset tiny, a "
                "smaller --image-size)"
            )
        by_upper_end = self.limits.margin and self.asked is None
        return max(
            latency.high if by_upper_end and latency.high is not None else latency.ms
            for latency in cost.latencies.values()
        )

    def within_reach(self, target: float, dearest: float) -> float:
        """What a round aims at of whose networks the dearest costs so much: the target; under a limit so loose that not even
        that network comes near it the same share of its cost. (The final networks are then widened towards the limit.)"""
        return target if self.asked is not None else min(target, self.share * dearest)

    def fits(self, architecture: Architecture) -> bool:
        return not self.limits.broken(self.cost(architecture))


def target_of(space: MultiBranchSpace, rules: NseRules, economy: Economy) -> float:
    """The rules' target. Without one: 95 % of the limit on what is counted, latency or MACs; where there is none, what a network
    with one average operation of the pool in every cell costs."""
    if economy.asked is not None:
        return economy.asked
    limit = economy.limits.latency_ms if economy.unit == "ms" else economy.limits.mmacs
    if limit is not None:
        return rules.limit_share * limit
    whole = additive_cost(space, whole_pool(space), economy.expense)
    return whole.base + sum(float(np.mean(shares)) for shares in whole.operations)


def refuse_impossible_space(space: MultiBranchSpace, cost: CostOf, limits: Limits) -> None:
    """Raise LimitError where not even the cheapest operation of the pool in every cell that needs one keeps the limits."""
    smallest = space.member(tuple((0,) if kind != "N" else () for kind in space.kinds))
    broken = limits.broken(cost(smallest))
    if broken:
        smaller = (
            "take --preset tiny or a smaller --image-size"
            if is_published(space)
            else "set fewer channels under [rules]"
        )
        raise LimitError(
            f"no network of this space meets the limit: its smallest member, one small operation in every cell that changes the "
            f"channels, has {', '.join(broken)}: raise the limit, or {smaller}"
        )


def fitted(
    space: MultiBranchSpace, ops: CellOps, target: float, rules: NseRules, economy: Economy
) -> MultiBranchArchitecture:
    """The network with its channels scaled by one factor to the most that the target and the limits allow."""
    factors = np.linspace(NARROWEST, WIDEST, FACTORS)
    widths = list(dict.fromkeys(_scaled(space.channels, factor, rules.channel_step) for factor in factors))
    low, high = 0, len(widths)  # cost rises with the factor: the first that is too dear, by bisection
    while low < high:
        middle = (low + high) // 2
        network = space.member(ops, widths[middle])
        if economy.fits(network) and economy.expense(network) <= target:
            low = middle + 1
        else:
            high = middle
    return space.member(ops, widths[max(0, low - 1)])


def _scaled(channels: tuple[int, ...], factor: float, step: int) -> tuple[int, ...]:
    return tuple(max(step, round(channel * factor / step) * step) for channel in channels)


def whole_pool(space: MultiBranchSpace) -> CellOps:
    """Every operation of the pool in every cell."""
    return tuple(tuple(range(space.pool)) for _ in space.kinds)
