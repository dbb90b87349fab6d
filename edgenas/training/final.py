"""Final training: the chosen network from scratch, long, over several seeds; the test set is read once, at the very end."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from edgenas.identity import digest
from edgenas.networks.weights import load_weights, save_weights, weights_sha256
from edgenas.records import Architecture, FinalRun, Recipe
from edgenas.store import Store
from edgenas.tasks import Task
from edgenas.training.loop import fresh_network, outputs_of, scores_of, train
from edgenas.training.throughput import EVALUATION_SHARE, seconds_per_image
from edgenas.training.work import AnyItem, Workplace, local_devices, results_of
from edgenas.training.workers import LocalCrew

EPOCH_LOOKS = 20  # how often a training looks at validation for its best epoch


@dataclass(frozen=True)
class Job:
    """One seed of a final training."""

    task: Task
    architecture: Architecture
    recipe: Recipe
    seed: int
    weights: Path  # to write
    start: tuple[Architecture, Path, str] | None = None  # weights to go on from, with their SHA-256

    @property
    def key(self) -> str:
        """What the run's result is found under; the data's name is part of the file's."""
        start = (self.start[0], self.start[1].name) if self.start else None
        return digest(self.architecture, self.recipe, self.seed, self.weights.name, start)


@dataclass(frozen=True)
class Seed:
    """One seed of a final training, as a work item: a job without its data, which the workers have."""

    architecture: Architecture
    recipe: Recipe
    seed: int
    weights: Path
    start: tuple[Architecture, Path, str] | None
    key: str

    def run(self, place: Workplace) -> FinalRun:
        job = Job(place.task, self.architecture, self.recipe, self.seed, self.weights, self.start)
        return run_job(job, str(place.device))


@dataclass(frozen=True)
class SpeedTrial:
    """A work item: seconds per trained image, while the other workers do the same."""

    architecture: Architecture
    recipe: Recipe
    key: str

    def run(self, place: Workplace) -> float:
        return seconds_per_image(place.task, self.architecture, self.recipe, place.device, patience=6.0)


class FinalPool:
    """One worker process per seed on a CPU (up to two a core: three seeds on two cores end sooner that way), one per GPU."""

    def __init__(self, jobs: int, device: str) -> None:
        devices = local_devices(device)
        self.size = min(jobs, len(devices) * (2 if device == "cpu" else 1))
        self.devices = tuple(devices[i % len(devices)] for i in range(self.size))
        self._crew: LocalCrew | None = None

    def seconds_per_image(self, job: Job) -> float:
        """Of one worker while all are busy: the slowest."""
        trials: list[AnyItem] = [SpeedTrial(job.architecture, job.recipe, str(i)) for i in range(self.size)]
        slowest: float = max(seconds for _, seconds in self._results(job.task, trials))
        return slowest

    def runs(self, jobs: list[Job]) -> Iterator[tuple[Job, FinalRun]]:
        """Each job with its run, as they end; all of one task."""
        by_key = {job.key: job for job in jobs}
        seeds: list[AnyItem] = [
            Seed(j.architecture, j.recipe, j.seed, j.weights, j.start, key) for key, j in by_key.items()
        ]
        if jobs:
            yield from ((by_key[seed.key], run) for seed, run in self._results(jobs[0].task, seeds))

    def _results(self, task: Task, items: list[AnyItem]) -> Iterator[tuple[AnyItem, Any]]:
        """Each item with its result, as they end. Processes are started now: mistakes and finished trainings cost none."""
        if self._crew is None:
            self._crew = LocalCrew(task, self.devices, attempts=1)
        advice = "free memory, or train fewer --seeds at once"
        return results_of(self._crew, items, _nothing_else, "a final training ended early", advice)

    def __enter__(self) -> FinalPool:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._crew is not None:
            self._crew.close()


def _nothing_else(item: AnyItem, result: object) -> None:
    raise AssertionError(f"{item} was not asked for, and gave {result}")


