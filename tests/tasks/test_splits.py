"""Splits that are cut here: by class, by seed, and never through copies of one image."""

from __future__ import annotations

import numpy as np
import pytest

from edgenas.tasks import Split
from edgenas.tasks.facts import copies_of, count_duplicates, leaks
from edgenas.tasks.splits import stratified, subsample


def test_without_copies_numbers_change_nothing() -> None:
    labels = np.repeat([0, 1, 2], [10, 33, 7])
    for seed in range(20):
        plain = stratified(labels, 0.2, [seed])
        numbered = stratified(labels, 0.2, [seed], np.arange(50))
        assert all(np.array_equal(a, b) for a, b in zip(plain, numbered, strict=True))
        assert np.bincount(labels[plain[1]]).tolist() == [2, 7, 1]


@pytest.mark.parametrize("seed", range(20))
def test_copies_stay_together(seed: int) -> None:
    labels = np.repeat([0, 1], 40)
    copies = np.tile(np.repeat(np.arange(5), 8), 2) + 5 * labels  # five images a class, each there eight times
    rest, taken = stratified(labels, 0.1, [seed], copies)
    assert not set(copies[rest]) & set(copies[taken])
    assert np.bincount(labels[taken]).tolist() == [8, 8]  # 4 were asked for; one whole group is the least


@pytest.mark.parametrize("seed", range(20))
def test_a_large_group_is_left_where_smaller_ones_fill_the_share(seed: int) -> None:
    copies = np.concatenate([np.zeros(30, np.int64), np.arange(1, 11)])  # one image 30 times, ten others
    rest, taken = stratified(np.zeros(40, np.int64), 0.2, [seed], copies)
    assert (copies[rest] == 0).sum() == 30
    assert len(taken) == 8


def test_a_copy_under_another_label_goes_along() -> None:
    labels, copies = np.repeat([0, 1], 20), np.tile(np.arange(20), 2)  # every image under both labels
    rest, taken = stratified(labels, 0.25, [0], copies)
    assert (len(rest), len(taken)) == (30, 10)
    assert not set(copies[rest]) & set(copies[taken])


def test_a_class_of_one_image_only_is_parted() -> None:
    rest, taken = stratified(np.repeat([0, 1], [10, 10]), 0.2, [0], np.array([0] * 10 + [1] * 10))
    assert (len(rest), len(taken)) == (16, 4)


def test_duplicates_are_counted_within_splits_across_them_and_under_two_labels() -> None:
    images = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1) * np.ones((1, 2, 2, 1), np.uint8)
    train = Split(images[[0, 0, 0, 1, 2]], np.array([0, 0, 0, 1, 1]))
    val = Split(images[[3, 1]], np.array([1, 0]))  # image 1 again, as a 0
    test = Split(images[[0, 3, 4, 4]], np.array([0, 1, 0, 0]))  # 0 of train, 3 of validation, 4 twice
    splits = (train, val, test)
    copies = copies_of(splits)
    assert [numbers.tolist() for numbers in copies] == [[0, 0, 0, 1, 2], [3, 1], [0, 3, 4, 4]]
    found = count_duplicates(copies, [split.labels for split in splits])
    assert found == {"within": 2 + 1, "across_splits": 1 + 2, "in_training": 1 + 1, "two_labels": 1}


def test_a_test_image_among_those_of_validation_is_not_called_a_training_image() -> None:
    def told(train: list[int], val: list[int], test: list[int]) -> list[str]:
        copies = [np.array(split) for split in (train, val, test)]
        return list(leaks(count_duplicates(copies, [np.zeros_like(split) for split in copies])))

    worse = "scores will look better than they are"
    chosen = "by which networks are chosen"
    assert told([0, 1], [2], [3]) == []
    assert told([0, 1], [2], [2]) == [f"1 test image is a validation image, too, {chosen}: {worse}"]
    assert told([0, 1], [2, 3], [2, 3]) == [f"2 test images are validation images, too, {chosen}: {worse}"]
    assert told([0, 1], [1], [2]) == [f"1 validation or test image is a training image, too: {worse}"]
    assert told([0, 1], [1, 2], [1, 2]) == [
        f"2 validation or test images are training images, too: {worse}",
        f"1 test image is a validation image, too, {chosen}: {worse}",
    ]


def rounded(labels: np.ndarray, count: int, seed: list[int]) -> np.ndarray:
    """The rows that a search took before it took as many as were asked for: each class rounded alone."""
    rng, taken = np.random.default_rng(seed), []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        taken.append(members[: min(max(1, round(count / len(labels) * len(members))), len(members) - 1)])
    return np.sort(np.concatenate(taken))


def rows(labels: np.ndarray, count: int, seed: list[int], **how: bool) -> np.ndarray:
    images = np.arange(len(labels), dtype=np.int64).reshape(-1, 1, 1, 1)
    return subsample(Split(images, labels), count, seed, **how).images[:].ravel()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("labels", "count"),
    [
        (np.repeat(np.arange(100), 15), 260),  # 2.6 of each: 3 are 300
        (np.repeat(np.arange(100), 15), 250),  # 2.5 of each: 2 are 200
        (np.repeat(np.arange(1000), 15), 2550),
        (np.repeat(np.arange(100), [2] * 99 + [9_802]), 200),  # one of each of the rare ones leaves 101
        (np.repeat([0, 1, 2], [500, 33, 7]), 100),
    ],
)
def test_a_search_takes_as_many_images_as_were_asked_for(labels: np.ndarray, count: int) -> None:
    for seed in range(3):
        taken = rows(labels, count, [seed])
        assert len(taken) == len(set(taken.tolist())) == count
        each, share = np.bincount(labels[taken]), np.bincount(labels) * count / len(labels)
        assert each.min() >= 1
        assert (np.abs(each - share)[share > 1] < 1).all() or count == 200


def test_where_rounding_gave_as_many_they_are_the_same_images_and_a_study_of_before_has_its_own() -> None:
    rng, alike = np.random.default_rng(0), 0
    for _ in range(200):
        labels = np.repeat(np.arange(4), rng.integers(5, 60, 4))
        count = int(rng.integers(8, len(labels) - 8))
        before = rounded(labels, count, [3, 5])
        assert np.array_equal(rows(labels, count, [3, 5], exact=False), before)
        taken = rows(labels, count, [3, 5])
        assert len(taken) == count
        if len(before) == count:
            assert np.array_equal(taken, before)
            alike += 1
        elif len(before) > count:
            assert set(taken.tolist()) < set(before.tolist())
        else:
            assert set(before.tolist()) < set(taken.tolist())
    assert 50 < alike < 150


def test_every_class_keeps_an_image_where_more_are_asked_for() -> None:
    labels = np.repeat([0, 1], [3, 5])
    assert np.bincount(labels[rows(labels, 7, [0])]).tolist() == [2, 4]


def test_labels_that_are_no_classes_are_parted_at_random_and_all_of_them_once() -> None:
    for labels in (np.linspace(0, 1, 50, dtype=np.float32), np.zeros((50, 2), np.float32)):
        rest, taken = stratified(labels, 0.2, [7])
        assert len(taken) == 10
        assert sorted([*rest, *taken]) == list(range(50))
        assert list(taken) != list(range(10))
