"""How alike outputs are, by hand."""

import numpy as np
import pytest

from edgenas.runtimes.compare import cosines, likeness


def test_cosines_by_hand() -> None:
    a = np.array([[1, 0], [1, 1], [0, 0], [0, 0]], np.float32)
    b = np.array([[0, 2], [2, 0], [0, 0], [1, 0]], np.float32)
    np.testing.assert_allclose(cosines(a, b), [0, np.sqrt(0.5), 1, 0], atol=1e-6)
    assert likeness(a, b, values=False) == pytest.approx((1 + np.sqrt(0.5)) / 4)


WANT = np.array([[99.0], [101.0], [99.0], [101.0]])  # mean 100, deviation 1


@pytest.mark.parametrize(
    ("have", "wanted"),
    [
        (WANT, 1.0),
        (WANT + 1.0, 1 / np.sqrt(2)),  # an offset of one deviation: (-1, 1) against (0, 2), 4 of sqrt(4 * 8)
        (np.full_like(WANT, 100.0), 0.0),  # always the mean: nothing was learned
        (200.0 - WANT, -1.0),
    ],
)
def test_values_are_compared_about_their_mean_in_units_of_their_deviation(have: np.ndarray, wanted: float) -> None:
    assert likeness(WANT, have, values=True) == pytest.approx(wanted, abs=1e-7)
    assert likeness(WANT, have, values=False) == pytest.approx(1.0)  # all are positive: rows of one number say nothing


def test_a_small_value_counts_as_much_as_a_large_one() -> None:
    want = np.concatenate([1000 * WANT, WANT / 1000], axis=1)
    have = np.concatenate([1000 * WANT, np.full_like(WANT, 0.1)], axis=1)
    # (-1, -1), (1, 1), .. against (-1, 0), (1, 0), ..: 4 of sqrt(8 * 4)
    assert likeness(want, have, values=True) == pytest.approx(np.sqrt(0.5))


def test_a_value_that_is_the_same_for_all_images_must_stay_so() -> None:
    want = np.concatenate([WANT, np.full_like(WANT, 5.0)], axis=1)
    assert likeness(want, want, values=True) == pytest.approx(1.0)
    assert likeness(want, want + np.array([0.0, 1.0]), values=True) == pytest.approx(np.sqrt(0.5))
