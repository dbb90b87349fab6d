"""What the other searches are compared with: under the same policy, within what the space holds."""

import contextlib
import zlib
from collections.abc import Callable

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.engine.budgets import ended_after
from edgenas.engine.methods import method_of
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods import CONTROL, Method
from edgenas.methods.baselines import IN_VAIN, RANDOM, BaselineRules, random_search, with_control, work
from edgenas.methods.endings import Spent, ended_when
from edgenas.methods.evolution import EVOLUTION
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.guided import GUIDED
from edgenas.methods.ladder import Policy
from edgenas.methods.replay import cost_without_device
from edgenas.methods.samplers import GP, NSGA2, TPE
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import MethodSpec, Search
from edgenas.records import (
    Architecture,
    Candidate,
    Choice,
    Classes,
    Cost,
    Decision,
    Latency,
    Limits,
    Schedule,
    Trial,
)
from tests.methods.answers import SPACE, TRAINING, play
from tests.plans import plan


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


@pytest.mark.parametrize("policy", ["fixed", "gpu-seconds"])
def test_the_control_keeps_the_policy_of_its_search(policy: Policy) -> None:
    """By gpu-seconds small networks train longer, in the control too: none takes much more than any of the search's."""
    training = msgspec.structs.replace(TRAINING, policy=policy, fixed_epochs=10)
    search = random_search(SPACE, BaselineRules(trials=12), training, cost_without_device)
    method = with_control(search, SPACE, training, cost_without_device, Limits(), 1)
    _, trials, _ = play(method, lambda _: 50.0, cost_without_device)
    works = {phase: [work(t) for t in trials if t.candidate.phase == phase] for phase in ("random", CONTROL)}
    epochs = [trial.candidate.recipe.epochs for trial in trials if trial.candidate.phase == CONTROL]
    if policy == "fixed":
        assert set(epochs) == {10}
    else:
        assert len(set(epochs)) > 1
        assert max(works[CONTROL]) < 1.1 * min(works["random"])
        assert len(works[CONTROL]) in (11, 12, 13)


@pytest.mark.parametrize("most", [0, 3])
def test_a_control_that_is_ended_leaves_the_choice_and_says_how_far_it_came(most: int) -> None:
    def search() -> Method:
        return gnas(SPACE, GnasRules(), TRAINING, cost_without_device)

    def controlled(ended: Spent | None) -> tuple[Choice, list[Trial], list[Decision]]:
        return play(
            with_control(search(), SPACE, TRAINING, cost_without_device, Limits(), 0, ended),
            lambda c: float(zlib.crc32(c.key.encode()) % 97),
            cost_without_device,
        )

    def ended(answers: tuple[Trial, ...], asked: Candidate) -> str:
        assert asked.phase == CONTROL
        return "no time" if sum(t.candidate.phase == CONTROL for t in answers) == most else ""

    (whole, everything, _), (choice, trials, decisions) = controlled(None), controlled(ended)
    assert trials == everything[: len(trials)]
    control = [work(trial) for trial in trials if trial.candidate.phase == CONTROL]
    assert len(control) == most
    assert (choice.trial, choice.macro) == (whole.trial, whole.macro)
    spent = sum(work(trial) for trial in trials if trial.candidate.phase != CONTROL)
    assert (decisions[-1].phase, decisions[-1].verdict) == (CONTROL, "stop")
    assert decisions[-1].reason == f"no time: the control had {sum(control) / spent:.0%} of what the search spent"


def measured_search(rules: BaselineRules, slow: Callable[[Architecture], bool], measured: list[str]) -> Search:
    """Where latencies are measured: 1 ms, or 9 of what is `slow`; at most 5 are allowed. `measured`: fingerprints, in order."""

    def cost(network: Architecture) -> Cost:
        measured.append(network.fingerprint)
        latency = Latency(9.0 if slow(network) else 1.0, "measured", "host-cpu")
        return msgspec.structs.replace(cost_without_device(network), latencies={"host-cpu": latency})

    return Search(SPACE, rules, TRAINING, cost, Limits(latency_ms=5.0), seed=3, guess=cost_without_device)


