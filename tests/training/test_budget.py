"""A budget is kept on paper: what is chosen fits the minutes by the machine's own speed, and no training is too short to rank."""

from __future__ import annotations

import functools
import math

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.engine.budgets import ended_after
from edgenas.errors import EdgenasError
from edgenas.methods import Method
from edgenas.methods.baselines import BaselineRules, random_search
from edgenas.methods.endings import ended_when
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import Architecture, Candidate, ChainArchitecture, Classes, Cost, Latency, Limits, Recipe
from edgenas.tasks import Task
from edgenas.training.budget import (
    LEAST_CANDIDATES,
    LEAST_STEPS,
    Schedule,
    Speed,
    _fit,
    fit_budget,
    least_epochs,
    rehearse,
    rehearse_longest,
)
from tests.training.conftest import ParameterCost, candidate

COST = functools.cache(ParameterCost().__call__)


def gnas_of_plan() -> Method:
    space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=6, min_width=4, max_width=8, width_step=2)
    return gnas(space, GnasRules(first_epochs=4), Training(Recipe("test", 1, 32, 0.05)), ParameterCost())


def plan(most: int | None = None) -> tuple[Candidate, ...]:
    method = gnas_of_plan()
    if most is not None:
        method = ended_when(method, ended_after(most), "val_accuracy")
    return rehearse(method, ParameterCost(), "val_accuracy")


def steps(images: int) -> int:
    return max(1, images // 32)


def schedule(per_image: float = 0.01, workers: int = 1) -> Schedule:
    """A machine on which every image of every network takes equally long."""
    return Schedule(Speed(0.0, 0.0, per_image, (per_image,)), COST, steps, evaluated=200, workers=workers)


def test_the_rehearsal_climbs_every_rung_of_a_small_space() -> None:
    phases = [c.phase for c in plan()]
    # depths 4, 5, 6; widths 6, 4; the macro network and its 6 layers; 6 larger kernels
    assert [phases.count(p) for p in ("depth", "width", "ops", "kernels")] == [3, 2, 7, 6]


def test_a_shorter_rehearsal_is_the_beginning_of_the_whole_one() -> None:
    assert plan(4) == plan()[:4]


class TightCost(ParameterCost):
    """Parameters, and a latency of width times depth to the fourth: deep networks must be narrow."""

    def __call__(self, architecture: Architecture) -> Cost:
        assert isinstance(architecture, ChainArchitecture)
        latency = Latency(float(architecture.width * architecture.depth**4), "predicted", "made-up")
        return msgspec.structs.replace(super().__call__(architecture), latencies={"made-up": latency})


def test_where_a_limit_makes_deep_networks_narrow_the_rehearsal_is_that_of_the_shallow_and_wide() -> None:
    space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=6, min_width=4, max_width=32, width_step=4)
    limits = Limits(latency_ms=float(32 * 4**4))
    cost = TightCost(limits)

    def begin() -> Method:
        return gnas(space, GnasRules(first_epochs=4), Training(Recipe("test", 1, 32, 0.05)), cost, limits)

    widths = {(c.architecture.depth, c.architecture.width) for c in rehearse(begin(), cost, "val_accuracy") if c.phase == "depth"}  # type: ignore[union-attr]  # fmt: skip
    assert widths == {(4, 32), (5, 12), (6, 4)}  # as wide as the limit allows; the last is the one that is gone on with
    longest = rehearse_longest(begin, cost, "val_accuracy")
    refined = {(c.architecture.depth, c.architecture.width) for c in longest if c.phase == "width"}  # type: ignore[union-attr]
    assert refined == {(4, width) for width in range(4, 32, 4)}


def test_without_a_limit_the_rehearsal_is_that_of_the_deepest_and_without_a_ladder_that_of_the_method() -> None:
    assert rehearse_longest(gnas_of_plan, ParameterCost(), "val_accuracy") == plan()
    begun = []

    def begin() -> Method:
        begun.append(1)
        space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=6, min_width=4, max_width=8, width_step=2)
        return random_search(space, BaselineRules(trials=3), Training(Recipe("test", 1, 32, 0.05)), ParameterCost())

    assert len(rehearse_longest(begin, ParameterCost(), "val_accuracy")) == 3
    assert begun == [1]  # a method whose candidates hang on no score is rehearsed once


def test_predicted_seconds_by_hand() -> None:
    depth, ops = candidate(epochs=10), candidate(epochs=10, phase="ops")
    # 3,200 images are 100 steps an epoch; 5 epochs of them and 200 looked at, each for .35 of 10 ms; .3 s beside each
    alone = 0.3 + (5 * 3200 + 0.35 * 200) * 0.01
    assert schedule().seconds((depth, ops), 3200, 0.5) == pytest.approx(2 * alone)
    # a second worker adds .5 on a ladder and .25 where an accepted change spoils what was trained ahead
    assert schedule(workers=2).seconds((depth,), 3200, 0.5) == pytest.approx(alone / 1.5)
    assert schedule(workers=2).seconds((ops,), 3200, 0.5) == pytest.approx(alone / 1.25)
    # at a tenth of the epochs the floor holds: 2 epochs are 200 steps, one would be 100
    assert schedule().seconds((depth,), 3200, 0.1) == pytest.approx(0.3 + (2 * 3200 + 0.35 * 200) * 0.01)


