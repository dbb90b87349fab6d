"""With how many threads the seeds of a final training are trained: those of what is there of it, else those that are free."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest

from edgenas.engine.threads import with_threads_begun
from edgenas.identity import digest
from edgenas.records import FinalRun, FinalTraining, Recipe
from edgenas.store import Store
from edgenas.training.final import FinalPool, SeedTraining
from tests.plans import plan, studied
from tests.trained_digits import digits
from tests.training.conftest import tiny

FREE = Recipe("final", 2, 64, 0.1, threads=4)


def seeds(folder: Path, recipe: Recipe, count: int = 3) -> list[SeedTraining]:
    path = folder / "weights"
    return [SeedTraining(tiny(), recipe, seed, path / f"{digest(recipe)}-{seed}.safetensors") for seed in range(count)]


@pytest.mark.parametrize(
    ("finished", "begun", "least", "wanted"),
    [
        ({}, {}, 1, 4),  # nothing is there
        ({2: 1}, {}, 1, 2),
        ({8: 1}, {}, 1, 8),  # on a machine of more cores
        ({2: 1}, {}, 3, 4),  # the recipe's file asks for three at least
        ({3: 1}, {}, 3, 3),
        ({2: 1, 1: 3}, {}, 1, 1),  # the most that is finished
        ({}, {2: 1}, 1, 2),  # a checkpoint goes on
        ({1: 1}, {2: 3}, 1, 1),  # what is finished before what is begun
        ({2: 1, 4: 1}, {}, 1, 4),  # no reason to leave the free ones
    ],
)
def test_the_threads_are_those_that_most_is_there_with(
    finished: dict[int, int], begun: dict[int, int], least: int, wanted: int, tmp_path: Path
) -> None:
    said: list[str] = []
    with Store.create(tmp_path, studied(plan())) as store:

        def chosen(free: int, told: list[str]) -> Recipe:
            recipe = msgspec.structs.replace(FREE, threads=free)
            return with_threads_begun(store, recipe, least, lambda one: seeds(tmp_path, one), told.append)

        for count in {*finished, *begun}:  # as the commands before have done
            with_threads_begun(
                store, msgspec.structs.replace(FREE, threads=count), count, lambda one: seeds(tmp_path, one), print
            )
        (tmp_path / "weights").mkdir()
        for count, some in finished.items():
            for item in seeds(tmp_path, msgspec.structs.replace(FREE, threads=count), some):
                store.put("final-run", item.key, FinalRun(item.seed, "weights/w", {}, {}, 1, {}, {}, 1.0))
        for count, some in begun.items():
            for item in seeds(tmp_path, msgspec.structs.replace(FREE, threads=count), some):
                item.checkpoint.write_bytes(b"")
        assert chosen(4, said) == msgspec.structs.replace(FREE, threads=wanted)
    assert bool(said) == (wanted != 4)


def test_a_study_from_before_the_threads_were_noted_has_them_in_its_final_training(tmp_path: Path) -> None:
    before = msgspec.structs.replace(FREE, threads=2)
    (item,) = seeds(tmp_path, before, 1)
    run = FinalRun(item.seed, "weights/w", {}, {}, 1, {}, {}, 1.0)
    task = digits()
    final = FinalTraining(1, tiny(), before, "digits", "accuracy", task.classes, task.preprocessing, 1, (run,), 1.0)

    def some(one: Recipe) -> Sequence[SeedTraining]:
        return seeds(tmp_path, one)

    with Store.create(tmp_path, studied(plan())) as store:
        store.put("final-run", item.key, run)
        store.put("final", "key", final)
        assert with_threads_begun(store, FREE, 1, some, print).threads == 2
        longer = msgspec.structs.replace(FREE, epochs=3)  # another training
        assert with_threads_begun(store, longer, 1, some, print).threads == 4


def test_only_as_many_run_at_once_as_the_cores_are_enough_for() -> None:
    with FinalPool(digits(), 2, "cpu") as pool:
        for most, left in ((5, 2), (1, 1), (0, 1)):
            pool.at_most(most)
            assert pool.size == left
