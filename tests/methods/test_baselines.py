"""What the other searches are compared with: under the same policy, within what the space holds."""

import zlib

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.methods import CONTROL
from edgenas.methods.baselines import BaselineRules, random_search, with_control, work
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.replay import cost_without_device
from edgenas.records import Classes, Limits
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