@pytest.mark.parametrize(("images", "epochs"), [(32 * 130, 1), (32 * 130 - 1, 2), (32 * 13, 10), (32, 130), (10, 130)])
def test_the_least_epochs_are_those_of_130_steps(images: int, epochs: int) -> None:
    assert least_epochs(steps(images)) == epochs


def test_many_minutes_choose_all_images_and_more_epochs_after_loading_and_timing(digits: Task) -> None:
    asked: list[str] = []

    def left() -> float:
        asked.append("left")
        return 36_000

    def told(most: int | None) -> tuple[Candidate, ...]:
        asked.append("rehearsed")
        return plan(most)

    rich = fit_budget(left, told, steps, COST, digits, "cpu", workers=2)
    assert asked == ["rehearsed", "left"]  # the clock is read last
    assert (rich.search_images, rich.epoch_scale, rich.most_candidates) == (None, 2.0, None)
    assert rich.candidates == rich.rehearsed == len(plan())
    assert len(digits.train) // 32 == 9  # of 320 images a stratified subsample leaves out a few
    assert (rich.least_epochs, rich.least_steps) == (15, 135)


def test_the_whole_search_is_preferred_then_fewer_images_then_fewer_candidates() -> None:
    candidates = plan()
    whole = schedule().seconds(candidates, 10_000, 0.5)
    assert _fit(whole, schedule(), plan, candidates, 10_000, 500) == (candidates, 10_000, 0.5)
    planned, images, scale = _fit(whole - 1, schedule(), plan, candidates, 10_000, 500)
    assert (len(planned), scale) == (len(candidates), 0.5)
    assert 9_000 < images < 10_000
    least = min(schedule().seconds(candidates, n, 0.25) for n in range(500, 10_000, 10))
    planned, images, scale = _fit(least * 0.7, schedule(), plan, candidates, 10_000, 500)
    assert LEAST_CANDIDATES <= len(planned) < len(candidates)
    assert schedule().seconds(planned, images, scale) <= least * 0.7


@pytest.mark.parametrize("share", [1.0, 0.6, 0.4, 0.3])
def test_what_is_planned_fits_and_no_training_is_shorter_than_130_steps(share: float) -> None:
    seconds = share * schedule().seconds(plan(), 2000, 0.25)
    planned, images, scale = _fit(seconds, schedule(), plan, plan(), 2000, 500)
    assert schedule().seconds(planned, images, scale) <= seconds
    assert all(schedule().epochs(c, images, scale) * steps(images) >= LEAST_STEPS for c in planned)


def test_long_schedules_are_cut_to_the_floor_before_a_search_is_refused() -> None:
    space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=6, min_width=4, max_width=8, width_step=2)
    training = Training(Recipe("test", 1, 32, 0.05))

    def long_plan(most: int | None = None) -> tuple[Candidate, ...]:  # TRG-NAS trains everything for 600 epochs
        method = trgnas(space, TrgnasRules(), training, ParameterCost())
        if most is not None:
            method = ended_when(method, ended_after(most), "val_accuracy")
        return rehearse(method, ParameterCost(), "val_accuracy")

    quarter = schedule().seconds(long_plan(LEAST_CANDIDATES), 500, 0.25)
    planned, images, scale = _fit(quarter / 15, schedule(), long_plan, long_plan(), 500, 500)
    assert scale == 0.0
    assert len(planned) >= LEAST_CANDIDATES
    assert {schedule().epochs(c, images, scale) * steps(images) for c in planned} == {9 * 15}  # 15 steps an epoch


def test_where_not_even_four_trainings_fit_the_refusal_says_what_is_needed() -> None:
    candidates = plan()
    needed = min(schedule().seconds(plan(LEAST_CANDIDATES), n, 0.25) for n in range(500, 2001, 4))
    planned, _, _ = _fit(needed * 1.05, schedule(), plan, candidates, 2000, 500)
    assert len(planned) == LEAST_CANDIDATES
    with pytest.raises(EdgenasError) as caught:
        _fit(needed * 0.5, schedule(), plan, candidates, 2000, 500)
    line = str(caught.value)
    assert f"--budget has {needed * 0.5 / 60:.1f} minutes left after loading" in line
    assert "4 trainings of 130 steps" in line
    assert f"allow {math.ceil(needed * 0.5 / 6) / 10:.1f} minutes more" in line
