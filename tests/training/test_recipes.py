"""Recipe files become absolute recipes, and schedules end at zero."""

from __future__ import annotations

import dataclasses
import re
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
from tests.tasks.test_faces import write_people


def test_the_papers_recipe_is_the_published_one(digits: Task) -> None:
    recipe = recipe_from_name("paper", digits, "cpu", epochs=10)
    assert recipe == Recipe(
        "paper", 10, 64, 0.025, momentum=0.9, weight_decay=3e-4, schedule="cosine-epoch", clip_norm=5.0,
        crop_padding=1, cutout=4, flip=False, flips="independent", partial_batch=True,
    )  # fmt: skip


FOR_CELLS_OR_COLOUR = {"paper-darts", "paper-darts-imagenet", "paper-nse-imagenet"}


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
    for side, batch in ((128, 128), (136, 64)):
        sized = msgspec.structs.replace(digits.preprocessing, size=side)
        at_side = dataclasses.replace(digits, preprocessing=sized)  # type: ignore[type-var]
        assert recipe_from_name("fast", at_side, "cpu", images=50_000).batch_size == batch


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


def test_only_the_papers_recipes_keep_partial_batches_and_toss_a_coin_for_every_mirror_image(digits: Task) -> None:
    recipes = {
        name: recipe_from_name(name, digits, "cpu") for name in recipe_names() if name not in FOR_CELLS_OR_COLOUR
    }
    different = {name for name, recipe in recipes.items() if recipe.partial_batch}
    assert different == {"paper", "paper-final", "paper-final-emnist"}
    assert different == {name for name, recipe in recipes.items() if recipe.flips == "independent"}


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


def coloured(task: Task, channels: int, side: int = 32) -> Task:
    """The same task for images of another shape."""
    made = msgspec.structs.replace(
        task.preprocessing, size=side, padding=0, channels=channels, mean=(0.5,) * channels, std=(0.2,) * channels
    )
    return dataclasses.replace(task, preprocessing=made)  # type: ignore[type-var]


PAPER = {
    "batch_size": 64,
    "lr": 0.025,
    "momentum": 0.9,
    "weight_decay": 3e-4,
    "clip_norm": 5.0,
    "crop_padding": 4,
    "cutout": 16,
}
SGD = {
    "momentum": 0.9,
    "flips": "independent",
    "precision": "fp32",
    "label_smoothing": 0.1,
    "crop_padding": 0,
    "cutout": 0,
}


