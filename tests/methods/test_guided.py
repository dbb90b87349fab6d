"""A guided search: what it spends, how it ends, what it chooses; each promise on both of its sides."""

import hashlib
import math
import random
from collections.abc import Callable

import msgspec
import pytest

from edgenas.architectures.own import Choices, OwnSpace
from edgenas.architectures.tracer import Tracer
from edgenas.binomial import Validation, standard_error
from edgenas.engine.scores import noise_of_expected
from edgenas.errors import LimitError, TrainingError
from edgenas.methods import Method
from edgenas.methods.endings import ended_at_chance, ended_when
from edgenas.methods.guided import GUIDED, guided
from edgenas.methods.guided_hunt import GuidedRules
from edgenas.methods.ladder import Training
from edgenas.methods.replay import cost_without_device
from edgenas.methods.spec import Search
from edgenas.records import Architecture, Ask, Candidate, Choice, Classes, Cost, Latency, Limits, Trial
from tests.methods.answers import SPACE, TRAINING, play

RULES = GuidedRules(trials=20, epochs=2, pool=60, fresh=10)


def one_layer(net: Tracer, choices: Choices) -> int:
    return net.conv(-1, choices["width"], choices["kernel"], norm=True, activation="relu")


SIX = OwnSpace("six", {"width": (4, 8, 12), "kernel": (3, 5)}, one_layer)(Classes(10), 1, 8)


def search(
    rules: GuidedRules = RULES, limits: Limits | None = None, training: Training = TRAINING, **how: object
) -> Method:
    return guided(SPACE, rules, training, cost_without_device, limits, seed=3, **how)  # type: ignore[arg-type]


def params(candidate: Candidate) -> int:
    return cost_without_device(candidate.architecture).params


def params_and_noise(candidate: Candidate) -> float:
    noise = int(hashlib.sha256(candidate.key.encode()).hexdigest()[:4], 16) / 0xFFFF
    return 60.0 + math.sqrt(params(candidate)) / 10 + noise


def distinct(trials: list[Trial]) -> int:
    return len({trial.candidate.architecture.fingerprint for trial in trials})


@pytest.mark.parametrize(("limit", "ledger"), [(None, "7d5bfe7223453145"), (20_000, "11d5a9719868c181")])
def test_every_processor_asks_for_the_same_networks(limit: int | None, ledger: str) -> None:
    """Keys and statuses of all trials: no decision rests on the last digits of a product."""
    limits = Limits(params=limit)
    _, trials, _ = play(search(limits=limits), params_and_noise, cost_without_device, limits)
    asked = " ".join(trial.candidate.key + trial.status for trial in trials)
    assert hashlib.sha256(asked.encode()).hexdigest()[:16] == ledger


def test_what_is_trained_is_what_the_rules_allow_and_the_last_tenth_repeats_the_best() -> None:
    choice, trials, _ = play(search(), params_and_noise, cost_without_device)
    assert len(trials) == 20
    assert [trial.candidate.repeat for trial in trials[:18]] == [0] * 18
    assert all(trial.candidate.repeat > 0 for trial in trials[18:])
    best = sorted(trials[:18], key=lambda trial: -trial.scores["val_accuracy"])[:4]
    assert {t.candidate.architecture for t in trials[18:]} <= {t.candidate.architecture for t in best}
    assert set(choice.expected) == {trial.candidate.architecture.fingerprint for trial in trials}


def test_a_budget_of_epochs_times_bytes_ends_it_first() -> None:
    _, whole, _ = play(search(), params_and_noise, cost_without_device)
    spent = [trial.candidate.recipe.epochs * trial.cost.bytes_moved for trial in whole]
    rules = msgspec.structs.replace(RULES, budget=sum(spent) / 2, repeats=0.0)
    _, trials, _ = play(search(rules), params_and_noise, cost_without_device)
    used = [trial.candidate.recipe.epochs * trial.cost.bytes_moved for trial in trials]
    assert sum(used[:-1]) < sum(spent) / 2 <= sum(used)


def test_it_finds_better_networks_than_its_first_design_where_scores_follow_what_is_known() -> None:
    def score(candidate: Candidate) -> float:
        net = candidate.architecture
        return 60 + 2 * sum(net.ops) - 0.1 * abs(net.depth - 8) - abs(net.width - 12)  # type: ignore[union-attr, no-any-return]

    choice, trials, _ = play(search(), score, cost_without_device)
    scores = [trial.scores["val_accuracy"] for trial in trials]
    assert max(scores[5:]) > max(scores[:5]) + 2
    assert choice.trial.scores["val_accuracy"] == max(scores)


