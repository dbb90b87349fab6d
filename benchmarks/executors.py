"""What an executor adds to a candidate's own training: seconds of wall time beyond the sum of the trials' own, per candidate.

    python -m benchmarks.executors [--candidates 40] [--rounds 3]

The same small candidates on digits, one at a time: in this process, in one worker process, and on a Ray cluster of this machine
with one slot. Two candidates first, untimed: processes start and import. Result: benchmarks/results/executors.json.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from benchmarks.steps import record
from edgenas.architectures.chain import ChainSpace
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.records import Ask, Candidate, Classes, Limits, Recipe, StudyRecord
from edgenas.store import Store
from edgenas.study import Executor
from edgenas.tasks import TaskSettings, load_task
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import inline_executor, local_executor

SPACE = ChainSpace(Classes(10), 1, 8, min_depth=3, max_depth=8, min_width=2, max_width=40, width_step=1)
STUDY = StudyRecord("gnas", "classification", "digits", ("raspberry-pi-5",), "fp32", Limits(), 0)
RECIPE = Recipe("executors", 1, 32, 0.05, nesterov=True)
WARMUP = 2


def candidates(count: int) -> list[Candidate]:
    """Distinct, and all small."""
    networks = [SPACE.chain(depth, width) for width in range(4, 41) for depth in range(3, 9)]
    return [Candidate(network, RECIPE, "benchmark") for network in networks[:count]]


def overhead(executor: Executor, asked: list[Candidate]) -> dict[str, float]:
    """ms per candidate: in all, and beyond its own training."""
    with tempfile.TemporaryDirectory() as folder, Store.create(Path(folder), STUDY) as store:
        executor.answer(Ask(tuple(asked[:WARMUP])), store)
        started = time.perf_counter()
        trials = [trial for candidate in asked[WARMUP:] for trial in executor.answer(Ask((candidate,)), store)]
        wall = time.perf_counter() - started
    own = sum(trial.seconds for trial in trials)
    return {"candidate_ms": 1000 * wall / len(trials), "overhead_ms": 1000 * (wall - own) / len(trials)}


@contextmanager
def ray_cluster() -> Iterator[str]:
    """The address of a head without a slot and one node with one."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    from ray.cluster_utils import Cluster

    small = {"object_store_memory": 100 << 20}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "num_cpus": 0, "include_dashboard": False})
    cluster.add_node(num_cpus=1, **small)
    cluster.wait_for_nodes()
    try:
        yield cluster.address
    finally:
        cluster.shutdown()


def measure(count: int, rounds: int) -> dict[str, Any]:
    from edgenas.training.ray_executor import ray_executor

    cost = CostModel((profile_from_name("raspberry-pi-5"),), None, Limits())
    evaluator = Evaluator(load_task(TaskSettings("digits")), 0)
    asked = candidates(count + WARMUP)
    samples: dict[str, list[dict[str, float]]] = {"in process": [], "one worker": [], "ray, one slot": []}
    with ExitStack() as stack:
        executors = (
            stack.enter_context(inline_executor(evaluator, cost)),
            stack.enter_context(local_executor(evaluator, cost, workers=1)),
            stack.enter_context(ray_executor(evaluator, cost, stack.enter_context(ray_cluster()))),
        )
        for _ in range(rounds):
            for name, executor in zip(samples, executors, strict=True):
                samples[name].append(overhead(executor, asked))
                sys.stderr.write(f"{name}: {samples[name][-1]}\n")
    medians = {
        name: {key: statistics.median(s[key] for s in values) for key in values[0]} for name, values in samples.items()
    }
    return {"data": "digits", "candidates": count, "rounds": rounds, "median": medians, "samples": samples}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"))
    a = parser.parse_args()
    path = a.out / "executors.json"
    record(path, "executors", lambda: measure(a.candidates, a.rounds), torch.device("cpu"))
    sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    main()
