"""What the other searches are compared with: under the same policy, within what the space holds."""

import hashlib
import zlib
from typing import Literal

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.own import Choices, OwnSpace
from edgenas.architectures.tracer import Tracer
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods import CONTROL
from edgenas.methods.baselines import BaselineRules, error_told, optuna_search, random_search, with_control, work
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.replay import cost_without_device
from edgenas.records import Candidate, Classes, Limits, Trial
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


@pytest.mark.parametrize(
    ("name", "limit", "ledger"),
    [
        ("random", None, "55238a3c6a4219c6"),
        ("random", 20_000, "7e9166e5b6c7ff90"),
        ("nsga2", None, "777d6755227217c4"),
        ("nsga2", 20_000, "b4c151a716b94139"),
        ("tpe", None, "738fed7f9a3590dc"),
        ("tpe", 20_000, "d0d41dd17a675e33"),
    ],
)
def test_the_same_chains_are_asked_for_as_when_only_chains_could_be_searched(
    name: Literal["random", "nsga2", "tpe"], limit: int | None, ledger: str
) -> None:
    """Keys and statuses of all trials, as commit 7b7b68e asked for them with Optuna 5. Of TPE the first ones, which it draws:
    those of its model rest on logarithms whose last digits differ between processors."""
    limits, rules = Limits(params=limit), BaselineRules(trials=8 if name == "tpe" else 20, epochs=2)
    if name == "random":
        method = random_search(SPACE, rules, TRAINING, cost_without_device, limits, seed=3)
    else:
        method = optuna_search(name, SPACE, rules, TRAINING, cost_without_device, limits, seed=3)
    _, trials, _ = play(method, params_and_noise, cost_without_device, limits)
    drawn = trials[: rules.population] if name == "tpe" else trials
    asked = " ".join(trial.candidate.key + trial.status for trial in drawn)
    assert hashlib.sha256(asked.encode()).hexdigest()[:16] == ledger


def params_and_noise(candidate: Candidate) -> float:
    noise = int(hashlib.sha256(candidate.key.encode()).hexdigest()[:4], 16) / 0xFFFF
    return 60.0 + cost_without_device(candidate.architecture).params ** 0.5 / 10 + noise


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_a_sampler_that_proposes_nothing_within_the_limit_says_so(name: Literal["nsga2", "tpe"]) -> None:
    rules, limits = BaselineRules(trials=3, epochs=1, population=2), Limits(params=10)
    method = optuna_search(name, SPACE, rules, TRAINING, cost_without_device, limits)
    with pytest.raises(
        LimitError, match=rf"none of 60 proposals of {name} can be trained: 0 made no network, the others"
    ):
        play(method, lambda _: 50.0, cost_without_device, limits)


def odd(net: Tracer, choices: Choices) -> int:
    """Half of its kernels are larger than the image."""
    return net.conv(-1, choices["width"], choices["kernel"], padding=0)


@pytest.mark.parametrize("name", ["nsga2", "tpe"])
def test_a_sampler_passes_over_choices_that_make_no_network(name: Literal["nsga2", "tpe"]) -> None:
    space = OwnSpace("odd", {"width": range(4, 40), "kernel": (3, 9, 11, 5)}, odd)(Classes(10), 3, 8)
    rules = BaselineRules(trials=12, epochs=1, population=4)
    method = optuna_search(name, space, rules, TRAINING, cost_without_device)
    choice, trials, _ = play(method, params_and_noise, cost_without_device)
    assert len({trial.candidate.key for trial in trials}) == 12
    assert choice.trial.candidate.architecture.choices["kernel"] in (3, 5)
    nothing = OwnSpace("none", {"kernel": (9, 11)}, lambda net, c: net.conv(-1, 4, c["kernel"], padding=0))
    with pytest.raises(EdgenasError, match=r"none of 240 proposals .*: 240 made no network"):
        play(
            optuna_search(name, nothing(Classes(10), 3, 8), rules, TRAINING, cost_without_device),
            params_and_noise,
            cost_without_device,
        )


def test_a_network_that_failed_is_never_told_as_better_than_one_that_was_trained() -> None:
    net = SPACE.smallest()
    candidate, price = Candidate(net, TRAINING.recipe, "tpe"), cost_without_device(net)
    accurate = Trial(candidate, "complete", price, 0, {"val_accuracy": 60.0})
    far_off = Trial(candidate, "complete", price, 0, {"val_neg_mae": -3.5})
    failed = Trial(candidate, "failed", price, 0, error="out of memory")
    assert error_told(accurate, "val_accuracy", 100.0) == 40.0
    assert error_told(far_off, "val_neg_mae", 100.0) == 103.5
    assert error_told(failed, "val_neg_mae", 103.5) == 103.5
    assert error_told(failed, "val_accuracy", 100.0) == 100.0