def test_a_lucky_training_is_not_chosen_where_its_repeats_fail() -> None:
    """The fourth training scores 30 points more than its network is worth; the end of the search trains it again."""
    lucky: list[str] = []

    def score(candidate: Candidate) -> float:
        worth = 60.0 + params(candidate) / 10_000
        if len(lucky) == 3 and candidate.repeat == 0:
            worth += 30
        lucky.append(candidate.architecture.fingerprint)
        return worth

    rules = msgspec.structs.replace(RULES, repeats=0.4)
    choice, trials, _ = play(search(rules), score, cost_without_device)
    assert max(trials, key=lambda t: t.scores["val_accuracy"]).candidate.architecture.fingerprint == lucky[3]
    assert sum(name == lucky[3] for name in lucky) > 1
    assert choice.trial.candidate.architecture.fingerprint != lucky[3]


@pytest.mark.parametrize(("images", "inside"), [(100, True), (10_000_000, False)])
def test_the_choice_says_how_many_others_are_inside_its_noise(images: int, *, inside: bool) -> None:
    """Scores scatter as those of so many images do."""
    validation, error = Validation(images=images, chance=10.0), standard_error(85.0, images)

    def score(candidate: Candidate) -> float:
        return 85.0 + params(candidate) / 100_000 + random.Random(candidate.key).gauss(0.0, error)

    choice, _, decisions = play(search(validation=validation), score, cost_without_device)
    final = next(decision for decision in reversed(decisions) if decision.key == choice.trial.candidate.key)
    best = choice.expected[choice.trial.candidate.architecture.fingerprint]
    assert f"+- {best.sd:.2f} points (one standard deviation)" in final.reason
    near = sum(best.mean - one.mean <= noise_of_expected(best, one) for one in choice.expected.values()) - 1
    closer = sum(best.mean - one.mean <= math.hypot(best.sd, one.sd) for one in choice.expected.values()) - 1
    assert (near > closer) is inside  # two standard deviations, not one
    words = f"; {near} are inside its noise" if near > 1 else "; 1 is inside its noise" if near else "deviation)"
    assert final.reason.endswith(words)
    assert bool(near) is inside


def test_equal_scores_are_decided_by_name_and_end() -> None:
    choice, trials, _ = play(search(), lambda _: 50.0, cost_without_device)
    again, others, _ = play(search(), lambda _: 50.0, cost_without_device)
    assert [t.candidate for t in trials] == [t.candidate for t in others]
    assert choice == again
    assert {expected.mean for expected in choice.expected.values()} == {50.0}


def test_a_space_with_fewer_networks_than_may_be_trained_ends_and_says_so() -> None:
    method = guided(SIX, RULES, TRAINING, cost_without_device, seed=3)
    choice, trials, decisions = play(method, params_and_noise, cost_without_device)
    assert distinct(trials) == 6
    assert decisions[-1].verdict == "stop"
    assert decisions[-1].reason == "all 6 networks within the limits that were found are trained"
    assert choice.trial.status == "complete"


def test_what_cannot_be_trained_is_passed_over() -> None:
    asked: list[Candidate] = []

    def answers(method: Method, fails: Callable[[Candidate], bool]) -> Choice:
        ask: Ask = next(method)
        while True:
            (candidate,) = ask.needed
            asked.append(candidate)
            cost, broken = cost_without_device(candidate.architecture), fails(candidate)
            scores = {} if broken else {"val_accuracy": params_and_noise(candidate)}
            trial = Trial(candidate, "complete", cost, 0, scores)
            if broken:
                trial = Trial(candidate, "failed", cost, 0, error="nan")
            try:
                ask = method.send((trial,))
            except StopIteration as end:
                return end.value  # type: ignore[no-any-return]

    choice = answers(search(), lambda _: len(asked) % 3 == 1)
    assert choice.trial.status == "complete"
    assert len({candidate.key for candidate in asked}) == len(asked) == 20
    with pytest.raises(TrainingError, match="no candidate could be trained"):
        answers(search(), lambda _: True)


def test_a_limit_that_nothing_meets_is_an_error_and_one_that_the_smallest_meets_is_none() -> None:
    smallest = cost_without_device(SPACE.smallest()).params
    limits = Limits(params=smallest)
    choice, trials, _ = play(search(limits=limits), params_and_noise, cost_without_device, limits)
    assert {trial.cost.params for trial in trials} == {smallest}
    assert choice.trial.cost.params == smallest
    with pytest.raises(LimitError, match="none is within the limits: raise the limit"):
        next(search(limits=Limits(params=smallest - 1)))


