"""What each key of a recipe is worth: one network, the same images, steps and seeds, with and without it.

    python -m benchmarks.recipes [--tasks cifar10 elpv photos cells] [--seeds 3] [--steps 1000] [--arms mixup cutmix]
    [--data DIR] [--folder studies/recipes] [--out FILE]

As many images as people have: 3,000 of CIFAR-10 (32 px), the 1,500 photographs of the tutorial (64 px), ELPV's first split (64
px, grey), each for `steps` of 64 images. The network has residual blocks and some 75,000 parameters. The base is crop 1/8 and
mirroring, as in `final`; each arm changes one key. `cells` is a small DARTS network on the images of CIFAR-10, for drop path by
epoch and the auxiliary head. Validation and test accuracy of the last
epoch; `gain`: of the validation accuracy over the base, seed by seed, with its standard error; `pays`: above zero by two of them.
Milliseconds are the process's own, augmentation included. Every training is a file under --folder: an interrupted run goes on,
and what is there is summed up. ELPV's package is looked for as in benchmarks/live_tasks.py.
"""

from __future__ import annotations

import argparse
import functools
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.live_tasks import prepare_cifar, prepare_elpv, prepare_photos
from benchmarks.steps import record, step
from edgenas.architectures.cell import cell_network
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Architecture, DartsCell, Recipe, Stage, StagesArchitecture
from edgenas.tasks import Loading, Task, TaskSettings, load_task
from edgenas.training.loop import fresh_network, scores_of, train_network

CPU = torch.device("cpu")
RESULT = Path(__file__).parent / "results" / "recipes.json"
BATCH = 64
# DARTS's second-order cells (arXiv 1806.09055), as its authors' code has them.
NORMAL = (
    ("sep_conv_3x3", 0), ("sep_conv_3x3", 1), ("sep_conv_3x3", 0), ("sep_conv_3x3", 1),
    ("sep_conv_3x3", 1), ("skip_connect", 0), ("skip_connect", 0), ("dil_conv_3x3", 2),
)  # fmt: skip
REDUCE = (
    ("max_pool_3x3", 0), ("max_pool_3x3", 1), ("skip_connect", 2), ("max_pool_3x3", 1),
    ("max_pool_3x3", 0), ("skip_connect", 2), ("skip_connect", 2), ("max_pool_3x3", 1),
)  # fmt: skip


@dataclass(frozen=True)
class Setting:
    """`data`, `images`, `size`: what is learned; `network`: of which; `arms`: by which keys besides the base's."""

    data: str
    images: int | None
    size: int
    network: Callable[[Task], Architecture]
    arms: dict[str, dict[str, Any]]
    prepare: Callable[[Path], None]


def residual(task: Task) -> Architecture:
    """Residual blocks of 16, 32 and 48 channels behind a stem that halves the sides; two of them have identity shortcuts."""
    shape = task.preprocessing
    stages = (Stage("residual", 16, 1, 3, 1), Stage("residual", 32, 2, 3, 2), Stage("residual", 48, 1, 3, 2))
    return StagesArchitecture(stages, task.head, shape.channels, shape.input_size, 16, stem_stride=2)


def small_cells(task: Task) -> Architecture:
    """DARTS's cells, 5 of them, from 8 channels on."""
    cell = DartsCell(NORMAL, REDUCE)
    return cell_network(cell, task.head, channels=8, cells_per_stage=1, image_size=task.preprocessing.input_size)


PHOTOGRAPHS: dict[str, dict[str, Any]] = {
    "base": {},
    "mirrored only": {"crop_padding": 0},
    "cutout": {"cutout": 0.25},
    "random_resized_crop": {"crop_padding": 0, "random_resized_crop": (0.35, 1.0)},
    "color": {"color": (0.4, 0.4, 0.4, 0.0)},
    "trivial_augment": {"trivial_augment": True},
    "mixup": {"mixup": 0.2},
    "cutmix": {"cutmix": 1.0},
    "drop_path": {"drop_path": 0.2},
}
GREY = PHOTOGRAPHS | {"color": {"color": (0.4, 0.4, 0.0, 0.0)}}
CELLS = {"base": {}, "drop_path": {"drop_path": 0.2}, "auxiliary": {"auxiliary": 0.4}}
SETTINGS = {
    "cifar10": Setting("cifar10", 3_000, 32, residual, PHOTOGRAPHS, prepare_cifar),
    "elpv": Setting("elpv/split-0", None, 64, residual, GREY, prepare_elpv),
    "photos": Setting("photos", None, 64, residual, PHOTOGRAPHS, prepare_photos),
    "cells": Setting("cifar10", 3_000, 32, small_cells, CELLS, prepare_cifar),
}


@functools.cache
def task_of(setting: Setting, data: Path) -> Task:
    """The images, decoded once under `data`."""
    setting.prepare(data)
    folder = data / setting.data
    name = str(folder) if folder.is_dir() else setting.data
    settings = TaskSettings(name, data_dir=str(data), image_size=setting.size, flip=True, search_images=setting.images)
    return load_task(settings, Loading(data / ".images"))


