"""What a share of so many images can tell: published figures, and both sides of every bound."""

import math

import numpy as np
import pytest

from edgenas.binomial import (
    Validation,
    degrees_with_repeats,
    noise_of_difference,
    noise_with_repeats,
    standard_error,
    wilson,
)
from edgenas.records import ACCURACY, TAR, Metric


@pytest.mark.parametrize(
    ("percent", "images", "low", "high"),
    [
        (50, 100, 40.38, 59.62),
        (0, 10, 0.0, 27.75),
        (100, 10, 72.25, 100.0),
        (100 * 81 / 263, 263, 25.53, 36.62),  # Newcombe 1998, two-sided intervals, table 1: 81 of 263 by method 3
        (100 * 15 / 148, 148, 6.24, 16.05),  # 15 of 148
    ],
)
def test_the_score_interval_is_the_published_one(percent: float, images: int, low: float, high: float) -> None:
    assert wilson(percent, images) == pytest.approx((low, high), abs=0.01)


def test_the_standard_error_is_the_binomial_one() -> None:
    # 143 validation images of digits at 98 %: sqrt(.98 * .02 / 143) = 1.17 points
    assert standard_error(98, 143) == pytest.approx(1.1707, abs=1e-4)


def test_the_noise_of_a_difference_is_newcombes_method_10() -> None:
    # Newcombe 1998, differences, table 2: 9 of 10 and 3 of 10 differ by .6, interval .1705 to .8090
    assert noise_of_difference(90, 30, 10) == pytest.approx(60 - 17.05, abs=0.01)
    assert noise_of_difference(30, 90, 10) == noise_of_difference(90, 30, 10)


def test_equal_scores_are_noise_also_where_both_are_perfect() -> None:
    assert noise_of_difference(100, 100, 150) > 2
    assert noise_of_difference(0, 0, 150) > 2


def test_chance_reaches_two_standard_errors_up_and_not_further() -> None:
    validation = Validation(images=150, chance=10.0)  # a standard error of sqrt(.1 * .9 / 150) = 2.4495 points
    assert validation.above_chance == pytest.approx(14.899, abs=1e-3)
    assert validation.is_chance({"val_accuracy": 14.89}, "val_accuracy")
    assert not validation.is_chance({"val_accuracy": 14.91}, "val_accuracy")
    assert validation.is_chance({"val_accuracy": 2.0}, "val_accuracy")  # worse than guessing is no better


def test_a_score_that_comes_with_an_interval_is_chance_where_that_reaches_down_to_it() -> None:
    validation = Validation(images=960, chance=1.0)  # TAR at a FAR of 1 %
    assert validation.is_chance({"val_tar": 4.0, "val_tar_low": 1.0, "val_tar_high": 8.0}, "val_tar")
    assert not validation.is_chance({"val_tar": 4.0, "val_tar_low": 1.1, "val_tar_high": 8.0}, "val_tar")


@pytest.mark.parametrize(
    ("metric", "chance", "taken", "refused"),
    [
        (ACCURACY, 10.0, 14.89, 14.91),  # two standard errors above, as without a metric
        (Metric("error", better="lower", share=True), 90.0, -85.11, -85.09),  # two below
        (Metric("mae", unit="deg", better="lower"), 28.6, -28.6, -28.5),  # no share: chance itself
        (Metric("r2", unit=""), 0.0, 0.0, 0.001),
    ],
)
def test_chance_follows_the_metrics_direction_and_knows_what_is_a_share(
    metric: Metric, chance: float, taken: float, refused: float
) -> None:
    validation = Validation(150, chance, metric)
    assert validation.is_chance({metric.objective: taken}, metric.objective)
    assert not validation.is_chance({metric.objective: refused}, metric.objective)


