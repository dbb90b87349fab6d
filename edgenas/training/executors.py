"""Executors on this machine: candidates in this process, or in spawned worker processes that also speculate.

Workers only train. This process looks up, checks limits and writes: one writer, and results that cannot depend on the workers.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable
from typing import Protocol

import torch

from edgenas.records import Architecture, Ask, Candidate, Cost, Limits, Trial
from edgenas.store import Store
from edgenas.training.evaluator import Evaluator, seed_of
from edgenas.training.workers import Worker, WorkerDiedError, ready

Job = tuple[Candidate, Cost]
ATTEMPTS = 3  # a candidate whose worker dies is tried this often


class Costs(Protocol):
    """What an architecture costs, and the limits on it (hardware/cost.py's CostModel)."""

    limits: Limits

    def __call__(self, architecture: Architecture) -> Cost: ...

    def prepare(self, architectures: Iterable[Architecture]) -> None:
        """These will be asked for soon: boards may measure them ahead."""


class Desk:
    """What every executor does before it trains: look up, check limits, sort out what is left."""

    def __init__(self, cost: Costs, study_seed: int) -> None:
        self.cost = cost
        self.study_seed = study_seed

    def known(self, candidate: Candidate, store: Store) -> Trial | None:
        """The stored trial; a candidate over a limit is stored as infeasible now, without any training time."""
        trial = store.find(candidate.key)
        if trial is not None:
            return trial
        cost = self.cost(candidate.architecture)
        broken = self.cost.limits.broken(cost)
        if not broken:
            return None
        seed = seed_of(self.study_seed, candidate)
        trial = Trial(candidate, "infeasible", cost, seed, error="; ".join(broken))
        store.add(trial)
        return trial

    def missing(self, candidates: Iterable[Candidate], store: Store) -> dict[str, Candidate]:
        """Those that must be trained, by key, in order."""
        return {c.key: c for c in candidates if self.known(c, store) is None}

    def answers(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        """The trials of all needed candidates, once they are there."""
        return tuple(_present(self.known(candidate, store)) for candidate in ask.needed)

    def lost(self, candidate: Candidate, reason: str) -> Trial:
        """The failed trial of a candidate whose workers died."""
        cost = self.cost(candidate.architecture)
        return Trial(candidate, "failed", cost, seed_of(self.study_seed, candidate), error=reason)


class InlineExecutor:
    """Everything in this process, nothing ahead of time."""

    def __init__(self, evaluator: Evaluator, cost: Costs) -> None:
        self.evaluator = evaluator
        self.desk = Desk(cost, evaluator.study_seed)

    def answer(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        """See study.Executor."""
        for candidate in self.desk.missing(ask.needed, store).values():
            store.add(self.evaluator(candidate, self.desk.cost(candidate.architecture)))
        return self.desk.answers(ask, store)

    def __enter__(self) -> InlineExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        pass


class LocalExecutor:
    """Spawned worker processes on this machine, each with its own copy of the data; `devices[i]` is where worker i trains."""

    def __init__(self, evaluator: Evaluator, cost: Costs, devices: tuple[str, ...]) -> None:
        self.desk = Desk(cost, evaluator.study_seed)
        self.workers = [Worker(Evaluation(dataclasses.replace(evaluator, device=device))) for device in devices]
        self.deaths: dict[str, int] = {}

    def answer(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        """See study.Executor. Workers that have nothing needed to do take what is likely."""
        self.desk.cost.prepare(c.architecture for c in (*ask.needed, *ask.likely) if store.find(c.key) is None)
        needed = self.desk.missing(ask.needed, store)
        queue = {key: candidate for key, candidate in needed.items() if key not in self._running()}
        self._hand_out(queue)  # before boards are asked about what is only likely
        likely = self.desk.missing(ask.likely, store)
        queue |= {key: candidate for key, candidate in likely.items() if key not in self._running()}
        while needed:
            self._hand_out(queue)
            for worker in ready(self.workers):
                trial = self._finished(worker, queue)
                if trial is not None:
                    store.add(trial)
                    needed.pop(trial.candidate.key, None)
        self._hand_out(queue)
        return self.desk.answers(ask, store)

    def close(self) -> None:
        """End the workers; what they were training is lost."""
        for worker in self.workers:
            worker.stop()

    def __enter__(self) -> LocalExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _running(self) -> tuple[str, ...]:
        return tuple(worker.job[0].key for worker in self.workers if worker.job is not None)

    def _hand_out(self, queue: dict[str, Candidate]) -> None:
        for worker in self.workers:
            if worker.job is None and queue:
                candidate = queue.pop(next(iter(queue)))
                worker.start((candidate, self.desk.cost(candidate.architecture)))

    def _finished(self, worker: Worker[Job, Trial], queue: dict[str, Candidate]) -> Trial | None:
        """The trial; None where the worker died and its candidate is back in front of the queue."""
        assert worker.job is not None
        candidate = worker.job[0]
        try:
            return worker.finish()
        except WorkerDiedError as error:
            deaths = self.deaths[candidate.key] = self.deaths.get(candidate.key, 0) + 1
            if deaths >= ATTEMPTS:
                return self.desk.lost(candidate, f"its worker process died {deaths} times ({error})")
            waiting = dict(queue)
            queue.clear()
            queue.update({candidate.key: candidate, **waiting})
            return None


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What a worker process does."""

    evaluator: Evaluator

    def __call__(self, job: Job) -> Trial:
        return self.evaluator(*job)


def local_executor(evaluator: Evaluator, cost: Costs, workers: int | None) -> InlineExecutor | LocalExecutor:
    """`workers` processes: one per core or per GPU where it is None, none at all (this process trains) where it is 0."""
    if workers == 0:
        return InlineExecutor(evaluator, cost)
    devices = local_devices(evaluator.device)
    count = workers or len(devices)
    return LocalExecutor(evaluator, cost, tuple(devices[i % len(devices)] for i in range(count)))


def local_devices(device: str) -> tuple[str, ...]:
    """Where this machine's workers train: one entry per core ("cpu") or per GPU ("cuda")."""
    if device == "cpu":
        affinity = getattr(os, "sched_getaffinity", None)  # respects taskset and containers; Linux only
        return ("cpu",) * (len(affinity(0)) if affinity else os.cpu_count() or 1)
    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))


def _present(trial: Trial | None) -> Trial:
    assert trial is not None, "an executor answered before its trial was stored"
    return trial
