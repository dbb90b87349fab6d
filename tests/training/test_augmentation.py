"""Crops, mirrors and cutout by hand on small images."""

from __future__ import annotations

import numpy as np
import torch

from edgenas.preprocessing import input_from_pixels
from edgenas.records import Preprocessing, Recipe
from edgenas.tasks import Split
from edgenas.training.augmentation import Augmentation, DeviceImages

CPU = torch.device("cpu")
PLAIN = Preprocessing(1, 6, mean=(0.0,), std=(1.0,))


def split(count: int = 50, side: int = 6, channels: int = 1) -> Split:
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (count, side, side, channels), dtype=np.uint8)  # no black: black means outside
    return Split(images, np.arange(count))


def batch(data: Split, recipe: Recipe, epoch: int = 0, seed: int = 0) -> np.ndarray:
    """(B, H, W) of 0..255."""
    images = DeviceImages(data, PLAIN, CPU, recipe.crop_padding)
    augmentation = Augmentation(images, recipe, torch.Generator().manual_seed(seed))
    x, labels = augmentation.batch(torch.arange(len(data)), epoch)
    assert torch.equal(labels, torch.from_numpy(data.labels))
    return np.round(x[:, 0].numpy() * 255).astype(np.uint8)


def recipe(**changes: object) -> Recipe:
    return Recipe("test", 1, 8, 0.1, **changes)  # type: ignore[arg-type]


def test_without_augmentation_the_network_sees_what_preprocessing_gives() -> None:
    data = split(channels=3)
    preprocessing = Preprocessing(3, 6, mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    images = DeviceImages(data, preprocessing, CPU)
    x, _ = Augmentation(images, recipe(), torch.Generator()).batch(torch.arange(50), 0)
    assert torch.allclose(x, torch.from_numpy(input_from_pixels(data.images, preprocessing)), atol=1e-6)
    assert x.is_contiguous(memory_format=torch.channels_last)


def test_each_image_is_cropped_at_its_own_place_out_of_a_black_frame() -> None:
    data = split()
    framed = np.pad(data.images[..., 0], ((0, 0), (2, 2), (2, 2)))
    places = set()
    for index, seen in enumerate(batch(data, recipe(crop_padding=2))):
        found = [
            (top, left)
            for top in range(5)
            for left in range(5)
            if np.array_equal(seen, framed[index, top : top + 6, left : left + 6])
        ]
        assert found
        places.update(found)
    assert len(places) > 10


def test_flips_alternate_between_epochs() -> None:
    data = split()
    even, odd, next_even = (batch(data, recipe(flip=True), epoch) for epoch in (0, 1, 2))
    upright = data.images[..., 0]
    mirrored = upright[:, :, ::-1]
    for index in range(50):
        first, second = (upright, mirrored) if np.array_equal(even[index], upright[index]) else (mirrored, upright)
        assert np.array_equal(even[index], first[index])
        assert np.array_equal(odd[index], second[index])
    assert np.array_equal(even, next_even)
    assert 5 < sum(np.array_equal(even[i], upright[i]) for i in range(50)) < 45


def test_cutout_is_one_square_that_may_hang_over_the_edge() -> None:
    for seen in batch(split(), recipe(cutout=4)):
        rows, columns = np.nonzero(seen == 0)
        assert len(rows) > 0
        height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
        assert height * width == len(rows)  # a full rectangle
        assert 2 <= height <= 4
        assert 2 <= width <= 4


def test_each_image_is_cut_out_at_a_place_of_its_own() -> None:
    masks = {(seen == 0).tobytes() for seen in batch(split(), recipe(cutout=4))}
    assert len(masks) > 18  # 36 pixels may be the centre; if rows or columns were shared, 6 could be seen


def test_everything_is_drawn_from_the_generator() -> None:
    everything = recipe(crop_padding=2, flip=True, cutout=3)
    assert np.array_equal(batch(split(), everything, seed=3), batch(split(), everything, seed=3))
    assert not np.array_equal(batch(split(), everything, seed=3), batch(split(), everything, seed=4))


def mirrored(data: Split, recipe: Recipe, epoch: int, augmentation: Augmentation) -> np.ndarray:
    """(N,) which images of a batch of all are their mirror image."""
    x, _ = augmentation.batch(torch.arange(len(data)), epoch)
    seen = np.round(x[:, 0].numpy() * 255).astype(np.uint8)
    plain = (seen == data.images[..., 0]).all((1, 2))
    assert (plain | (seen == data.images[:, :, ::-1, 0]).all((1, 2))).all()
    return ~plain


def test_alternating_mirrors_change_every_epoch_and_independent_ones_by_a_coin_each() -> None:
    data = split(count=2000)
    sides = {}
    for flips in ("alternating", "independent"):
        augmentation = Augmentation(
            DeviceImages(data, PLAIN, CPU), recipe(flip=True, flips=flips), torch.Generator().manual_seed(0)
        )
        sides[flips] = [mirrored(data, recipe(), epoch, augmentation) for epoch in range(3)]
    first, second, third = sides["alternating"]
    assert (first != second).all()
    assert (first == third).all()
    for one in sides["independent"]:
        assert 0.45 < one.mean() < 0.55
    first, second, third = sides["independent"]
    assert 0.45 < (first == second).mean() < 0.55
    assert 0.45 < (first == third).mean() < 0.55


def test_without_mirroring_no_coin_is_tossed() -> None:
    data, plain = split(), recipe(flips="independent")
    augmentation = Augmentation(DeviceImages(data, PLAIN, CPU), plain, torch.Generator().manual_seed(0))
    assert not mirrored(data, plain, 0, augmentation).any()
