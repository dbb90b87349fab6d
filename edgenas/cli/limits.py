"""What can be said of limits before anything is trained: that nothing meets them, or that they cannot bind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from edgenas.architectures.chain import DENSE, ChainSpace
from edgenas.cli.output import say
from edgenas.cli.settings import CHAINS, PRESETS, SearchSettings, space_from
from edgenas.errors import EdgenasError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import HOST_CPU
from edgenas.methods.ladder import refuse_impossible_limit
from edgenas.methods.nse_rules import refuse_impossible_space
from edgenas.records import Cost, HardwareProfile, Limits

WIDEST = 1024  # channels, up to which a width that reaches a limit is looked for
FLAGS = {"latency_ms": "max-latency-ms", "params": "max-params", "size_mb": "max-size-mb", "memory_mb": "max-memory-mb"}


def all_predicted(profiles: tuple[HardwareProfile, ...], boards: bool) -> bool:
    """Are latencies known without measuring anything?"""
    return not boards and all(profile.name != HOST_CPU for profile in profiles)


def check_limits(
    settings: SearchSettings, profiles: tuple[HardwareProfile, ...], boards: bool, decided: dict[str, Any]
) -> None:
    """Raise LimitError before a study exists where nothing meets the limits; say where one of them cannot bind. Measured
    latencies are known later, and NAL says itself that it found nothing."""
    if settings.method == "nal" or not all_predicted(profiles, boards):
        return
    cost = CostModel(profiles, settings.precision, settings.limits)
    if settings.method == "nse":
        refuse_impossible_space(decided["space"], cost, settings.limits)
        return
    refuse_impossible_limit(decided["space"], cost, settings.limits)
    for line in loose_limits(settings, decided["space"], cost):
        say(f"warning: {line}")


def loose_limits(settings: SearchSettings, space: ChainSpace, cost: CostModel) -> Iterator[str]:
    """A sentence for every limit that the largest network which the method can reach does not break."""
    assert settings.method in CHAINS
    for name, flag in FLAGS.items():
        limit = getattr(settings.limits, name)
        only = msgspec.structs.replace(Limits(), **{name: limit})
        largest = _largest(space, settings.method, cost, name)
        if limit is not None and not only.broken(largest):
            yield (
                f"--{flag} {limit:g} cannot bind: the largest network that {settings.method} can reach here has "
                f"{_figure(largest, name)}; {_what_reaches(settings, space, cost, only, name)}"
            )


def _largest(space: ChainSpace, method: str, cost: CostModel, name: str) -> Cost:
    """At full depth and width. GNAS matches what is dense or has larger kernels to the separable network's size; the others do
    not, and which of the two is slower depends on the device."""
    depth, width = space.max_depth, space.max_width
    members = [space.chain(depth, width)]
    if method != "gnas":
        members.append(space.chain(depth, width, (DENSE,) * depth, (max(space.kernels),) * depth))
    return max(map(cost, members), key=lambda known: _amount(known, name))


def _amount(cost: Cost, name: str) -> float:
    if name == "latency_ms":
        return max(latency.ms for latency in cost.latencies.values())
    return float(getattr(cost, name))


def _what_reaches(settings: SearchSettings, space: ChainSpace, cost: CostModel, limit: Limits, name: str) -> str:
    """The first preset and the least width that reach it."""
    ways = []
    for preset, bounds in PRESETS.items():
        try:
            other = space_from(settings, bounds, space.head, space.in_channels, space.image_size)
        except EdgenasError:  # the bounds that were given do not go with this preset's
            continue
        reached = _largest(other, settings.method, cost, name)
        if limit.broken(reached):
            ways.append(f"--preset {preset} reaches {_figure(reached, name)}")
            break
    for width in range(space.max_width + space.width_step, WIDEST + 1, space.width_step):
        reached = _largest(msgspec.structs.replace(space, max_width=width), settings.method, cost, name)
        if limit.broken(reached):
            ways.append(f"--max-width {width} reaches {_figure(reached, name)}")
            break
    return ", ".join(ways) or f"no preset and no width up to {WIDEST} reaches it: leave it out"


def _figure(cost: Cost, name: str) -> str:
    if name == "latency_ms":
        slowest = max(cost.latencies.values(), key=lambda latency: latency.ms)
        return f"{slowest.ms:.3g} ms on {slowest.profile}"
    return f"{cost.params:,} parameters" if name == "params" else f"{getattr(cost, name):.3g} MB"
