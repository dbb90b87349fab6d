"""One arm of the live evidence: a search through `edgenas search`, and its networks trained alike.

A search is one child process that trains with one worker. What it cost is taken from the operating system (wall and CPU seconds),
so that a search that was disturbed can be seen. Networks are trained once each and shared by all searches that found them.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn

from benchmarks.live_tasks import TASKS, LiveTask
from benchmarks.throughput import device_name
from edgenas.architectures.chain import chain
from edgenas.engine.fronts import item
from edgenas.errors import EdgenasError
from edgenas.methods import CONTROL
from edgenas.records import Architecture, Recipe
from edgenas.store import Store
from edgenas.tasks import Task, TaskSettings, as_searched, load_task
from edgenas.training.loop import fresh_network, outputs_of, train_network
from edgenas.training.recipes import recipe_from_name, steps_an_epoch
from edgenas.training.throughput import seconds_per_image

MEMBERS = 4  # of a front
CHAINS_ONLY = ("gnas", "trgnas")  # methods that search chains and take no --space
WHOLE = 0.9  # of its wall seconds that a search's processes must have computed, or others disturbed it
SPEED_S = 4.0  # seconds in which the machine's speed is measured
CPU = torch.device("cpu")


@dataclasses.dataclass(frozen=True)
class Arm:
    """Which search: "fashion-mnist chain random 0"."""

    task: str
    space: str
    method: str
    seed: int

    @classmethod
    def from_words(cls, words: str) -> Arm:
        parts = words.split()
        if len(parts) != 4 or parts[0] not in TASKS or not parts[3].isdigit():
            raise EdgenasError(f"arm {words!r}: give TASK SPACE METHOD SEED, TASK being one of {', '.join(TASKS)}")
        return cls(parts[0], parts[1], parts[2], int(parts[3]))

    @property
    def name(self) -> str:
        return f"{self.task}-{self.space}-{self.method}-{self.seed}"


def run_arm(arm: Arm, folder: Path, minutes: float | None = None) -> dict[str, Any]:
    """Search, train what it found, and the record of both. The search starts afresh: one that was stopped has lost its clock."""
    task, data = TASKS[arm.task], folder / "data"
    task = dataclasses.replace(task.of(arm.seed), minutes=minutes or task.minutes)
    task.prepare(data)
    study = folder / "studies" / arm.name
    shutil.rmtree(study, ignore_errors=True)
    space = () if arm.method in CHAINS_ONLY else ("--space", arm.space)
    how = (*space, "--method", arm.method, "--seed", str(arm.seed), "--workers", "1", "--study", str(study))
    judge = Judge(task, data, folder / "trained" / task.data)
    speed = judge.speed()
    document, spent = timed("search", *task.flags(data), *how)
    members = thinned(front_of(study, document), MEMBERS)
    chosen = document["chosen"]
    trained = [judge(shown) for shown in (chosen, *members)]
    return {
        **dataclasses.asdict(arm),
        "minutes": task.minutes,
        "limit_ms": task.limit_ms,
        "target": task.target,
        **spent,
        "disturbed": spent["cpu_seconds"] < WHOLE * spent["wall_seconds"],
        **work_of(study, judge.images),
        "speed": round(speed, 1),
        "networks": document["trials"],
        "infeasible": document["infeasible"],
        "at_chance": document["at_chance"],
        "ended_early": document["ended_early"],
        "val_accuracy": chosen["val_accuracy"],
        "final": trained[0],
        "front": trained[1:],
        "front_size": len(document["front"]),
        "steps": task.steps,
        "batch": task.batch,
        "device": device_name(CPU),
        "versions": {"torch": str(torch.__version__), "python": platform.python_version(), "edgenas": commit()},
        "at": time.strftime("%Y-%m-%dT%H:%M:%S"),
    }


def timed(*arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The document of one of our commands, and the wall and CPU seconds of it and its workers, with the machine's load."""
    before, load = time.perf_counter(), os.getloadavg()[0]
    child = subprocess.Popen([sys.executable, "-m", "edgenas", *arguments, "--json"], stdout=subprocess.PIPE)
    assert child.stdout is not None
    text = child.stdout.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - before
    if child.returncode:
        raise EdgenasError(f"edgenas {' '.join(arguments)} ended with exit code {child.returncode}: see above")
    spent = {
        "wall_seconds": round(wall, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "load": [round(load, 2), round(os.getloadavg()[0], 2)],
    }
    return json.loads(text), spent


def work_of(study: Path, everything: int) -> dict[str, Any]:
    """Images and epochs of a search's trainings, and images a second. `everything`: training images, where it took them all."""
    with Store.read(study) as store:
        plan = msgspec.json.decode(store.study.plan)
        trials = [trial for trial in store.ledger() if trial.status == "complete"]
    images = plan["task"]["search_images"] or everything
    epochs = sum(trial.candidate.recipe.epochs for trial in trials)
    seconds = sum(trial.seconds for trial in trials)
    return {
        "search_images": images,
        "epochs": epochs,
        "training_seconds": round(seconds, 2),
        "images_per_second": round(images * epochs / seconds, 1),
        "epoch_macs_per_second": round(sum(t.candidate.recipe.epochs * t.cost.macs for t in trials) / seconds),
    }


def front_of(study: Path, document: dict[str, Any]) -> list[dict[str, Any]]:
    """What a search shows as its front; of a method that has a model of its networks, all of them with the score that it expects,
    which is what its choice goes by."""
    with Store.read(study) as store:
        choice, record, trials = store.choice, store.study, store.ledger()
    expected = choice.expected if choice is not None else {}
    if not expected:
        front: list[dict[str, Any]] = document["front"]
        return front
    complete = {trial.candidate.architecture.fingerprint: trial for trial in trials if trial.status == "complete"}
    return [
        item(trial, record) | {f"val_{record.metric.name}": expected[name].mean}
        for name, trial in complete.items()
        if name in expected and trial.candidate.phase != CONTROL
    ]


def thinned(front: list[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Of these networks that no other beats in accuracy and latency: those nearest to `count` equal steps of log latency, from
    the fastest to the slowest."""
    ordered = sorted(front, key=lambda shown: (shown["latency"]["ms"], -shown["val_accuracy"]))
    kept: list[dict[str, Any]] = []
    for shown in ordered:
        if not kept or shown["val_accuracy"] > kept[-1]["val_accuracy"]:
            kept.append(shown)
    places = [math.log(shown["latency"]["ms"]) for shown in kept]
    steps = [places[0] + (places[-1] - places[0]) * step / max(1, count - 1) for step in range(count)]
    nearest = {min(range(len(kept)), key=lambda i, at=at: abs(places[i] - at)) for at in steps}
    return [kept[i] for i in sorted(nearest)]


class Judge:
    """Trains networks alike and reads the test set: a result is a file, found again by the network's fingerprint."""

    def __init__(self, task: LiveTask, data: Path, folder: Path) -> None:
        self.task, self.data, self.folder = task, data, folder

    @functools.cached_property
    def whole(self) -> Task:
        """The task with all its training images."""
        return load_task(self._settings())

    @functools.cached_property
    def _task(self) -> Task:
        """With as many training images as the steps see, where there are more."""
        wanted = self.task.steps * self.task.batch
        return as_searched(self.whole, msgspec.structs.replace(self._settings(), search_images=wanted))

    def _settings(self) -> TaskSettings:
        name = self.task.data_name(self.data)
        return TaskSettings(name, data_dir=str(self.data), image_size=self.task.image_size)

    @property
    def images(self) -> int:
        """All training images."""
        return len(self.whole.train)

    def speed(self) -> float:
        """Images a second in the training of one network, always the same: minutes on two machines are compared by it."""
        task, known = self.whole, self.whole.preprocessing
        network = chain(12, 6, (0, 1) * 3, (3,) * 6, task.head, known.channels, known.input_size)
        return 1 / seconds_per_image(task, network, recipe_from_name("brief", task, "cpu"), CPU, SPEED_S)

    def __call__(self, shown: dict[str, Any]) -> dict[str, Any]:
        """Of a network as a front shows it: its costs, what it scored in the search, and its test accuracy when trained alike."""
        architecture: Architecture = msgspec.convert(shown["architecture"], Architecture)
        found = self.result(architecture)
        scored = {key: found[key] for key in ("test_accuracy", "balanced_accuracy") if key in found}
        known = {key: shown[key] for key in ("params", "macs", "val_accuracy")}
        return {"fingerprint": architecture.fingerprint, "latency_ms": shown["latency"]["ms"], **known, **scored}

    def result(self, architecture: Architecture) -> dict[str, Any]:
        """What training gave: from its file, where it was trained before."""
        file = self.folder / f"{architecture.fingerprint}.json"
        if not file.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            found = {**self._trained(architecture), "architecture": msgspec.to_builtins(architecture)}
            part = file.with_suffix(".part")
            part.write_text(json.dumps(found))
            part.replace(file)
        return self.known(architecture.fingerprint)

    def known(self, fingerprint: str) -> dict[str, Any]:
        """The result of a network that was trained before, with its architecture."""
        found: dict[str, Any] = json.loads((self.folder / f"{fingerprint}.json").read_text())
        return found

    def _trained(self, architecture: Architecture) -> dict[str, Any]:
        task, started = self._task, time.perf_counter()
        network, recipe = self.network(architecture, 0)
        outputs = outputs_of(network, task.test, task.preprocessing, CPU, recipe.threads)
        report = task.report(outputs, torch.from_numpy(task.test.labels))
        return {
            "test_accuracy": report["accuracy"],
            "balanced_accuracy": statistics.fmean(report["per_class"].values()),
            "steps": recipe.epochs * steps_an_epoch(recipe, len(task.train)),
            "seconds": time.perf_counter() - started,
        }

    def network(self, architecture: Architecture, seed: int) -> tuple[nn.Module, Recipe]:
        """Trained alike, by this recipe."""
        task = self._task
        recipe = recipe_from_name("brief", task, "cpu")
        batch = min(self.task.batch, recipe.batch_size)
        recipe = msgspec.structs.replace(recipe, batch_size=batch, lr=recipe.lr * batch / recipe.batch_size)
        recipe = msgspec.structs.replace(
            recipe, epochs=max(1, round(self.task.steps / steps_an_epoch(recipe, len(task.train))))
        )
        return train_network(fresh_network(architecture, seed, CPU), task, recipe, seed, CPU).network, recipe


def commit() -> str:
    """Of the checkout that runs."""
    found = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip()
