"""What every chain method must do, whatever it searches like."""

import hashlib
from collections.abc import Callable

import pytest

from edgenas.methods import Method
from edgenas.methods.baselines import BaselineRules, optuna_search, random_search, with_control
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.replay import cost_without_device
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import Ask, Candidate, Choice, Limits, Trial
from tests.methods.answers import SPACE, TRAINING, play

LIMITS = Limits(params=20_000)
FEW = BaselineRules(trials=20, epochs=2)

METHODS: dict[str, Callable[[Limits], Method]] = {
    "gnas": lambda limits: gnas(SPACE, GnasRules(), TRAINING, cost_without_device, limits),
    "gnas with confirming seeds": lambda limits: gnas(
        SPACE, GnasRules(), TRAINING, cost_without_device, limits, confirm_seeds=2
    ),
    "trgnas": lambda limits: trgnas(SPACE, TrgnasRules(), TRAINING, cost_without_device, limits),
    "random": lambda limits: random_search(SPACE, FEW, TRAINING, cost_without_device, limits, seed=3),
    "nsga2": lambda limits: optuna_search("nsga2", SPACE, FEW, TRAINING, cost_without_device, limits, seed=3),
    "tpe": lambda limits: optuna_search("tpe", SPACE, FEW, TRAINING, cost_without_device, limits, seed=3),
    "gnas with a random control": lambda limits: with_control(
        gnas(SPACE, GnasRules(), TRAINING, cost_without_device, limits), SPACE, TRAINING, cost_without_device, limits, 3
    ),
}

every_method = pytest.mark.parametrize("name", METHODS)


def score(candidate: Candidate) -> float:
    """An accuracy that depends on the candidate alone, like a trained one: larger is better, with noise."""
    params = cost_without_device(candidate.architecture).params
    noise = int(hashlib.sha256(candidate.key.encode()).hexdigest()[:4], 16) / 0xFFFF
    return 60.0 + params**0.5 / 10 + noise


@every_method
def test_what_is_over_a_limit_is_never_trained_and_never_chosen(name: str) -> None:
    choice, trials, _ = play(METHODS[name](LIMITS), score, cost_without_device, LIMITS)
    assert choice.trial.status == "complete"
    assert choice.trial.cost.params <= 20_000
    assert {t.status for t in trials if t.cost.params > 20_000} <= {"infeasible"}


@pytest.mark.parametrize("name", ["random", "nsga2", "tpe"])
def test_baselines_train_as_many_networks_as_they_may_and_none_twice(name: str) -> None:
    _, trials, _ = play(METHODS[name](LIMITS), score, cost_without_device, LIMITS)
    assert len({t.candidate.key for t in trials if t.status == "complete"}) == FEW.trials


@every_method
def test_the_same_answers_lead_to_the_same_decisions(name: str) -> None:
    assert play(METHODS[name](LIMITS), score, cost_without_device, LIMITS) == play(
        METHODS[name](LIMITS), score, cost_without_device, LIMITS
    )


@every_method
def test_what_is_likely_is_what_is_asked_for_next_unless_the_answer_changes_something(name: str) -> None:
    method = METHODS[name](Limits())
    ask: Ask = next(method)
    expected: Candidate | None = None
    hits = 0
    while True:
        hits += expected is not None and ask.needed[0] == expected
        expected = ask.likely[0] if ask.likely else None
        trials = tuple(
            Trial(c, "complete", cost_without_device(c.architecture), 0, {"val_accuracy": 50.0}, number=1)
            for c in ask.needed
        )
        try:
            ask = method.send(trials)
        except StopIteration as end:
            choice: Choice = end.value
            break
    assert choice.trial.status == "complete"
    if name in ("gnas", "trgnas", "random"):  # the others' next question depends on the answer
        assert hits > 0


@every_method
def test_every_candidate_is_a_member_of_the_space(name: str) -> None:
    _, trials, _ = play(METHODS[name](LIMITS), score, cost_without_device, LIMITS)
    for trial in trials:
        net = trial.candidate.architecture
        assert SPACE.min_depth <= net.depth <= SPACE.max_depth
        assert SPACE.min_width <= net.width <= SPACE.max_width
        assert set(net.kernels) <= set(SPACE.kernels)
