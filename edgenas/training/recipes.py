"""Recipes as files (strict TOML, relative to image and data set) -> `Recipe` records (absolute, hashed into every trial)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from edgenas.errors import EdgenasError
from edgenas.records import Balance, Embedding, Recipe, Record, Schedule
from edgenas.store import read_toml
from edgenas.tasks import Task
from edgenas.training.work import local_devices

FOLDER = Path(__file__).parent / "recipes"
LEAST_STEPS = 32  # per epoch: small sets get a smaller batch rather than fewer steps
LEAST_BATCH = 32
MOST_PIXELS = (
    128 * 128 * 128
)  # of a batch on a CPU: at 224 px 128 images take 3 GB in a process, 32 take 1 GB and less time each
RANGES: dict[str, tuple[float, float, str]] = {  # of a recipe's numbers: from, to, and which ends are left out
    "epochs": (1, 100_000, ""), "batch_size": (1, 2**20, ""), "threads": (1, 4096, ""), "lr": (0, 1000, "("),
    "momentum": (0, 1, ")"), "weight_decay": (0, 10, ""), "warmup_epochs": (0, 100_000, ""), "clip_norm": (0, 1e6, "("),
    "label_smoothing": (0, 1, ")"), "crop": (0, 1, ")"), "cutout": (0, 1, ")"), "ema": (0, 1, "()"),
    "teacher_weight": (0, 1, "("), "temperature": (0, 100, "("), "gamma": (0, 1, "("), "warmup_start": (0, 1, ""),
    "mixup": (0, 100, ""), "cutmix": (0, 100, ""), "drop_path": (0, 1, ")"), "auxiliary": (0, 100, ""),
}  # fmt: skip
MOST_COLOR = (1.0, 1.0, 1.0, 0.5)


class OnCpu(Record, frozen=True):
    """What differs on a CPU. `lr` follows the batch size."""

    batch_size: int
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1


class RecipeFile(Record, frozen=True):
    """recipes/*.toml. `lr` belongs to `batch_size` and follows it; `crop` and `cutout` are shares of the image's shorter side."""

    epochs: int
    batch_size: int
    lr: float
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 3e-4
    decay_norm_and_bias: bool = True
    schedule: Schedule = "cosine"
    warmup_epochs: float = 0.0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    crop: float = 0.0
    cutout: float = 0.0
    flip: Literal["task"] | bool = "task"
    ema: float | None = None
    precision: Literal["fp32", "bf16"] = "fp32"
    threads: int = 1
    loss: str | None = None  # the task's own where it is left out
    settings: dict[str, float] = {}
    flips: Literal["alternating", "independent"] = "alternating"
    partial_batch: bool = False
    teacher_weight: float = 0.9  # both only with `edgenas train --teacher`
    temperature: float = 4.0
    cpu: OnCpu | None = None
    balance: Literal["task", "none", "weights", "sampling"] = "task"
    turns: bool = False
    warmup_start: float = 0.0
    gamma: float = 0.97
    random_resized_crop: tuple[float, float] | None = None
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    color: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    trivial_augment: bool = False
    mixup: float = 0.0
    cutmix: float = 0.0
    drop_path: float = 0.0
    auxiliary: float = 0.0


def recipe_names() -> tuple[str, ...]:
    """The recipes that come along."""
    return tuple(sorted(path.stem for path in FOLDER.glob("*.toml")))


def recipe_from_name(
    name: str, task: Task, device: str, epochs: int | None = None, images: int | None = None
) -> Recipe:
    """A named recipe or FILE.toml, made absolute for this task's images and their number (or for `images` of them), and for
    "cpu" or "cuda"."""
    path = _path_of(name, task)
    return recipe_from_file(read_toml(path, RecipeFile), path.stem, task, device, epochs, images)


def teaching_of(name: str, task: Task) -> tuple[float, float]:
    """A recipe's share of the loss that a teacher has, and its temperature."""
    path = _path_of(name, task)
    file = read_toml(path, RecipeFile)
    _check(file, path.stem)
    return file.teacher_weight, file.temperature


def _path_of(name: str, task: Task) -> Path:
    path = FOLDER / f"{name}.toml" if name in recipe_names() else Path(name)
    specific = FOLDER / f"{name}-{task.name}.toml"  # such as fast-faces
    path = specific if name in recipe_names() and specific.is_file() else path
    if not path.is_file():
        raise EdgenasError(f"recipe {name!r} is unknown: {', '.join(recipe_names())}, or a FILE.toml")
    return path


def recipe_from_file(
    file: RecipeFile, name: str, task: Task, device: str, epochs: int | None = None, images: int | None = None
) -> Recipe:
    """The absolute recipe: pixels instead of shares, one batch size, one learning rate."""
    _check(file, name)
    here = file.cpu if file.cpu and device == "cpu" else OnCpu(file.batch_size, file.precision, file.threads)
    # The papers' batch stays what it is; batches that were chosen for speed give way where a set is small.
    height, width = task.preprocessing.input_sides
    most = MOST_PIXELS if device == "cpu" else None
    fitting = fitting_batch(here.batch_size, images or len(task.train), height * width, most)
    batch_size = fitting if file.cpu else here.batch_size
    return Recipe(
        name=name,
        epochs=epochs or file.epochs,
        batch_size=batch_size,
        lr=file.lr * batch_size / file.batch_size,
        momentum=file.momentum,
        nesterov=file.nesterov,
        weight_decay=file.weight_decay,
        decay_norm_and_bias=file.decay_norm_and_bias,
        schedule=file.schedule,
        warmup_epochs=file.warmup_epochs,
        clip_norm=file.clip_norm,
        label_smoothing=file.label_smoothing,
        crop_padding=round(file.crop * min(height, width)),
        flip=task.flip if file.flip == "task" else file.flip,
        cutout=round(file.cutout * min(height, width)),
        ema=file.ema,
        precision=here.precision,
        threads=here.threads,
        loss=file.loss or task.default_loss,
        settings=file.settings,
        flips=file.flips,
        partial_batch=file.partial_batch,
        balance=_balance(file, name, task),
        turns=_turns(file, name, task),
        warmup_start=file.warmup_start,
        gamma=file.gamma,
        random_resized_crop=file.random_resized_crop,
        crop_ratio=file.crop_ratio,
        color=_color(file, name, task),
        trivial_augment=file.trivial_augment,
        mixup=_mixing(file, name, task, "mixup"),
        cutmix=_mixing(file, name, task, "cutmix"),
        drop_path=file.drop_path,
        auxiliary=file.auxiliary,
    )


def _turns(file: RecipeFile, name: str, task: Task) -> bool:
    """EdgenasError for rectangles, which a quarter turn makes another shape."""
    height, width = task.preprocessing.input_sides
    if file.turns and height != width:
        raise EdgenasError(
            f"recipe {name}: turns = true is for square images, and these are {height}x{width}: leave it out, or set --image-size"
        )
    return file.turns


def _balance(file: RecipeFile, name: str, task: Task) -> Balance:
    """The recipe's own, or what the study was asked for; EdgenasError for a task without classes that can be balanced."""
    asked: Balance | None = getattr(task, "balance", None)
    if file.balance == "task":
        return asked or "none"
    if file.balance != "none" and asked is None:
        raise EdgenasError(f"recipe {name}: balance = {file.balance!r} is for classification: leave it out")
    return file.balance


def _color(file: RecipeFile, name: str, task: Task) -> tuple[float, float, float, float]:
    """Without saturation and hue for grey images, which have none; EdgenasError where nothing else is asked for."""
    brightness, contrast, saturation, hue = file.color
    if task.preprocessing.channels == 3:
        return file.color
    if (saturation or hue) and not (brightness or contrast):
        raise EdgenasError(
            f"recipe {name}: color = {list(file.color)} changes saturation and hue alone, and these images are grey: leave it out"
        )
    return brightness, contrast, 0.0, 0.0


def _mixing(file: RecipeFile, name: str, task: Task, key: Literal["mixup", "cutmix"]) -> float:
    """Alpha; EdgenasError for faces, whose margins are for whole persons."""
    alpha: float = getattr(file, key)
    if alpha and isinstance(task.head, Embedding):
        raise EdgenasError(
            f"recipe {name}: {key} = {alpha:g} mixes labels, and faces are told apart by margins of whole persons: leave it out"
        )
    return alpha


def with_free_cores(recipe: Recipe, device: str, processes: int = 1) -> Recipe:
    """On a CPU with the threads that so many trainings at once leave to each; in the recipe, so that it can be repeated."""
    if device != "cpu":
        return recipe
    return msgspec.structs.replace(recipe, threads=max(recipe.threads, len(local_devices(device)) // processes))


def steps_an_epoch(recipe: Recipe, images: int) -> int:
    """Optimiser steps of one epoch over so many images."""
    return max(1, images // min(recipe.batch_size, images))


def fitting_batch(largest: int, images: int, pixels: int = 1, most_pixels: int | None = None) -> int:
    """The largest halving of `largest` that leaves LEAST_STEPS steps an epoch, and whose images of so many `pixels` have no more
    than `most_pixels`; but LEAST_BATCH at least."""
    batch = largest
    while batch > LEAST_BATCH and (
        images // batch < LEAST_STEPS or (most_pixels is not None and batch * pixels > most_pixels)
    ):
        batch //= 2
    return batch


def _check(file: RecipeFile, name: str) -> None:
    """Raise EdgenasError, naming the key and its range, for numbers that no training can have."""
    numbers = msgspec.to_builtins(file)
    numbers |= {f"cpu.{key}": value for key, value in (numbers["cpu"] or {}).items()}
    numbers |= {f"settings.{key}": value for key, value in file.settings.items()}
    for key, value in numbers.items():
        low, high, open_ends = RANGES.get(key.removeprefix("cpu."), (-1e6, 1e6, ""))
        if isinstance(value, int | float) and not isinstance(value, bool):
            fits = (
                low <= value <= high
                and not (value == low and "(" in open_ends)
                and not (value == high and ")" in open_ends)
            )
            if not fits:
                words = f"{'above' if '(' in open_ends else 'from'} {low:g} {'and below' if ')' in open_ends else 'to'} {high:g}"
                raise EdgenasError(f"recipe {name}: {key} = {value}: out of range: it must be {words}")
    _check_photographs(file, name)


def _check_photographs(file: RecipeFile, name: str) -> None:
    """The same for keys of several numbers, and for keys that cannot be together."""
    for key, pair, low, high in (
        ("random_resized_crop", file.random_resized_crop, 0.01, 1.0), ("crop_ratio", file.crop_ratio, 0.1, 10.0),
    ):  # fmt: skip
        if pair is not None and not low <= pair[0] <= pair[1] <= high:
            raise EdgenasError(
                f"recipe {name}: {key} = {list(pair)}: two numbers from {low:g} to {high:g}, the smaller first"
            )
    if not all(0 <= value <= most for value, most in zip(file.color, MOST_COLOR, strict=True)):
        raise EdgenasError(
            f"recipe {name}: color = {list(file.color)}: brightness, contrast and saturation from 0 to 1, hue from 0 to 0.5"
        )
    if file.random_resized_crop is not None and file.crop:
        raise EdgenasError(f"recipe {name}: crop and random_resized_crop both cut the image: leave one of them out")
