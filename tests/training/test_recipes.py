"""Recipe files become absolute recipes, and schedules end at zero."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path

import msgspec
import pytest
import torch

from edgenas.errors import EdgenasError, TrainingError
from edgenas.records import Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.recipes import fitting_batch, recipe_from_name, recipe_names
from edgenas.training.schedule import learning_rates
from tests.angle import angle


def test_the_papers_recipe_is_the_published_one(digits: Task) -> None:
    recipe = recipe_from_name("paper", digits, "cpu", epochs=10)
    assert recipe == Recipe(
        "paper", 10, 64, 0.025, momentum=0.9, weight_decay=3e-4, schedule="cosine-epoch", clip_norm=5.0,
        crop_padding=1, cutout=4, flip=False, flips="independent", partial_batch=True,
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


def test_batches_of_large_images_are_smaller_on_a_cpu(digits: Task) -> None:
    """Up to 128 px nothing changes; at 224 px (12 times the pixels of 64) a process stays near one GB."""
    most = 128 * 128 * 128
    assert [fitting_batch(128, 50_000, side * side, most) for side in (32, 128, 129, 160, 224, 512)] == [
        128,
        128,
        64,
        64,
        32,
        32,
    ]
    assert fitting_batch(1024, 50_000, 224 * 224) == 1024
    large = msgspec.structs.replace(digits.preprocessing, size=224)
    task = dataclasses.replace(digits, preprocessing=large)  # type: ignore[type-var]
    here, there = (recipe_from_name("fast", task, device, images=50_000) for device in ("cpu", "cuda"))
    assert (here.batch_size, there.batch_size) == (32, 1024)
    assert here.lr == pytest.approx(0.8 * 32 / 1024)
    assert recipe_from_name("paper", task, "cpu").batch_size == 64  # a paper's batch stays what it is


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


def cosine_epoch(epochs: int, steps: int = 1, lr: float = 0.025) -> list[float]:
    return learning_rates(Recipe("r", epochs, 8, lr, schedule="cosine-epoch"), steps)


def test_the_papers_cosine_is_stepped_before_every_epoch() -> None:
    by_hand = [0.02439, 0.02261, 0.01985, 0.01636, 0.01250, 0.00864, 0.00515, 0.00239, 0.00061, 0.0]
    assert cosine_epoch(10) == pytest.approx(by_hand, abs=5e-6)
    assert cosine_epoch(2, steps=3) == pytest.approx([0.0125] * 3 + [0.0] * 3, abs=1e-18)


@pytest.mark.parametrize("epochs", [2, 7, 10, 600])
def test_the_papers_cosine_is_torchs_scheduler_as_the_authors_step_it(epochs: int) -> None:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.025)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, float(epochs))
    rates, printed = [], []
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
        rates.append(scheduler.get_last_lr()[0])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            printed.append(f"{scheduler.get_lr()[0]:e}")
    assert cosine_epoch(epochs) == pytest.approx(rates, abs=1e-12)
    if epochs == 10:  # what the authors' logs show: get_lr(), a step ahead of the rate that is trained with
        assert printed[:2] == ["2.379138e-02", "2.096648e-02"]


def test_one_epoch_at_rate_zero_is_refused() -> None:
    with pytest.raises(TrainingError, match="give it two epochs or more"):
        cosine_epoch(1)


def test_only_the_papers_recipe_keeps_partial_batches_and_tosses_a_coin_for_every_mirror_image(digits: Task) -> None:
    different = {name for name in recipe_names() if recipe_from_name(name, digits, "cpu").partial_batch}
    assert different == {"paper"}
    assert different == {
        name for name in recipe_names() if recipe_from_name(name, digits, "cpu").flips == "independent"
    }


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_short_runs_warm_up_and_anneal_to_zero(schedule: str) -> None:
    recipe = Recipe("r", 4, 8, 1.0, warmup_epochs=1.0)
    rates = learning_rates(msgspec.structs.replace(recipe, schedule=schedule), steps_per_epoch=10)
    assert len(rates) == 40
    assert max(rates) == rates[8] == 1.0  # the warm-up takes a fifth at most: 8 of 40 steps
    assert rates[:8] == pytest.approx([step / 9 for step in range(1, 9)])
    assert 0 < rates[-1] < 0.05


def test_classes_are_balanced_as_the_study_or_else_the_recipe_says(tmp_path: Path, digits: Task) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 3\nbatch_size = 16\nlr = 0.01\nbalance = "weights"\n')
    asked = load_task(TaskSettings("digits", search_images=320, balance="sampling"))
    assert recipe_from_name("fast", digits, "cpu").balance == "none"
    assert recipe_from_name("fast", asked, "cpu").balance == "sampling"
    assert recipe_from_name("final", asked, "cpu").balance == "sampling"  # the final training's too
    assert recipe_from_name(str(path), asked, "cpu").balance == "weights"
    assert recipe_from_name("fast", digits, "cpu").fingerprint != recipe_from_name("fast", asked, "cpu").fingerprint


def test_a_recipe_that_balances_is_refused_for_a_task_without_classes(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('epochs = 3\nbatch_size = 16\nlr = 0.01\nbalance = "sampling"\n')
    with pytest.raises(EdgenasError, match="recipe mine: balance = 'sampling' is for classification: leave it out"):
        recipe_from_name(str(path), angle(), "cpu")


@pytest.mark.parametrize("size", [(64, 320), (320, 64)])
def test_shares_are_of_the_shorter_side_and_the_batch_follows_the_pixels(digits: Task, size: tuple[int, int]) -> None:
    """`fast` on 64 x 320: shifts of an eighth of 64, a square of a quarter of 64; 128 images of 20,480 px are too many."""
    strips = msgspec.structs.replace(digits.preprocessing, size=size)
    task = dataclasses.replace(digits, preprocessing=strips)  # type: ignore[type-var]
    recipe = recipe_from_name("fast", task, "cpu", images=50_000)
    assert (recipe.crop_padding, recipe.cutout, recipe.batch_size) == (8, 16, 64)


def test_only_square_images_are_turned(digits: Task, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("epochs = 3\nbatch_size = 16\nlr = 0.01\nturns = true\n")
    assert recipe_from_name(str(path), digits, "cpu").turns
    strips = msgspec.structs.replace(digits.preprocessing, size=(64, 320))
    task = dataclasses.replace(digits, preprocessing=strips)  # type: ignore[type-var]
    with pytest.raises(EdgenasError, match="turns = true is for square images, and these are 64x320: leave it out"):
        recipe_from_name(str(path), task, "cpu")
    path.write_text("epochs = 3\nbatch_size = 16\nlr = 0.01\n")
    assert not recipe_from_name(str(path), task, "cpu").turns