@pytest.mark.parametrize(
    ("name", "published"),
    [
        ("paper-final", {**PAPER, "epochs": 600, "schedule": "cosine-epoch", "drop_path": 0.0, "auxiliary": 0.0}),
        ("paper-final-emnist", {**PAPER, "epochs": 50, "schedule": "cosine-epoch"}),
        (
            "paper-darts",
            {**PAPER, "epochs": 600, "batch_size": 96, "schedule": "cosine-by-epoch", "drop_path": 0.2, "auxiliary": 0.4},
        ),
        (
            "paper-darts-imagenet",
            {
                **SGD, "epochs": 250, "batch_size": 128, "lr": 0.1, "weight_decay": 3e-5, "schedule": "exponential-by-epoch",
                "gamma": 0.97, "clip_norm": 5.0, "random_resized_crop": (0.08, 1.0), "color": (0.4, 0.4, 0.4, 0.2),
                "auxiliary": 0.4, "drop_path": 0.0, "decay_norm_and_bias": True, "flip": True,
            },
        ),
        (
            "paper-nse-imagenet",
            {
                **SGD, "epochs": 350, "batch_size": 1024, "lr": 0.4, "nesterov": True, "weight_decay": 4e-5,
                "decay_norm_and_bias": False, "schedule": "cosine", "warmup_epochs": 2.0, "warmup_start": 0.25,
                "random_resized_crop": (0.08, 1.0), "crop_ratio": (3 / 4, 4 / 3), "color": (0.2, 0.2, 0.2, 0.1),
                "drop_path": 0.2, "auxiliary": 0.0, "flip": True,
            },
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_the_authors_recipes_hold_their_numbers(
    name: str, published: dict[str, object], device: str, digits: Task
) -> None:
    recipe = recipe_from_name(name, coloured(digits, 3), device)
    assert recipe.lr == pytest.approx(published.get("lr", 0.025))
    wanted = {key: value for key, value in published.items() if key != "lr"}
    assert {key: getattr(recipe, key) for key in wanted} == wanted


@pytest.mark.parametrize(
    ("name", "epochs", "warmup", "more"),
    [
        ("fast", 10, 0.5, {"crop_padding": 4, "cutout": 8}),
        ("brief", 8, 0.5, {"ema": 0.998}),
        ("final", 60, 1.0, {"crop_padding": 4, "cutout": 16, "label_smoothing": 0.05, "ema": 0.998}),
    ],
)
@pytest.mark.parametrize(
    ("device", "batch", "lr", "precision"), [("cpu", 128, 0.1, "fp32"), ("cuda", 1024, 0.8, "bf16")]
)
def test_our_own_recipes_are_those_of_the_page(
    name: str, epochs: int, warmup: float, more: dict[str, float], device: str, batch: int, lr: float,
    precision: str, digits: Task,
) -> None:  # fmt: skip
    """docs/training.md, for 50,000 images of 32 px."""
    wanted = Recipe(
        name, epochs, batch, lr, momentum=0.9, nesterov=True, weight_decay=5e-4, decay_norm_and_bias=False,
        schedule="linear", warmup_epochs=warmup, clip_norm=5.0, flip=digits.flip, precision=precision,  # type: ignore[arg-type]
    )  # fmt: skip
    found = recipe_from_name(name, coloured(digits, 3), device, images=50_000)
    assert found == msgspec.structs.replace(wanted, **more)
    flipped = dataclasses.replace(coloured(digits, 3), flip=True)  # type: ignore[type-var]
    assert recipe_from_name(name, flipped, device).flip


def torchs(recipe: Recipe, steps: int) -> list[float]:
    """The rates of every step as torch's own schedulers give them, stepped where the authors step theirs."""
    schedulers = torch.optim.lr_scheduler
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=recipe.lr)
    total = recipe.epochs * steps
    warmup = min(round(recipe.warmup_epochs * steps), total // 5)
    by_epoch = "epoch" in recipe.schedule
    if recipe.schedule in ("cosine-epoch", "cosine-by-epoch"):
        scheduler: torch.optim.lr_scheduler.LRScheduler = schedulers.CosineAnnealingLR(optimizer, recipe.epochs)
    elif recipe.schedule == "exponential-by-epoch":
        scheduler = schedulers.StepLR(optimizer, 1, recipe.gamma)
    else:
        start = recipe.warmup_start or 1 / (warmup + 1)
        down = (
            schedulers.CosineAnnealingLR(optimizer, total - warmup)
            if recipe.schedule == "cosine"
            else schedulers.LinearLR(optimizer, 1.0, 0.0, total - warmup)
        )
        scheduler = down
        if warmup:
            up = schedulers.LinearLR(optimizer, start, 1.0, warmup)
            scheduler = schedulers.SequentialLR(optimizer, [up, down], [warmup])
    rates = []
    for _ in range(recipe.epochs):
        if recipe.schedule == "cosine-epoch":
            optimizer.step()
            scheduler.step()
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            if not by_epoch:
                scheduler.step()
        if by_epoch and recipe.schedule != "cosine-epoch":
            scheduler.step()
    return rates


@pytest.mark.filterwarnings(
    "ignore:.*epoch parameter in `scheduler.step.*:UserWarning"
)  # torch's own SequentialLR does it
@pytest.mark.parametrize("name", recipe_names())
def test_the_rates_of_every_recipe_are_those_of_torchs_schedulers(name: str, digits: Task) -> None:
    recipe = recipe_from_name(name, coloured(digits, 3), "cuda")
    found, wanted = learning_rates(recipe, 5), torchs(recipe, 5)
    assert len(found) == 5 * recipe.epochs
    assert found == pytest.approx(wanted, abs=1e-9 * recipe.lr)


@pytest.mark.parametrize(
    ("schedule", "wanted"),
    [("cosine-by-epoch", [1.0, 0.75, 0.25]), ("exponential-by-epoch", [1.0, 0.9, 0.81])],
)
def test_schedules_by_epoch_begin_at_the_whole_rate(schedule: str, wanted: list[float]) -> None:
    recipe = Recipe("r", 3, 8, 2.0, schedule=schedule, gamma=0.9)  # type: ignore[arg-type]
    assert learning_rates(recipe, 2) == pytest.approx([2 * rate for rate in wanted for _ in range(2)])


def test_a_warm_up_begins_where_the_recipe_says() -> None:
    """NSE's: a quarter of the rate at the first step, and of the rest a step's share more each step."""
    recipe = Recipe("r", 10, 8, 0.4, warmup_epochs=2.0, warmup_start=0.25)
    assert learning_rates(recipe, 2)[:5] == pytest.approx([0.1, 0.175, 0.25, 0.325, 0.4])
    assert learning_rates(msgspec.structs.replace(recipe, warmup_start=0.0), 2)[:5] == pytest.approx(
        [0.08, 0.16, 0.24, 0.32, 0.4]
    )


LEAST = "epochs = 3\nbatch_size = 16\nlr = 0.01\n"


def own(tmp_path: Path, task: Task, text: str) -> Recipe:
    path = tmp_path / "mine.toml"
    path.write_text(LEAST + text)
    return recipe_from_name(str(path), task, "cpu")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("random_resized_crop = [0.0, 1.0]", "random_resized_crop = [0.0, 1.0]: two numbers from 0.01 to 1"),
        ("random_resized_crop = [0.5, 0.4]", "two numbers from 0.01 to 1, the smaller first"),
        ("random_resized_crop = [0.5, 1.1]", "two numbers from 0.01 to 1, the smaller first"),
        ("random_resized_crop = [0.5, nan]", "two numbers from 0.01 to 1, the smaller first"),
        ("random_resized_crop = [0.5]", "of length 2, got 1 - at `$.random_resized_crop`"),
        ("crop_ratio = [0.05, 1.0]", "crop_ratio = [0.05, 1.0]: two numbers from 0.1 to 10"),
        ("crop_ratio = [1.0, 10.1]", "crop_ratio = [1.0, 10.1]: two numbers from 0.1 to 10"),
        ("crop = 0.1\nrandom_resized_crop = [0.5, 1.0]", "crop and random_resized_crop both cut the image"),
        ("color = [1.1, 0, 0, 0]", "brightness, contrast and saturation from 0 to 1, hue from 0 to 0.5"),
        ("color = [0, 0, 0, 0.51]", "hue from 0 to 0.5"),
        ("color = [-0.1, 0, 0, 0]", "from 0 to 1"),
        ("mixup = -0.1", "mixup = -0.1: out of range: it must be from 0 to 100"),
        ("cutmix = 101", "cutmix = 101.0: out of range"),
        ("drop_path = 1.0", "drop_path = 1.0: out of range: it must be from 0 and below 1"),
        ("auxiliary = -1", "auxiliary = -1.0: out of range"),
        ("gamma = 0.0", "gamma = 0.0: out of range: it must be above 0 to 1"),
        ("warmup_start = 1.1", "warmup_start = 1.1: out of range"),
        ("trivial_augment = 1", "Expected `bool`"),
        ('schedule = "cosine-epochs"', "Invalid enum value"),
    ],
)
def test_numbers_that_no_photograph_can_be_changed_by_are_one_line(
    text: str, complaint: str, tmp_path: Path, digits: Task
) -> None:
    with pytest.raises(EdgenasError, match=re.escape(complaint)) as caught:
        own(tmp_path, coloured(digits, 3), text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "random_resized_crop = [0.01, 1.0]", "random_resized_crop = [0.5, 0.5]\ncrop_ratio = [0.1, 10.0]",
        "color = [1, 1, 1, 0.5]", "mixup = 100", "drop_path = 0.99", "auxiliary = 100", "gamma = 1", "warmup_start = 1",
    ],
)  # fmt: skip
def test_the_ends_of_the_ranges_are_within(text: str, tmp_path: Path, digits: Task) -> None:
    assert own(tmp_path, coloured(digits, 3), text).name == "mine"


