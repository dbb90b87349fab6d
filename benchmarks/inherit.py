"""Two ways to shorten a search, tried offline: weights of the nearest trained network, and stopping by learning curve.

    python -m benchmarks.inherit [--seeds 4] [--networks 16] [--out FILE]

A random search trains its networks one after another, each briefly; the judge trains all of them long (two seeds). For every way
to train briefly: epochs in all, rank correlation with the judge, and regret, which is the judge's accuracy of the best network
less that of the network that looked best. Ways: `whole` and `half`, from scratch; `inherited`, half as long, from the weights of
the nearest network trained before it, whatever of its tensors fits (the leading channels of each); `stopped`, whole, but given up
at half where validation lies below the median of those before it at that point, and ranked by that score then. Fashion-MNIST
scaled to 16 px, a stratified subsample.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
from scipy.stats import spearmanr
from torch import nn

from benchmarks.live_summary import spread
from benchmarks.live_tasks import prepare_fashion
from benchmarks.throughput import device_name
from edgenas.architectures.chain import ChainSpace
from edgenas.errors import EdgenasError
from edgenas.records import ChainArchitecture, Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.loop import fresh_network, scores_of, train_network
from edgenas.training.recipes import recipe_from_name

SIDE, IMAGES = 16, 2_000
WHOLE, LONG = 6, 20  # epochs
CPU = torch.device("cpu")
Trained = tuple[ChainArchitecture, nn.Module]


class GivenUpError(EdgenasError):
    """A training that was stopped by its learning curve."""


def trained(task: Task, recipe: Recipe, network: nn.Module, seed: int) -> tuple[float, nn.Module]:
    """Validation accuracy and the network."""
    result = train_network(network, task, recipe, seed, CPU).network
    return scores_of(result, task, task.val, CPU, 1)["accuracy"], result


def distance(one: ChainArchitecture, other: ChainArchitecture) -> float:
    """How far two chains are apart: layers that differ, and the logarithms of width and depth."""
    layers = list(zip(zip(one.ops, one.kernels, strict=True), zip(other.ops, other.kernels, strict=True), strict=False))
    differ = sum(a != b for a, b in layers) / len(layers)
    return differ + abs(math.log(one.width / other.width)) + abs(math.log(one.depth / other.depth))


def inherit(network: nn.Module, parent: nn.Module) -> None:
    """Copy the leading part of every tensor that both have by name and rank, kernels of another size by their middle."""
    known = parent.state_dict()
    with torch.no_grad():
        for name, own in network.state_dict().items():
            given = known.get(name)
            if given is None or given.dim() != own.dim() or own.dim() == 0:
                continue
            here, there = [], []
            for axis, (a, b) in enumerate(zip(own.shape, given.shape, strict=True)):
                n = min(a, b)
                middle = axis >= 2  # of a convolution's kernel
                here.append(slice((a - n) // 2, (a - n) // 2 + n) if middle else slice(n))
                there.append(slice((b - n) // 2, (b - n) // 2 + n) if middle else slice(n))
            own[tuple(here)] = given[tuple(there)]


def searched(task: Task, nets: list[ChainArchitecture], seed: int) -> dict[str, dict[str, Any]]:
    """Scores and images of every way to train briefly."""
    recipe = recipe_from_name("brief", task, "cpu", WHOLE)
    half = msgspec.structs.replace(recipe, epochs=WHOLE // 2)
    found: dict[str, dict[str, Any]] = {
        way: {"scores": [], "epochs": 0.0} for way in ("whole", "half", "inherited", "stopped")
    }
    before: list[Trained] = []
    at_half: list[float] = []
    for net in nets:
        halfway: list[float] = []

        def look(epoch: int, network: nn.Module, halfway: list[float] = halfway) -> None:
            if epoch == WHOLE // 2:
                halfway.append(scores_of(network, task, task.val, CPU, 1)["accuracy"])
                if at_half and halfway[0] < statistics.median(at_half):
                    raise GivenUpError("below the median")

        whole = fresh_network(net, seed, CPU)
        score, _ = trained(task, recipe, whole, seed)
        keep(found["whole"], score, WHOLE)
        keep(found["half"], trained(task, half, fresh_network(net, seed, CPU), seed)[0], WHOLE / 2)
        child = fresh_network(net, seed, CPU)
        if before:
            inherit(child, min(before, key=lambda pair: distance(pair[0], net))[1])
        first = not before
        score, child = trained(task, recipe if first else half, child, seed)
        keep(found["inherited"], score, WHOLE if first else WHOLE / 2)
        before.append((net, child))
        try:
            result = train_network(fresh_network(net, seed, CPU), task, recipe, seed, CPU, look).network
            keep(found["stopped"], scores_of(result, task, task.val, CPU, 1)["accuracy"], WHOLE)
        except GivenUpError:
            keep(found["stopped"], halfway[0], WHOLE / 2)
        at_half.append(halfway[0])
    return found


def keep(way: dict[str, Any], score: float, epochs: float) -> None:
    way["scores"].append(score)
    way["epochs"] += epochs


def judged(task: Task, nets: list[ChainArchitecture]) -> list[float]:
    """Mean accuracy of two long trainings."""
    recipe = recipe_from_name("brief", task, "cpu", LONG)
    return [
        statistics.fmean(trained(task, recipe, fresh_network(net, seed, CPU), seed)[0] for seed in (1000, 1001))
        for net in nets
    ]


def one_seed(task: Task, count: int, seed: int) -> dict[str, Any]:
    space = ChainSpace(task.head, 1, SIDE, min_depth=4, max_depth=8, min_width=8, max_width=24, width_step=4)
    rng = random.Random(seed)
    nets = [net for _ in range(count) if isinstance(net := space.draw(rng), ChainArchitecture)]
    truth, found = judged(task, nets), searched(task, nets, seed)
    rows = {}
    for way, run in found.items():
        best = max(range(count), key=lambda i: run["scores"][i])
        rows[way] = {
            "epochs": run["epochs"],
            "spearman": float(spearmanr(truth, run["scores"]).statistic),
            "regret": max(truth) - truth[best],
            "scores": run["scores"],
        }
    return {"seed": seed, "judge": truth, "ways": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--networks", type=int, default=16)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("EDGENAS_DATA", "studies/live/data")))
    parser.add_argument(
        "--folder", type=Path, default=Path("studies/inherit"), help="seeds that are done are kept here"
    )
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/inherit.json"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    prepare_fashion(arguments.data)
    settings = TaskSettings("fashion-mnist", data_dir=str(arguments.data), image_size=SIDE, search_images=IMAGES)
    task, runs = load_task(settings), []
    arguments.folder.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.seeds):
        file = arguments.folder / f"{arguments.networks}-{seed}.json"
        if not file.exists():
            started = time.perf_counter()
            file.write_text(json.dumps(one_seed(task, arguments.networks, seed)))
            sys.stderr.write(f"seed {seed}: {time.perf_counter() - started:.0f} s\n")
        runs.append(json.loads(file.read_text()))
    ways = {
        way: {key: spread([run["ways"][way][key] for run in runs]) for key in ("epochs", "spearman", "regret")}
        for way in runs[0]["ways"]
    }
    about = {
        "benchmark": "inherit",
        "device": device_name(CPU),
        "torch": str(torch.__version__),
        "networks": arguments.networks,
    }
    arguments.out.write_text(json.dumps({**about, "seeds": len(runs), "ways": ways, "runs": runs}, indent=1) + "\n")
    for way, row in ways.items():
        cells = (f"{key} {value['mean']:.2f} +- {value['se'] or 0:.2f}" for key, value in row.items())
        sys.stdout.write(f"{way:10} {'  '.join(cells)}\n")


if __name__ == "__main__":
    main()