@pytest.mark.parametrize(
    ("metric", "chance", "words"),
    [
        (ACCURACY, 10.0, "10.00 %, so up to 14.90 % on 150 validation images"),
        (Metric("error", better="lower", share=True), 90.0, "90.00 %, so down to 85.10 % on 150 validation images"),
        (Metric("mae", unit="deg", better="lower"), 28.65, "28.65 deg"),
        (TAR, 1.0, "1.00 %, which is inside their 95 % intervals"),
    ],
)
def test_chance_is_said_in_the_metrics_unit(metric: Metric, chance: float, words: str) -> None:
    assert Validation(150, chance, metric).chance_words(metric.objective) == words


def test_an_error_with_an_interval_is_chance_where_that_reaches_chance() -> None:
    error = Metric("mae", unit="deg", better="lower")
    validation = Validation(150, 28.0, error)
    within, beyond = (error.trial_scores({"mae": 26.0, "mae_low": 24.0, "mae_high": high}) for high in (28.0, 27.9))
    assert validation.is_chance(within, error.objective)
    assert not validation.is_chance(beyond, error.objective)


def test_without_repeats_the_noise_is_the_images() -> None:
    assert noise_with_repeats(3.0, []) == 3.0
    assert noise_with_repeats(3.0, [(0.0, 2)]) == 3.0


def test_of_many_repeats_the_noise_is_the_normal_one_and_of_two_students() -> None:
    """Student's quantiles for 1, 2 and 4 degrees of freedom: 12.7062, 4.3027, 2.7764."""
    assert noise_with_repeats(3.0, [(4.0, 10**9)]) == pytest.approx(math.hypot(3, 1.959964 * 2), rel=1e-6)
    for degrees, quantile in ((1, 12.7062), (2, 4.3027), (4, 2.7764)):
        assert noise_with_repeats(0.0, [(4.0, degrees)]) == pytest.approx(2 * quantile, rel=1e-4)
    assert noise_with_repeats(0.0, [(2.0, 1), (2.0, 1)]) == pytest.approx(
        2 * 4.3027, rel=1e-4
    )  # as many as two together


def test_the_degrees_of_freedom_are_satterthwaites() -> None:
    assert degrees_with_repeats(3.0, []) == math.inf
    assert degrees_with_repeats(3.0, [(0.0, 1)]) == math.inf
    assert degrees_with_repeats(0.0, [(4.0, 1)]) == 1
    assert degrees_with_repeats(1.959964, [(1.0, 1)]) == pytest.approx(4)  # half of the variance is known: 2 squared
    assert degrees_with_repeats(0.0, [(1.0, 2), (3.0, 2)]) == pytest.approx(4**2 / (1 / 2 + 9 / 2))


@pytest.mark.parametrize(
    ("one", "other", "by_seeds", "most"),
    [
        (3, 3, 0.5, 0.06),
        (3, 3, 3.0, 0.06),
        (2, 2, 1.0, 0.065),
        (2, 2, 3.0, 0.075),
        (3, 1, 3.0, 0.09),
        (2, 1, 3.0, 0.14),
    ],
)
def test_about_one_in_twenty_differences_of_nothing_is_called_one(
    one: int, other: int, by_seeds: float, most: float
) -> None:
    """Two equal networks, so many seeds each; seeds deviate by `by_seeds` times what the images leave open. With 1.96 in place
    of Student's quantile 9.6 % of 3 against 3, and 23 % of 2 against 1, would be called different at three times."""
    rng, called, draws = np.random.default_rng(0), 0, 4000
    for _ in range(draws):
        ours, theirs = rng.normal(0, by_seeds, one), rng.normal(0, by_seeds, other)
        spread = ours.var(ddof=1)
        repeats = [(spread / one, one - 1)]
        repeats += [(theirs.var(ddof=1) / other, other - 1)] if other > 1 else []
        repeats = repeats if other > 1 else [(spread / one + spread, one - 1)]
        difference = rng.normal() + ours.mean() - theirs.mean()
        called += abs(difference) > noise_with_repeats(1.959964, repeats)
    assert 0.03 < called / draws < most