def final_runs(
    jobs: list[Job], pool: FinalPool, store: Store, on_run: Callable[[FinalRun], None]
) -> tuple[FinalRun, ...]:
    """The runs of all jobs, in order; those in the store are not trained again."""
    missing = [job for job in jobs if store.get("final-run", job.key, FinalRun) is None]
    for job, run in pool.runs(missing):
        store.put("final-run", job.key, run)
        on_run(run)
    return tuple(_there(store.get("final-run", job.key, FinalRun)) for job in jobs)


def epochs_within(seconds: float, job: Job, per_image: float, waves: int) -> int:
    """How many epochs fit, validation looks and the test at the end included; 0 where not even one does."""
    task = job.task
    ending = per_image * EVALUATION_SHARE * (2 + task.flip) * len(task.test)
    left = seconds / waves - ending
    epoch, look = per_image * len(task.train), per_image * EVALUATION_SHARE * len(task.val)
    epochs = int(left / (epoch + look))
    return max(0, epochs if epochs <= EPOCH_LOOKS else int((left - EPOCH_LOOKS * look) / epoch))


def seconds_of(epochs: int, job: Job, per_image: float, waves: int) -> float:
    """What that many epochs take, looks and test included."""
    task = job.task
    ending = (2 + task.flip) * len(task.test)
    looks = min(epochs, EPOCH_LOOKS) * len(task.val)
    return waves * per_image * (epochs * len(task.train) + EVALUATION_SHARE * (looks + ending))


def run_job(job: Job, device: str) -> FinalRun:
    """Train with one seed and save the weights of the last epoch; raises TrainingError as the loop does."""
    started = time.perf_counter()
    where = torch.device(device)
    network = fresh_network(job.architecture, job.seed, where)
    if job.start is not None:
        adopt(network, load_weights(*job.start))
    best = Best(job, where)
    trained = train(network, job.task, job.recipe, job.seed, where, best)
    save_weights(trained.network, job.weights)
    return _tested(job, trained.network, best, where, started)


def _tested(job: Job, network: nn.Module, best: Best, device: torch.device, started: float) -> FinalRun:
    """The test set, for the first and only time: the last epoch, its mirrored variant, and the best epoch beside it."""
    task, threads = job.task, job.recipe.threads
    labels = torch.from_numpy(task.test.labels).to(device)
    outputs = outputs_of(network, task.test, task.preprocessing, device, threads)
    mirrored = {}
    if task.flip:
        mirror = outputs_of(network, task.test, task.preprocessing, device, threads, mirror=True)
        mirrored = task.scores((outputs + mirror) / 2, labels)
    return FinalRun(
        seed=job.seed,
        weights=f"{job.weights.parent.name}/{job.weights.name}",
        test=task.scores(outputs, labels),
        val=scores_of(network, task, task.val, device, threads),
        best_epoch=best.epoch,
        best_val=best.scores,
        best_test=scores_of(best.network, task, task.test, device, threads),
        seconds=time.perf_counter() - started,
        mirrored=mirrored,
        report=task.report(outputs, labels),
        weights_sha256=weights_sha256(job.weights),
    )


class Best:
    """Called after every epoch: keeps the network that was best on validation so far."""

    def __init__(self, job: Job, device: torch.device) -> None:
        self.job = job
        self.device = device
        self.epoch = 0
        self.scores: dict[str, float] = {}
        self.network: nn.Module = nn.Identity()
        self.every = max(1, job.recipe.epochs // EPOCH_LOOKS)

    def __call__(self, epoch: int, network: nn.Module) -> None:
        if epoch % self.every and epoch != self.job.recipe.epochs:
            return
        task = self.job.task
        scores = scores_of(network, task, task.val, self.device, self.job.recipe.threads)
        gain, name = task.metric.gain, task.metric.name
        if not self.epoch or gain(scores[name]) > gain(self.scores[name]):
            self.epoch, self.scores, self.network = epoch, scores, copy.deepcopy(network)


def adopt(network: nn.Module, trained: nn.Module) -> None:
    """Take over every weight of the same name and shape: all but the last layer, where the number of classes differs."""
    own = network.state_dict()
    same = {name: tensor for name, tensor in trained.state_dict().items() if own[name].shape == tensor.shape}
    network.load_state_dict({**own, **same})


def _there(run: FinalRun | None) -> FinalRun:
    assert run is not None, "a final run was not stored"
    return run
