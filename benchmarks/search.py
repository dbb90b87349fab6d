"""Two claims about short trainings, tested at a size that a CPU affords.

    python -m benchmarks.search policies      who should be trained for how long? rank correlation with long training
    python -m benchmarks.search corners       is one learning rate right for small and large, shallow and deep?

policies: 12 chains of the `tiny` preset's bounds are trained long (the truth) and then briefly under `gnas` (epochs = depth),
`fixed` and `gpu-seconds`, scaled to the same total cost (epochs x bytes moved); Kendall's tau and Spearman's rho between
brief and long validation accuracy, over several seeds. corners: 6 networks at the corners of the space, `fast` at a
quarter of, at, and at four times its learning rate.
Fashion-MNIST scaled to 16 px, a stratified subsample: said in the result, as are device, versions and n.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import msgspec
import torch
from scipy.stats import kendalltau, spearmanr

from benchmarks.throughput import device_name
from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Candidate, ChainArchitecture, Cost, Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.evaluator import Evaluator
from edgenas.training.recipes import recipe_from_name

SIDE = 16
WIDTHS, DEPTHS = range(8, 25, 4), range(4, 11)
CORNERS = ((8, 4), (24, 4), (16, 4), (8, 10), (24, 10), (16, 10))  # width, depth


def network(task: Task, width: int, depth: int) -> ChainArchitecture:
    return chain(width, depth, (0,) * depth, (3,) * depth, task.head, 1, SIDE)


def cost_of(architecture: ChainArchitecture) -> Cost:
    w = workload_from_architecture(architecture)
    return Cost(w.params, w.macs, w.bytes_moved, w.size_mb(), w.memory_mb())


def accuracy(settings: TaskSettings, job: tuple[ChainArchitecture, Recipe, int], phase: str = "benchmark") -> float:
    """Validation accuracy of one training; runs in a worker process."""
    architecture, recipe, seed = job
    trial = Evaluator(_task(settings), seed)(Candidate(architecture, recipe, phase), cost_of(architecture))
    if trial.status != "complete":
        raise RuntimeError(trial.error)
    return trial.scores["val_accuracy"]


_LOADED: dict[str, Task] = {}


def _task(settings: TaskSettings) -> Task:
    return _LOADED.setdefault(str(settings), load_task(settings))


def epochs_by_policy(networks: list[ChainArchitecture], mean_epochs: float) -> dict[str, list[int]]:
    """Epochs of each network under each policy, at the same total of epochs x bytes moved as `mean_epochs` for all."""
    bytes_moved = [workload_from_architecture(a).bytes_moved for a in networks]
    total = mean_epochs * sum(bytes_moved)
    shapes = {
        "gnas": [float(a.depth) for a in networks],
        "fixed": [1.0] * len(networks),
        "gpu-seconds": [1 / b for b in bytes_moved],
    }
    result = {}
    for policy, shape in shapes.items():
        scale = total / sum(s * b for s, b in zip(shape, bytes_moved, strict=True))
        result[policy] = [max(1, round(scale * s)) for s in shape]
    return result


def policies(settings: TaskSettings, count: int, long_epochs: int, short_epochs: int, seeds: int) -> dict[str, Any]:
    task = _task(settings)
    shapes = random.Random(0).sample(list(itertools.product(WIDTHS, DEPTHS)), count)
    networks = [network(task, width, depth) for width, depth in shapes]
    epochs = epochs_by_policy(networks, short_epochs)
    recipe = recipe_from_name("fast", task, "cpu")
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        train = partial(accuracy, settings)

        def all_of(per_network: list[int], seed: int) -> list[float]:
            jobs = [
                (a, msgspec.structs.replace(recipe, epochs=e), seed) for a, e in zip(networks, per_network, strict=True)
            ]
            return list(pool.map(train, jobs))

        truths = [all_of([long_epochs] * count, seed) for seed in range(2)]
        truth = [statistics.fmean(values) for values in zip(*truths, strict=True)]
        brief = {policy: [all_of(es, 100 + seed) for seed in range(seeds)] for policy, es in epochs.items()}
    rows = {}
    for policy, runs in brief.items():
        taus = [float(kendalltau(truth, run).statistic) for run in runs]
        rhos = [float(spearmanr(truth, run).statistic) for run in runs]
        rows[policy] = {"kendall": taus, "spearman": rhos, "epochs": epochs[policy], "val_accuracy": runs}
        _say(
            f"{policy}: tau {statistics.fmean(taus):.3f} {[round(t, 3) for t in taus]}, rho {statistics.fmean(rhos):.3f}"
        )
    ceiling = float(kendalltau(*truths).statistic)
    _say(f"two long trainings with different seeds agree by tau {ceiling:.3f}")
    return {
        "networks": shapes,
        "long": {"epochs": long_epochs, "seeds": 2, "val_accuracy": truths, "kendall_between_seeds": ceiling},
        "policies": rows,
    }


def corners(settings: TaskSettings, epochs: int) -> dict[str, Any]:
    task = _task(settings)
    recipe = recipe_from_name("fast", task, "cpu", epochs)
    factors = (0.25, 1.0, 4.0)
    jobs = [
        (network(task, *shape), msgspec.structs.replace(recipe, lr=recipe.lr * factor), 0)
        for shape in CORNERS
        for factor in factors
    ]
    with ProcessPoolExecutor(len(os.sched_getaffinity(0)), get_context("spawn")) as pool:
        scores = iter(list(pool.map(partial(accuracy, settings), jobs)))
    rows = [{"width": w, "depth": d, "val_accuracy": {str(f): next(scores) for f in factors}} for w, d in CORNERS]
    for row in rows:
        _say(str(row))
    return {"lr": recipe.lr, "batch_size": recipe.batch_size, "epochs": epochs, "rows": rows}


def _say(line: str) -> None:
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("policies", "corners"))
    parser.add_argument("--data-dir")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--networks", type=int, default=12)
    parser.add_argument("--long", type=int, default=20, help="epochs of the truth")
    parser.add_argument("--short", type=int, default=4, help="mean epochs of every policy")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    settings = TaskSettings(
        "fashion-mnist", data_dir=arguments.data_dir, image_size=SIDE, search_images=arguments.images
    )
    started = time.perf_counter()
    if arguments.what == "policies":
        result = policies(settings, arguments.networks, arguments.long, arguments.short, arguments.seeds)
    else:
        result = corners(settings, arguments.short)
    result |= {
        "benchmark": arguments.what,
        "data": f"fashion-mnist at {SIDE} px, {arguments.images} training images",
        "device": device_name(torch.device("cpu")),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version()},
        "seconds": time.perf_counter() - started,
    }
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / f"{arguments.what}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(result), indent=1) + b"\n")
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
