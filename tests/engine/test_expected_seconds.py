"""About how long a final training takes, before it does: by what the search took for the same network."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.engine.final import expected_seconds
from edgenas.engine.training_asked import TrainingAsked
from edgenas.records import Candidate, Cost, Recipe, Trial
from edgenas.store import Store
from edgenas.training.final import FinalPool
from edgenas.training.work import local_devices
from tests.plans import plan, studied
from tests.trained_digits import digits, small_chain

IMAGES = 1295
CORES = len(local_devices("cpu"))


def seconds(
    folder: Path, asked: TrainingAsked, searched: int | None = None, missing: int | None = None, **changes: Any
) -> float | None:
    """Of a final training of 60 epochs; the search trained the network for 4 of them, in 8 s."""
    missing = asked.seeds if missing is None else missing
    task = digits()
    assert len(task.train) == IMAGES
    architecture = small_chain(task)
    recipe = Recipe("r", 4, 64, 0.1)
    trial = Trial(Candidate(architecture, recipe, "ops"), "complete", Cost(1, 1, 1, 1.0, 1.0, {}), 0, {}, 8.0)
    known = plan()
    record = plan(task=msgspec.structs.replace(known.task, search_images=searched))
    with Store.create(folder / "s", studied(record)) as store, FinalPool(task, asked.seeds, "cpu") as pool:
        final = msgspec.structs.replace(recipe, epochs=60)
        return expected_seconds(store, asked, missing, msgspec.structs.replace(trial, **changes), final, pool)


def test_an_epoch_of_the_search_counts_for_as_many_images_as_it_had(tmp_path: Path) -> None:
    one = TrainingAsked(seeds=1)
    assert seconds(tmp_path / "all", one) == pytest.approx(8.0 / 4 * 60)
    assert seconds(tmp_path / "half", one, searched=IMAGES // 2) == pytest.approx(8.0 / 4 * 60 * IMAGES / 647)
    assert seconds(tmp_path / "more", one, searched=5000) == pytest.approx(8.0 / 4 * 60)


def test_seeds_wait_for_a_core_each(tmp_path: Path) -> None:
    at_once = min(3, CORES)  # a worker beyond the cores makes the others slower
    assert seconds(tmp_path, TrainingAsked(seeds=3)) == pytest.approx(8.0 / 4 * 60 * 3 / at_once)


def test_runs_that_are_kept_take_no_time(tmp_path: Path) -> None:
    assert seconds(tmp_path / "one", TrainingAsked(seeds=3), missing=1) == pytest.approx(8.0 / 4 * 60)
    assert seconds(tmp_path / "none", TrainingAsked(seeds=3), missing=0) == 0
    most = 2 * CORES  # at once
    asked = TrainingAsked(seeds=most + 1, budget=2.0, started=time.monotonic())
    assert seconds(tmp_path / "half", asked, missing=most) == pytest.approx(50, abs=10)  # of two waves one is left
    assert seconds(tmp_path / "whole", asked, missing=most + 1) == pytest.approx(100, abs=20)


def test_nothing_is_said_where_the_search_tells_nothing(tmp_path: Path) -> None:
    assert seconds(tmp_path / "teacher", TrainingAsked(seeds=1, teacher="largest")) is None
    assert seconds(tmp_path / "untrained", TrainingAsked(seeds=1), seconds=0.0) is None


def test_a_budget_is_what_is_left_of_it(tmp_path: Path) -> None:
    asked = TrainingAsked(seeds=1, budget=2.0, started=time.monotonic() - 30)
    assert seconds(tmp_path, asked) == pytest.approx(70, abs=20)  # and what this takes itself
