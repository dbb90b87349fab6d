"""References get what the winner had: as much of this machine, for as many seconds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgenas.records import FinalTraining

if TYPE_CHECKING:
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool


def pool_as(known: FinalTraining, task: Task, seeds: int, device: str, workers: int | None = None) -> FinalPool:
    """Processes for so many seeds, each of which has as much of a CPU as a run of the `known` training had, unless `workers` say
    otherwise; on GPUs one each."""
    from edgenas.training.final import FinalPool

    pool = FinalPool(task, workers or seeds, device)
    if workers is None and pool.places[0] == "cpu":
        pool.at_most(at_once_as(known, len(pool.places)))
    return pool


def at_once_as(known: FinalTraining, cores: int) -> int:
    """How many trainings share the cores as the runs of this one did. It took several threads a run, or several processes, for
    those that were free; with one thread each all of its runs went at once, on fewer cores perhaps."""
    alone = known.recipe.threads == 1 and not any(run.processes > 1 for run in known.runs)
    return max(cores, len(known.runs)) if alone else cores // known.recipe.threads


def seconds_as(winner: FinalTraining, device: str) -> float:
    """What a run of the winner took on average. Of a run on several GPUs those of all of them, for a reference has one."""
    return sum(run.seconds * (1 if device == "cpu" else run.processes) for run in winner.runs) / len(winner.runs)
