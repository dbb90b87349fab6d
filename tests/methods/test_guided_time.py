"""How long a guided search takes trainings to be."""

import msgspec
import numpy as np
import pytest

from edgenas.methods.guided_time import seconds_of
from edgenas.methods.replay import cost_without_device
from edgenas.records import Candidate, Trial
from tests.methods.answers import SPACE, TRAINING

MACS = np.array([1e6, 5e6, 20e6])
ONCE = np.ones(3)


def trial(macs: float, seconds: float, epochs: int = 2, status: str = "complete") -> Trial:
    network = SPACE.smallest()
    cost = msgspec.structs.replace(cost_without_device(network), macs=int(macs))
    recipe = msgspec.structs.replace(TRAINING.recipe, epochs=epochs)
    return Trial(Candidate(network, recipe, "guided"), status, cost, 0, seconds=seconds)  # type: ignore[arg-type]


def test_it_is_the_line_through_trainings_of_any_number_of_epochs() -> None:
    trials = [trial(macs, epochs * (0.5 + 0.25e-6 * macs), epochs) for macs, epochs in ((1e6, 2), (4e6, 3), (9e6, 5))]
    assert seconds_of(MACS, ONCE, trials) == pytest.approx([0.75, 1.75, 5.5])
    assert seconds_of(MACS, np.array([8.0, 4.0, 1.0]), trials) == pytest.approx([6.0, 7.0, 5.5])


def test_errors_count_relative_to_the_seconds() -> None:
    """Of small trainings of 0.9 and 1.1 seconds the line passes at 0.98, where the sum of squares of both shares is least."""
    trials = [trial(1e6, 2 * 0.9), trial(1e6, 2 * 1.1), trial(100e6, 2 * 50.0)]
    assert seconds_of(np.array([1e6, 100e6]), np.ones(2), trials) == pytest.approx([0.9802, 50.0], rel=0.002)


def test_where_large_networks_take_no_longer_all_take_the_same() -> None:
    trials = [trial(1e6, 4.0), trial(10e6, 3.6), trial(20e6, 3.8)]
    assert len(set(seconds_of(MACS, ONCE, trials))) == 1


def test_no_network_takes_less_than_nothing() -> None:
    """Seconds grow faster than MACs: the line through these would be below 0 at 1 million."""
    trials = [trial(10e6, 1.0), trial(20e6, 4.0), trial(40e6, 16.0)]
    assert (seconds_of(MACS, ONCE, trials) > 0).all()


@pytest.mark.parametrize(
    "third", [[], [trial(20e6, 0.0)], [trial(20e6, 5.0, status="failed")], [trial(20e6, 5.0, status="infeasible")]]
)
def test_two_trainings_tell_nothing(third: list[Trial]) -> None:
    trials = [trial(1e6, 1.0), trial(10e6, 10.0), *third]
    assert seconds_of(MACS, ONCE, trials).tolist() == [1.0, 1.0, 1.0]
    assert seconds_of(MACS, ONCE, [*trials, trial(5e6, 5.0)]).tolist() != [1.0, 1.0, 1.0]
