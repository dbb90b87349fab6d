"""What a share of so many images can tell: published figures, and both sides of every bound."""

import pytest

from edgenas.binomial import Validation, noise_of_difference, standard_error, wilson


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
