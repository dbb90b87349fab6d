"""What a reference gets of a machine, and for how long, beside a winner that was trained in one way or another."""

from __future__ import annotations

import pytest

from edgenas.engine.alike import at_once_as, seconds_as
from edgenas.records import FinalRun, FinalTraining, Recipe
from tests.trained_digits import digits
from tests.training.conftest import tiny


def trained(threads: int, *processes: int, seconds: float = 100.0) -> FinalTraining:
    """A run in so many processes each; the first took so many seconds, the next twice as many, ..."""
    task, recipe = digits(), Recipe("final", 2, 64, 0.1, threads=threads)
    runs = tuple(
        FinalRun(seed, "weights/w", {}, {}, 1, {}, {}, seconds * (seed + 1), processes=count)
        for seed, count in enumerate(processes)
    )
    return FinalTraining(1, tiny(), recipe, "digits", "accuracy", task.classes, task.preprocessing, 1, runs, 1.0)


@pytest.mark.parametrize(
    ("threads", "processes", "cores", "at_once"),
    [
        (8, (1,), 8, 1),  # --seeds 1: all cores
        (2, (1, 1, 1), 8, 4),  # --seeds 3: two threads each, and room for a fourth
        (1, (1, 1, 1), 2, 3),  # --seeds 3: all of them at once, two thirds of a core each
        (1, (1,), 4, 4),  # a core each
        (2, (2, 2, 2), 2, 1),  # --processes 2: all cores for each seed
        (1, (2, 2), 1, 1),  # two processes on one core
        (8, (1,), 2, 0),  # trained on a larger machine: one in any case, see FinalPool.at_most
    ],
)
def test_as_many_trainings_share_the_cores_as_the_winners_did(
    threads: int, processes: tuple[int, ...], cores: int, at_once: int
) -> None:
    assert at_once_as(trained(threads, *processes), cores) == at_once


@pytest.mark.parametrize(
    ("processes", "device", "seconds"),
    [
        ((1, 1), "cuda", 150.0),
        ((4, 4), "cuda", 600.0),  # of four GPUs
        ((1, 4), "cuda", 450.0),  # (100 + 4 * 200) / 2
        ((4, 4), "cpu", 150.0),  # the processes had the cores that a reference has for itself
    ],
)
def test_the_seconds_of_a_run_are_those_of_every_gpu_that_it_had(
    processes: tuple[int, ...], device: str, seconds: float
) -> None:
    assert seconds_as(trained(1, *processes), device) == seconds
