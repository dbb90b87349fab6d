"""Search methods at an equal budget on Fashion-MNIST: what a user gets from each in the same minutes.

    python -m benchmarks.methods [--search 3] [--train 6.5] [--data-dir DIR] [--methods gnas:3 random:3 ...]     (method:seeds)

For every method and seed `edgenas search --method M --seed S --budget MINUTES` and `edgenas train --seeds 1 --budget MINUTES`,
with all else equal. Then a judge: the choice of every search and members of its front, evenly over its latencies, are trained
alike (same images, epochs, recipe) and the judge's accuracies, not those that each search saw, give the hypervolume of
(validation error, predicted latency). A run that was interrupted goes on; each run's result is a file under --folder.
Result: benchmarks/results/methods.json.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import torch

from benchmarks.search import accuracy
from benchmarks.steps import edgenas, record, step
from edgenas.cli.train_page import over_seeds
from edgenas.engine.fronts import front
from edgenas.engine.hypervolume import hypervolumes
from edgenas.methods.ladder import expense
from edgenas.records import Architecture, Choice, Trial
from edgenas.store import Store
from edgenas.tasks import TaskSettings, load_task
from edgenas.training.recipes import recipe_from_name

SPACE = ("--data", "fashion-mnist", "--target", "jetson", "--recipe", "brief", "--max-params", "50000")
BOUNDS = ("--max-depth", "7", "--min-width", "16", "--max-width", "20")
CPU = torch.device("cpu")


def search_and_train(
    study: Path, method: str, seed: int, minutes: tuple[float, float], data_dir: str
) -> dict[str, Any]:
    """Both commands, as a user gives them; wall seconds of the whole processes."""
    common = ("--data-dir", data_dir, "--study", str(study), "--method", method, "--seed", str(seed))
    started = time.perf_counter()
    search = edgenas("search", *SPACE, *BOUNDS, *common, "--budget", f"{minutes[0]:g}")
    searched = time.perf_counter()
    train = edgenas("train", str(study), "--data-dir", data_dir, "--seeds", "1", "--budget", f"{minutes[1]:g}")
    return {
        "method": method,
        "seed": seed,
        "search_seconds": searched - started,
        "train_seconds": time.perf_counter() - searched,
        "trials": search["trials"],
        "infeasible": search["infeasible"],
        "chosen": search["chosen"],
        "params": train["params"],
        "epochs": train["epochs"],
        "test_accuracy": train["test_accuracy"]["each"][0],
        "test_accuracy_mirrored": train["test_accuracy_mirrored"]["each"][0],
    }


def candidates_of(study: Path, count: int) -> list[Trial]:
    """The search's choice, and members of its front evenly over its order (fastest first); `count` in all."""
    with Store.read(study) as store:
        choice, record, trials = store.choice, store.study, store.ledger()
    assert isinstance(choice, Choice)
    others = [t for t in front(trials, record.metric.objective, record.profiles[0]) if t.number != choice.trial.number]
    last = len(others) - 1
    picked = sorted({round(i * last / max(1, count - 2)) for i in range(count - 1)}) if others else []
    return [choice.trial, *(others[i] for i in picked)]


def judge(folders: dict[str, Path], count: int, data_dir: str, images: int, epochs: int) -> dict[str, Any]:
    """Every search's (error, latency) points under one training, and their hypervolumes."""
    picked = {name: candidates_of(folder, count) for name, folder in folders.items()}
    networks: dict[Architecture, Trial] = {t.candidate.architecture: t for ts in picked.values() for t in ts}
    settings = TaskSettings("fashion-mnist", data_dir=data_dir, search_images=images)
    recipe = recipe_from_name("brief", load_task(settings), "cpu", epochs)
    jobs = [(architecture, recipe, 0) for architecture in networks]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        scores = dict(zip(networks, pool.map(partial(accuracy, settings, phase="judge"), jobs), strict=True))
    points = {
        name: [(100 - scores[t.candidate.architecture], expense(t.cost)[0]) for t in ts] for name, ts in picked.items()
    }
    return {
        "images": images,
        "epochs": epochs,
        "networks": [
            {
                "architecture": msgspec.to_builtins(trial.candidate.architecture),
                "val_accuracy": scores[trial.candidate.architecture],
                "params": trial.cost.params,
                "macs": trial.cost.macs,
                "latency_ms": expense(trial.cost)[0],
            }
            for trial in networks.values()
        ],
        "points": points,
        "hypervolume": hypervolumes(points),
    }


def rounds(methods: list[str]) -> list[tuple[str, int]]:
    """From ["gnas:2", "random:1"]: every method with seed 0, then those that have a seed 1, and so on."""
    counts = {name: int(count or 1) for name, _, count in (method.partition(":") for method in methods)}
    return [(name, seed) for seed in range(max(counts.values())) for name, count in counts.items() if seed < count]


def by_method(runs: list[dict[str, Any]], hypervolumes: dict[str, float]) -> dict[str, Any]:
    rows = {}
    for method in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == method]
        columns = {
            key: [run[key] for run in mine]
            for key in ("test_accuracy", "params", "trials", "search_seconds", "train_seconds")
        }
        columns["hypervolume"] = [hypervolumes[f"{method}-{run['seed']}"] for run in mine]
        columns["latency_ms"] = [run["chosen"]["latency"]["ms"] for run in mine]
        rows[method] = {key: over_seeds(values) for key, values in columns.items()}
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--methods", nargs="+", default=["gnas:3", "random:3", "nsga2:3", "trgnas:1"], help="method:seeds"
    )
    parser.add_argument("--search", type=float, default=3.0, help="minutes of a search")
    parser.add_argument("--train", type=float, default=6.5, help="minutes of a final training")
    parser.add_argument("--front", type=int, default=3, help="networks of each search that are judged")
    parser.add_argument("--images", type=int, default=5000, help="of the judge's trainings")
    parser.add_argument("--epochs", type=int, default=4, help="of the judge's trainings")
    parser.add_argument("--data-dir", default=os.environ.get("EDGENAS_DATA", "~/.cache/edgenas/data"))
    parser.add_argument("--folder", type=Path, default=Path("studies/methods"))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    a = parser.parse_args()
    runs, folders = [], {}
    for method, seed in rounds(a.methods):
        name = f"{method}-{seed}"
        folders[name] = a.folder / name
        run = partial(search_and_train, folders[name], method, seed, (a.search, a.train), a.data_dir)
        runs.append(step(a.folder / f"{name}.json", name, run, CPU))
        sys.stderr.write(f"{name}: test accuracy {runs[-1]['test_accuracy']:.2f} %\n")

    def result() -> dict[str, Any]:
        verdict = judge(folders, a.front, a.data_dir, a.images, a.epochs)
        rows = by_method(runs, verdict["hypervolume"])
        minutes = {"search": a.search, "train": a.train}
        return {"data": "fashion-mnist", "minutes": minutes, "methods": rows, "runs": runs, "judge": verdict}

    path = a.out / "methods.json"
    record(path, "methods", result, CPU)
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
