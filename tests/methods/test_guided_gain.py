"""What a network is expected to add to a front, against sampling and by hand."""

import numpy as np
import pytest

from edgenas.methods.guided_gain import Front, expected_improvement, gains, undominated
from edgenas.methods.guided_model import Expected

SURE = 1e-9


def front(*points: tuple[float, float], bottom: float = 0.0, top: float = 10.0) -> Front:
    along, mean = zip(*points, strict=True)
    return Front(np.array(along), np.array(mean), bottom, top)


def gain(networks: list[tuple[float, float]], of: Front, weight: float = 0.0, sd: float = SURE) -> list[float]:
    along, mean = (np.array(values) for values in zip(*networks, strict=True))
    return [float(value) for value in gains(along, Expected(mean, np.full(len(mean), sd)), of, weight)]


def test_what_is_certain_adds_the_area_between_it_and_the_front() -> None:
    """The front steps from 60 at 2 to 70 at 6; all from 0 to 10. By hand: 65 at 4 adds 2 x 5, 75 at 8 adds 2 x 5, 80 at 5 adds
    1 x 20 and 4 x 10, 64 at 6 nothing."""
    steps = front((2.0, 60.0), (6.0, 70.0))
    networks = [(4.0, 65.0), (8.0, 75.0), (5.0, 80.0), (6.0, 64.0)]
    assert gain(networks, steps) == pytest.approx([10 / 60, 10 / 60, 1.0, 0.0])


def test_what_is_cheaper_than_all_adds_what_it_is_better_than_the_worst() -> None:
    """Before the front's first step the worst score counts, 60: 62 at 1 adds 1 x 2 before, and from 2 to 6 twice 4."""
    steps = front((2.0, 60.0), (6.0, 70.0))
    assert gain([(1.0, 62.0), (0.0, 62.0)], steps) == pytest.approx([10 / 12, 1.0])


def test_what_lies_beyond_the_limit_or_below_the_bottom_counts_there() -> None:
    assert gain([(11.0, 99.0), (9.0, 61.0)], front((2.0, 60.0))) == [0.0, 1.0]
    assert gain([(-5.0, 61.0), (0.0, 61.0)], front((2.0, 60.0))) == [1.0, 1.0]


def test_weight_is_of_the_best_within_the_limit_alone() -> None:
    steps = front((2.0, 60.0), (6.0, 70.0))
    cheap, dear = (0.0, 69.0), (9.9, 75.0)
    assert gain([cheap, dear], steps) == pytest.approx([1.0, 0.5 / 54])  # 6 x 9, .1 x 5
    assert gain([cheap, dear], steps, weight=100.0)[1] == 1.0


def test_expected_improvement_is_the_mean_over_samples() -> None:
    expected = Expected(np.array([70.0, 72.0]), np.array([2.0, 0.5]))
    levels = np.array([69.0, 71.0, 75.0])
    drawn = np.random.default_rng(1).normal(expected.mean, expected.sd, size=(400_000, 2))
    sampled = np.maximum(0, drawn[:, :, None] - levels).mean(0)
    assert expected_improvement(expected, levels) == pytest.approx(sampled, abs=0.01)


def test_of_equal_means_the_less_certain_is_worth_more() -> None:
    expected = Expected(np.array([65.0, 65.0]), np.array([0.5, 3.0]))
    one, other = gains(np.array([4.0, 4.0]), expected, front((2.0, 60.0), (3.0, 70.0)), 0.0)
    assert one < other == 1.0


def test_undominated_networks_by_hand() -> None:
    along, mean = np.array([1.0, 2.0, 2.0, 3.0, 4.0, 4.0]), np.array([60.0, 59.0, 65.0, 65.0, 66.0, 66.0])
    assert undominated(along, mean).tolist() == [True, False, True, False, True, True]