@pytest.mark.parametrize(
    ("key", "within", "beyond"),
    [
        ("epochs", (1, 100_000), (0, 100_001)),
        ("batch_size", (1, 1_048_576), (0, 1_048_577)),
        ("threads", (1, 4096), (0, 4097)),
        ("lr", (1e-9, 1000), (0, 1001)),
        ("momentum", (0, 0.999), (-0.1, 1)),
        ("weight_decay", (0, 10), (-0.1, 10.1)),
        ("warmup_epochs", (0, 100_000), (-0.1, 100_001)),
        ("clip_norm", (1e-9, 1_000_000), (0, 1_000_001)),
        ("label_smoothing", (0, 0.99), (-0.1, 1)),
        ("crop", (0, 0.99), (-0.1, 1)),
        ("cutout", (0, 0.99), (-0.1, 1)),
        ("ema", (0.001, 0.999), (0, 1)),
        ("teacher_weight", (0.001, 1), (0, 1.1)),
        ("temperature", (0.001, 100), (0, 101)),
    ],
)
def test_the_numbers_of_every_training_have_ends_too(
    key: str, within: tuple[float, ...], beyond: tuple[float, ...], tmp_path: Path, digits: Task
) -> None:
    path = tmp_path / "mine.toml"

    def asked(value: float) -> Recipe:
        numbers = {"epochs": 3, "batch_size": 16, "lr": 0.01, key: value}
        path.write_text("\n".join(f"{name} = {number}" for name, number in numbers.items()))
        return recipe_from_name(str(path), digits, "cpu")

    for value in within:
        assert asked(value).name == "mine"
    for value in beyond:
        with pytest.raises(EdgenasError, match=f"^recipe mine: {key} = .*: out of range: it must be"):
            asked(value)


