"""What the other searches are compared with: under the same policy, within what the space holds."""

import zlib

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.engine.budgets import ended_after
from edgenas.errors import EdgenasError
from edgenas.methods import CONTROL, Method
from edgenas.methods.baselines import RANDOM, BaselineRules, random_search, with_control, work
from edgenas.methods.endings import ended_when
from edgenas.methods.evolution import EVOLUTION
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.guided import GUIDED
from edgenas.methods.replay import cost_without_device
from edgenas.methods.samplers import GP, NSGA2, TPE
from edgenas.methods.spec import MethodSpec, Search
from edgenas.records import Classes, Limits, Schedule
from tests.methods.answers import SPACE, TRAINING, play


def test_equal_compute_holds_for_random_members() -> None:
    training = msgspec.structs.replace(TRAINING, policy="gpu-seconds", fixed_epochs=10)
    method = random_search(SPACE, BaselineRules(trials=12), training, cost_without_device)
    _, trials, _ = play(method, lambda _: 50.0, cost_without_device)
    work = [trial.candidate.recipe.epochs * trial.cost.bytes_moved for trial in trials]
    assert min(trial.candidate.recipe.epochs for trial in trials) >= 10
    assert max(work) < 1.1 * min(work)


def test_the_control_trains_as_long_as_the_chosen_network() -> None:
    training = msgspec.structs.replace(TRAINING, epoch_scale=0.25)
    search = gnas(SPACE, GnasRules(), training, cost_without_device)
    choice, trials, _ = play(
        with_control(search, SPACE, training, cost_without_device, Limits(), 0),
        lambda c: float(zlib.crc32(c.key.encode()) % 97),
        cost_without_device,
    )
    control = {trial.candidate.recipe.epochs for trial in trials if trial.candidate.phase == CONTROL}
    assert control == {int(choice.macro["epochs"] * 0.25 + 0.5)}


def test_a_control_that_runs_out_of_networks_does_not_lose_the_search() -> None:
    space = ChainSpace(Classes(10), 1, 8, min_depth=4, max_depth=10, min_width=4, max_width=24, width_step=4)
    limits = Limits(params=1200)
    search = gnas(space, GnasRules(), TRAINING, cost_without_device, limits)
    choice, trials, _ = play(
        with_control(search, space, TRAINING, cost_without_device, limits, 0),
        lambda _: 50.0,
        cost_without_device,
        limits,
    )
    assert choice.trial.status == "complete"
    assert 1 <= sum(trial.candidate.phase == CONTROL for trial in trials) < 10


def test_the_control_stops_with_the_first_network_that_reaches_what_the_search_spent() -> None:
    search = gnas(SPACE, GnasRules(), TRAINING, cost_without_device)
    _, trials, _ = play(
        with_control(search, SPACE, TRAINING, cost_without_device, Limits(), 0),
        lambda c: float(zlib.crc32(c.key.encode()) % 97),
        cost_without_device,
    )
    spent = sum(work(trial) for trial in trials if trial.candidate.phase != CONTROL)
    control = [work(trial) for trial in trials if trial.candidate.phase == CONTROL]
    assert sum(control[:-1]) < spent <= sum(control)


def test_the_control_does_not_spend_what_the_search_asked_for_twice() -> None:
    """Once for each training: `--confirm-seeds` asks for the repeats of the network that holds again and again."""
    search = gnas(SPACE, GnasRules(), TRAINING, cost_without_device, confirm_seeds=2)
    _, trials, _ = play(
        with_control(search, SPACE, TRAINING, cost_without_device, Limits(), 0),
        lambda c: float(zlib.crc32(c.key.encode()) % 97),
        cost_without_device,
    )
    by_key = {trial.candidate.key: work(trial) for trial in trials if trial.candidate.phase != CONTROL}
    assert len(by_key) < sum(trial.candidate.phase != CONTROL for trial in trials)
    control = [work(trial) for trial in trials if trial.candidate.phase == CONTROL]
    assert sum(control[:-1]) < sum(by_key.values()) <= sum(control)


@pytest.mark.parametrize(("schedule", "epochs"), [("cosine-epoch", 2), ("linear", 1)])
def test_a_schedule_that_cannot_train_one_epoch_gets_two(schedule: Schedule, epochs: int) -> None:
    recipe = msgspec.structs.replace(TRAINING.recipe, schedule=schedule)
    training = msgspec.structs.replace(TRAINING, recipe=recipe, epoch_scale=0.25)
    assert training.recipe_for(4, cost_without_device(SPACE.smallest())).epochs == epochs
    assert training.recipe_for(12, cost_without_device(SPACE.smallest())).epochs == 3


@pytest.mark.parametrize("spec", [RANDOM, EVOLUTION, NSGA2, TPE, GP], ids=lambda spec: spec.name)
@pytest.mark.parametrize("by_the_clock", [False, True])
def test_by_the_clock_a_baseline_trains_more_than_its_rules_say(spec: MethodSpec, by_the_clock: bool) -> None:
    share = (lambda _: 0.5) if by_the_clock else None
    rules = BaselineRules(trials=9, population=4)
    search = Search(SPACE, rules, TRAINING, cost_without_device, Limits(), seed=0, share=share)
    method = ended_when(spec.make(search), ended_after(14), "val_accuracy")
    _, trials, _ = play(method, lambda c: float(zlib.crc32(c.key.encode()) % 97), cost_without_device)
    trained = {trial.candidate.key for trial in trials}
    assert len(trained) == (14 if by_the_clock else 9)


@pytest.mark.parametrize("spec", [RANDOM, EVOLUTION, NSGA2, TPE, GP, GUIDED], ids=lambda spec: spec.name)
def test_minutes_in_the_place_of_epochs_times_bytes_are_refused(spec: MethodSpec) -> None:
    least = cost_without_device(SPACE.smallest()).bytes_moved

    def made(budget: float) -> Method:
        rules = msgspec.structs.replace(spec.presets["tiny"], budget=budget)
        return spec.make(Search(SPACE, rules, TRAINING, cost_without_device, Limits(), seed=0))

    next(made(least))
    with pytest.raises(EdgenasError, match=rf"\[rules\] budget = 10 is .* {least:,}: give minutes by --budget"):
        made(10)
    with pytest.raises(EdgenasError, match="is epochs x bytes moved"):
        made(least - 1)


def test_random_members_of_a_small_space_end_with_the_last() -> None:
    space = ChainSpace(Classes(10), 3, 32, min_depth=4, max_depth=4, min_width=8, max_width=8, kernels=(3,))
    method = random_search(space, BaselineRules(trials=500), TRAINING, cost_without_device)
    _, trials, _ = play(method, lambda _: 50.0, cost_without_device)
    assert len(trials) == 2**4  # four layers that are separable or dense
