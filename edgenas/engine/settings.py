"""From flags or a project file to the settings of a search; and what a preset makes of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

import msgspec

from edgenas.architectures.chain import ChainSpace, stem_reductions
from edgenas.architectures.named_spaces import SPACES, SpaceForData, space_for, space_named
from edgenas.architectures.space import Space
from edgenas.architectures.stages_bounds import BOUNDS as STAGES
from edgenas.architectures.stages_bounds import TINY_BOUNDS as TINY_STAGES
from edgenas.architectures.stages_bounds import bounded_stages, kind_of_images
from edgenas.architectures.stages_space import StagesSpace
from edgenas.architectures.stem import Stem
from edgenas.engine.plan import refuse_unwritable
from edgenas.engine.registry import methods_heeding
from edgenas.errors import EdgenasError
from edgenas.files import with_homes
from edgenas.identity import digest
from edgenas.image_sizes import ImageSize, size_asked
from edgenas.methods.settings import PresetName, SearchSettings, flag_of, refused
from edgenas.methods.spec import BOUNDS, NOT_EVERYWHERE, MethodSpec
from edgenas.records import HardwareProfile, Head, Record
from edgenas.store import flat, read_toml

Data: TypeAlias = tuple[
    Head, int, ImageSize
]  # what a space is made for: the network's head, channels, size of its input
UNLOADED = ("chain", "stages")  # spaces that are made of settings, and looked up in no registry
OF_CLASSIFICATION = ("fit", "skip_damaged", "balance", "metric")  # settings


class Preset(Record, frozen=True):
    """Bounds of the chain space; `fixed_epochs`: what the policies fixed and gpu-seconds give a training; `tiny`: has
    the space of stages its tiny bounds?"""

    min_depth: int
    max_depth: int
    min_width: int
    max_width: int
    width_step: int
    kernels: tuple[int, ...]
    fixed_epochs: int = 25
    tiny: bool = False


# The space of a search that names none, by kind of images, where the method can search any.
DEFAULT_SPACES = {"small": "chain", "photographs": "chain", "faces": "chain"}

PLACES = (
    "data",
    "data_dir",
    "target",
    "recipe",
    "start",
    "from_study",
    "warm_start",
)  # settings that may name a file or folder
PAIRS = (("min_depth", "max_depth"), ("min_width", "max_width"))

# tiny: minutes on two cores; its epochs are in proportion.
PRESETS: dict[str, Preset] = {
    "tiny": Preset(4, 10, 4, 24, 4, kernels=(3, 5), fixed_epochs=10, tiny=True),
    "t": Preset(10, 100, 16, 64, 2, kernels=(3, 5)),
    "m": Preset(10, 100, 16, 128, 2, kernels=(3, 5)),
    "trg": Preset(10, 20, 16, 72, 4, kernels=(3, 5, 7)),
}


def settings_from(file: Path | None, flags: dict[str, Any]) -> SearchSettings:
    """The project file's settings, overruled by the flags that were given (those that are not None)."""
    values: dict[str, Any] = {}
    if file is not None:
        _refuse_no_project(file, margin=flags.get("margin") is True)
        values = {key.replace("-", "_"): value for key, value in read_toml(file, dict[str, Any]).items()}
        if isinstance(values.get("target"), str):
            values["target"] = [values["target"]]
    values |= {name: value for name, value in flags.items() if value is not None}
    values = {name: _at_home(value) if name in PLACES else value for name, value in values.items()}
    if "image_size" in values:
        values["image_size"] = size_asked(values["image_size"])
    for name, value in flat(values).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise EdgenasError(f"{name.replace('_', '-')} {value}: give a number, or leave it out")
    try:
        return msgspec.convert(values, type=SearchSettings)
    except msgspec.ValidationError as error:
        where = "" if file is None else f"{file}: "
        raise EdgenasError(
            f"{where}{refused(error, values)}: `edgenas search --help` lists what is possible"
        ) from error


def _at_home(value: Any) -> Any:
    """A place with the user's home in it; nobody expands that in a project file."""
    if isinstance(value, list | tuple):
        return [_at_home(one) for one in value]
    return with_homes(value) if isinstance(value, str) else value


def _refuse_no_project(file: Path, *, margin: bool) -> None:
    """Raise EdgenasError for what was given in the place of a project file and is none."""
    if file.is_dir():
        raise EdgenasError(f"{file} is a folder, and no project file (TOML): images are given by --data {file}")
    if not file.exists():
        after = " (--margin takes no value)" if margin else ""
        raise EdgenasError(f"there is no project file {file}{after}: `edgenas init FILE` writes one")


def refuse_unheeded(settings: SearchSettings, spec: MethodSpec) -> None:
    """Raise EdgenasError for a setting that the method would ignore."""
    usual = SearchSettings()
    for name in NOT_EVERYWHERE:
        if name not in spec.heeds and getattr(settings, name) != getattr(usual, name):
            heeding = ", ".join(methods_heeding(name))
            raise EdgenasError(f"{flag_of(name)} is for --method {heeding}: leave it out with {settings.method}")
    if settings.far is not None and settings.task != "faces":
        raise EdgenasError("--far is for --task faces: leave it out")
    for name in OF_CLASSIFICATION:
        if settings.task != "classification" and getattr(settings, name) != getattr(usual, name):
            raise EdgenasError(f"{flag_of(name)} is for --task classification: leave it out")
    if settings.margin and settings.max_latency_ms is None:
        raise EdgenasError(
            "--margin judges --max-latency-ms by the upper end of a latency's interval: give that limit too"
        )
    if settings.control is not None and spec.control == "none":
        raise EdgenasError(
            f"--control {settings.control} is not possible with --method {spec.name}: compare with `--method random`"
        )


