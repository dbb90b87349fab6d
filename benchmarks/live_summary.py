"""What the arms of the live evidence come to: by task, space and method, with spread; and each method beside random search."""

from __future__ import annotations

import functools
import math
import random
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.live_arms import Judge
from benchmarks.live_tasks import TASKS, LiveTask
from edgenas.architectures.chain import ChainSpace
from edgenas.engine.settings import PRESETS, chain_space
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name
from edgenas.methods.settings import SearchSettings
from edgenas.records import Architecture, Limits

DRAWS = 1_000
LEAST = 20  # networks that a line of four terms is drawn through
Run = dict[str, Any]


class Box(NamedTuple):
    """What a hypervolume is a share of. From the fastest of DRAWS random chains to the limit, in log latency; from the error of
    the smallest chain, trained as all others are, to none."""

    fastest_ms: float
    limit_ms: float
    reference_accuracy: float

    def share(self, front: Iterable[tuple[float, float]]) -> float:
        """Of the box that (latency in ms, accuracy in percent) dominate."""
        area, best = 0.0, self.reference_accuracy
        for ms, accuracy in sorted(front, key=lambda point: (point[0], -point[1])):
            if accuracy > best and ms < self.limit_ms:
                area += math.log(self.limit_ms / max(ms, self.fastest_ms)) * (accuracy - best)
                best = accuracy
        return area / math.log(self.limit_ms / self.fastest_ms) / (100 - self.reference_accuracy)


def box_of(name: str, folder: Path) -> Box:
    """A task's box; trains its smallest chain once, on the data of seed 0."""
    task = TASKS[name].of(0)
    task.prepare(folder / "data")
    judge = Judge(task, folder / "data", folder / "trained" / task.data)
    head, shape = judge.whole.head, judge.whole.preprocessing
    space = chain_space(SearchSettings(), PRESETS["tiny"], head, shape.channels, shape.input_size)
    latency = _latencies(task)
    fastest = _fastest(space, latency)
    limit = task.limit_ms or max(latency(space.draw(random.Random(seed))) for seed in range(DRAWS))
    return Box(fastest, limit, judge.result(space.smallest())["test_accuracy"])


def _latencies(task: LiveTask) -> Callable[[Architecture], float]:
    profile = profile_from_name(task.target)
    cost = CostModel((profile,), profile.precision, Limits())

    def latency(network: Architecture) -> float:
        return float(cost(network).latencies[profile.name].ms)

    return latency


def _fastest(space: ChainSpace, latency: Callable[[Architecture], float]) -> float:
    rng = random.Random(0)
    return min(latency(space.draw(rng)) for _ in range(DRAWS))


def used(runs: Sequence[Run]) -> list[Run]:
    """One run of every arm: the last that nobody disturbed, else the last."""
    chosen: dict[tuple[str, str, str, int], Run] = {}
    for run in runs:
        arm = (run["task"], run["space"], run["method"], run["seed"])
        if arm not in chosen or not run["disturbed"] or chosen[arm]["disturbed"]:
            chosen[arm] = run
    return list(chosen.values())


def summary(runs: Sequence[Run], box_for: Callable[[str], Box]) -> dict[str, Any]:
    """{task: {"box", "arms": {"METHOD SPACE": ...}}}; differences are to random search in the same space, and to the same
    method in chains, where those ran."""
    by_task: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in used(runs):
        by_task[run["task"]][f"{run['method']} {run['space']}"].append(run)
    tasks = {}
    for name, arms in by_task.items():
        box = box_for(name)
        rows = {arm: _row(sorted(of_arm, key=lambda run: run["seed"]), box) for arm, of_arm in sorted(arms.items())}
        for arm, row in rows.items():
            method, space = arm.split()
            for difference_to, beside in (("above_random", f"random {space}"), ("above_chain", f"{method} chain")):
                other = rows.get(beside)
                if other is not None and other is not row:
                    row[difference_to] = {key: difference(row, other, key) for key in ("test_accuracy", "hypervolume")}
        first = next(iter(arms.values()))[0]
        same = {key: first[key] for key in ("minutes", "target", "limit_ms", "steps", "batch", "device", "versions")}
        overlooked = {
            space: found for space in ("chain", "stages") if (found := worth_of_macs(arms, space)) is not None
        }
        tasks[name] = {**same, "box": box._asdict(), "arms": rows, "worth_of_macs": overlooked}
    return tasks


