"""Which preset a search goes by, and the space and rules that follow from it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.named_spaces import SpaceForData
from edgenas.architectures.space import Space
from edgenas.engine.heritage import cuts_for
from edgenas.engine.limits import nothing_meets
from edgenas.engine.settings import PRESETS, opened_in_words, preset_of, space_asked
from edgenas.methods.settings import PresetName, SearchSettings
from edgenas.methods.spec import MethodSpec, Planning
from edgenas.records import HardwareProfile, Record

if TYPE_CHECKING:
    from edgenas.tasks import Task


@dataclass(frozen=True)
class Shape:
    """`lines`: what a person should know of how these came about, a sentence each."""

    preset: PresetName
    space: Space
    rules: Record
    lines: tuple[str, ...] = ()


def shape_of(
    settings: SearchSettings,
    spec: MethodSpec,
    profiles: tuple[HardwareProfile, ...],
    task: Task,
    device: str,
    *,
    own: SpaceForData | None = None,
    boards: bool = False,
) -> Shape:
    """The shape of a search on this device ("cpu" or "cuda"). Where nobody asked for a preset, and no network of the usual one
    meets the limits, it is that of `tiny`, if one of its networks does."""
    name = preset_of(settings, spec, device == "cuda")
    shape = _under(name, settings, spec, profiles, task, device, own)
    if settings.preset is None and name != "tiny":
        refused = nothing_meets(shape.space, settings, spec, profiles, boards)
        tiny = _under("tiny", settings, spec, profiles, task, device, own) if refused else shape
        if refused and not nothing_meets(tiny.space, settings, spec, profiles, boards):
            why = f"preset tiny: preset {name}, the usual one on a GPU, has no network within the limits (--preset asks for one)"
            return Shape(tiny.preset, tiny.space, tiny.rules, (why, *tiny.lines))
    return shape


def _under(
    name: PresetName,
    settings: SearchSettings,
    spec: MethodSpec,
    profiles: tuple[HardwareProfile, ...],
    task: Task,
    device: str,
    own: SpaceForData | None,
) -> Shape:
    if spec.plan is not None:
        return Shape(name, *spec.plan(Planning(settings, name, task, device)))
    if settings.start is not None:
        return Shape(name, cuts_for(settings, task), spec.as_planned(name, settings.rules))
    made_for = (task.head, task.preprocessing.channels, task.preprocessing.input_size)
    space = space_asked(settings, spec, PRESETS[name], own, made_for, profiles)
    return Shape(name, space, spec.as_planned(name, settings.rules), tuple(_opened(settings, name, space)))


def _opened(settings: SearchSettings, name: PresetName, space: Space) -> Iterator[str]:
    if isinstance(space, ChainSpace):
        yield from opened_in_words(settings, name, space)
