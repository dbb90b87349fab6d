"""What stands between a method that asks and a crew that works: look up, check limits, hand out, store.

A crew only trains. This process looks up, checks limits and writes: one writer, and results that cannot depend on the crew.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from edgenas.records import Architecture, Ask, Candidate, Cost, Limits, Trial
from edgenas.store import Store
from edgenas.training.evaluator import Evaluation, Evaluator, seed_of
from edgenas.training.start import Start
from edgenas.training.work import AnyItem, Crew, InlineCrew, Lost, WorkItem, local_devices, results_of
from edgenas.training.workers import LocalCrew

R = TypeVar("R")


class Costs(Protocol):
    """What an architecture costs, and the limits on it (hardware/cost.py's CostModel)."""

    limits: Limits

    def __call__(self, architecture: Architecture) -> Cost: ...

    def prepare(self, architectures: Iterable[Architecture]) -> None:
        """These will be asked for soon: boards may measure them ahead."""


class CrewExecutor:
    """Answers a method's questions (study.Executor), and does its other work, with a crew."""

    def __init__(self, crew: Crew, cost: Costs, study_seed: int, start: Start | None = None) -> None:
        """`start`: what every network begins with."""
        self.crew, self.cost, self.study_seed, self.start = crew, cost, study_seed, start

    def answer(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        """See study.Executor. A crew that has nothing needed to do takes what is likely."""
        if self.crew.ahead:
            self.cost.prepare(c.architecture for c in (*ask.needed, *ask.likely) if store.find(c.key) is None)
        queue = self._missing(ask.needed, store)
        waiting = set(queue) | (set(self.crew.running) & {candidate.key for candidate in ask.needed})
        self.crew.start(queue, needed=True)  # before boards are asked about what is only likely
        likely = self._missing(ask.likely, store) if self.crew.ahead else {}
        while waiting:
            self._start(queue, likely)
            for item, result in self.crew.finished():
                self._keep(item, result, store)
                waiting.discard(item.key)
        self._start(queue, likely)
        return tuple(_present(self._known(candidate, store)) for candidate in ask.needed)

    def results(self, items: Sequence[WorkItem[R]], store: Store) -> Iterator[tuple[WorkItem[R], R]]:
        """Each item with its result, as they end. Raises TrainingError where an item takes its processes with it.

        `store` takes the trials that the crew was training ahead meanwhile.
        """
        return results_of(
            self.crew,
            items,
            lambda item, result: self._keep(item, result, store),
            "the search cannot go on",
            "free memory",
        )

    def close(self) -> None:
        """End the crew; what it was training is lost."""
        self.crew.close()

    def __enter__(self) -> CrewExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _known(self, candidate: Candidate, store: Store) -> Trial | None:
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

    def _missing(self, candidates: Iterable[Candidate], store: Store) -> dict[str, AnyItem]:
        """Those that nobody has begun to train, by key, in order."""
        missing = {c.key: c for c in candidates if self._known(c, store) is None and c.key not in self.crew.running}
        return {
            key: Evaluation(c, self.cost(c.architecture), self.study_seed, self.start) for key, c in missing.items()
        }

    def _start(self, queue: dict[str, AnyItem], likely: dict[str, AnyItem]) -> None:
        self.crew.start(queue, needed=True)
        if not queue:
            self.crew.start(likely, needed=False)

    def _keep(self, item: AnyItem, result: object, store: Store) -> None:
        """Store a trial: the crew's, or the failed one of a candidate that was lost with its processes."""
        if isinstance(item, Evaluation):
            if isinstance(result, Lost):
                seed = seed_of(self.study_seed, item.candidate)
                result = Trial(item.candidate, "failed", item.cost, seed, error=result.reason)
            assert isinstance(result, Trial)
            store.add(result)


def inline_executor(evaluator: Evaluator, cost: Costs) -> CrewExecutor:
    """Everything in this process, nothing ahead of time."""
    return CrewExecutor(InlineCrew(evaluator.task, evaluator.device), cost, evaluator.study_seed, evaluator.start)


def local_executor(evaluator: Evaluator, cost: Costs, workers: int | None) -> CrewExecutor:
    """`workers` processes: one per core or per GPU where it is None, none at all (this process trains) where it is 0."""
    if workers == 0:
        return inline_executor(evaluator, cost)
    devices = local_devices(evaluator.device)
    count = workers or len(devices)
    crew = LocalCrew(evaluator.task, tuple(devices[i % len(devices)] for i in range(count)))
    return CrewExecutor(crew, cost, evaluator.study_seed, evaluator.start)


def _present(trial: Trial | None) -> Trial:
    assert trial is not None, "an executor answered before its trial was stored"
    return trial
