"""Figures of a confusion matrix: by hand, and against scikit-learn."""

from __future__ import annotations

import tracemalloc
import warnings

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, f1_score

from edgenas.binomial import Validation, wilson
from edgenas.confusion import (
    METRICS,
    accuracy,
    balanced_accuracy,
    balanced_accuracy_interval,
    chance_of,
    confusion_of,
    document_of_confusion,
    macro_f1,
    macro_f1_interval,
    of_classes,
    scores_of_confusion,
)

#                    called a, b
BY_HAND = np.array([[6, 2], [1, 1]])  # 8 are a, 2 are b


def test_figures_by_hand() -> None:
    assert accuracy(BY_HAND) == 70
    assert balanced_accuracy(BY_HAND) == pytest.approx(100 * (6 / 8 + 1 / 2) / 2)
    # F1: a 2 * 6 / (8 + 7), b 2 * 1 / (2 + 3)
    assert macro_f1(BY_HAND) == pytest.approx(100 * (12 / 15 + 2 / 5) / 2)
    a, b = of_classes(BY_HAND, ("a", "b"))
    assert (a.images, a.recall, a.precision, a.f1) == (8, 75.0, pytest.approx(600 / 7), pytest.approx(80))
    assert (b.images, b.recall, b.precision, b.f1) == (2, 50.0, pytest.approx(100 / 3), pytest.approx(40))
    assert a.recall_interval == wilson(75.0, 8)


@pytest.mark.parametrize("seed", range(6))
def test_scikit_learn_agrees(seed: int) -> None:
    rng = np.random.default_rng(seed)
    classes = int(rng.integers(2, 7))
    labels, predicted = rng.integers(0, classes, 60), rng.integers(0, classes, 60)
    if seed > 3:
        labels = labels % 2  # classes without images
    counts = confusion_of(labels, predicted, classes)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn's, of classes without images
        assert balanced_accuracy(counts) == pytest.approx(100 * balanced_accuracy_score(labels, predicted))
        there = np.unique(labels)  # as in the balanced accuracy, classes without images have no part in the mean
        f1 = f1_score(labels, predicted, labels=there, average="macro", zero_division=0)
        assert macro_f1(counts) == pytest.approx(100 * f1)
    assert accuracy(counts) == pytest.approx(100 * (labels == predicted).mean())


def test_a_class_without_images_or_without_calls_has_no_figure_of_that_kind() -> None:
    first, second, third = of_classes(np.array([[3, 0, 1], [2, 0, 0], [0, 0, 0]]), ("a", "b", "c"))
    assert first.precision == pytest.approx(60)
    assert (second.recall, second.precision, second.f1) == (0.0, None, 0.0)
    assert (third.images, third.recall, third.recall_interval, third.precision, third.f1) == (0, None, None, 0.0, None)


def test_what_always_answering_one_class_scores_is_chance() -> None:
    images = np.array([30, 10, 0])
    assert chance_of("accuracy", images) == 75
    assert chance_of("balanced_accuracy", images) == 50  # of the two classes that have images


def test_chance_of_macro_f1_is_guessing_which_no_other_answer_without_a_look_at_the_image_beats() -> None:
    images = np.array([30_000, 10_000, 0])
    chance = chance_of("macro_f1", images)
    assert chance == 50

    def guessed(shares: tuple[float, ...]) -> float:
        """What answering at random by these shares scores, at the numbers expected of it."""
        return macro_f1((images[:, None] * np.array(shares)).round().astype(np.int64))

    assert guessed((0.75, 0.25, 0)) == pytest.approx(chance)
    others = ((1, 0, 0), (0, 1, 0), (0.5, 0.5, 0), (0.8, 0.2, 0), (0.7, 0.3, 0), (0.7, 0.2, 0.1))
    assert all(guessed(shares) < chance for shares in others)
    assert guessed((1, 0, 0)) == pytest.approx(100 * (2 * 30 / (30 + 40)) / 2)


