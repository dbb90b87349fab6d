"""How long a final training takes, and when it looks at validation."""

from __future__ import annotations

import pytest
import torch

from edgenas.networks import network_from_architecture
from edgenas.records import Recipe
from edgenas.tasks import Task
from edgenas.training.final import Best, epochs_within, looked_after, seconds_of
from tests.training.conftest import tiny

PER_IMAGE = 0.001


@pytest.mark.parametrize(
    ("epochs", "looks"), [(1, 1), (9, 9), (20, 20), (39, 39), (40, 20), (41, 21), (59, 30), (60, 20), (1000, 20)]
)
def test_a_training_looks_twenty_to_thirty_nine_times_and_at_its_last_epoch(epochs: int, looks: int) -> None:
    after = looked_after(epochs)
    assert len(after) == looks
    assert after[-1] == epochs
    assert len(set(after)) == looks


def test_the_looks_that_are_planned_are_those_that_happen(digits: Task) -> None:
    network = network_from_architecture(tiny())
    best = Best(digits, Recipe("r", 41, 64, 0.1), torch.device("cpu"), network)
    for epoch in range(1, 42):
        best(epoch, network)
    assert tuple(look.epoch for look in best.looks) == looked_after(41)


def test_the_seconds_of_a_run_are_of_its_epochs_looks_and_test(digits: Task) -> None:
    train, val, test = len(digits.train), len(digits.val), len(digits.test)
    assert not digits.flip
    assert seconds_of(39, digits, PER_IMAGE, 2) == pytest.approx(
        2 * PER_IMAGE * (39 * train + 0.35 * (39 * val + 2 * test))
    )
    unseen = seconds_of(39, digits, PER_IMAGE, 2, validated=False)
    assert unseen == pytest.approx(2 * PER_IMAGE * (39 * train + 0.35 * 2 * test))


@pytest.mark.parametrize("validated", [True, False])
@pytest.mark.parametrize("waves", [1, 3])
def test_the_most_epochs_are_taken_that_end_in_time(digits: Task, validated: bool, waves: int) -> None:
    seen = set()
    for seconds in [0.01, 0.5, *range(1, 80, 3)]:
        epochs = epochs_within(seconds, digits, PER_IMAGE, waves, validated=validated)
        took = {n: seconds_of(n, digits, PER_IMAGE, waves, validated=validated) for n in range(1, 300)}
        assert epochs == max((n for n, each in took.items() if each <= seconds), default=0)
        seen.add(epochs)
    assert {0} < seen
    assert max(seen) > 40


def test_a_training_that_nobody_looks_at_has_time_for_more_epochs(digits: Task) -> None:
    assert epochs_within(20, digits, PER_IMAGE, 1, validated=False) > epochs_within(20, digits, PER_IMAGE, 1)
