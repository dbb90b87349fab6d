"""Random crops and colours of a batch are torchvision's, image by image, and drawn from one seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import functional as F

from edgenas.records import Preprocessing, Recipe
from edgenas.tasks import Split
from edgenas.training.augmentation import Augmentation, DeviceImages
from edgenas.training.photographs import color_factors, drawn_boxes, jittered, resized

CPU = torch.device("cpu")
HEIGHT, WIDTH = 20, 28  # no square
KEYS = {
    "random_resized_crop": (0.3, 1.0),
    "color": (0.4, 0.4, 0.4, 0.1),
    "trivial_augment": True,
    "mixup": 0.2,
    "cutmix": 1.0,
}


def pictures(count: int = 6, channels: int = 3, sides: tuple[int, int] = (HEIGHT, WIDTH)) -> torch.Tensor:
    """(B, C, H, W) uint8."""
    return torch.randint(
        0, 256, (count, channels, *sides), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def recipe(**changes: object) -> Recipe:
    return Recipe("test", 1, 8, 0.1, **changes)  # type: ignore[arg-type]


def furthest(one: torch.Tensor, other: torch.Tensor) -> int:
    """The largest difference, in levels of 255."""
    return int((one.int() - other.int()).abs().max())


@pytest.mark.parametrize("box", [(2, 3, 9, 11), (0, 0, 20, 28), (5, 1, 1, 1), (11, 20, 9, 8), (0, 0, 3, 28)])
@pytest.mark.parametrize("mirrored", [False, True])
def test_a_crop_is_scaled_as_torchvision_scales_it(box: tuple[int, int, int, int], mirrored: bool) -> None:
    image = pictures(2)
    wanted = F.resized_crop(image, *box, size=[HEIGHT, WIDTH], antialias=True)
    found = resized(image, torch.tensor([box, box]), torch.tensor([mirrored, False]))
    assert furthest(found[0], wanted[0].flip(-1) if mirrored else wanted[0]) <= 1
    assert furthest(found[1], wanted[1]) <= 1


def boxes(scale: tuple[float, float], ratio: tuple[float, float], sides: tuple[int, int] = (40, 60)) -> np.ndarray:
    asked = recipe(random_resized_crop=scale, crop_ratio=ratio)
    return drawn_boxes(np.random.default_rng(0), 2000, sides, asked)


def test_crops_have_the_area_and_the_ratio_that_the_recipe_says_and_lie_inside() -> None:
    top, left, height, width = boxes((0.2, 0.5), (0.8, 1.25)).T
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 40).all()
    assert (left + width <= 60).all()
    area, ratio = height * width / 2400, width / height / 1.5  # beside that of 40 x 60, to which they are scaled
    assert 0.17 < area.min() < 0.25  # whole pixels
    assert 0.45 < area.max() < 0.53
    assert 0.75 < ratio.min() < 0.85
    assert 1.18 < ratio.max() < 1.32
    assert abs(np.log(ratio).mean()) < 0.01  # log-uniform
    assert abs(area.mean() - 0.35) < 0.01
    assert len({tuple(box) for box in boxes((0.2, 0.5), (0.8, 1.25))}) > 1000


@pytest.mark.parametrize(
    ("ratio", "wanted"), [((0.5, 0.5), (0, 15, 40, 30)), ((2.0, 2.0), (10, 0, 20, 60)), ((1.0, 1.0), (0, 0, 40, 60))]
)
def test_where_no_crop_fits_the_largest_of_the_ratio_in_the_centre_is_taken(
    ratio: tuple[float, float], wanted: tuple[int, int, int, int]
) -> None:
    """All of the area: at half and at twice the image's own ratio, and at its own."""
    assert {tuple(box) for box in boxes((1.0, 1.0), ratio)} == {wanted}


