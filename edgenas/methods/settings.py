"""What can be asked of a search: one record, which flags, a project file and `edgenas.search` fill."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from edgenas.image_sizes import ImageSize
from edgenas.methods.ladder import Policy
from edgenas.ranges import Channels, Depth, Factor, Seed
from edgenas.records import Balance, Fit, Limits, Precision, Record

KINDS = {"int": "a whole number", "float": "a number", "str": "text", "bool": "true or false", "array": "a list"}
FLAGS_ONLY = (
    *("study", "resume", "workers", "processes", "ray", "board", "token_file", "ca", "reference"),
    *("json", "quiet"),
)
RELATIONS = {">": "above", ">=": "from", "<": "below", "<=": "up to"}
PresetName = Literal["tiny", "t", "m", "trg"]
Whole = Annotated[int, msgspec.Meta(ge=1, le=10**12)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=1e9)]


class SearchSettings(Record, frozen=True):
    """Every setting that decides what a search does: the flags of `edgenas search`, and the keys of a project file."""

    target: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("jetson",)
    data: str = "digits"
    data_dir: str | None = None
    task: str = "classification"
    method: str = "guided"
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
    image_size: ImageSize | None = None  # held against what is possible where it comes in: see size_asked
    flip: bool | None = None
    seed: Seed = 0
    precision: Precision | None = None
    final_width: Literal["matched", "macro"] = "matched"
    pool: Literal[19, 27, 72] | None = None
    rounds: Depth | None = None
    from_study: str | None = None
    space: str | None = None
    far: Annotated[float, msgspec.Meta(gt=0, lt=1)] | None = None
    rules: dict[str, float | tuple[int, ...]] = {}
    margin: bool = False
    fit: Fit = "crop"
    skip_damaged: bool = False
    balance: Balance = "none"
    metric: Literal["accuracy", "balanced_accuracy", "macro_f1"] = "accuracy"
    warm_start: tuple[str, ...] = ()
    start: str | None = None
    max_mmacs: Positive | None = None

    @property
    def limits(self) -> Limits:
        sizes = (self.max_params, self.max_size_mb, self.max_memory_mb)
        return Limits(self.max_latency_ms, *sizes, self.max_energy_mj, self.margin, self.max_mmacs)


def flag_of(name: str) -> str:
    """The flag of `edgenas search` that gives this setting."""
    return "--from" if name == "from_study" else f"--{name.replace('_', '-')}"


def refused(error: msgspec.ValidationError, values: Mapping[str, Any]) -> str:
    """What msgspec refuses of these settings, in the words of whoever gave them: the flag, the value, what it may be."""
    found = re.fullmatch(
        r"Expected `(\w+)(?: \| null)?`(?: ([<>]=?) (\S+))?(?:, got `\w+`)? - at `\$\.(\w+)`", str(error)
    )
    if unknown := re.fullmatch(r"Object contains unknown field `(.+?)`", str(error)):
        return f"unknown setting {unknown[1]}{_meant(unknown[1])}"
    if found is None:
        return str(error)
    kind, relation, bound, name = found.groups()
    needed = KINDS.get(kind, kind) + (f" {RELATIONS[relation]} {float(bound):,.12g}" if relation else "")
    return f"{flag_of(name)} {values.get(name)} was asked for: it takes {needed}"


def _meant(name: str) -> str:
    """What to do about a setting that there is not: the one that is spelt almost so, or the flag that it is."""
    if name == "from":
        return ": did you mean from_study?"
    if name in FLAGS_ONLY:
        return f": it does not decide what is searched, and is a flag: --{name.replace('_', '-')}"
    near = difflib.get_close_matches(name, SearchSettings.__struct_fields__, n=1)
    return f": did you mean {near[0]}?" if near else ""