def answered(search: Search, method: Method, most: int = 2000) -> list[Trial]:
    """The trials of a search whose candidates are measured as they are asked for."""
    trials: list[Trial] = []
    with contextlib.suppress(StopIteration):
        ask = next(method)
        while len(trials) < most:
            (candidate,) = ask.needed
            price = search.cost(candidate.architecture)
            broken = search.limits.broken(price)
            scores = {} if broken else {"val_accuracy": float(zlib.crc32(candidate.key.encode()) % 97)}
            trials.append(Trial(candidate, "infeasible" if broken else "complete", price, 0, scores))
            ask = method.send((trials[-1],))
    return trials


@pytest.mark.parametrize("spec", [RANDOM, EVOLUTION], ids=lambda spec: spec.name)
def test_where_latencies_are_measured_a_network_is_asked_for_before_it_is_measured(spec: MethodSpec) -> None:
    """What breaks the limit is on record, costs nothing and has another one in its place."""
    measured: list[str] = []
    search = measured_search(
        BaselineRules(trials=9, population=4), lambda net: int(net.fingerprint, 16) % 3 > 0, measured
    )
    method = spec.make(search)
    next(method)
    assert measured == []
    trials = answered(search, spec.make(search))
    assert measured == [trial.candidate.architecture.fingerprint for trial in trials]
    assert sum(trial.status == "complete" for trial in trials) == 9
    assert len({trial.candidate.key for trial in trials}) == len(trials) > 9


def test_random_members_that_are_measured_are_those_that_would_have_been_drawn() -> None:
    slow, rules = (lambda net: int(net.fingerprint, 16) % 3 > 0), BaselineRules(trials=9)
    search = measured_search(rules, slow, [])
    known = random_search(SPACE, rules, TRAINING, search.cost, search.limits, seed=3)
    _, drawn, _ = play(known, lambda _: 50.0, search.cost, search.limits)
    asked = [t.candidate for t in answered(search, RANDOM.make(search)) if t.status == "complete"]
    assert asked == [trial.candidate for trial in drawn]


def test_evolution_of_what_is_measured_begins_as_random_search_does() -> None:
    def trained(spec: MethodSpec) -> list[Architecture]:
        rules = BaselineRules(trials=9, population=6)
        search = measured_search(rules, lambda net: int(net.fingerprint, 16) % 3 > 0, [])
        trials = answered(search, spec.make(search))
        return [trial.candidate.architecture for trial in trials if trial.status == "complete"]

    assert trained(EVOLUTION)[:6] == trained(RANDOM)[:6]


@pytest.mark.parametrize("spec", [RANDOM, EVOLUTION], ids=lambda spec: spec.name)
def test_a_search_that_asks_in_vain_ends_after_a_thousand(spec: MethodSpec) -> None:
    measured: list[str] = []
    search = measured_search(BaselineRules(trials=9, population=4), lambda _: True, measured)
    with pytest.raises(LimitError, match=f"none of the {IN_VAIN} networks that were asked for is within the limits"):
        answered(search, spec.make(search))
    assert len(measured) == IN_VAIN


def test_a_control_measures_what_it_asks_for_too() -> None:
    measured: list[str] = []
    search = measured_search(BaselineRules(trials=4), lambda net: int(net.fingerprint, 16) % 3 > 0, measured)
    planned = plan(asked=SearchSettings(method="random", control="random"))
    trials = answered(search, method_of(RANDOM, search, planned))
    assert measured == [trial.candidate.architecture.fingerprint for trial in trials]
    control = [trial for trial in trials if trial.candidate.phase == CONTROL]
    assert {trial.status for trial in control} == {"complete", "infeasible"}
    assert sum(map(work, control)) >= sum(work(trial) for trial in trials if trial.candidate.phase != CONTROL)


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
    rules = BaselineRules(trials=6, population=4)
    search = Search(SPACE, rules, TRAINING, cost_without_device, Limits(), seed=0, share=share)
    method = ended_when(spec.make(search), ended_after(9), "val_accuracy")
    _, trials, _ = play(method, lambda c: float(zlib.crc32(c.key.encode()) % 97), cost_without_device)
    trained = {trial.candidate.key for trial in trials}
    assert len(trained) == (9 if by_the_clock else 6)


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
