"""Crops, mirrors and cutout by hand on small images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from edgenas.image_sizes import ImageSize
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Preprocessing, Recipe
from edgenas.tasks import Loading, Split, TaskSettings
from edgenas.tasks.classification import load_classification
from edgenas.training.augmentation import Augmentation, DeviceImages
from tests.image_folders import fill

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


@pytest.mark.parametrize(("flip", "views"), [(False, 4), (True, 8)])
def test_turned_images_are_the_four_quarter_turns_with_mirrors_the_eight_symmetries(flip: bool, views: int) -> None:
    data = split(count=2000)
    turns = [np.rot90(data.images[..., 0], quarter, (1, 2)) for quarter in range(4)]
    known = np.stack([*turns, *(one[:, :, ::-1] for one in turns)])  # (8, N, H, W)
    same = (batch(data, recipe(flip=flip, flips="independent", turns=True)) == known).all((2, 3))  # (8, N)
    assert (same.sum(0) == 1).all()  # every image is one of them,
    shares = same.mean(1)
    assert (shares[:views] > 0.8 / views).all()  # all of them alike: of 2000 / 8 the binomial sd is 15, 6 %
    assert (shares[:views] < 1.2 / views).all()
    assert not same[views:].any()


def test_a_turned_image_is_cropped_out_of_the_black_frame_as_any_other() -> None:
    data, framed = split(), np.pad(split().images[..., 0], ((0, 0), (2, 2), (2, 2)))
    for index, seen in enumerate(batch(data, recipe(crop_padding=2, turns=True))):
        windows = [framed[index, top : top + 6, left : left + 6] for top in range(5) for left in range(5)]
        assert any(np.array_equal(np.rot90(window, quarter), seen) for window in windows for quarter in range(4))


def orders(labels: list[int], epochs: int, balance: str = "sampling") -> np.ndarray:
    """(epochs, N): the order of so many epochs over images of these classes."""
    data = Split(split(len(labels)).images, np.array(labels))
    images = DeviceImages(data, PLAIN, CPU)
    augmentation = Augmentation(images, recipe(balance=balance), torch.Generator().manual_seed(0))
    return np.stack([augmentation.order().numpy() for _ in range(epochs)])


def test_balanced_sampling_draws_every_class_and_within_it_every_image_equally_often() -> None:
    """Of 9 images of one class and 3 of the other an epoch has 6 and 6: each rare one twice, 6 of the 9 once."""
    counts = np.array(
        [np.bincount(order, minlength=12) for order in orders([0] * 9 + [1] * 3, epochs=200)]
    )  # (200, 12)
    assert (counts[:, 9:] == 2).all()
    assert (counts[:, :9].sum(1) == 6).all()
    assert counts[:, :9].max() == 1
    # Every common image has its turn: 6/9 of 200 epochs, binomial sd 6.7.
    assert (abs(counts[:, :9].sum(0) - 200 * 6 / 9) < 4 * 6.7).all()


def test_what_does_not_divide_goes_to_classes_in_turn() -> None:
    """7 images of three classes: 2, 2 and 3 of them, another one each time."""
    labels = np.array([0, 0, 0, 0, 0, 1, 2])
    drawn = np.array([np.bincount(labels[order], minlength=3) for order in orders(labels.tolist(), epochs=60)])
    assert (np.sort(drawn, 1) == [2, 2, 3]).all()
    assert set(drawn.argmax(1)) == {0, 1, 2}


def test_balanced_orders_are_shuffled_and_new_every_epoch() -> None:
    first, second = orders([0] * 9 + [1] * 3, epochs=2)
    assert not np.array_equal(first, second)
    assert 0 < np.flatnonzero(first >= 9).mean() < 11  # not all at one end
    assert len(set(np.diff(np.flatnonzero(first >= 9)))) > 1


def test_without_balance_an_epoch_is_a_permutation() -> None:
    (order,) = orders([0] * 9 + [1] * 3, epochs=1, balance="none")
    assert sorted(order) == list(range(12))


def test_mapped_images_give_the_batches_of_the_same_array(tmp_path: Path) -> None:
    task = load_classification(TaskSettings(str(fill(tmp_path / "pics", each=20))), Loading(tmp_path / "cache"))
    mapped, chosen = task.train, np.array([5, 2, 9])
    array = Split(mapped.images[:], mapped.labels)
    for rows in (None, chosen):
        one, other = (DeviceImages(each, task.preprocessing, CPU, 2, rows) for each in (mapped, array))
        assert torch.equal(one.labels, other.labels)
        assert torch.equal(one.pixels(slice(0, 3)), other.pixels(slice(0, 3)))
        draws = [
            Augmentation(images, recipe(crop_padding=2, flip=True, cutout=3), torch.Generator().manual_seed(1)).batch(
                torch.tensor([2, 0, 1]), 1
            )
            for images in (one, other)
        ]
        assert torch.equal(draws[0][0], draws[1][0])
        assert torch.equal(draws[0][1], draws[1][1])


@pytest.mark.parametrize("size", [None, (12, 30), (30, 12)])
def test_what_is_copied_to_a_gpu_part_by_part_is_the_framed_images(tmp_path: Path, size: ImageSize | None) -> None:
    """The copy that a GPU gets, made here on the CPU."""
    settings = TaskSettings(str(fill(tmp_path / "pics", each=20)), image_size=size)
    task = load_classification(settings, Loading(tmp_path / "cache"))
    images = DeviceImages(task.train, task.preprocessing, CPU, crop_padding=2, rows=np.array([5, 2, 9]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgenas.training.augmentation.COPIED", 2)
        framed = images._framed_on(images.images, CPU)
    wanted = np.pad(task.train.images[np.array([5, 2, 9])], ((0, 0), (2, 2), (2, 2), (0, 0)))
    assert np.array_equal(framed.numpy(), wanted)


def test_rectangles_are_shifted_mirrored_and_cut_out_of_in_their_own_shape() -> None:
    images = np.random.default_rng(0).integers(1, 256, (60, 6, 15, 1), dtype=np.uint8)
    data, how = Split(images, np.arange(60)), Preprocessing(1, (6, 15), mean=(0.0,), std=(1.0,))
    asked = recipe(crop_padding=2, flip=True, cutout=4)
    augmentation = Augmentation(DeviceImages(data, how, CPU, 2), asked, torch.Generator().manual_seed(0))
    x, _ = augmentation.batch(torch.arange(60), 0)
    assert x.shape == (60, 1, 6, 15)
    framed = np.pad(images[..., 0], ((0, 0), (2, 2), (2, 2)))
    places, mirrored, columns_cut = set(), 0, set()
    for index, seen in enumerate(np.round(x[:, 0].numpy() * 255).astype(np.uint8)):
        found = []
        for top, left, back in np.ndindex(5, 5, 2):
            window = framed[index, top : top + 6, left : left + 15]
            window = window[:, ::-1] if back else window
            rows, columns = np.nonzero((seen != window) & (seen == 0))
            small = not len(rows) or (np.ptp(rows) < 4 and np.ptp(columns) < 4)  # none: cut out of the frame
            if small and (seen == window)[seen > 0].all():
                found.append((top, left, back))
                columns_cut.update(columns.tolist())
        assert len(found) == 1
        places.add(found[0][:2])
        mirrored += found[0][2]
    assert len(places) > 15
    assert 15 < mirrored < 45
    assert columns_cut == set(range(15))  # the square may lie anywhere along the strip