def test_three_results_at_chance_end_it_with_a_choice_of_its_own_and_the_sentence() -> None:
    validation = Validation(images=150, chance=10.0)
    method = ended_at_chance(search(validation=validation), validation, "val_accuracy")
    choice, trials, decisions = play(method, lambda _: 10.0, cost_without_device)
    assert len(trials) == 3
    assert decisions[-1].verdict == "stop"
    assert "three results in a row are within two standard errors of chance" in decisions[-1].reason
    assert len(choice.expected) == 3
    method = ended_at_chance(search(validation=validation), validation, "val_accuracy")
    _, trials, _ = play(method, lambda c: 20.0 + params(c) / 10_000, cost_without_device)
    assert len(trials) == 20


def test_a_search_that_runs_out_of_time_chooses_by_what_it_expects() -> None:
    method = ended_when(search(), lambda trained, _: "time is up" if len(trained) == 9 else "", "val_accuracy")
    choice, trials, decisions = play(method, params_and_noise, cost_without_device)
    assert len(trials) == 9
    best = max(choice.expected, key=lambda name: choice.expected[name].mean)
    assert choice.trial.candidate.architecture.fingerprint == best
    assert (decisions[-1].verdict, decisions[-1].reason) == ("stop", "time is up")
    assert [d.key for d in decisions[:9]] == [t.candidate.key for t in trials]  # none is lost on the way


@pytest.mark.parametrize("pace", [1 / 30, 0.1])
def test_by_the_clock_it_goes_on_and_its_last_tenth_repeats_the_best(pace: float) -> None:
    """30 trainings or 10 fill the time, whatever the rules say; what is decided ahead is counted."""
    rules = msgspec.structs.replace(RULES, trials=20)
    _, trials, _ = play(search(rules, share=lambda n: pace * n), params_and_noise, cost_without_device)
    assert len(trials) == round(1 / pace)
    repeated = [trial.candidate.repeat > 0 for trial in trials]
    assert sum(repeated) == round(0.1 / pace)
    assert repeated == sorted(repeated)


def macs_of_proposals(exponent: float, seconds: float, *, clock: bool = True, training: Training = TRAINING) -> float:
    """Mean over what was trained after the first design; a million MACs take so many seconds."""
    rules = msgspec.structs.replace(RULES, trials=30, repeats=0.0, cost_exponent=exponent)
    method = search(rules, training=training, share=lambda n: n / 30) if clock else search(rules, training=training)
    took = lambda candidate: 1.0 + seconds * cost_without_device(candidate.architecture).macs / 1e6  # noqa: E731
    _, trials, _ = play(method, params_and_noise, cost_without_device, seconds=took)
    return sum(trial.cost.macs for trial in trials[5:]) / len(trials[5:])


def test_by_the_clock_networks_that_are_trained_sooner_are_preferred() -> None:
    """The more so, the larger the exponent; not where all take the same, and not where trainings are counted."""
    free = macs_of_proposals(0.0, 1.0)
    assert macs_of_proposals(0.5, 1.0) < 0.95 * free
    assert macs_of_proposals(1.0, 1.0) < 0.95 * macs_of_proposals(0.5, 1.0)
    assert macs_of_proposals(0.5, 0.0) == free
    assert macs_of_proposals(0.5, 1.0, clock=False) == macs_of_proposals(0.0, 1.0, clock=False)


def test_by_the_clock_networks_that_get_more_epochs_are_not_taken_for_quick() -> None:
    """Under equal compute a small network gets more epochs, so that its training takes about as long as any."""
    equal = msgspec.structs.replace(TRAINING, policy="gpu-seconds", fixed_epochs=10)
    free = macs_of_proposals(0.0, 1.0, training=equal)
    assert macs_of_proposals(1.0, 0.0, training=equal) > 0.85 * free  # all take a second


def ahead_of_the_rest(training: Training) -> float:
    """By how much the best of those that were trained again is expected above the best of the others, where every further
    training scores 6 points more."""
    rules = msgspec.structs.replace(RULES, repeats=0.4)
    easier = lambda candidate: 80.0 + params(candidate) / 100_000 + 6.0 * (candidate.repeat > 0)  # noqa: E731
    validation = Validation(images=177, chance=10.0)
    choice, trials, _ = play(search(rules, training=training, validation=validation), easier, cost_without_device)
    again = {trial.candidate.architecture.fingerprint for trial in trials if trial.candidate.repeat > 0}
    return max(choice.expected[name].mean for name in again) - max(
        one.mean for name, one in choice.expected.items() if name not in again
    )