def worth_of_macs(arms: Mapping[str, Sequence[Run]], space: str) -> dict[str, float | int] | None:
    """What the short trainings of searches in this space overlook: points of test accuracy that e times the MACs bring after the
    longer training, at equal score in the search and equally many search images. Least squares over the networks of all fronts;
    None for fewer than LEAST."""
    members = [
        (
            [1.0, member["val_accuracy"], math.log(run["search_images"]), math.log(member["macs"])],
            member["test_accuracy"],
        )
        for arm, runs in arms.items()
        if arm.split()[1] == space
        for run in runs
        for member in run["front"]
    ]
    if len(members) < LEAST:
        return None
    known, reached = (np.array(column) for column in zip(*members, strict=True))
    terms = np.linalg.lstsq(known, reached, rcond=None)[0]
    left = float(((reached - known @ terms) ** 2).sum()) / (len(reached) - known.shape[1])
    error = math.sqrt(left * np.linalg.inv(known.T @ known)[-1, -1])
    return {"networks": len(members), "points": float(terms[-1]), "se": error}


def _row(runs: list[Run], box: Box) -> dict[str, Any]:
    """Of one method in one space."""
    fronts = [[(m["latency_ms"], m["test_accuracy"]) for m in run["front"]] for run in runs]
    columns = {
        "test_accuracy": [run["final"]["test_accuracy"] for run in runs],
        "hypervolume": [box.share(front) for front in fronts],
        "latency_ms": [run["final"]["latency_ms"] for run in runs],
        "params": [run["final"]["params"] for run in runs],
        "share_of_budget": [run["wall_seconds"] / (60 * run["minutes"]) for run in runs],
        "networks": [run["networks"] for run in runs],
        "wall_seconds": [run["wall_seconds"] for run in runs],
        "cpu_seconds": [run["cpu_seconds"] for run in runs],
        "images_per_second": [run["images_per_second"] for run in runs],
        "load": [max(run["load"]) for run in runs],
        **({"speed": [run["speed"] for run in runs]} if all("speed" in run for run in runs) else {}),
    }
    return {
        "seeds": [run["seed"] for run in runs],
        "commits": sorted({run["versions"]["edgenas"] for run in runs}),
        "at_chance": sum(run["at_chance"] for run in runs),
        "disturbed": sum(run["disturbed"] for run in runs),
        **{key: spread(values) for key, values in columns.items()},
    }


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Mean, deviation, standard error (None for one value) and every value."""
    sd = statistics.stdev(values) if len(values) > 1 else None
    se = None if sd is None else sd / math.sqrt(len(values))
    return {"mean": statistics.fmean(values), "sd": sd, "se": se, "each": list(values)}


def difference(one: dict[str, Any], other: dict[str, Any], key: str) -> dict[str, float | int | None]:
    """Of two means, with the standard error of that; and the mean and standard error over the seeds that both have, whose data
    and splits are the same."""
    errors = one[key]["se"], other[key]["se"]
    se = None if None in errors else math.hypot(*errors)
    pairs = [
        one[key]["each"][one["seeds"].index(seed)] - other[key]["each"][other["seeds"].index(seed)]
        for seed in one["seeds"]
        if seed in other["seeds"]
    ]
    paired = spread(pairs) if pairs else {"mean": None, "se": None}
    return {
        "mean": one[key]["mean"] - other[key]["mean"],
        "se": se,
        "pairs": len(pairs),
        "paired_mean": paired["mean"],
        "paired_se": paired["se"],
    }


@functools.cache
def digits(key: str) -> str:
    """How a column is printed."""
    return {"test_accuracy": ".2f", "hypervolume": ".3f", "latency_ms": ".3f", "share_of_budget": ".2f"}.get(key, ".0f")


def lines(tasks: dict[str, Any]) -> Iterable[str]:
    """The summary as a table."""
    keys = ("test_accuracy", "hypervolume", "latency_ms", "params", "networks", "share_of_budget", "cpu_seconds")
    for name, task in tasks.items():
        box = task["box"]
        yield (
            f"{name}: {task['minutes']:g} min, {task['target']}, limit {box['limit_ms']:g} ms; box from "
            f"{box['fastest_ms']:.3f} ms and {box['reference_accuracy']:.2f} %"
        )
        for arm, row in task["arms"].items():
            cells = []
            for key in keys:
                se = "" if row[key]["se"] is None else f" +- {row[key]['se']:{digits(key)}}"
                cells.append(f"{key} {row[key]['mean']:{digits(key)}}{se}")
            yield f"  {arm:18} n={len(row['seeds'])}  " + "  ".join(cells)
            for key, found in row.get("above_random", {}).items():
                errors = "" if found["se"] is None else f" +- {found['se']:{digits(key)}}"
                if found["paired_se"] is not None:
                    errors += f" (by seed {found['paired_mean']:+{digits(key)}} +- {found['paired_se']:{digits(key)}})"
                yield f"      {key} above random {found['mean']:+{digits(key)}}{errors}"
