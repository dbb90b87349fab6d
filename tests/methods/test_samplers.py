"""Optuna's samplers as searches: what they are told, and that they keep limits and pass over what is no network."""

import contextlib
import hashlib
import math
from typing import Literal

import msgspec
import pytest

from edgenas.architectures.own import Choices, OwnSpace
from edgenas.architectures.tracer import Tracer
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods.baselines import BaselineRules, random_search
from edgenas.methods.replay import cost_without_device
from edgenas.methods.samplers import GP, NSGA2, TPE, costs_told, error_told, excess, optuna_search
from edgenas.methods.spec import MethodSpec, Search
from edgenas.records import Candidate, Classes, Latency, Limits, Trial
from tests.methods.answers import SPACE, TRAINING, play


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


@pytest.mark.parametrize(
    ("name", "at_once", "later", "trials"),
    [("nsga2", 1, {8, 4}, 20), ("tpe", 1, {1}, 20), ("tpe", None, {8, 4}, 20), ("gp", None, {1}, 11)],
)
def test_models_hear_of_every_result_before_they_propose_again_and_generations_come_whole(
    name: Literal["nsga2", "tpe", "gp"], at_once: int | None, later: set[int], trials: int
) -> None:
    rules = BaselineRules(trials=trials, epochs=2, at_once=at_once)
    method, asked = optuna_search(name, SPACE, rules, TRAINING, cost_without_device), []
    ask = next(method)
    with contextlib.suppress(StopIteration):
        while True:
            asked.append(len(ask.needed))
            costs = [cost_without_device(one.architecture) for one in ask.needed]
            answered = zip(ask.needed, costs, strict=True)
            ask = method.send(
                tuple(Trial(c, "complete", k, 0, {"val_accuracy": params_and_noise(c)}) for c, k in answered)
            )
    assert (asked[0], set(asked[1:])) == (8, later)
    assert sum(asked) >= trials  # one that was trained before is asked for again, and costs nothing


def test_a_new_search_by_tpe_proposes_one_network_at_a_time() -> None:
    assert {rules.at_once for rules in TPE.presets.values()} == {1}  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["nsga2", "tpe", "gp"])
def test_a_sampler_that_proposes_nothing_within_the_limit_says_so(name: Literal["nsga2", "tpe", "gp"]) -> None:
    rules, limits = BaselineRules(trials=3, epochs=1, population=2), Limits(params=10)
    method = optuna_search(name, SPACE, rules, TRAINING, cost_without_device, limits)
    with pytest.raises(
        LimitError, match=rf"none of 60 proposals of {name} can be trained: 0 made no network, the others"
    ):
        play(method, lambda _: 50.0, cost_without_device, limits)


def odd(net: Tracer, choices: Choices) -> int:
    """Half of its kernels are larger than the image."""
    return net.conv(-1, choices["width"], choices["kernel"], padding=0)


@pytest.mark.parametrize("name", ["nsga2", "tpe", "gp"])
def test_a_sampler_passes_over_choices_that_make_no_network(name: Literal["nsga2", "tpe", "gp"]) -> None:
    space = OwnSpace("odd", {"width": range(4, 40), "kernel": (3, 9, 11, 5)}, odd)(Classes(10), 3, 8)
    rules = BaselineRules(trials=7 if name == "gp" else 12, epochs=1, population=4)
    method = optuna_search(name, space, rules, TRAINING, cost_without_device)
    choice, trials, _ = play(method, params_and_noise, cost_without_device)
    assert len({trial.candidate.key for trial in trials}) == rules.trials
    assert choice.trial.candidate.architecture.choices["kernel"] in (3, 5)
    nothing = OwnSpace("none", {"kernel": (9, 11)}, lambda net, c: net.conv(-1, 4, c["kernel"], padding=0))
    with pytest.raises(
        EdgenasError, match=rf"none of {20 * rules.trials} proposals .*: {20 * rules.trials} made no network"
    ):
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


def test_what_a_network_costs_is_told_raw_to_three_objectives_and_as_one_logarithm_to_two() -> None:
    price = cost_without_device(SPACE.smallest())
    assert costs_told(price, 3) == [0.0, float(price.params)]
    assert costs_told(price, 2) == [math.log(price.params)]
    on_two = {"a": Latency(2.0, "predicted", "a"), "b": Latency(3.0, "predicted", "b")}
    timed = msgspec.structs.replace(price, latencies=on_two)
    assert costs_told(timed, 3) == [3.0, float(price.params)]
    assert costs_told(timed, 2) == [math.log(3.0)]


