"""What a search is asked for, from flags or a project file, and what that decides: the study record."""

from __future__ import annotations

import hashlib
import math
import sys
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from edgenas import __version__
from edgenas.architectures.chain import ChainSpace
from edgenas.cli.about import version_of
from edgenas.errors import EdgenasError
from edgenas.identity import canonical_json, digest, later_defaults
from edgenas.methods.baselines import BaselineRules
from edgenas.methods.gnas import GnasRules
from edgenas.methods.ladder import Policy
from edgenas.methods.nal import NalRules
from edgenas.methods.trgnas import TrgnasRules
from edgenas.ranges import Channels, Depth, Factor
from edgenas.records import HardwareProfile, Head, Limits, Precision, Record, Study
from edgenas.store import different_settings, flat, read_toml

MethodName = Literal["gnas", "trgnas", "nse", "nal", "random", "nsga2", "tpe"]
PresetName = Literal["tiny", "t", "m", "trg"]
Rules = GnasRules | TrgnasRules | BaselineRules | NalRules
Whole = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]
CHAINS = ("gnas", "trgnas", "random", "nsga2", "tpe")
BOUNDS = ("min_depth", "max_depth", "min_width", "max_width", "width_step")
METHODS_OF = {  # settings that only some methods heed
    **dict.fromkeys((*BOUNDS, "policy"), CHAINS),
    **dict.fromkeys(("confirm_seeds", "final_width"), ("gnas", "trgnas")),
    **dict.fromkeys(("pool", "rounds"), ("nse",)),
    "space": ("nal",),
    "from_study": ("nse", "nal"),
}


class SearchSettings(Record, frozen=True):
    """Every setting that decides what a search does: the flags of `edgenas search`, and the keys of a project file."""

    target: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("jetson",)
    data: str = "digits"
    data_dir: str | None = None
    task: Literal["classification", "faces"] = "classification"
    method: MethodName = "gnas"
    preset: PresetName | None = None
    min_depth: Depth | None = None
    max_depth: Depth | None = None
    min_width: Channels | None = None
    max_width: Channels | None = None
    width_step: Channels | None = None
    recipe: str = "fast"
    epoch_scale: Factor | None = None
    search_images: Whole | None = None
    budget: Positive | None = None
    max_latency_ms: Positive | None = None
    max_params: Whole | None = None
    max_size_mb: Positive | None = None
    max_memory_mb: Positive | None = None
    max_energy_mj: Positive | None = None
    policy: Policy = "gnas"
    confirm_seeds: Annotated[int, msgspec.Meta(ge=0, le=1000)] = 0
    control: Literal["random"] | None = None
    image_size: Annotated[int, msgspec.Meta(ge=8, le=512)] | None = None
    flip: bool | None = None
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    precision: Precision | None = None
    final_width: Literal["matched", "macro"] = "matched"
    pool: Literal[19, 27, 72] | None = None
    rounds: Depth | None = None
    from_study: str | None = None
    space: Literal["nasbench101", "nasbench201", "darts"] | None = None
    far: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    rules: dict[str, float | tuple[int, ...]] = {}

    @property
    def limits(self) -> Limits:
        return Limits(self.max_latency_ms, self.max_params, self.max_size_mb, self.max_memory_mb, self.max_energy_mj)


class Preset(Record, frozen=True):
    """Bounds of the chain space and the schedule that suits them."""

    min_depth: int
    max_depth: int
    min_width: int
    max_width: int
    width_step: int
    kernels: tuple[int, ...]
    gnas: GnasRules = GnasRules()
    trgnas: TrgnasRules = TrgnasRules()
    baseline: BaselineRules = BaselineRules(trials=100, epochs=25)
    nal: NalRules = NalRules(designs=8, epochs=25)


# tiny: minutes on two cores; its epochs are in proportion.
TINY = Preset(
    min_depth=4,
    max_depth=10,
    min_width=4,
    max_width=24,
    width_step=4,
    kernels=(3, 5),
    gnas=GnasRules(first_epochs=6, micro_epochs=4),
    trgnas=TrgnasRules(epochs=10),
    baseline=BaselineRules(trials=24, epochs=10),
    nal=NalRules(channels=16, cells_per_stage=1, designs=4, epochs=10),
)
PRESETS: dict[str, Preset] = {
    "tiny": TINY,
    "t": Preset(min_depth=10, max_depth=100, min_width=16, max_width=64, width_step=2, kernels=(3, 5)),
    "m": Preset(min_depth=10, max_depth=100, min_width=16, max_width=128, width_step=2, kernels=(3, 5)),
    "trg": Preset(min_depth=10, max_depth=20, min_width=16, max_width=72, width_step=4, kernels=(3, 5, 7)),
}


def settings_from(file: Path | None, flags: dict[str, Any]) -> SearchSettings:
    """The project file's settings, overruled by the flags that were given (those that are not None)."""
    values: dict[str, Any] = {}
    if file is not None:
        values = {key.replace("-", "_"): value for key, value in read_toml(file, dict[str, Any]).items()}
        if isinstance(values.get("target"), str):
            values["target"] = [values["target"]]
    values |= {name: value for name, value in flags.items() if value is not None}
    for name, value in flat(values).items():
        if isinstance(value, float) and not math.isfinite(value):
            raise EdgenasError(f"{name.replace('_', '-')} {value}: give a number, or leave it out")
    try:
        settings = msgspec.convert(values, type=SearchSettings)
    except msgspec.ValidationError as error:
        raise EdgenasError(f"{file or 'settings'}: {error}: `edgenas search --help` lists what is possible") from error
    refuse_unheeded(settings)
    return settings


