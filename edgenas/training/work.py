"""Work items, and who does them: this process, worker processes (workers.py), a Ray cluster (ray_executor.py).

An item carries all that it needs but the data, so it gives the same result wherever it runs. A crew does items; what they are
for, and what follows from their results, is for those who hand them out (executors.py, final.py, nse.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import torch

from edgenas.errors import StudyError, TrainingError
from edgenas.tasks import Task
from edgenas.training.faults import machine_faults
from edgenas.training.memory import memory_errors

R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
ATTEMPTS = 3  # an item whose process dies is tried this often


@dataclass
class Workplace:
    """Where items run: the data, the device, and what an item has kept there for those that follow it."""

    task: Task
    device: torch.device
    kept: dict[str, Any] = field(default_factory=dict)


class WorkItem(Protocol[R_co]):
    """A piece of work; goes to other processes by pickling, as its result does."""

    @property
    def key(self) -> str:
        """Two items of one key are the same work."""

    def run(self, place: Workplace) -> R_co:
        """Do it. Raises EdgenasError for what the user can mend."""

    # An item that others wait for, to do it together, has `attempts = 1`: they would wait for ever for one that begins anew.


AnyItem = WorkItem[Any]


def run_item(item: WorkItem[R], place: Workplace) -> R:
    """Do it here. Raises EdgenasError for what the user can mend: TrainingError, too, where memory runs out, and MachineError
    where the machine fails; after a DeviceLostError of those this process is of no more use."""
    with machine_faults(place.device), memory_errors():
        return item.run(place)


@dataclass(frozen=True)
class Lost:
    """In place of a result: every process that tried the item has died."""

    reason: str


class Crew(Protocol):
    """Does work items somewhere, several at a time."""

    @property
    def ahead(self) -> bool:
        """Does it take what is only likely to be needed, while it would be idle?"""

    @property
    def running(self) -> Collection[str]:
        """Keys of the items that are being done."""

    def start(self, queue: dict[str, AnyItem], *, needed: bool) -> None:
        """Take items off the front of `queue` for every free place; a cluster, which may grow, takes all that are needed."""

    def finished(self) -> Iterator[tuple[AnyItem, Any]]:
        """Wait a while for items, and yield those that are done: each with its result, or with Lost."""

    def close(self) -> None:
        """End it; what is being done is lost."""


class InlineCrew:
    """This process, one item at a time and nothing ahead."""

    ahead = False

    def __init__(self, task: Task, device: str) -> None:
        self.place = Workplace(task, torch.device(device))
        self.hand: AnyItem | None = None

    @property
    def running(self) -> Collection[str]:
        return () if self.hand is None else (self.hand.key,)

    def start(self, queue: dict[str, AnyItem], *, needed: bool) -> None:
        if needed and queue and self.hand is None:
            self.hand = queue.pop(next(iter(queue)))

    def finished(self) -> Iterator[tuple[AnyItem, Any]]:
        item, self.hand = self.hand, None
        if item is not None:
            yield item, run_item(item, self.place)

    def close(self) -> None:
        """Let go of the data."""
        self.place.kept.clear()


def results_of(
    crew: Crew, items: Sequence[WorkItem[R]], others: Callable[[AnyItem, Any], None], what: str, advice: str
) -> Iterator[tuple[WorkItem[R], R]]:
    """Each item with its result, as they end. `others` gets what the crew was doing besides.

    Raises TrainingError where an item takes its processes with it: `what` cannot be done, and the `advice`.
    """
    queue: dict[str, AnyItem] = {item.key: item for item in items}
    waiting = set(queue)
    while waiting:
        crew.start(queue, needed=True)
        for item, result in crew.finished():
            if item.key not in waiting:
                others(item, result)
                continue
            if isinstance(result, Lost):
                raise TrainingError(f"{what}: {result.reason}: {advice}, and run it again")
            waiting.discard(item.key)
            yield item, result


def refuse_without_gpu(device: str) -> None:
    """Raise StudyError where a study's `device` is a GPU and this machine has none."""
    if device == "cuda" and not torch.cuda.is_available():
        raise StudyError(
            "this study was started on a GPU and there is none here: go on where there is one, or use another --study"
        )


def local_devices(device: str) -> tuple[str, ...]:
    """Where this machine's workers train: one entry per core ("cpu") or per GPU ("cuda")."""
    if device == "cpu":
        affinity = getattr(os, "sched_getaffinity", None)  # respects taskset and containers; Linux only
        return ("cpu",) * (len(affinity(0)) if affinity else os.cpu_count() or 1)
    return tuple(f"cuda:{index}" for index in range(torch.cuda.device_count()))