def test_a_constraint_is_broken_where_a_limit_is_and_by_the_logarithm_of_the_worst() -> None:
    price = msgspec.structs.replace(
        cost_without_device(SPACE.smallest()), latencies={"a": Latency(2.0, "predicted", "a", high=3.0, energy_mj=5.0)}
    )
    assert excess(Limits(), price) == -1
    for limits, ratio in (
        (Limits(latency_ms=1.0), 2.0),
        (Limits(latency_ms=2.0), 1.0),  # at the limit it holds
        (Limits(latency_ms=2.0, margin=True), 1.5),
        (Limits(latency_ms=4.0, margin=True), 0.75),
        (Limits(energy_mj=4.0), 1.25),
        (Limits(params=2 * price.params), 0.5),
        (Limits(size_mb=price.size_mb / 3), 3.0),
        (Limits(memory_mb=price.memory_mb / 4), 4.0),
        (Limits(mmacs=price.macs / 2e6), 2.0),
        (Limits(mmacs=price.macs / 1e6), 1.0),  # at the limit it holds
        (Limits(latency_ms=1.0, params=2 * price.params), 2.0),
    ):
        assert excess(limits, price) == pytest.approx(math.log(ratio))
        assert (excess(limits, price) > 0) == bool(limits.broken(price))


def test_the_process_is_told_by_how_much_a_limit_is_broken_and_no_error_of_what_was_not_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and constraints as Optuna holds them: over the limit stands the mean error of what had been trained by then."""
    import optuna

    studies = []
    create = optuna.create_study
    monkeypatch.setattr(optuna, "create_study", lambda **how: studies.append(create(**how)) or studies[0])
    limits, rules = Limits(params=20_000), BaselineRules(trials=5, epochs=1, population=3, objectives=2)
    method = optuna_search("gp", SPACE, rules, TRAINING, cost_without_device, limits, seed=3)
    _, trials, _ = play(method, params_and_noise, cost_without_device, limits)
    told = {trial.number: trial for trial in studies[0].trials}
    assert {t.state for t in told.values()} == {optuna.trial.TrialState.COMPLETE}
    errors = [100 - t.scores["val_accuracy"] for t in trials if t.status == "complete"]
    for trial, known in zip(trials, told.values(), strict=True):
        error, axis = known.values
        (broken,) = known.constraints.values()
        assert axis == pytest.approx(math.log(trial.cost.params))
        assert broken == pytest.approx(math.log(trial.cost.params / 20_000))
        if trial.status == "complete":
            assert error == 100 - trial.scores["val_accuracy"]
        else:
            assert min(errors) <= error <= max(errors)
    assert {trial.status for trial in trials} == {"complete", "infeasible"}


def test_the_process_proposes_one_by_one_once_it_has_something_to_go_by() -> None:
    rules = BaselineRules(trials=6, epochs=1, population=4, objectives=2)
    method = optuna_search("gp", SPACE, rules, TRAINING, cost_without_device, seed=1)
    asked, ask = [], next(method)
    while True:
        asked.append(len(ask.needed))
        answers = tuple(
            Trial(c, "complete", cost_without_device(c.architecture), 0, {"val_accuracy": params_and_noise(c)})
            for c in ask.needed
        )
        try:
            ask = method.send(answers)
        except StopIteration:
            break
    assert asked[0] == 4
    assert set(asked[1:]) == {1}


def test_the_process_finds_what_is_good_where_it_is_told_what_is() -> None:
    """Accuracy is the width, nothing else; of 14 networks random ones rarely have the widest of nine, a model always does."""
    rules = BaselineRules(trials=14, epochs=1, population=5, objectives=2)
    method = optuna_search("gp", SPACE, rules, TRAINING, cost_without_device, seed=0)
    choice, _, _ = play(method, lambda c: float(c.architecture.width), cost_without_device)
    assert choice.trial.candidate.architecture.width == 16


@pytest.mark.parametrize("spec", [NSGA2, TPE, GP], ids=lambda spec: spec.name)
def test_what_is_left_is_said_where_no_proposal_can_break_a_limit(spec: MethodSpec) -> None:
    rules = BaselineRules(trials=9, epochs=1, population=4)
    last = Trial(
        Candidate(SPACE.smallest(), TRAINING.recipe, spec.name),
        "complete",
        cost_without_device(SPACE.smallest()),
        0,
        number=4,
    )
    for limits, left in ((Limits(), 5), (Limits(params=20_000), None)):
        assert spec.left(Search(SPACE, rules, TRAINING, cost_without_device, limits, 0), last, 0) == left


def test_proposals_that_break_a_limit_are_none_of_the_trainings() -> None:
    """By its number the ninth trial would be the last of nine."""
    limits, rules = Limits(params=20_000), BaselineRules(trials=9, epochs=1, population=4)
    method = optuna_search("nsga2", SPACE, rules, TRAINING, cost_without_device, limits, seed=3)
    _, trials, _ = play(method, params_and_noise, cost_without_device, limits)
    assert sum(trial.status == "complete" for trial in trials[9:]) > 0