@pytest.mark.parametrize(
    ("place", "factor", "wanted"),
    [
        (0, 1.3, lambda x: F.adjust_brightness(x, 1.3)),
        (0, 0.6, lambda x: F.adjust_brightness(x, 0.6)),
        (1, 0.7, lambda x: F.adjust_contrast(x, 0.7)),
        (2, 1.4, lambda x: F.adjust_saturation(x, 1.4)),
        (2, 0.2, lambda x: F.adjust_saturation(x, 0.2)),
        (3, 0.2, lambda x: F.adjust_hue(x, 0.2)),
        (3, -0.13, lambda x: F.adjust_hue(x, -0.13)),
    ],
)
def test_colours_are_changed_as_torchvision_changes_them(place: int, factor: float, wanted: object) -> None:
    image = pictures(2)
    factors = np.array([[1.0, 1, 1, 0], [1, 1, 1, 0]])
    factors[1, place] = factor
    found = jittered(image, factors)
    assert furthest(found[0], image[0]) <= 1
    assert furthest(found[1], wanted(image[1])) <= 2  # type: ignore[operator]  # torchvision cuts what is rounded here
    assert furthest(found[1], image[1]) > 10


def test_each_image_has_its_own_colours_within_what_was_asked() -> None:
    factors = color_factors(np.random.default_rng(0), 1000, (0.4, 0.3, 0.2, 0.1))
    low, high = factors.min(0), factors.max(0)
    assert np.allclose(low, [0.6, 0.7, 0.8, -0.1], atol=0.01)
    assert np.allclose(high, [1.4, 1.3, 1.2, 0.1], atol=0.01)
    assert len(np.unique(factors[:, 0])) == 1000


def test_grey_images_have_no_saturation_and_no_hue() -> None:
    image = pictures(2, channels=1)
    assert torch.equal(jittered(image, np.array([[1, 1, 0.2, 0.3]] * 2)), image)
    changed = jittered(image, np.array([[1.2, 1, 1, 0]] * 2))
    assert furthest(changed, F.adjust_brightness(image, 1.2)) <= 1


def batches(data: Split, asked: Recipe, seed: int, epochs: tuple[int, ...] = (0,)) -> list[torch.Tensor]:
    """Two batches of each epoch."""
    preprocessing = Preprocessing(3, 8, (0.5,) * 3, (0.2,) * 3)
    augmentation = Augmentation(DeviceImages(data, preprocessing, CPU), asked, torch.Generator().manual_seed(seed))
    return [augmentation.batch(torch.arange(32), epoch)[0] for epoch in epochs for _ in range(2)]


def small() -> Split:
    return Split(pictures(32, sides=(8, 8)).permute(0, 2, 3, 1).contiguous().numpy(), np.arange(32) % 10)


@pytest.mark.parametrize("key", KEYS)
def test_what_a_key_draws_follows_the_seed_and_changes_from_batch_to_batch_and_epoch_to_epoch(key: str) -> None:
    asked, data = recipe(**{key: KEYS[key]}), small()
    first, second, later, _ = batches(data, asked, 3, (0, 1))
    again = batches(data, asked, 3, (0, 1))
    assert torch.equal(first, again[0])
    assert torch.equal(later, again[2])
    assert not torch.equal(first, second)
    assert not torch.equal(first, later)
    assert not torch.equal(first, batches(data, asked, 4)[0])
    assert first.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("key", KEYS)
def test_an_epoch_draws_the_same_wherever_a_training_begins(key: str) -> None:
    """As a training that goes on from a checkpoint: only the generator's state is known, and the epoch."""
    asked, data = recipe(**{key: KEYS[key]}), small()
    whole = batches(data, asked, 3, (0, 1))
    assert torch.equal(batches(data, asked, 3, (1,))[0], whole[2])


def test_what_is_drawn_on_the_host_leaves_the_order_of_the_images_and_their_crops_alone() -> None:
    data, orders = small(), []
    for keys in ({}, {"color": (0.4, 0.4, 0.4, 0.0), "trivial_augment": True, "mixup": 0.2}):
        images = DeviceImages(data, Preprocessing(3, 8, (0.5,) * 3, (0.2,) * 3), CPU)
        augmentation = Augmentation(images, recipe(**keys), torch.Generator().manual_seed(0))
        augmentation.batch(torch.arange(32), 0)
        orders.append(augmentation.order())
    assert torch.equal(*orders)


def test_a_crop_of_any_size_is_mirrored_as_the_recipe_says() -> None:
    data = small()
    asked = recipe(random_resized_crop=(1.0, 1.0), crop_ratio=(1.0, 1.0), flip=True)
    even, _, odd, _ = batches(data, asked, 0, (0, 1))
    assert torch.allclose(even, odd.flip(3), atol=1e-5)
    assert not torch.equal(even, odd)
