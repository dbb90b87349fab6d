"""What can be said of limits before anything is trained: that nothing meets them, or that they cannot bind."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.space import Space
from edgenas.architectures.stages_space import StagesSpace
from edgenas.engine.plan import Plan
from edgenas.engine.settings import PRESETS, asked_stages, chain_space
from edgenas.errors import EdgenasError, LimitError
from edgenas.hardware.cost import CostModel, measured_target
from edgenas.methods.ladder import DRAWS
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import MethodSpec
from edgenas.records import Architecture, Cost, HardwareProfile, Limits

WIDEST = 1024  # channels, up to which a width that reaches a limit is looked for
DRAWN = 50  # random members of a space without bounds that are looked at
SHORT = 0.7  # of a limit: a ladder that ends below it leaves much of it unused
FLAGS = {
    "latency_ms": "max-latency-ms",
    "params": "max-params",
    "size_mb": "max-size-mb",
    "memory_mb": "max-memory-mb",
    "mmacs": "max-mmacs",
}


def check_limits(
    plan: Plan, spec: MethodSpec, profiles: tuple[HardwareProfile, ...], tell: Callable[[str], None]
) -> None:
    """Raise LimitError before a study exists where nothing meets the limits; say where one of them cannot bind. Of a target that
    is measured all but the latency is known before. NAL says itself that it found nothing."""
    limits = plan.asked.limits
    cost = CostModel(profiles, plan.asked.precision, limits, measured=measured_target(profiles, plan.boards))
    spec.check(plan.space, cost, limits, DRAWS)
    for line in loose_limits(plan, spec, cost):
        tell(f"warning: {line}")


def refuse_measured_limit(plan: Plan, spec: MethodSpec, cost: CostModel) -> None:
    """Raise LimitError where latencies are measured and the smallest chains, which are measured now, break a limit. In another
    space the smallest network need not be the fastest: there the search finds out."""
    asked = plan.asked.limits
    if isinstance(plan.space, ChainSpace) and (asked.latency_ms is not None or asked.energy_mj is not None):
        spec.check(plan.space, cost, asked, 0)


def nothing_meets(
    space: Space, settings: SearchSettings, spec: MethodSpec, profiles: tuple[HardwareProfile, ...], boards: bool
) -> bool:
    """Is it known before anything is trained or measured that no network of the space is within the limits?"""
    limits = settings.limits
    cost = CostModel(profiles, settings.precision, limits, measured=measured_target(profiles, boards))
    try:
        spec.check(space, cost, limits, DRAWS)
    except LimitError:
        return True
    return False


def loose_limits(plan: Plan, spec: MethodSpec, cost: CostModel) -> Iterator[str]:
    """A sentence for every limit that the largest network which the method can reach does not break, and for every one that its
    macro phases stay far below."""
    limits, space = plan.asked.limits, plan.space
    if spec.largest is None:
        return
    bounded = len(spec.largest(space)) > 0
    for name, asked, only in _each(limits):
        if name == "latency_ms" and cost.measured is not None:
            continue  # the slowest target may be the one that is not known yet
        reach = Reach(spec.largest if bounded else drawn, cost, name)
        largest = reach.of(space)
        if not only.broken(largest):
            yield f"{asked} {_loose(plan, spec, reach, only, bounded=bounded)}"
        elif isinstance(space, ChainSpace) and spec.macro is not None:
            yield from _short_ladder(plan, space, Reach(spec.macro, cost, name), only, asked)


def _loose(plan: Plan, spec: MethodSpec, reach: Reach, limit: Limits, *, bounded: bool) -> str:
    """That the limit does not bind, what the largest networks have, and what to do."""
    space = plan.space
    has = reach.words(reach.of(space))
    if not bounded or not isinstance(space, ChainSpace | StagesSpace):
        return (
            f"hardly binds: the largest of {DRAWN} random networks of this space has {has}: leave it out, or name another "
            "--space"
        )
    return (
        f"cannot bind: the largest network that {spec.name} can reach here has {has}; "
        f"{_what_reaches(plan, space, reach, limit)}"
    )


def drawn(space: Space) -> tuple[Architecture, ...]:
    """Members of a space whose largest is not known; always the same."""
    rng = random.Random(0)
    return tuple(space.draw(rng) for _ in range(DRAWN))


def _each(limits: Limits) -> Iterator[tuple[str, str, Limits]]:
    """Every limit that is set: what it is on, as it was asked for, and alone."""
    for name, flag in FLAGS.items():
        limit = getattr(limits, name)
        if limit is not None:
            figure = limit if isinstance(limit, int) else f"{limit:.12g}"
            yield name, f"--{flag} {figure}", msgspec.structs.replace(Limits(margin=limits.margin), **{name: limit})


def _short_ladder(plan: Plan, space: ChainSpace, reach: Reach, limit: Limits, asked: str) -> Iterator[str]:
    """A sentence where depth and width are chosen among networks that all lie far below the limit."""
    largest = reach.of(space)
    share = reach.amount(largest) / getattr(limit, reach.quantity)
    if share < SHORT:
        yield (
            f"{asked}: depth and width are searched with separable layers, the largest of which has {reach.words(largest)}, "
            f"{share:.0%} of the limit; {_what_reaches(plan, space, reach, limit)}"
        )


@dataclass(frozen=True)
class Reach:
    """How large a method's networks can become, in the quantity that one limit is about."""

    members: Callable[[Space], tuple[Architecture, ...]]
    cost: CostModel
    quantity: str

    def of(self, space: Space) -> Cost:
        """The largest of the space's largest members."""
        return max((self.cost(member) for member in self.members(space)), key=self.amount)

    def amount(self, cost: Cost) -> float:
        if self.quantity == "latency_ms":
            return max(latency.ms for latency in cost.latencies.values())
        return cost.macs / 1e6 if self.quantity == "mmacs" else float(getattr(cost, self.quantity))

    def words(self, cost: Cost) -> str:
        if self.quantity == "latency_ms":
            slowest = max(cost.latencies.values(), key=lambda latency: latency.ms)
            return f"{slowest.ms:.3g} ms on {slowest.profile}"
        if self.quantity == "params":
            return f"{cost.params:,} parameters"
        return f"{self.amount(cost):.3g} {'M MACs' if self.quantity == 'mmacs' else 'MB'}"


def _what_reaches(plan: Plan, space: ChainSpace | StagesSpace, reach: Reach, limit: Limits) -> str:
    """The first preset and the least width that reach it."""
    ways = []
    for preset, bounds in PRESETS.items():
        try:
            made_for = (space.head, space.in_channels, space.image_size)
            if isinstance(space, ChainSpace):
                other: Space = chain_space(plan.asked, bounds, *made_for)
            else:
                other = asked_stages(plan.asked, bounds, made_for, reach.cost.profiles)
        except EdgenasError:  # the bounds that were given do not go with this preset's
            continue
        reached = reach.of(other)
        if limit.broken(reached):
            ways.append(f"--preset {preset} reaches {reach.words(reached)}")
            break
    for width in range(space.max_width + space.width_step, WIDEST + 1, space.width_step):
        reached = reach.of(msgspec.structs.replace(space, max_width=width))
        if limit.broken(reached):
            ways.append(f"--max-width {width} reaches {reach.words(reached)}")
            break
    return ", ".join(ways) or f"no preset and no width up to {WIDEST} reaches it: leave it out"