def preset_of(settings: SearchSettings, spec: MethodSpec, on_gpu: bool) -> PresetName:
    """The preset asked for; else tiny on a CPU, and on a GPU the published one of the method."""
    if settings.preset is not None:
        return settings.preset
    return spec.gpu_preset if on_gpu else "tiny"


def space_asked(
    settings: SearchSettings,
    spec: MethodSpec,
    preset: Preset,
    own: SpaceForData | None,
    made_for: Data,
    profiles: tuple[HardwareProfile, ...] = (),
) -> Space:
    """The space for data with this head, channels and size: one that is named, the caller's `own`, else the usual one
    for such data. Raises EdgenasError for one that the method cannot search, and for bounds of a space that has none."""
    usual = "chain" if spec.spaces is not None else DEFAULT_SPACES[kind_of_images(made_for[0], made_for[2])]
    name = settings.space or usual
    if spec.spaces is not None and name not in spec.spaces:
        raise EdgenasError(f"--space {name} is not for --method {spec.name}: possible are {', '.join(spec.spaces)}")
    if settings.space in UNLOADED and own is None:
        SPACES.refuse_double(settings.space)
    if name == "chain":
        return chain_space(settings, preset, *made_for)
    if name == "stages" and own is None:
        return asked_stages(settings, preset, made_for, profiles)
    if bounds := [bound for bound in BOUNDS if getattr(settings, bound) is not None]:
        raise EdgenasError(f"{flag_of(bounds[0])} bounds the spaces chain and stages: leave it out with --space {name}")
    space = space_named(name, *made_for) if own is None else space_for(own, *made_for)
    refuse_unwritable(space, name if own is None else None)
    return space


def chain_space(
    settings: SearchSettings, preset: Preset, head: Head, channels: int, image_size: ImageSize
) -> ChainSpace:
    """The preset's bounds with those that were set apart; a stem that grows before images that the chain does not begin with."""
    bounds: dict[str, Any] = opened_bounds(settings, preset)
    stem: Stem = "growing" if stem_reductions(head, image_size) else "wide"
    return ChainSpace(
        head=head, in_channels=channels, image_size=image_size, kernels=preset.kernels, stem=stem, **bounds
    )


def opened_bounds(settings: SearchSettings, preset: Preset) -> dict[str, int]:
    """The preset's bounds with those that were asked for. Where one of a pair was, and the preset's other one lies beyond it, the
    other is the nearest that any preset has on the right side of it, else the same."""
    bounds = {name: getattr(preset, name) for name in BOUNDS}
    bounds |= {name: asked for name in BOUNDS if (asked := getattr(settings, name)) is not None}
    for low, high in PAIRS:
        if bounds[low] <= bounds[high]:
            continue
        if getattr(settings, low) is None:
            lower = [getattr(other, low) for other in PRESETS.values()]
            bounds[low] = max((least for least in lower if least <= bounds[high]), default=bounds[high])
        elif getattr(settings, high) is None:
            higher = [getattr(other, high) for other in PRESETS.values()]
            bounds[high] = min((most for most in higher if most >= bounds[low]), default=bounds[low])
    return bounds


def opened_in_words(settings: SearchSettings, preset: PresetName, space: ChainSpace) -> Iterator[str]:
    """A sentence for each of the preset's bounds that made way for one that was asked for."""
    for low, high in PAIRS:
        what = low.removeprefix("min_")
        for moved, asked, side in ((low, high, "from"), (high, low, "up to")):
            usual, is_now = getattr(PRESETS[preset], moved), getattr(space, moved)
            if getattr(settings, moved) is None and is_now != usual:
                yield (
                    f"{flag_of(asked)} {getattr(settings, asked)}: preset {preset} has a {what} {side} {usual}; "
                    f"here it is {side} {is_now} ({flag_of(moved)} sets it)"
                )


def asked_stages(
    settings: SearchSettings, preset: Preset, made_for: Data, profiles: tuple[HardwareProfile, ...]
) -> StagesSpace:
    """The preset's bounds for such images with those that were set apart. TensorRT computes eight channels at a time; for other
    runtimes, where nothing is said, widths are multiples of four."""
    head, _, image_size = made_for
    step = 8 if any(profile.runtime == "tensorrt" for profile in profiles) else 4
    bounds = {name: getattr(settings, name) for name in BOUNDS}
    bounds["width_step"] = bounds["width_step"] or step
    usual = (TINY_STAGES if preset.tiny else STAGES)[kind_of_images(head, image_size)]
    return bounded_stages(usual, *made_for, **bounds)


def as_asked(settings: SearchSettings, profiles: tuple[HardwareProfile, ...]) -> SearchSettings:
    """The settings as a study holds them: a target is its profile's name, a file also what it says."""
    named = (
        f"{profile.name} {digest(profile)[:8]}" if name.endswith(".toml") else profile.name
        for name, profile in zip(settings.target, profiles, strict=True)
    )
    return msgspec.structs.replace(settings, target=tuple(named))
