"""Minutes for NSE on paper: the numbers that a given speed allows."""

import msgspec
import pytest

from edgenas.architectures.subspace import SupernetRules
from edgenas.errors import EdgenasError
from edgenas.records import Recipe
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.nse_budget import NseBudget, Speeds, fit_nse_budget, measure_speeds
from tests.training.test_nse import RECIPE, RULES, plan

PRESET = SupernetRules(Recipe("supernet", 5, 64, 0.1), calibration_batches=2)
SPEEDS = Speeds(training=0.002, scoring=0.0005, final=0.001)


def fit(task: Task, seconds: float, workers: int = 2, *, fixed: bool = False) -> NseBudget:
    return fit_nse_budget(seconds, SPEEDS, 4, 70, 8, task, PRESET, lambda images: images // 32, workers, fixed)


@pytest.fixture(scope="module")
def all_digits() -> Task:
    return load_task(TaskSettings("digits"))


def test_the_prediction_stays_within_the_minutes_and_more_minutes_choose_no_less(all_digits: Task) -> None:
    budgets = [(seconds, fit(all_digits, seconds)) for seconds in (60, 120, 240, 900, 3600)]
    assert all(budget.predicted_seconds <= seconds for seconds, budget in budgets)
    work = [b.rounds * b.supernet_epochs * (b.search_images or len(all_digits.train)) for _, b in budgets]
    assert work == sorted(work)


def test_epochs_grow_only_when_all_images_fit(all_digits: Task) -> None:
    for seconds in (60, 240, 3600):
        budget = fit(all_digits, seconds)
        assert budget.search_images is None or budget.supernet_epochs == PRESET.recipe.epochs


def test_rounds_are_given_up_before_the_search_is(all_digits: Task) -> None:
    assert fit(all_digits, 900).rounds == 4
    assert fit(all_digits, 50).rounds < 4
    with pytest.raises(EdgenasError, match="the shortest evolution of this space takes about"):
        fit(all_digits, 5)


@pytest.mark.parametrize(("fixed", "fewer"), [(False, "channels, networks or"), (True, "networks or")])
def test_fewer_channels_are_advised_where_they_can_be_set(fixed: bool, fewer: str, all_digits: Task) -> None:
    with pytest.raises(EdgenasError, match=f"allow more, or set fewer {fewer} supernet_epochs under"):
        fit(all_digits, 5, fixed=fixed)


def test_a_final_network_is_never_trained_for_less_than_130_steps(all_digits: Task) -> None:
    fewer = 0
    for seconds in range(40, 400, 5):
        try:
            budget = fit(all_digits, seconds)
        except EdgenasError:
            continue
        images = budget.search_images or len(all_digits.train)
        assert budget.final_epochs * (images // 32) >= 130
        assert budget.predicted_seconds <= seconds
        fewer += budget.finals < 8
        assert budget.finals >= 2
    assert fewer > 0  # fewer networks, not shorter trainings
    assert fit(all_digits, 900).finals == 8


def test_speeds_are_measured_on_a_real_supernet(digits: Task) -> None:
    rules = msgspec.structs.replace(RULES, calibration_batches=1)
    speeds = measure_speeds(plan(digits), digits, rules, RECIPE, "cpu")
    assert min(speeds.training, speeds.scoring, speeds.final) > 0