def recipe_of(arm: str, keys: dict[str, Any], task: Task, steps: int) -> Recipe:
    """The base with this arm's keys, for as many whole epochs as these steps make."""
    side = task.preprocessing.input_size
    epochs = max(1, round(steps / (len(task.train) // BATCH)))
    base = Recipe(
        arm, epochs, BATCH, 0.05, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=False, schedule="linear",
        warmup_epochs=1.0, clip_norm=5.0, flip=True, crop_padding=side // 8,
    )  # fmt: skip
    if "cutout" in keys:
        keys = keys | {"cutout": round(keys["cutout"] * side)}
    return msgspec.structs.replace(base, **keys)


def trained(setting: Setting, arm: str, asked: argparse.Namespace, seed: int) -> dict[str, Any]:
    """One training and its scores."""
    task = task_of(setting, asked.data)
    recipe = recipe_of(arm, setting.arms[arm], task, asked.steps)
    architecture = setting.network(task)
    network = fresh_network(architecture, seed, CPU)
    begun = time.process_time()
    result = train_network(network, task, recipe, seed, CPU)
    spent = time.process_time() - begun
    steps = recipe.epochs * (len(task.train) // BATCH)
    scores = {part: scores_of(result.network, task, getattr(task, part), CPU, 1) for part in ("val", "test")}
    return {
        "recipe": msgspec.to_builtins(recipe),
        "params": workload_from_architecture(architecture).params,
        "train_images": len(task.train),
        "seed": seed,
        "steps": steps,
        "ms_per_step": round(1000 * spent / steps, 2),
        "train_loss": result.train_loss,
        "val_accuracy": scores["val"]["accuracy"],
        "test_accuracy": scores["test"]["accuracy"],
    }


def summed(runs: list[dict[str, Any]], base: list[dict[str, Any]]) -> dict[str, Any]:
    """Mean and deviation over the seeds, and the gain over the base's same seeds."""
    found: dict[str, Any] = {"n": len(runs)}
    for key in ("val_accuracy", "test_accuracy", "ms_per_step"):
        each = [run[key] for run in runs]
        found[key] = {
            "mean": statistics.fmean(each),
            "sd": statistics.stdev(each) if len(each) > 1 else None,
            "each": each,
        }
    bases = {run["seed"]: run for run in base}
    pairs = [(run, bases[run["seed"]]) for run in runs if run["seed"] in bases]
    for name in ("val", "test"):
        gains = [one[f"{name}_accuracy"] - other[f"{name}_accuracy"] for one, other in pairs]
        error = statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else None
        found[f"{name}_gain"] = {"points": statistics.fmean(gains) if gains else None, "standard_error": error}
    gain = found["val_gain"]
    found["pays"] = None if gain["standard_error"] is None else gain["points"] > 2 * gain["standard_error"]
    return found


def run(asked: argparse.Namespace) -> dict[str, Any]:
    """All that is asked for, seed by seed, so that an interrupted run has every arm as often."""
    found: dict[str, Any] = {}
    for name in asked.tasks:
        setting = SETTINGS[name]
        arms = [arm for arm in setting.arms if arm == "base" or not asked.arms or arm in asked.arms]
        runs: dict[str, list[dict[str, Any]]] = {arm: [] for arm in arms}
        for seed in range(asked.seeds):
            for arm in arms:
                path = asked.folder / f"{name}-{arm.replace(' ', '-')}-{asked.steps}-{seed}.json"
                if path.exists() or not asked.only_sum:
                    one = functools.partial(trained, setting, arm, asked, seed)
                    runs[arm].append(step(path, path.stem, one, CPU))
        done = {arm: each for arm, each in runs.items() if each}
        if "base" in done:
            known = done["base"][0]
            found[name] = {key: known[key] for key in ("params", "train_images", "steps", "device", "versions")} | {
                "image_size": setting.size,
                "arms": {arm: summed(each, done["base"]) for arm, each in done.items()},
            }
    return {"batch": BATCH, "seeds": asked.seeds, "tasks": found}


def main() -> None:
    """Train what is missing, and write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", choices=tuple(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--arms", nargs="*", default=[])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=1_000)
    parser.add_argument("--data", type=Path, default=Path("studies/recipes/data"))
    parser.add_argument("--folder", type=Path, default=Path("studies/recipes"))
    parser.add_argument("--out", type=Path, default=RESULT)
    parser.add_argument("--only-sum", action="store_true", help="train nothing: sum up what is there")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    document = record(asked.out, "recipes", lambda: run(asked), CPU)
    for name, task in document["tasks"].items():
        for arm, each in task["arms"].items():
            gain = each["val_gain"]
            sys.stdout.write(
                f"{name:8} {arm:20} {each['val_accuracy']['mean']:6.2f} {gain['points']:+6.2f} n={each['n']}\n"
            )


if __name__ == "__main__":
    main()
