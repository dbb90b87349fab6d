"""Recipe files become absolute recipes, and schedules end at zero."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from edgenas.errors import EdgenasError
from edgenas.records import Recipe
from edgenas.tasks import Task
from edgenas.training.recipes import fitting_batch, recipe_from_name, recipe_names
from edgenas.training.schedule import learning_rates


def test_the_papers_recipe_is_the_published_one(digits: Task) -> None:
    recipe = recipe_from_name("paper", digits, "cpu", epochs=10)
    assert recipe == Recipe(
        "paper", 10, 64, 0.025, momentum=0.9, weight_decay=3e-4, schedule="cosine-epoch", clip_norm=5.0,
        crop_padding=1, cutout=4, flip=False,
    )  # fmt: skip


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_that_comes_along_is_whole(name: str, device: str, digits: Task) -> None:
    recipe = recipe_from_name(name, digits, device)
    assert recipe.lr > 0
    assert (recipe.loss == "cross-entropy") == (not name.endswith("-faces"))
    assert recipe.precision == ("bf16" if device == "cuda" and not name.startswith("paper") else "fp32")


def test_batches_shrink_with_the_data_and_the_rate_follows() -> None:
    assert [fitting_batch(1024, images) for images in (54_000, 20_000, 4_096, 320)] == [1024, 512, 128, 32]


def test_a_recipe_of_ones_own(tmp_path: Path, digits: Task) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\nbatch_size = 16\nlr = 0.01\nflip = true\n")
    recipe = recipe_from_name(str(path), digits, "cpu")
    assert (recipe.name, recipe.epochs, recipe.batch_size, recipe.flip) == ("mine", 3, 16, True)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("epochs = 3\nbatch_size = 16\nlr = 0.01\nspeed = 2\n", "unknown field `speed`"),
        ("epochs = 3\nbatch_size = 16\n", "missing required field `lr`"),
        ("epochs = 0\nbatch_size = 16\nlr = 0.1\n", "epochs = 0: out of range"),
        ("epochs = \n", "is not valid TOML"),
    ],
)
def test_mistakes_in_a_recipe_are_one_line(tmp_path: Path, digits: Task, text: str, complaint: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(EdgenasError, match=complaint):
        recipe_from_name(str(path), digits, "cpu")


def test_an_unknown_recipe_names_the_known_ones(digits: Task) -> None:
    with pytest.raises(EdgenasError, match=r"'fats' is unknown: brief, .*fast, .*final, .*paper.* or a FILE"):
        recipe_from_name("fats", digits, "cpu")


def test_the_papers_cosine_is_stepped_once_an_epoch() -> None:
    rates = learning_rates(Recipe("r", 4, 8, 0.025, schedule="cosine-epoch"), steps_per_epoch=2)
    expected = [0.025 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in (0, 0, 1, 1, 2, 2, 3, 3)]
    assert rates == pytest.approx(expected)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_short_runs_warm_up_and_anneal_to_zero(schedule: str) -> None:
    recipe = Recipe("r", 4, 8, 1.0, warmup_epochs=1.0)
    rates = learning_rates(msgspec.structs.replace(recipe, schedule=schedule), steps_per_epoch=10)
    assert len(rates) == 40
    assert max(rates) == rates[8] == 1.0  # the warm-up takes a fifth at most: 8 of 40 steps
    assert rates[:8] == pytest.approx([step / 9 for step in range(1, 9)])
    assert 0 < rates[-1] < 0.05