def test_grey_images_have_no_saturation_and_hue_and_the_recipe_of_their_trials_says_so(
    tmp_path: Path, digits: Task
) -> None:
    text = "color = [0.4, 0.3, 0.2, 0.1]"
    assert own(tmp_path, coloured(digits, 3), text).color == (0.4, 0.3, 0.2, 0.1)
    assert own(tmp_path, digits, text).color == (0.4, 0.3, 0.0, 0.0)
    with pytest.raises(EdgenasError, match="changes saturation and hue alone, and these images are grey: leave it out"):
        own(tmp_path, digits, "color = [0, 0, 0.2, 0.1]")
    assert own(tmp_path, coloured(digits, 3), "color = [0, 0, 0.2, 0.1]").color == (0, 0, 0.2, 0.1)


def test_faces_are_not_mixed(tmp_path: Path, digits: Task) -> None:
    people = write_people(tmp_path / "people", 12, each=4)
    faces = load_task(TaskSettings(str(people), "faces", image_size=28, settings={"far": 0.1}))
    for key in ("mixup", "cutmix"):
        with pytest.raises(EdgenasError, match=f"recipe mine: {key} = 0.2 mixes labels, and faces"):
            own(tmp_path, faces, f"{key} = 0.2")
        assert getattr(own(tmp_path, digits, f"{key} = 0.2"), key) == 0.2