def test_coin_flips_are_chance_by_every_metric() -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], 100)
    counts = confusion_of(labels, rng.integers(0, 2, 200), 2)
    for metric in METRICS.values():
        scores = {f"val_{name}": value for name, value in scores_of_confusion(counts).items()}
        scores |= dict(zip(("val_macro_f1_low", "val_macro_f1_high"), macro_f1_interval(counts), strict=True))
        assert Validation(200, chance_of(metric.name, counts.sum(1)), metric).is_chance(scores, metric.objective)


def test_a_class_without_images_is_in_no_mean() -> None:
    counts = np.array([[99, 0, 1], [0, 100, 0], [0, 0, 0]])
    assert accuracy(counts) == balanced_accuracy(counts) == 99.5
    assert macro_f1(counts) == pytest.approx(100 * (2 * 99 / (100 + 99) + 1) / 2)
    assert macro_f1_interval(counts)[0] > 98


def test_where_all_are_right_or_none_the_interval_of_macro_f1_is_that_of_balanced_accuracy() -> None:
    for counts in (np.diag([10, 10]), np.array([[0, 3], [4, 0]])):
        low, high = macro_f1_interval(counts)
        assert (low, high) == balanced_accuracy_interval(counts)
        assert high - low > 15
    assert macro_f1_interval(np.array([[9, 1], [0, 10]])) != balanced_accuracy_interval(np.array([[9, 1], [0, 10]]))


def test_the_draws_of_the_bootstrap_are_those_of_the_first_version() -> None:
    assert macro_f1_interval(BY_HAND) == (29.292929292929294, 100.0)
    assert macro_f1_interval(np.array([[30, 4, 1], [2, 9, 0], [0, 3, 6]])) == (61.40116205764944, 88.44291974628786)


def test_a_thousand_classes_take_no_more_memory_than_their_sums() -> None:
    """(K, K) of every draw would be 8 GB, and its three sums are 24 MB; as many cells as images are drawn at once."""
    classes = 1000
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), 3)
    counts = confusion_of(
        labels, np.where(rng.random(len(labels)) < 0.6, labels, rng.integers(0, classes, 3000)), classes
    )
    tracemalloc.start()
    whole = macro_f1_interval(counts)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6
    assert whole[0] < macro_f1(counts) <= whole[1]  # with three images of each class the draws lie below it


def test_the_interval_does_not_depend_on_how_many_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = macro_f1_interval(BY_HAND)
    monkeypatch.setattr("edgenas.confusion.AT_ONCE", 4 * 300)
    assert macro_f1_interval(BY_HAND) == found


@pytest.mark.parametrize(
    ("figure", "interval"), [(balanced_accuracy, balanced_accuracy_interval), (macro_f1, macro_f1_interval)]
)
def test_intervals_hold_the_truth_in_about_19_of_20_samples(figure, interval) -> None:  # type: ignore[no-untyped-def]
    """400 data sets drawn from one known network and population: 200 images, one class of ten."""
    population = np.array([[0.75, 0.10, 0.05], [0.01, 0.05, 0.01], [0.005, 0.005, 0.02]])
    truth = figure((population * 1_000_000).round().astype(np.int64))
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        counts = rng.multinomial(400, population.ravel()).reshape(3, 3)
        low, high = interval(counts)
        assert 0 <= low <= figure(counts) <= high <= 100
        held += low <= truth <= high
    assert 0.90 <= held / 400 <= 0.99


def test_the_document_is_json_with_rows_of_truth() -> None:
    document = document_of_confusion(BY_HAND, ("a", "b"))
    assert document["confusion"] == [[6, 2], [1, 1]]
    assert document["classes"][0]["name"] == "a"
    assert document["accuracy_interval"] == list(wilson(70.0, 10))
    assert document["balanced_accuracy_interval"][0] < 62.5 < document["balanced_accuracy_interval"][1]
