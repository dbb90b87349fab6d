"""Images that are arrays already: what is taken, and one line for everything that is not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.tasks import TaskSettings, as_searched, fingerprint
from edgenas.tasks.arrays import task_from_arrays
from edgenas.tasks.checks import checked_task
from edgenas.tasks.classification import Classification


def noise(count: int, side: int = 8, channels: int = 1, seed: int = 0) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, channels), dtype=np.uint8)


HALVES = np.arange(100) % 2


def test_the_arrays_of_the_specification_are_a_task() -> None:
    images, labels = np.zeros((200, 16, 16, 1), np.uint8), np.arange(200) % 2
    images[labels == 1, 4:12] = 200
    task = checked_task(task_from_arrays(images, labels))
    assert (task.name, task.classes, task.head.count, task.metric.name) == ("classification", ("0", "1"), 2, "accuracy")
    assert [len(split) for split in (task.train, task.val, task.test)] == [
        144,
        16,
        40,
    ]  # a fifth, then a tenth of the rest
    for split in (task.train, task.val, task.test):
        np.testing.assert_array_equal(split.images[:, 8, 8, 0] == 200, split.labels == 1)
    assert task.facts.sources["test"] == "20 % of the arrays, always the same"


def test_splits_follow_the_seed_and_the_test_images_never_do() -> None:
    one, same, other = (task_from_arrays(noise(100), HALVES, seed=seed) for seed in (1, 1, 2))
    assert fingerprint(one.train, one.val, one.test) == fingerprint(same.train, same.val, same.test)
    assert fingerprint(one.test) == fingerprint(other.test)
    assert fingerprint(one.val) != fingerprint(other.val)
    every = np.concatenate([one.train.images, one.val.images, one.test.images])
    assert sorted(image.tobytes() for image in every) == sorted(image.tobytes() for image in noise(100))


def test_equal_images_stay_in_one_split() -> None:
    images = np.repeat(noise(25), 4, axis=0)
    task = task_from_arrays(images, np.repeat(np.arange(25) % 2, 4))
    assert task.facts.duplicates["across_splits"] == 0
    assert task.facts.duplicates["within"] == 75


def test_own_test_images_are_taken_as_they_are() -> None:
    held = noise(10, seed=1)
    task = task_from_arrays(noise(100), HALVES, test=(held, HALVES[:10]))
    np.testing.assert_array_equal(task.test.images, held)
    assert len(task.train) + len(task.val) == 100
    assert task.facts.sources["test"] == "the test arrays"


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.int64, "names"])
def test_labels_are_whole_numbers_or_names(dtype: Any) -> None:
    names = np.array(["cat", "dog"])
    labels = names[HALVES] if dtype == "names" else HALVES.astype(dtype)
    task = task_from_arrays(noise(100), labels)
    assert task.classes == (("cat", "dog") if dtype == "names" else ("0", "1"))
    assert task.train.labels.dtype == np.int64
    assert task_from_arrays(list(noise(100)), labels.tolist()).classes == task.classes  # lists do as well


def said(task: Classification, images: Any) -> list[str]:
    """The class that the task gives each of these images, of which no two are equal."""
    splits = (task.train, task.val, task.test)
    known = {
        image.tobytes(): task.classes[label]
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    }
    return [known[image.tobytes()] for image in images]


def test_labels_with_gaps_keep_their_names_in_the_order_of_numbers() -> None:
    labels = np.array([2, 10, -1])[np.arange(99) % 3]
    task = task_from_arrays(noise(99), labels)
    assert task.classes == ("-1", "2", "10")
    assert said(task, noise(99)) == [str(label) for label in labels]


def test_given_classes_name_the_numbers_from_0_and_order_names() -> None:
    numbered = task_from_arrays(noise(100), HALVES, classes=["1", "0"])
    assert said(numbered, noise(100)) == ["1", "0"] * 50  # 0 is the first
    named = task_from_arrays(noise(100), np.array(["a", "b"])[HALVES], classes=["b", "a"])
    assert named.classes == ("b", "a")
    assert said(named, noise(100)) == ["a", "b"] * 50


def test_oblongs_are_cut_and_scaled_where_a_size_is_given() -> None:
    oblong = np.repeat(np.repeat(noise(100, 8), 2, axis=1), 4, axis=2)  # 32 wide, 16 high: 16 px of the middle
    task = task_from_arrays(oblong, HALVES, image_size=16)
    assert task.train.images.shape[1:] == (16, 16, 1)
    middle = {image[:, 8:24].tobytes() for image in oblong}
    assert all(image.tobytes() in middle for image in task.train.images)


def test_a_search_takes_its_share_of_each_class() -> None:
    whole = task_from_arrays(noise(400), np.arange(400) % 4)
    cut = as_searched(whole, TaskSettings("arrays", search_images=80))
    assert np.bincount(cut.train.labels).tolist() == [20] * 4


@pytest.mark.parametrize(
    ("images", "labels", "more", "line"),
    [
        (noise(100) / 255, HALVES, {}, "images are float64 from 0 to 1, uint8 .*: give .255 . images..round...astype"),
        (noise(100).astype(np.float32), HALVES, {}, "float32 from 0 to 255, uint8 .*: give images.astype"),
        (noise(100).astype(int) - 128, HALVES, {}, "images are int64 from -128 to 127, uint8 from 0 to 255 is needed$"),
        (np.full((100, 8, 8), np.nan), HALVES, {}, "images are float64 with NaN or infinity, uint8"),
        (np.full((100, 8, 8), "x"), HALVES, {}, "images are <U1, uint8 from 0 to 255 is needed$"),
        (noise(100).transpose(0, 3, 1, 2), HALVES, {}, "channels come last: give images.transpose.0, 2, 3, 1."),
        (noise(100, channels=4), HALVES, {}, "1 or 3 channels is needed: make them grey or RGB"),
        (noise(100)[0, 0], HALVES, {}, r"images are \(8, 1\)"),
        (noise(100)[:0], HALVES[:0], {}, "has no images"),
        (noise(100)[:, :, :7], HALVES, {}, r"images are 8x7 px \(.*\), squares of 8 to 512 px are needed: give image_size"),
        (noise(100, 7), HALVES, {}, "images are 7x7 px"),
        (noise(4, 513), HALVES[:4], {}, "images are 513x513 px"),
        ([*noise(50), *noise(50, 9)], HALVES, {}, r"images are of several sizes \(\(8, 8, 1\), \(9, 9, 1\)\): bring them to one"),
        ([[1, 2], [3]], HALVES, {}, "images cannot be read as an array: "),
        (noise(100), [[0], [1, 2]], {}, "labels cannot be read as an array: "),
        (noise(100), HALVES[:99], {}, "100 images and 99 labels: give one label for each image"),
        (noise(100), HALVES[:, None], {}, r"labels are \(100, 1\), \(N,\) is needed"),
        (noise(100), HALVES / 2, {}, "labels are float64: .* to estimate values, write a Task of your own"),
        (noise(100), HALVES * 0, {}, "has one class"),
        (noise(100), (HALVES * 0) + (np.arange(100) == 5), {}, "class '1' has 1 image: every class needs at least 3"),
        (noise(100), HALVES, {"classes": ["a"]}, "labels are 0 to 1 and there are 1 classes: name every class"),
        (noise(100), HALVES - 1, {"classes": ["a", "b"]}, "labels are -1 to 0 and there are 2 classes"),
        (noise(100), HALVES, {"classes": ["a", "a"]}, "two classes have one name"),
        (noise(100), HALVES, {"classes": "ab"}, "classes are names"),
        (noise(100), HALVES, {"classes": ["a", "b", "c"]}, "class 'c' has 0 images"),
        (noise(100), np.array(["a", "b"])[HALVES], {"classes": ["a", "c"]}, r"label 'b' is none of the classes \(a, c\)"),
        (noise(100), HALVES, {"test": noise(9)}, "test is ndarray: give a pair"),
        (noise(100), HALVES, {"test": (noise(9, 9), HALVES[:9])}, "make them alike"),
        (noise(100), HALVES, {"test": (noise(9), HALVES[:8])}, r"arrays \(test\): 9 images and 8 labels"),
        (noise(100), HALVES, {"test": (noise(9), HALVES[:9] + 7)}, "label '7' is none of the classes"),
        (noise(100), HALVES, {"image_size": 4}, "image size 4: sides of 8 to 2048 px"),
        (noise(1).repeat(100, 0), HALVES, {}, "all 100 images have the same pixels"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_from_is_told_in_one_line(
    images: Any, labels: Any, more: dict[str, Any], line: str
) -> None:
    with pytest.raises(DataError, match=line) as caught:
        task_from_arrays(images, labels, **more)
    assert str(caught.value).startswith(("arrays", "image size"))
    assert "\n" not in str(caught.value)


def test_the_smallest_numbers_that_can_be_split_are_taken() -> None:
    assert len(task_from_arrays(noise(6), np.arange(6) % 2).train) == 2
    with pytest.raises(DataError, match="class '1' has 2 images: every class needs at least 3"):
        task_from_arrays(noise(5), np.arange(5) % 2)
