"""What a space is for some data: its choices, its members' sizes, and how far they are spread. For `edgenas space NAME`."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np

from edgenas.architectures.chain import LAYERS
from edgenas.architectures.multibranch import Mobile, Operation, Rectangle, pool_operations
from edgenas.architectures.space import Space, values_in_words
from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.registry import method_named
from edgenas.engine.settings import PRESETS, space_asked
from edgenas.errors import EdgenasError
from edgenas.hardware.predictor import Row, latencies
from edgenas.hardware.profile import HOST_CPU, profile_from_name
from edgenas.image_sizes import ImageSize
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import largest_members
from edgenas.records import Architecture, ChainArchitecture, Classes, Record

POOL = 27  # of the space multibranch
MOST_SHOWN = 24  # values of one choice
DRAWN = 200  # random members that the spread is of
MOST_CLASSES = 1_000_000  # of what is shown here
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


class Size(Record, frozen=True):
    """One member of a space."""

    words: str
    params: int
    macs: int
    kind: str = ""  # of a chain whose layers are all alike: separable or dense


class SpaceFacts(Record, frozen=True):
    """`choices`: by name, in words; `spread`: of random members, per quantity its 5, 25, 50, 75 and 95 % quantiles: `params`,
    `macs`, and `ms` on `target`, unless it is measured."""

    space: str
    in_channels: int
    image_size: ImageSize
    choices: dict[str, str]
    smallest: Size
    reference: Size
    largest: tuple[Size, ...]  # () where they are not known
    spread: dict[str, tuple[float, ...]]
    target: str  # as it was asked for


def facts_of(name: str, data: tuple[int, ImageSize, int], preset: str, target: str) -> SpaceFacts:
    """The facts of the space of this name, as a search has it for images of (channels, size) in so many classes, under
    this preset and for this target. Raises EdgenasError for numbers that no search takes, and data that the space cannot have.
    """
    channels, size, classes = data
    if channels not in (1, 3) or not 2 <= classes <= MOST_CLASSES:
        raise EdgenasError(f"--channels {channels}, --classes {classes}: possible are 1 or 3, and 2 to {MOST_CLASSES}")
    settings, made_for = SearchSettings(space=name), (Classes(classes), channels, size)
    profiles = (profile_from_name(target),)
    space = space_asked(settings, method_named("random"), PRESETS[preset], None, made_for, profiles)
    return space_facts(space, largest_members(space), target)


def space_facts(space: Space, largest: tuple[Architecture, ...], target: str) -> SpaceFacts:
    """The facts of a space; `largest`: its largest members; `target`: the device's name or TOML file."""
    profile, smallest, rng = profile_from_name(target), space.smallest(), random.Random(0)
    drawn = [space.draw(rng) for _ in range(DRAWN)]
    workloads = [workload_from_architecture(network) for network in drawn]
    spread = {name: _quantiles([getattr(workload, name) for workload in workloads]) for name in ("params", "macs")}
    if profile.name != HOST_CPU:
        rows = [Row(space.words(network), network) for network in drawn]
        spread["ms"] = _quantiles([latency.ms for latency in latencies(profile, rows)])
    return SpaceFacts(
        space.name,
        smallest.in_channels,
        smallest.image_size,
        {name: values_in_words(values) for name, values in space.choices().items()},
        _size(space, smallest),
        _size(space, space.reference()),
        tuple(_size(space, network) for network in largest),
        spread,
        target,
    )


def grouped(choices: dict[str, str]) -> list[tuple[str, str]]:
    """The choices as (names, values); those that differ by their last number alone are one: ("block_0 to block_4", "dense")."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, values in choices.items():
        kind, _, number = name.rpartition("_")
        alike.setdefault((kind if number.isdigit() else name, values), []).append(name)
    return [
        (names[0] if len(names) == 1 else f"{names[0]} to {names[-1]}", values) for (_, values), names in alike.items()
    ]


def _size(space: Space, network: Architecture) -> Size:
    workload, kind = workload_from_architecture(network), ""
    if isinstance(network, ChainArchitecture) and len(set(network.ops)) == 1:
        kind = LAYERS[network.ops[0]]
    return Size(space.words(network), workload.params, workload.macs, kind)


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(quantile) for quantile in np.quantile(values, QUANTILES))


def facts_in_words(facts: SpaceFacts) -> list[tuple[str, str]]:
    """Lines of (what, value) for people."""
    sizes = [("smallest", facts.smallest), ("reference", facts.reference), *(("largest", one) for one in facts.largest)]
    lines = [(name, _meaning(facts.space, name, values)) for name, values in grouped(facts.choices)]
    if facts.space == "multibranch":
        lines += _operations()
    for name, size in sizes:
        lines.append((f"{name}, {size.kind}" if size.kind else name, f"{_in_words(size)}   {size.words}"))
    for name, title in (("params", "parameters"), ("macs", "MACs")):
        low, *_, high = facts.spread[name]
        lines.append((f"{title} of random members", f"{low:,.0f} to {high:,.0f} for nine of ten"))
    if "ms" in facts.spread:
        low, *_, high = facts.spread["ms"]
        lines.append(("latency of random members", f"{low:.3g} to {high:.3g} ms for nine of ten, on {facts.target}"))
    return lines


def _meaning(space: str, name: str, values: str) -> str:
    """The values with what they stand for, where they are bare numbers, and how many there are where they fill a page."""
    if space == "chain" and name.startswith("op_"):
        return ", ".join(f"{number} {words}" for number, words in LAYERS.items())
    each = values.split(", ")
    if space == "multibranch":
        nothing = "none, " if "" in each else ""
        return f"{nothing}one or two of {POOL} operations, as 3+17"
    return values if len(each) <= MOST_SHOWN else f"{', '.join(each[:3])}, ..., {each[-1]}: {len(each)} in all"


def _operations() -> list[tuple[str, str]]:
    """What the numbers of multibranch's operations stand for: between two 1x1 convolutions; neighbours that differ by expansion
    alone in one line."""
    alike: dict[str, list[tuple[int, int]]] = {}
    for number, one in enumerate(pool_operations(POOL)):
        alike.setdefault(_middle(one), []).append((number, one.expand))
    return [
        (
            f"operation {', '.join(str(number) for number, _ in each)}",
            f"{middle}, expansion {', '.join(str(expand) for _, expand in each)}",
        )
        for middle, each in alike.items()
    ]


def _middle(one: Operation) -> str:
    if isinstance(one, Mobile):
        dilated = f", dilation {one.dilation}" if one.dilation > 1 else ""
        return f"depthwise {one.kernel}x{one.kernel}{dilated}"
    if isinstance(one, Rectangle):
        return f"dense 1x{one.kernel} and {one.kernel}x1"
    return f"{one.count} dense 3x3"


def _in_words(size: Size) -> str:
    return f"{size.params:,} parameters, {size.macs / 1e6:,.2f} M MACs"