def flag_of(name: str) -> str:
    """The flag of `edgenas search` that gives this setting."""
    return "--from" if name == "from_study" else f"--{name.replace('_', '-')}"


def refuse_unheeded(settings: SearchSettings) -> None:
    """Raise EdgenasError for a setting that the method would ignore."""
    usual = SearchSettings()
    for name, methods in METHODS_OF.items():
        if settings.method not in methods and getattr(settings, name) != getattr(usual, name):
            raise EdgenasError(
                f"{flag_of(name)} is for --method {', '.join(methods)}: leave it out with {settings.method}"
            )
    if settings.far is not None and settings.task != "faces":
        raise EdgenasError("--far is for --task faces: leave it out")


def preset_of(settings: SearchSettings, on_gpu: bool) -> PresetName:
    """The preset asked for; else tiny on a CPU, and on a GPU the published one of the method."""
    if settings.preset is not None:
        return settings.preset
    if not on_gpu:
        return "tiny"
    return "trg" if settings.method == "trgnas" else "t"


def space_from(settings: SearchSettings, preset: Preset, head: Head, channels: int, image_size: int) -> ChainSpace:
    """The preset's bounds with those that were set apart."""

    def bound(name: str) -> int:
        asked: int | None = getattr(settings, name)
        value: int = getattr(preset, name) if asked is None else asked
        return value

    bounds = {name: bound(name) for name in BOUNDS}
    return ChainSpace(head=head, in_channels=channels, image_size=image_size, kernels=preset.kernels, **bounds)


def rules_from(settings: SearchSettings, preset: Preset) -> Rules:
    """The preset's rules of the method with those set under [rules]. Raises EdgenasError for a rule it does not have."""
    rules: Rules = preset.baseline
    if settings.method == "gnas":
        rules = preset.gnas
    elif settings.method == "trgnas":
        rules = preset.trgnas
    elif settings.method == "nal":
        rules = preset.nal
    unknown = sorted(set(settings.rules) - set(rules.__struct_fields__))
    if unknown:
        known = ", ".join(rules.__struct_fields__)
        raise EdgenasError(f"[rules] {', '.join(unknown)}: method {settings.method} has no such rule; it has {known}")
    try:
        return msgspec.convert({**msgspec.to_builtins(rules), **settings.rules}, type=type(rules), strict=False)
    except msgspec.ValidationError as error:
        raise EdgenasError(f"[rules]: {error}") from error


def study_record(
    settings: SearchSettings, profiles: tuple[HardwareProfile, ...], boards: bool, decided: dict[str, Any]
) -> Study:
    """The record that identifies a study: what was asked, and what that decided (space, rules, recipe, data)."""
    asked = msgspec.to_builtins(settings)
    asked["target"] = [  # a file is what it says, not what it is called
        f"{profile.name} {digest(profile)[:8]}" if name.endswith(".toml") else profile.name
        for name, profile in zip(settings.target, profiles, strict=True)
    ]
    asked["boards"] = boards
    study = Study(
        method=settings.method,
        task=settings.task,
        data=settings.data,
        profiles=tuple(profile.name for profile in profiles),
        precision=settings.precision or profiles[0].precision,
        limits=settings.limits,
        seed=settings.seed,
        settings={"asked": asked, "profiles": profiles, **decided},
        versions=versions(),
    )
    return msgspec.json.decode(msgspec.json.encode(study), type=Study)  # as it will be read back: lists, no tuples


def default_folder(study: Study) -> Path:
    """studies/<data>-<target>-<method>-<8 hex of all settings but where the data lie>: other settings make another study."""
    asked, later = {**study.settings["asked"], "data_dir": None}, later_defaults(SearchSettings)
    named = {name: value for name, value in asked.items() if name not in later or value != later[name]}
    settings = hashlib.sha256(canonical_json(named)).hexdigest()[:8]
    data = Path(study.data).resolve().name if Path(study.data).exists() else study.data
    target = study.profiles[0] if len(study.profiles) == 1 else f"{study.profiles[0]}+{len(study.profiles) - 1}"
    return Path("studies") / f"{data}-{target}-{study.method}-{settings}"


def differences(there: Study, asked: Study) -> list[str]:
    """A sentence for every setting in which a study differs from what is asked now; where its data lie is none.

    A setting that came after the study was made was then at what is its default now.
    """
    usual = msgspec.json.decode(msgspec.json.encode(SearchSettings()))
    old, new = (
        msgspec.structs.replace(s, settings={"asked": {**usual, **s.settings["asked"], "data_dir": None}})
        for s in (there, asked)
    )
    return different_settings(old, new)


def versions() -> dict[str, str]:
    """Versions that a study's numbers were made with."""
    names = ("torch", "torchvision", "numpy", "onnxruntime-gpu", "onnxruntime")
    installed = {name: version_of(name) for name in names}
    return {"edgenas": __version__, "python": sys.version.split()[0], **{n: v for n, v in installed.items() if v}}
