"""`--budget` and short trainings through the command line: refused with figures, obeyed with one warning, ended in time."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from edgenas.engine.budgets import END_SECONDS, share_of, spent_of, warned
from edgenas.engine.call import Where
from edgenas.engine.engine import _follow, go_on
from edgenas.engine.events import Event, SearchBegins
from edgenas.engine.methods import method_of
from edgenas.engine.plan import Plan
from edgenas.methods import CONTROL, Method
from edgenas.methods.baselines import RANDOM, BaselineRules
from edgenas.methods.endings import ended_when
from edgenas.methods.ladder import Training
from edgenas.methods.replay import cost_without_device
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import Search
from edgenas.records import Ask, Candidate, Choice, Decision, Limits, Recipe, Trial
from edgenas.store import Store
from edgenas.study import run
from edgenas.tasks import Task, TaskSettings, load_task
from edgenas.training.budget import Budget
from tests.cli.edgenas import refusal
from tests.contracts.test_methods import CASES, Answers
from tests.methods.answers import SPACE, TRAINING, play
from tests.methods.test_nse import KnownWorth
from tests.plans import plan, studied
from tests.training.conftest import ParameterCost, candidate

COST = ParameterCost()


@pytest.fixture(scope="module")
def digits() -> Task:
    """320 images: 9 steps an epoch at 32 a batch."""
    return load_task(TaskSettings("digits", search_images=320))


def trained(number: int, epochs: int = 10, seconds: float = 40.0) -> Trial:
    c = candidate(4 + number, epochs=epochs)
    return Trial(c, "complete", COST(c.architecture), 0, {"val_accuracy": 50.0}, seconds)


MINUTES = (100 + END_SECONDS) / 60  # 100 seconds are left for trainings, if nothing else took time
NOW = 1e6  # monotonic seconds


@contextlib.contextmanager
def study(
    folder: Path, control: str | None = None, limits: Limits = Limits(), **budget: int
) -> Iterator[tuple[Store, Plan]]:
    """A study of a search with a budget, and the plan that it goes by. Its clock stands at NOW: what a test takes is no time."""
    asked = SearchSettings(method="gnas", control=control, budget=MINUTES)  # type: ignore[arg-type]
    planned = plan(asked=asked, budget=Budget(1.0, None, 60.0, {}, 10, **budget))
    with Store.create(folder, studied(planned, limits=limits)) as store, pytest.MonkeyPatch.context() as patch:
        for module in ("budgets", "engine"):
            patch.setattr(f"edgenas.engine.{module}.time", SimpleNamespace(monotonic=lambda: NOW))
        yield store, planned


def test_a_budget_that_fits_no_search_is_refused_with_figures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    line = refusal("search", "--budget", "0.2", "--target", "raspberry-pi-5")
    assert (
        "--budget has 0.0 minutes left after loading, and the smallest search of this space (4 trainings of 130 steps"
        in line
    )
    assert "minutes more, or narrow the space" in line
    assert not (tmp_path / "studies").exists()


def test_a_budget_and_what_it_chooses_are_not_given_together() -> None:
    for flag in ("--epoch-scale", "--search-images"):
        assert "give those two, or the budget" in refusal("search", "--budget", "4", flag, "1")


def test_the_floor_of_a_plan_holds_for_every_candidate() -> None:
    cost = COST(candidate().architecture)
    training = Training(Recipe("r", 1, 32, 0.1), epoch_scale=0.25, least_epochs=6)
    assert [training.recipe_for(epochs, cost).epochs for epochs in (4, 24, 40)] == [6, 6, 10]


@pytest.mark.parametrize(("wall", "ends"), [(79.0, False), (81.0, True)])
def test_more_trainings_than_were_planned_begin_while_they_end_in_time_and_none_after(
    tmp_path: Path, wall: float, ends: bool
) -> None:
    with study(tmp_path, most_candidates=2) as (store, planned):
        store.put("clock", "wall", wall)
        spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert spent is not None
        done = (trained(1, seconds=20.0),) * 4
        reason = "the minutes of --budget are spent after 4 trainings" if ends else ""
        assert spent(done, candidate(5, epochs=10)) == reason  # 20 seconds more, of 100


def test_what_is_trained_already_takes_no_time_and_ends_no_search(tmp_path: Path) -> None:
    """A session that goes on where the minutes are over asks for all that the sessions before it have trained once more."""
    one, two, three = (trained(number) for number in (1, 2, 3))
    with study(tmp_path) as (store, planned):
        for trial in (one, two):
            store.add(trial)
        store.put("clock", "wall", 101.0)  # of 100 seconds
        spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert spent is not None
        assert spent((one,), two.candidate) == ""
        reason = "the minutes of --budget are spent after 2 trainings"
        assert spent((one, two), three.candidate) == reason
        store.add(three)  # by a worker ahead, say, that ended later: the end is where it was
        assert [spent(answers, three.candidate) for answers in ((one,), (one, two))] == ["", reason]


@pytest.mark.parametrize("name", ["gnas", "random", "guided", "evolution"])
def test_a_search_that_is_killed_at_the_end_of_its_minutes_ends_with_all_that_it_trained(
    name: str, tmp_path: Path
) -> None:
    with study(tmp_path) as (store, planned):

        def session() -> Generator[Trial | Decision, None, Choice]:
            spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
            assert spent is not None
            method = ended_when(CASES[name].make(Limits(), KnownWorth()), spent, "val_accuracy")
            return run(method, Answers(Limits(), ahead=False), store)

        store.put("clock", "wall", -1e6)  # on however slow a machine
        killed = session()
        while len(store.ledger()) < 5:
            next(killed)
        killed.close()
        ledger = store.ledger()
        store.put("clock", "wall", 1000.0)
        resumed = session()
        try:
            while True:
                next(resumed)
        except StopIteration as end:
            choice: Choice = end.value
        assert store.ledger() == ledger
        assert choice.decisions[-1].reason == "the minutes of --budget are spent after 5 trainings"
        assert choice.trial in ledger


def test_a_search_ends_before_the_training_that_would_not_end_in_time_and_ends_there_again(tmp_path: Path) -> None:
    done = (trained(1), trained(2))
    work = [t.candidate.recipe.epochs * t.cost.bytes_moved for t in done]
    with study(tmp_path) as (store, planned):
        store.put("clock", "wall", 80.0)  # two trainings of 40 seconds each; 20 are left
        spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert spent is not None
        pace = 80.0 / sum(work)
        epochs = next(e for e in itertools.count(1) if e * COST(candidate(9).architecture).bytes_moved * pace > 20)
        assert epochs > 1
        assert spent(done, candidate(9, epochs=epochs - 1)) == ""
        assert spent(done, candidate(9, epochs=epochs)) == "the minutes of --budget are spent after 2 trainings"
        store.put("clock", "wall", 0.0)  # whatever the clock says later: a stored end is kept
        again = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert again is not None
        assert again(done[:1], candidate(9)) == ""
        assert again(done, candidate(9)) == "the minutes of --budget are spent after 2 trainings"


@pytest.mark.parametrize(("wall", "ends"), [(30.0, False), (40.0, True)])
def test_with_a_control_the_search_has_half_of_the_time(tmp_path: Path, wall: float, ends: bool) -> None:
    with study(tmp_path, control="random") as (store, planned):
        store.put("clock", "wall", wall)
        spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert spent is not None
        # one training took all of that; the next one, of half the epochs, takes half as long: 45 of 50 seconds, or 60
        assert bool(spent((trained(1, seconds=wall),), candidate(5, epochs=5))) is ends


@pytest.mark.parametrize(("wall", "ends"), [(80.0, False), (90.0, True)])
def test_the_control_has_what_is_left_of_the_whole_time_and_its_end_is_stored_apart(
    tmp_path: Path, wall: float, ends: bool
) -> None:
    done, asked = (trained(1, seconds=30.0),), candidate(5, epochs=5)  # 15 seconds more, of 100
    with study(tmp_path, control="random") as (store, planned):
        store.put("clock", "wall", wall)
        spent = spent_of(store, planned, COST, NOW, control=True)  # type: ignore[arg-type]
        assert spent is not None
        assert bool(spent(done, asked)) is ends
        store.put("clock", "wall", 0.0)
        again = spent_of(store, planned, COST, NOW, control=True)  # type: ignore[arg-type]
        search = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert again is not None
        assert search is not None
        assert (bool(again(done, asked)), bool(search(done, asked))) == (ends, False)


@pytest.mark.parametrize("over", [False, True])
def test_a_control_ends_by_the_clock_and_not_by_that_of_its_search(over: bool) -> None:
    search = Search(SPACE, BaselineRules(trials=6), TRAINING, cost_without_device, Limits(), seed=0)
    planned = plan(asked=SearchSettings(method="random", control="random"))
    asked: list[str] = []

    def control_spent(_: tuple[Trial, ...], candidate: Candidate) -> str:
        asked.append(candidate.phase)
        return "no time" if over else ""

    method = method_of(RANDOM, search, planned, lambda *_: "", control_spent)
    _, trials, decisions = play(method, lambda _: 50.0, cost_without_device)
    assert set(asked) == {CONTROL}
    assert any(trial.candidate.phase == CONTROL for trial in trials) is not over
    assert any(decision.verdict == "stop" for decision in decisions) is over


@pytest.mark.parametrize(("loaded", "ends"), [(20.0, False), (30.0, True)])
def test_what_loading_took_is_no_time_for_trainings(tmp_path: Path, loaded: float, ends: bool) -> None:
    with study(tmp_path) as (store, planned):
        store.put("clock", "wall", 50.0)
        spent = spent_of(store, planned, COST, NOW - loaded)  # type: ignore[arg-type]
        assert spent is not None
        # a training of 50 seconds is done, one of half the epochs takes 25: 75 of 80 seconds, or of 70
        assert bool(spent((trained(1, seconds=50.0),), candidate(5, epochs=5))) is ends


@pytest.mark.parametrize(("gone", "ends"), [(99.0, False), (101.0, True)])
def test_what_breaks_a_limit_takes_no_time_and_is_asked_for_until_the_time_is_over(
    tmp_path: Path, gone: float, ends: bool
) -> None:
    large = candidate(5)
    limits = Limits(params=COST(large.architecture).params - 1)
    with study(tmp_path, limits=limits) as (store, planned):
        store.put("clock", "wall", gone)
        spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert spent is not None
        assert bool(spent((trained(1),), large)) is ends


def test_a_search_that_asked_for_what_breaks_a_limit_after_its_last_training_ends_there_again(tmp_path: Path) -> None:
    """Three answers, one of which broke a limit; a study of an earlier version holds how many were trained: two."""
    over = msgspec.structs.replace(trained(3), status="infeasible", scores={})
    answers = (trained(1), trained(2), over)
    with study(tmp_path) as (store, planned):
        store.put("clock", "wall", 101.0)
        first = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert first is not None
        assert first(answers, candidate(9)) == "the minutes of --budget are spent after 2 trainings"
        store.put("clock", "wall", 0.0)
        again = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert again is not None
        assert [bool(again(answers[:count], candidate(9))) for count in (1, 2, 3)] == [False, False, True]
    with study(tmp_path / "older") as (store, planned):
        store.put("budget", "end", 2)
        older = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert older is not None
        assert [bool(older(answers[:count], candidate(9))) for count in (1, 2, 3)] == [False, True, True]


def test_the_start_of_the_workers_is_no_part_of_a_trainings_time(tmp_path: Path) -> None:
    with study(tmp_path) as (store, planned):
        store.put("clock", "wall", 50.0)  # of which the one training took a second
        spent = spent_of(store, planned, COST, NOW)  # type: ignore[arg-type]
        assert spent is not None
        assert spent((trained(1, seconds=1.0),), candidate(5)) == ""


def test_without_a_budget_nothing_ends_a_search_early(tmp_path: Path) -> None:
    with Store.create(tmp_path, studied(plan())) as store:
        assert spent_of(store, plan(), COST, NOW) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("control", [None, "random"])
def test_the_share_of_the_minutes_that_is_over_is_stored_and_told_again(tmp_path: Path, control: str | None) -> None:
    with study(tmp_path, control) as (store, planned):
        store.put("clock", "wall", 20.0)  # of 100 seconds, or of 50 where a control spends as much
        share = share_of(store, planned, NOW)
        assert share is not None
        assert share(3) == pytest.approx(0.4 if control else 0.2)
        store.put("clock", "wall", 60.0)
        later = share_of(store, planned, NOW)
        assert later is not None
        assert later(3) == share(3)
        assert later(4) == pytest.approx(1.0 if control else 0.6)
        assert share_of(store, plan(), NOW) is None


def test_a_session_that_goes_on_begins_where_the_one_before_it_was_and_its_own_loading_counts(tmp_path: Path) -> None:
    with study(tmp_path) as (store, planned):  # 100 seconds
        first = share_of(store, planned, NOW - 40.0)  # which it took to load: 60 are left
        assert first is not None
        assert first(0) == pytest.approx(0.0)
        store.put("clock", "wall", 70.0)
        later = share_of(store, planned, NOW - 15.0)
        assert later is not None
        assert later(1) == pytest.approx((30 + 15) / 60)
        spent = spent_of(store, planned, COST, NOW - 15.0)  # type: ignore[arg-type]
        assert spent is not None
        done = (trained(1, seconds=30.0),)  # 10 epochs: each takes 3 seconds, and 15 are left
        assert [bool(spent(done, candidate(5, epochs=epochs))) for epochs in (4, 6)] == [False, True]


def test_what_loading_took_before_a_kill_ahead_of_the_first_training_is_forgotten(tmp_path: Path) -> None:
    with study(tmp_path) as (store, planned):
        assert share_of(store, planned, NOW - 80.0) is not None
        again = share_of(store, planned, NOW)
        assert again is not None
        assert again(0) == pytest.approx(0.0)


def test_the_clock_of_a_study_runs_from_the_command_on(tmp_path: Path) -> None:
    with study(tmp_path) as (store, _):
        store.put("clock", "wall", 5.0)
        _follow((trained(number) for number in (1,)), store, lambda _: None, NOW - 30.0)  # type: ignore[arg-type]
        assert store.get("clock", "wall", float) == pytest.approx(35.0)


def lines_of(task: Task, *epochs: int) -> list[str]:
    def method() -> Method:
        trials: tuple[Trial, ...] = ()
        for number, e in enumerate(epochs):
            trials = yield Ask((Candidate(candidate(4 + number).architecture, candidate(epochs=e).recipe, "depth"),))
        return Choice(trials[0])

    told: list[str] = []
    watched = warned(method(), len(task.train), told.append)
    ask = next(watched)
    try:
        while True:
            trial = Trial(ask.needed[0], "complete", COST(ask.needed[0].architecture), 0, {"val_accuracy": 50.0})
            ask = watched.send((trial,))
    except StopIteration:  # the method's own end
        pass
    return told


def test_a_training_under_130_steps_is_obeyed_with_one_warning(digits: Task) -> None:
    assert len(digits.train) // 32 == 9
    assert lines_of(digits, 15, 15) == []  # 135 steps
    (line,) = lines_of(digits, 15, 14, 3)  # 126
    images = len(digits.train)
    assert line.startswith(
        f"warning: 14 epochs of {images} images are 126 steps: trainings under about 130 steps rank noise"
    )


@pytest.mark.parametrize(
    ("rules", "by_the_clock"), [({}, True), ({"epochs": 3}, True), ({"trials": 9}, False), ({"budget": 1e9}, False)]
)
def test_a_search_with_a_budget_goes_by_the_clock_unless_its_rules_say_how_much_is_trained(
    rules: dict[str, float], by_the_clock: bool, tmp_path: Path
) -> None:
    with study(tmp_path / "study") as (store, planned):
        asked = msgspec.structs.replace(planned.asked, rules=rules)
        share = share_of(store, dataclasses.replace(planned, asked=asked), NOW)
    assert (share is not None) is by_the_clock


@pytest.mark.parametrize(("wall", "left"), [(0.0, 600.0), (400.0, 200.0), (700.0, 0.0)])
def test_a_search_that_goes_on_has_what_earlier_sessions_left_of_its_minutes(
    tmp_path: Path, wall: float, left: float
) -> None:
    class HeardError(Exception):
        pass

    heard: list[SearchBegins] = []

    def listen(event: Event) -> None:
        if isinstance(event, SearchBegins):
            heard.append(event)
            raise HeardError

    with Store.create(tmp_path, studied(plan(asked=SearchSettings(method="random", budget=10.0)))) as store:
        store.put("clock", "wall", wall)
    with pytest.raises(HeardError):
        go_on(tmp_path, Where(workers=0), listen)
    (begins,) = heard
    assert begins.seconds is not None
    assert max(0.0, left - 60) <= begins.seconds <= left  # the images were read meanwhile
