"""By which recipe a network is trained at the end: brief where a budget leaves few epochs, gentle from trained weights."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgenas.engine.final import recipe_for, trainings_of
from edgenas.engine.training_asked import TrainingAsked
from edgenas.records import Cost, Trial
from edgenas.store import Store
from edgenas.tasks import Task, TaskSettings, load_task
from tests.plans import plan, studied
from tests.tasks.test_faces import write_people
from tests.training.conftest import candidate


@pytest.fixture(scope="module")
def digits() -> Task:
    """320 images."""
    return load_task(TaskSettings("digits", search_images=320))


def recipe_in_minutes(
    folder: Path, task: Task, epochs: int, patch: pytest.MonkeyPatch, **asked: Any
) -> tuple[str, int, list[str]]:
    """The recipe of a training whose budget leaves so many epochs, its epochs, and what was said."""
    patch.setattr("edgenas.engine.final.epochs_for_budget", lambda *_: epochs)
    pool: Any = SimpleNamespace(task=task, places=("cuda:0",))
    trial, said = Trial(candidate(), "complete", Cost(1, 1, 1, 1.0, 1.0), 0, {"val_accuracy": 50.0}, 1.0), list[str]()
    asked_for, network = TrainingAsked(budget=5.0, **asked), trial.candidate.architecture
    with Store.create(folder, studied(plan())) as store:
        seeds = trainings_of(store, asked_for, trial, network, "cpu", pool, said.append, None)
    (recipe,) = {seed.recipe.fingerprint: seed.recipe for seed in seeds}.values()
    return recipe.name, recipe.epochs, said


@pytest.mark.parametrize(
    ("epochs", "asked", "name"),
    [(14, None, "brief"), (15, None, "final"), (14, "fast", "fast"), (14, "final", "final"), (15, "brief", "brief")],
)
def test_a_budget_that_leaves_fewer_than_15_epochs_takes_brief_and_says_so_unless_a_recipe_was_asked_for(
    epochs: int, asked: str | None, name: str, tmp_path: Path, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = recipe_in_minutes(tmp_path / "study", digits, epochs, monkeypatch, recipe=asked)
    said = ["so few epochs: the recipe is brief, not final"] if (epochs, asked) == (14, None) else []
    assert found == (name, epochs, said)


def test_faces_have_no_brief_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    people = write_people(tmp_path / "people", 12, each=4)
    faces = load_task(TaskSettings(str(people), "faces", image_size=28, settings={"far": 0.1}))
    assert recipe_in_minutes(tmp_path / "study", faces, 14, monkeypatch) == ("final-faces", 14, [])


def test_trained_weights_go_on_at_a_fifth_of_the_learning_rate(digits: Task) -> None:
    plain = recipe_for(TrainingAsked(), "final", digits, "cpu")
    other = recipe_for(TrainingAsked(data="kmnist", from_trained=True), "final", digits, "cpu")
    start = recipe_for(TrainingAsked(), "final", digits, "cpu", gentle=True)
    assert plain.lr == pytest.approx(0.8 * plain.batch_size / 1024)
    assert [other.lr, start.lr] == pytest.approx([0.2 * plain.lr] * 2)
