"""The README's figure: Fashion-MNIST, at most 50,000 parameters, ten minutes on two cores, by the defaults of search and train.

A search of 2.5 minutes and a final training of 7.3, as a user gives them; what is left of the ten is for imports and data.
Each run is a line of DIR/headline.jsonl and is not repeated. The machine should do nothing else: `load` says what it did.
"""

from __future__ import annotations

import dataclasses
import json
import os
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.live_arms import commit, timed
from benchmarks.live_summary import spread
from benchmarks.live_tasks import TASKS
from benchmarks.throughput import device_name

LIMIT = ("--data", "fashion-mnist", "--target", "jetson", "--max-params", "50000")


@dataclasses.dataclass(frozen=True)
class Headline:
    """`method` None: the default. `recipe` None: what `edgenas train` takes. `flags`: further ones of the search."""

    method: str | None
    seed: int
    search_minutes: float = 2.5
    train_minutes: float = 7.3
    recipe: str | None = None
    flags: tuple[str, ...] = ()


def ran(asked: Headline, folder: Path) -> dict[str, Any]:
    """The record of one run: from the file, where it was made before."""
    file, wanted = folder / "headline.jsonl", json.loads(json.dumps(dataclasses.asdict(asked)))
    known = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
    for run in known:
        if all(run[key] == value for key, value in wanted.items()):
            found: dict[str, Any] = run
            return found
    run = {**wanted, **_run(asked, folder)}
    with file.open("a") as opened:
        opened.write(json.dumps(run) + "\n")
    return run


def _run(asked: Headline, folder: Path) -> dict[str, Any]:
    data = folder / "data"
    TASKS["fashion-mnist"].prepare(data)
    study = folder / "studies" / f"headline-{time.time():.0f}"
    method = () if asked.method is None else ("--method", asked.method)
    common = ("--data-dir", str(data))
    how = (*method, "--seed", str(asked.seed), "--budget", f"{asked.search_minutes:g}", "--study", str(study))
    found, search = timed("search", *LIMIT, *common, *how, *asked.flags)
    recipe = () if asked.recipe is None else ("--recipe", asked.recipe)
    minutes = ("--seeds", "1", "--budget", f"{asked.train_minutes:g}")
    trained, train = timed("train", str(study), *common, *minutes, *recipe)
    return {
        "method_used": found["method"],
        "networks": found["trials"],
        "val_accuracy": found["chosen"]["val_accuracy"],
        "latency_ms": found["chosen"]["latency"]["ms"],
        "macs": found["chosen"]["macs"],
        "params": trained["params"],
        "epochs": trained["epochs"],
        "test_accuracy": trained["test_accuracy"]["each"][0],
        "test_accuracy_mirrored": trained["test_accuracy_mirrored"]["each"][0],
        "wall_seconds": round(search["wall_seconds"] + train["wall_seconds"], 1),
        "search": search,
        "train": train,
        "cores": len(os.sched_getaffinity(0)),
        "device": device_name(torch.device("cpu")),
        "edgenas": commit(),
    }


def headline(asked: Headline, seeds: int, folder: Path) -> dict[str, Any]:
    """All seeds, from 0 on, and their spread."""
    runs = [ran(dataclasses.replace(asked, seed=seed), folder) for seed in range(seeds)]
    keys = ("test_accuracy", "test_accuracy_mirrored", "params", "epochs", "networks", "wall_seconds")
    return {**{key: spread([run[key] for run in runs]) for key in keys}, "runs": runs}
