"""Is a training on CUDA the one that a CPU does? Graphs, bf16, EMA and checkpoints against eager FP32, from the same seed.

    python -m benchmarks.cuda_checks [--device cuda|cpu]

A small chain on scikit-learn's digits, some twenty steps at changing rates, a partial batch among them. On a CPU, where there
are no graphs, the same comparisons are made with the rehearsal that comes before a capture. Every figure is a largest difference
relative to the largest weight; each has a bar. The bars for CUDA are expectations: nothing of this has run there yet.
"""

from __future__ import annotations

import argparse
import copy
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.records import ChainArchitecture, Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.augmentation import DeviceImages
from edgenas.training.loop import fresh_network, train_network
from edgenas.training.step import Step

BATCH, PARTIAL, STEPS = 64, 17, 20  # every seventh batch is a partial one
EMA = 0.9
CPU = torch.device("cpu")
BARS = {  # largest that each figure may be
    "cuda": {"graphs": 1e-4, "device": 1e-3, "checkpoint": 1e-4, "ema": 1e-5, "bf16_loss": 0.05, "repeated": 1e-2},
    "cpu": {"graphs": 0.0, "device": 0.0, "checkpoint": 0.0, "ema": 1e-6, "bf16_loss": 0.05, "repeated": 0.0},
}
MakeStep = Callable[..., Step]


@dataclass(frozen=True)
class Course:
    """What came of some steps: mean losses, weights after each step, and the average at the end."""

    losses: list[float]
    weights: list[Tensor]  # (P,) float64 each
    average: Tensor
    step: Step


def recipe_of(precision: str = "fp32") -> Recipe:
    return Recipe(
        "check", 2, BATCH, 0.05, nesterov=True, clip_norm=5.0, ema=EMA, precision=precision  # type: ignore[arg-type]
    )  # fmt: skip


def digits() -> Task:
    return load_task(TaskSettings("digits", search_images=640))


def network_of(task: Task) -> ChainArchitecture:
    shape = task.preprocessing
    return chain(8, 4, (0,) * 4, (3,) * 4, task.head, shape.channels, shape.input_size)  # type: ignore[arg-type]


def course(
    task: Task,
    device: torch.device,
    *,
    precision: str = "fp32",
    graphs: bool = True,
    make: MakeStep = Step,
    split: int = 0,
) -> Course:
    """The same steps always, in the way that is asked for. `split`: after so many a new network goes on from the state."""
    recipe = recipe_of(precision)
    data = DeviceImages(task.train, task.preprocessing, device)
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(1)).to(device)

    def begun(seed: int) -> Step:
        step = make(fresh_network(network_of(task), seed, device), task.loss(recipe), recipe, device)
        step.graphs = step.graphs and graphs
        step.learner.train()
        return step

    def batch(index: int) -> tuple[Tensor, Tensor]:
        rows = order.roll(-index * BATCH)[: PARTIAL if index % 7 == 6 else BATCH]
        return data.input(data.pixels(rows)), data.labels[rows]

    step, losses, weights = begun(0), [], []
    for index in range(STEPS):
        if split and index == split:
            before, step = step, begun(1)
            step.restore(copy.deepcopy(before.state()))
        if graphs and device.type == "cpu" and index in (0, split):
            step.rehearse(*batch(index))  # as before a capture
        step.totals.zero_()
        step(*batch(index), recipe.lr * (1 - index / STEPS))
        losses.append(float(step.totals[0]))
        weights.append(flat(step.network))
    return Course(losses, weights, flat(step.averaged), step)


def flat(network: torch.nn.Module) -> Tensor:
    """(P,) float64: weights and statistics of batch norms, one after the other."""
    return torch.cat(
        [t.detach().double().cpu().flatten() for t in network.state_dict().values() if t.is_floating_point()]
    )


def apart(one: Tensor, other: Tensor) -> float:
    """The largest difference, of the largest weight."""
    return float((one - other).abs().max() / other.abs().max())


def averaged_by_definition(first: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """a <- d a + (1 - d) w after every step n, d = min(EMA, n / (10 + n)), from the first weights on, in float64."""
    average = first
    for count, each in enumerate(weights, start=1):
        decay = min(EMA, count / (10 + count))
        average = decay * average + (1 - decay) * each
    return average


def figures(device: torch.device, make: MakeStep = Step) -> dict[str, float]:
    """What is compared, and by how much it differs."""
    task = digits()
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
        graphed, eager = (course(task, device, graphs=graphs, make=make) for graphs in (True, False))
        on_cpu = course(task, CPU, graphs=False)
        resumed = course(task, device, make=make, split=9)
        half = course(task, device, precision="bf16", make=make)
        first = flat(fresh_network(network_of(task), 0, device))
    trained = [
        flat(train_network(fresh_network(network_of(task), 0, device), task, recipe_of(), 0, device).network)
        for _ in "12"
    ]
    late = slice(STEPS // 2, None)
    losses = [sum(each.losses[late]) for each in (half, eager)]
    return {
        "graphs": apart(graphed.weights[-1], eager.weights[-1]),
        "device": apart(eager.weights[-1], on_cpu.weights[-1]),
        "checkpoint": apart(resumed.weights[-1], graphed.weights[-1]),
        "ema": apart(graphed.average, averaged_by_definition(first, graphed.weights)),
        "bf16_loss": abs(losses[0] - losses[1]) / losses[1],
        "bf16_weights": apart(half.weights[-1], eager.weights[-1]),  # without a bar, but not nothing
        "repeated": apart(trained[1], trained[0]),
        "graphs_recorded": float(graphed.step.graph is not None),
    }


def failed(found: dict[str, float], device: torch.device) -> list[str]:
    """One line for each figure that breaks its bar; not a number breaks it, too."""
    lines = [
        f"{name}: {found[name]:.2g}, at most {bar:g} is right"
        for name, bar in BARS[device.type].items()
        if not found[name] <= bar
    ]
    if not found["bf16_weights"] > 0:
        lines.append("bf16_weights: 0, as if bf16 had trained in FP32")
    if device.type == "cuda" and not found["graphs_recorded"]:
        lines.append("graphs_recorded: none")
    return lines


def checked(device: torch.device) -> dict[str, Any]:
    """The figures with their bars. EdgenasError where one is broken."""
    found = figures(device)
    if lines := failed(found, device):
        raise EdgenasError("training here is not what it is on a CPU: " + "; ".join(lines))
    return {"figures": found, "bars": BARS[device.type]}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda" if torch.cuda.is_available() else "cpu")
    asked = parser.parse_args(arguments)
    try:
        document = checked(torch.device(asked.device))
    except EdgenasError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
