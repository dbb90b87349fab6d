"""The flags of `edgenas train` that decide what is trained: kept with a training, so that it can be asked for again."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

from edgenas.engine.training_asked import TrainingAsked
from edgenas.faces.pixels import numbers_text

DECIDING = (
    "seeds", "epochs", "recipe", "budget", "teacher", "processes", "teacher_views", "all_images", "final_width",
)  # fmt: skip
TEXTS = ("recipe", "teacher", "data", "data_dir", "final_width", "precision")  # in Python too


def flags_of_training(asked: TrainingAsked) -> tuple[str, ...]:
    """Those that are not at their default. The trial, other data and where they lie are on the training's own record."""
    usual = TrainingAsked()
    words = []
    for name in DECIDING:
        value = getattr(asked, name)
        if value != getattr(usual, name):
            flag = f"--{name.replace('_', '-')}"
            words += [flag] if value is True else [flag, str(value)]
    if asked.teacher_pixels is not None:
        mean, std = (numbers_text(numbers) for numbers in (asked.teacher_pixels.mean, asked.teacher_pixels.std))
        words += [f"--teacher-mean={mean}", f"--teacher-std={std}"]
    return tuple(words)


def flags_without(flags: Sequence[str], names: Sequence[str]) -> list[str]:
    """The flags but for these, each of which has a value behind it."""
    dropped = {index + behind for index, word in enumerate(flags) if word in names for behind in (0, 1)}
    return [word for index, word in enumerate(flags) if index not in dropped]


def arguments_of(flags: Sequence[str]) -> dict[str, Any]:
    """The flags as arguments of `Study.train`: --epochs 3 --all-images is {"epochs": 3, "all_images": True}."""
    found: dict[str, Any] = {}
    words = [part for word in flags for part in (word.split("=", 1) if word.startswith("--") else [word])]
    for place, word in enumerate(words):
        if not word.startswith("--"):
            continue
        name, behind = word.removeprefix("--").replace("-", "_"), words[place + 1 : place + 2]
        if not behind or behind[0].startswith("--"):
            found[name] = True
        else:
            found[name] = behind[0] if name in TEXTS else ast.literal_eval(behind[0])
    return found