def test_easier_images_of_further_trainings_are_not_taken_for_better_networks() -> None:
    other = msgspec.structs.replace(TRAINING, other_cuts=True)
    assert ahead_of_the_rest(other) < 0.7 * ahead_of_the_rest(TRAINING)


@pytest.mark.parametrize("preset", ["tiny", "t", "m", "trg"])
def test_new_searches_weigh_the_front_and_the_seconds_and_studies_from_before_go_on_as_they_were(preset: str) -> None:
    planned = GUIDED.as_planned(preset, {})  # type: ignore[arg-type]
    assert isinstance(planned, GuidedRules)
    assert (planned.limited, planned.cost_exponent) == (0.5, 0.5)
    assert (GuidedRules().limited, GuidedRules().cost_exponent) == (1.0, 0.0)


def test_errors_are_made_small_where_less_is_better() -> None:
    """The objective of an error is its negative, in whatever unit."""
    method = search(objective="val_neg_mae")
    choice, trials, _ = play(method, lambda c: {"val_neg_mae": -1e-3 * params(c)}, cost_without_device)
    assert choice.trial.scores["val_neg_mae"] == max(trial.scores["val_neg_mae"] for trial in trials)


def test_the_next_candidate_is_offered_to_a_second_worker_and_is_the_one_that_is_asked_for() -> None:
    method = search()
    ask, offered = next(method), []
    asked = []
    while True:
        asked.append(ask.needed[0])
        offered.append(ask.likely[0] if ask.likely else None)
        candidate = ask.needed[0]
        cost = cost_without_device(candidate.architecture)
        try:
            ask = method.send((Trial(candidate, "complete", cost, 0, {"val_accuracy": params_and_noise(candidate)}),))
        except StopIteration:
            break
    assert offered == [*asked[1:], None]


def timed(network: Architecture, macs_per_ms: float) -> Cost:
    cost = cost_without_device(network)
    return msgspec.structs.replace(cost, latencies={"d": Latency(cost.macs / macs_per_ms, "measured", "d")})


@pytest.mark.parametrize("limit", [None, 10.0])
def test_where_latencies_are_measured_only_what_is_asked_for_is_measured(limit: float | None) -> None:
    """Guesses are 50 times too small; three networks and those that are asked for are measured, few of them over the limit."""
    measured: list[str] = []

    def measure(network: Architecture) -> Cost:
        measured.append(network.fingerprint)
        return timed(network, 2e6)

    limits = Limits(latency_ms=limit)
    method = guided(
        SPACE, RULES, TRAINING, measure, limits, seed=3, guess=lambda network: timed(network, 100e6)
    )  # fmt: skip
    choice, trials, _ = play(method, params_and_noise, lambda network: timed(network, 2e6), limits)
    assert len(set(measured)) <= 3
    trained = [trial for trial in trials if trial.status == "complete"]
    assert len(trained) == 20
    assert len(trials) - len(trained) <= 2
    assert choice.trial.cost.latencies["d"].ms <= (limit or 100)


def test_measured_latencies_that_always_break_the_limit_end_the_search() -> None:
    """Guesses say that all is well: 20 candidates per training that is planned, and no more, are measured."""
    rules, limits = msgspec.structs.replace(RULES, trials=4, start=1), Limits(latency_ms=1e-6)
    guess = lambda network: msgspec.structs.replace(timed(network, 1e6), latencies={})  # noqa: E731
    method = guided(SPACE, rules, TRAINING, lambda n: timed(n, 1e6), limits, seed=3, guess=guess)
    with pytest.raises(LimitError, match="none of the 81 networks that were asked for is within the limits"):
        play(method, params_and_noise, lambda network: timed(network, 1e6), limits)


def test_what_is_left_is_not_said_where_a_measurement_may_break_a_limit() -> None:
    last = Trial(
        Candidate(SPACE.smallest(), TRAINING.recipe, "guided"),
        "complete",
        cost_without_device(SPACE.smallest()),
        0,
        number=4,
    )
    for guess, limits, left in (
        (None, Limits(), RULES.trials - 4),
        (None, Limits(params=20_000), RULES.trials - 4),  # all of it is known before
        (cost_without_device, Limits(), RULES.trials - 4),
        (cost_without_device, Limits(latency_ms=1.0), None),
    ):
        search = Search(SPACE, RULES, TRAINING, cost_without_device, limits, 0, guess=guess)
        assert GUIDED.left(search, last, 3) == left
