"""Searches end at chance and where a budget is spent, whatever their method; with their best so far."""

import contextlib
from collections.abc import Callable
from typing import Literal

import pytest

from edgenas.binomial import Validation
from edgenas.errors import LimitError, TrainingError
from edgenas.methods import Method
from edgenas.methods.endings import ended_at_chance, ended_when
from edgenas.methods.replay import cost_without_device
from edgenas.records import Ask, Candidate, Choice, Decision, Limits, Metric, Trial
from tests.contracts.test_methods import CASES, score
from tests.methods.answers import SPACE, TRAINING, play
from tests.methods.test_nse import KnownWorth

VALIDATION = Validation(images=150, chance=10.0)  # up to 14.9 % is chance
every_method = pytest.mark.parametrize(
    "name",
    [
        "gnas",
        "gnas with confirming seeds",
        "trgnas",
        "nse",
        "guided",
        "random",
        "evolution",
        "nsga2",
        "tpe",
        "tpe in own",
    ],
)


def method_of(name: str) -> Method:
    """Without limits, from its beginning."""
    return CASES[name].make(Limits(), KnownWorth())


def asking(count: int) -> Method:
    """A method that asks for one network after another and chooses the last."""
    trial = None
    for depth in range(count):
        net = SPACE.chain(4 + depth % 9, 8 + 2 * (depth // 9))
        (trial,) = yield Ask(
            (Candidate(net, TRAINING.recipe, "depth"),), (), (Decision("depth", "neutral", str(depth)),)
        )
    assert trial is not None
    return Choice(trial, {"depth": 1})


def scoring(*scores: float) -> Callable[[Candidate], float]:
    left = list(scores)
    return lambda _: left.pop(0)


def ended(*scores: float) -> tuple[Choice, list[Trial], list[Decision]]:
    method = ended_at_chance(asking(len(scores)), VALIDATION, "val_accuracy")
    return play(method, scoring(*scores), cost_without_device)


def test_three_results_in_a_row_at_chance_end_the_search_with_its_best_so_far() -> None:
    choice, trials, decisions = ended(60.0, 14.8, 10.0, 9.0, 80.0)
    assert [t.scores["val_accuracy"] for t in trials] == [60.0, 14.8, 10.0, 9.0]
    assert choice.trial == trials[0]
    assert [d.verdict for d in decisions] == ["neutral"] * 5 + ["stop"]  # the method was told of the third
    words = "three results in a row are within two standard errors of chance (10.00 %, so up to 14.90 % on 150"
    assert words in decisions[-1].reason


def test_an_error_that_has_no_standard_error_is_no_better_than_chance_itself() -> None:
    degrees = Metric("mae", unit="deg", better="lower")
    left = [28.6, 30.0, 29.0]

    def scores(_: Candidate) -> dict[str, float]:
        error = left.pop(0)
        return {"val_accuracy": 0.0, "val_mae": error, "val_neg_mae": -error}

    method = ended_at_chance(asking(5), Validation(150, 28.6, degrees), "val_neg_mae")
    choice, trials, decisions = play(method, scores, cost_without_device)
    assert choice.trial == trials[0]
    assert decisions[-1].reason.startswith(
        "three results in a row are no better than chance (28.6 deg): such trainings"
    )


@pytest.mark.parametrize(
    "scores",
    [(10.0, 10.0, 15.0, 10.0, 10.0, 15.0), (10.0, 10.0, 60.0, 10.0, 10.0), (15.0,) * 5],
    ids=["one in three is above", "the third is far above", "all are just above"],
)
def test_fewer_than_three_in_a_row_or_just_above_chance_change_nothing(scores: tuple[float, ...]) -> None:
    assert ended(*scores) == play(asking(len(scores)), scoring(*scores), cost_without_device)


def test_a_network_that_broke_a_limit_or_failed_is_no_result() -> None:
    statuses = ["complete", "infeasible", "complete", "failed", "complete", "complete"]

    def answered(ask: Ask) -> tuple[Trial, ...]:
        (candidate,), status = ask.needed, statuses.pop(0)
        scores = {"val_accuracy": 10.0} if status == "complete" else {}
        return (Trial(candidate, status, cost_without_device(candidate.architecture), 0, scores),)  # type: ignore[arg-type]

    method = ended_at_chance(asking(9), VALIDATION, "val_accuracy")
    answers = None
    try:
        while True:
            answers = answered(next(method) if answers is None else method.send(answers))
    except StopIteration as end:
        choice: Choice = end.value
    assert statuses == ["complete"]  # ended after the third complete result
    assert choice.trial.status == "complete"


@every_method
def test_every_method_ends_where_all_is_at_chance_and_a_replay_ends_there_too(name: str) -> None:
    def at_chance() -> Method:
        return ended_at_chance(method_of(name), VALIDATION, "val_accuracy")

    choice, trials, decisions = play(at_chance(), lambda _: 10.0, cost_without_device)
    assert len(trials) <= 9  # three, or those of one generation of NSGA-II or TPE and what was asked with them
    assert decisions[-1].verdict == "stop"
    assert choice.trial in trials
    assert play(at_chance(), lambda _: 10.0, cost_without_device) == (choice, trials, decisions)


@every_method
def test_a_search_above_chance_is_what_it_was(name: str) -> None:
    plain = play(method_of(name), score, cost_without_device)
    watched = ended_at_chance(method_of(name), VALIDATION, "val_accuracy")
    assert play(watched, score, cost_without_device) == plain


@every_method
@pytest.mark.parametrize("most", [1, 4])
def test_a_spent_budget_ends_every_method_before_its_next_training(name: str, most: int) -> None:
    def spent(answers: tuple[Trial, ...], asked: Candidate) -> str:
        assert asked.key not in {trial.candidate.key for trial in answers}
        return "spent" if len(answers) >= most else ""

    choice, trials, decisions = play(ended_when(method_of(name), spent, "val_accuracy"), score, cost_without_device)
    whole = play(method_of(name), score, cost_without_device)[1]
    assert len({trial.candidate.key for trial in trials}) == most  # also of a generation, which asks for eight at once
    assert trials == whole[: len(trials)]
    assert choice.trial.scores["val_accuracy"] == max(t.scores["val_accuracy"] for t in trials)
    assert (decisions[-1].verdict, decisions[-1].reason) == ("stop", "spent")


@every_method
def test_a_budget_that_is_not_spent_changes_nothing(name: str) -> None:
    plain = play(method_of(name), score, cost_without_device)
    watched = ended_when(method_of(name), lambda _, __: "", "val_accuracy")
    assert play(watched, score, cost_without_device) == plain


def test_of_a_generation_the_first_is_needed_the_others_are_likely_and_decisions_are_told_once() -> None:
    nets = [Candidate(SPACE.chain(4 + n, 8), TRAINING.recipe, "depth") for n in range(5)]
    told = (Decision("depth", "neutral", "so"),)

    def generation() -> Method:
        trials = yield Ask(tuple(nets[:3]), tuple(nets[3:]), told)
        return Choice(trials[0], {})

    method = ended_when(generation(), lambda _, __: "", "val_accuracy")
    asks = [next(method)]
    with contextlib.suppress(StopIteration):
        while True:
            (wanted,) = asks[-1].needed
            trial = Trial(wanted, "complete", cost_without_device(wanted.architecture), 0, {"val_accuracy": 50.0})
            asks.append(method.send((trial,)))
    assert [ask.needed[0] for ask in asks] == nets[:3]
    assert [ask.likely for ask in asks] == [tuple(nets[n:]) for n in (1, 2, 3)]
    assert [ask.decisions for ask in asks] == [told, (), ()]


def test_something_is_trained_before_a_budget_is_spent() -> None:
    choice, trials, _ = play(
        ended_when(asking(3), lambda _, __: "spent", "val_accuracy"), scoring(50.0), cost_without_device
    )
    assert len(trials) == 1
    assert choice.trial == trials[0]


@pytest.mark.parametrize(
    ("statuses", "error", "words"),
    [
        (["failed"], TrainingError, "spent: no candidate could be trained"),
        (["infeasible"], LimitError, "spent: none of the 1 networks that were asked for is within the limits"),
        (["infeasible", "failed"], TrainingError, "spent: no candidate could be trained"),
    ],
)
def test_the_clock_is_asked_where_nothing_is_trained_yet_and_there_is_nothing_to_end_with(
    statuses: list[Literal["failed", "infeasible"]], error: type[Exception], words: str
) -> None:
    left = len(statuses)
    method = ended_when(asking(9), lambda tried, _: "spent" if len(tried) == left else "", "val_accuracy")
    ask = next(method)

    def answer(status: Literal["failed", "infeasible"]) -> Ask:
        (candidate,) = ask.needed
        return method.send((Trial(candidate, status, cost_without_device(candidate.architecture), 0),))

    for status in statuses[:-1]:
        ask = answer(status)
    with pytest.raises(error, match=words):
        answer(statuses[-1])


def test_recognisers_at_the_far_they_are_judged_at_are_at_chance() -> None:
    def scores(c: Candidate) -> dict[str, float]:
        deep = c.architecture.depth > 5  # type: ignore[union-attr]
        return {"val_tar": 3.0, "val_tar_low": 0.5 if deep else 1.5, "val_tar_high": 6.0}

    far = Validation(images=960, chance=1.0)
    method = ended_at_chance(asking(9), far, "val_tar")
    choice, trials, decisions = play(method, scores, cost_without_device)
    assert len(trials) == 2 + 3  # depths 4 and 5 are above chance
    assert choice.trial in trials
    assert decisions[-1].reason.startswith(
        "three results in a row are no better than chance (1.00 %, which is inside their 95 % intervals)"
    )
