"""What flags can be: fixed sets as types, which `--help` lists; sets that other packages add to as completions of the shell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

# Written out here, so that `edgenas --help` imports nothing that a search needs; tests/cli/test_options.py holds them against it.
Preset = Literal["tiny", "t", "m", "trg"]
Policy = Literal["gnas", "fixed", "gpu-seconds"]
FinalWidth = Literal["matched", "macro"]
Pool = Literal[19, 27, 72]
Control = Literal["random"]
Precision = Literal["fp32", "fp16", "int8"]
Balance = Literal["weights", "sampling"]
ClassMetric = Literal["accuracy", "balanced_accuracy", "macro_f1"]
Fit = Literal["crop", "stretch", "pad"]
SeveralFaces = Literal["refuse", "largest", "most-central"]
CellFamily = Literal["nasbench101", "nasbench201", "darts"]


def method_names() -> list[str]:
    """Search methods, of other packages too."""
    from edgenas.engine.registry import METHODS

    return list(METHODS.names())


def task_names() -> list[str]:
    """Tasks, of other packages too."""
    from edgenas.tasks import TASKS

    return list(TASKS.names())


def space_names() -> list[str]:
    """Spaces that --space can name, of other packages too."""
    from edgenas.architectures.named_spaces import SPACES

    return ["chain", *SPACES.names()]


def target_names() -> list[str]:
    """Targets and their aliases."""
    from edgenas.hardware.profile import all_profiles

    return [name for profile in all_profiles() for name in (profile.name, *profile.aliases)]


def study_names() -> list[str]:
    """Studies under the working folder."""
    return sorted(path.parent.name for path in Path("studies").glob("*/study.db"))


def refuse_beside(flags: Mapping[str, tuple[object, object]], why: str) -> None:
    """Raise EdgenasError for a flag that would decide nothing here. `flags`: its value, and its usual one, which is none."""
    from edgenas.errors import EdgenasError

    for flag, (value, usual) in flags.items():
        if value != usual:
            raise EdgenasError(f"{flag} {why}: leave it out")
