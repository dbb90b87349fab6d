"""What every method must do, whatever it searches like and in whatever space."""

import functools
import hashlib
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from edgenas.architectures.cell_space import CellSpace
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.space import Space
from edgenas.engine.answers import checked
from edgenas.methods import Method
from edgenas.methods.baselines import BaselineRules, random_search, with_control
from edgenas.methods.evolution import evolution
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.guided import guided
from edgenas.methods.guided_hunt import GuidedRules
from edgenas.methods.nal import NalRules, nal, shipped_predictor
from edgenas.methods.nse import nse
from edgenas.methods.nse_rules import NseRules
from edgenas.methods.replay import cost_without_device
from edgenas.methods.samplers import optuna_search
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import (
    Architecture,
    Ask,
    Candidate,
    Choice,
    Classes,
    Decision,
    Limits,
    MultiBranchArchitecture,
    StudyRecord,
    Trial,
)
from edgenas.store import Store
from edgenas.study import run
from tests.contracts.test_spaces import SPACES
from tests.methods.answers import SPACE, TRAINING
from tests.methods.test_nse import KnownWorth

FEW = BaselineRules(trials=20, epochs=2)
FEWER = BaselineRules(trials=5, epochs=1, population=3)
SLOW = BaselineRules(trials=6, epochs=2, population=4, objectives=2)  # a process takes a second to propose
OF_CHAINS = Limits(params=20_000)
GUIDED_RULES = GuidedRules(trials=16, epochs=2, pool=60, fresh=10)
FEW_GUIDED = GuidedRules(trials=6, epochs=1, start=2, pool=20, fresh=5, parents=2, neighbours=2)
STUDY = StudyRecord("any", "classification", "digits", (), "fp32", Limits(), 0)
CELLS = CellSpace(Classes(10), 3, 8, "nasbench101", channels=8, cells_per_stage=1)
BRANCHES = MultiBranchSpace(19, "NRN", (4, 8), Classes(10), 1, 16, tail_channels=16)
SMALL_ROUNDS = NseRules(operations=5, networks=60, cheap_networks=10, finals=3, channel_step=2, control=2)

cost = cost_without_device
DRAWING = {"random": random_search, "evolution": evolution}
BASELINES = (*DRAWING, "nsga2", "tpe")


@dataclass(frozen=True)
class Case:
    """A method in a space: `make` is given limits, and a memory of what was trained for the whole search, kept over a kill."""

    space: Space
    make: Callable[[Limits, KnownWorth], Method]
    limits: Limits = OF_CHAINS


def by_model(space: Space, rules: GuidedRules) -> Callable[[Limits, KnownWorth], Method]:
    return lambda limits, _: guided(space, rules, TRAINING, cost, limits, seed=3)


def baseline(name: str, space: Space, rules: BaselineRules = FEWER) -> Callable[[Limits, KnownWorth], Method]:
    if name in DRAWING:
        return lambda limits, _: DRAWING[name](space, rules, TRAINING, cost, limits, seed=3)
    return lambda limits, _: optuna_search(name, space, rules, TRAINING, cost, limits, seed=3)  # type: ignore[arg-type]


def third_of(space: Space) -> Limits:
    """A limit that about a third of the networks keep."""
    rng = random.Random(1)
    return Limits(params=sorted(cost(space.draw(rng)).params for _ in range(50))[16])


def designed(limits: Limits) -> Method:
    rules = NalRules("nasbench101", channels=8, cells_per_stage=1)
    return nal(shipped_predictor("nasbench101"), CELLS, rules, TRAINING, cost, limits, seed=3)


CASES: dict[str, Case] = {
    "gnas": Case(SPACE, lambda limits, _: gnas(SPACE, GnasRules(), TRAINING, cost, limits)),
    "gnas with confirming seeds": Case(
        SPACE, lambda limits, _: gnas(SPACE, GnasRules(), TRAINING, cost, limits, confirm_seeds=2)
    ),
    "trgnas": Case(SPACE, lambda limits, _: trgnas(SPACE, TrgnasRules(), TRAINING, cost, limits)),
    "gnas with a random control": Case(
        SPACE,
        lambda limits, _: with_control(
            gnas(SPACE, GnasRules(), TRAINING, cost, limits), SPACE, TRAINING, cost, limits, 3
        ),
    ),
    "nse": Case(
        BRANCHES,
        lambda limits, supernets: nse(BRANCHES, SMALL_ROUNDS, supernets, TRAINING.recipe, cost, limits, seed=3),
        Limits(params=4_000),
    ),
    "nal": Case(CELLS, lambda limits, _: designed(limits), Limits(params=53_500)),
    "nal with a random control": Case(
        CELLS,
        lambda limits, _: with_control(designed(limits), CELLS, TRAINING, cost, limits, 3),
        Limits(params=53_500),
    ),
    "guided": Case(SPACE, by_model(SPACE, GUIDED_RULES)),
    "guided with a random control": Case(
        SPACE,
        lambda limits, _: with_control(
            guided(SPACE, GUIDED_RULES, TRAINING, cost, limits, seed=3), SPACE, TRAINING, cost, limits, 3
        ),
    ),
    **{
        f"guided in {other}": Case(space, by_model(space, FEW_GUIDED), third_of(space))
        for other, space in SPACES.items()
        if other != "chain"
    },
    **{name: Case(SPACE, baseline(name, SPACE, FEW)) for name in BASELINES},
    **{
        f"{name} in {other}": Case(space, baseline(name, space), third_of(space))
        for name in BASELINES
        for other, space in SPACES.items()
        if other != "chain"
    },
    **{
        f"gp in {other}": Case(SPACES[other], baseline("gp", SPACES[other], SLOW), third_of(SPACES[other]))
        for other in ("chain", "own")
    },
}

SLOW_CASES = ("gp in own",)
every_method = pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name in SLOW_CASES)) for name in CASES]
)


def score(candidate: Candidate) -> float:
    """An accuracy that depends on the candidate alone, like a trained one: larger is better, with noise."""
    noise = int(hashlib.sha256(candidate.key.encode()).hexdigest()[:4], 16) / 0xFFFF
    return 30.0 + min(50.0, cost(candidate.architecture).params ** 0.5 / 10) + noise


class Answers:
    """An executor that makes accuracies up, and answers what is likely first where it may; it counts what it answers anew."""

    def __init__(self, limits: Limits, *, ahead: bool) -> None:
        self.limits, self.ahead = limits, ahead
        self.made: list[str] = []

    def answer(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        wanted = (*reversed(ask.likely), *ask.needed) if self.ahead else ask.needed
        for candidate in wanted:
            if store.find(candidate.key) is None:
                store.add(self._trial(candidate))
                self.made.append(candidate.key)
        return tuple(trial for candidate in ask.needed if (trial := store.find(candidate.key)) is not None)

    def _trial(self, candidate: Candidate) -> Trial:
        price = cost(candidate.architecture)
        if broken := self.limits.broken(price):
            return Trial(candidate, "infeasible", price, 0, error="; ".join(broken))
        return Trial(candidate, "complete", price, 0, {"val_accuracy": score(candidate), "train_accuracy": 50.0})


@dataclass(frozen=True)
class Played:
    choice: Choice
    trials: tuple[Trial, ...]
    decisions: tuple[Decision, ...]
    asks: int
    made: tuple[str, ...]


def play(
    case: Case, folder: Path, *, ahead: bool = False, kills: tuple[int, ...] = (), limits: Limits | None = None
) -> Played:
    """A whole search over a real store, killed after so many events each time."""
    limits = case.limits if limits is None else limits
    supernets, made = KnownWorth(), []
    for most in (*kills, None):
        executor = Answers(limits, ahead=ahead)
        with Store.create(folder, STUDY) as store:
            events = run(checked(case.make(limits, supernets), "any"), executor, store)
            seen: list[Trial | Decision] = []
            ended = False
            while not ended and (most is None or len(seen) < most):
                try:
                    seen.append(next(events))
                except StopIteration as end:
                    choice: Choice = end.value
                    ended = True
                assert len(seen) < 2000, "it does not end"
            events.close()
            made += executor.made
    decisions = tuple(event for event in seen if isinstance(event, Decision))
    with Store.read(folder) as store:
        return Played(choice, store.ledger(), decisions, len(seen), tuple(made))


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Played]:
    """Each case, played through once."""
    return functools.cache(lambda name: play(CASES[name], tmp_path_factory.mktemp("once")))


@pytest.fixture(scope="module")
def free(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Played]:
    """Each case without a limit, played through once."""
    return functools.cache(lambda name: play(CASES[name], tmp_path_factory.mktemp("free"), limits=Limits()))


def keys(trials: tuple[Trial, ...]) -> list[str]:
    return [trial.candidate.key for trial in trials]


@every_method
def test_what_is_over_a_limit_is_never_trained_and_never_chosen(name: str, once: Callable[[str], Played]) -> None:
    played, most = once(name), CASES[name].limits.params
    assert most is not None
    assert played.choice.trial.status == "complete"
    assert played.choice.trial.cost.params <= most
    assert {t.status for t in played.trials if t.cost.params > most} <= {"infeasible"}
    assert {t.status for t in played.trials if t.cost.params <= most} == {"complete"}


@every_method
def test_the_limit_of_a_case_excludes_something_that_the_method_would_train(
    name: str, free: Callable[[str], Played]
) -> None:
    """So that the test before this one can fail."""
    most = CASES[name].limits.params
    assert most is not None
    assert any(trial.cost.params > most for trial in free(name).trials)


@pytest.mark.parametrize("name", [name for name in CASES if " " not in name] + ["gp in chain"])
def test_a_limit_on_macs_holds_for_every_method_and_a_network_at_the_limit_is_trained(
    name: str, free: Callable[[str], Played], tmp_path: Path
) -> None:
    macs = sorted({trial.cost.macs for trial in free(name).trials})
    most = macs[len(macs) // 2]
    limits = Limits(mmacs=most / 1e6)
    played = play(CASES[name], tmp_path, limits=limits)
    assert max(macs) > most
    assert played.choice.trial.cost.macs <= most
    assert {t.status for t in played.trials if t.cost.macs > most} <= {"infeasible"}
    assert {t.status for t in played.trials if t.cost.macs <= most} == {"complete"}


@pytest.mark.parametrize("name", BASELINES)
def test_baselines_train_as_many_networks_as_they_may_and_none_twice(name: str, once: Callable[[str], Played]) -> None:
    assert len({t.candidate.key for t in once(name).trials if t.status == "complete"}) == FEW.trials


@every_method
def test_the_same_answers_lead_to_the_same_decisions(name: str, once: Callable[[str], Played], tmp_path: Path) -> None:
    again = play(CASES[name], tmp_path)
    assert (keys(again.trials), again.decisions) == (keys(once(name).trials), once(name).decisions)
    assert again.choice == once(name).choice


@every_method
def test_what_is_answered_ahead_of_time_changes_nothing(
    name: str, once: Callable[[str], Played], tmp_path: Path
) -> None:
    ahead = play(CASES[name], tmp_path, ahead=True)
    assert keys(ahead.trials) == keys(once(name).trials)
    assert (ahead.choice, ahead.decisions) == (once(name).choice, once(name).decisions)


@every_method
def test_a_search_that_is_killed_ends_as_it_would_have_and_trains_nothing_twice(
    name: str, once: Callable[[str], Played], tmp_path: Path
) -> None:
    whole = once(name)
    resumed = play(CASES[name], tmp_path, kills=(1, whole.asks // 2))
    assert keys(resumed.trials) == keys(whole.trials)
    assert (resumed.choice, resumed.decisions) == (whole.choice, whole.decisions)
    assert sorted(resumed.made) == sorted(set(whole.made))


@every_method
def test_every_candidate_is_a_member_of_the_space(name: str, once: Callable[[str], Played]) -> None:
    space = CASES[name].space
    for trial in once(name).trials:
        assert space.contains(unscaled(trial.candidate.architecture, space))


def unscaled(network: Architecture, space: Space) -> Architecture:
    """NSE makes its final networks wider or narrower than the space's."""
    if isinstance(network, MultiBranchArchitecture) and isinstance(space, MultiBranchSpace):
        return space.member(tuple(cell.ops for cell in network.cells))
    return network


@pytest.mark.parametrize("name", ["gnas", "trgnas", "guided", "random", "evolution", "nal"])
def test_what_is_likely_is_what_is_asked_for_next_unless_the_answer_changes_something(name: str) -> None:
    method = CASES[name].make(Limits(), KnownWorth())
    ask: Ask = next(method)
    expected: Candidate | None = None
    hits = 0
    while True:
        hits += expected is not None and ask.needed[0] == expected
        expected = ask.likely[0] if ask.likely else None
        trials = tuple(
            Trial(c, "complete", cost(c.architecture), 0, {"val_accuracy": 50.0}, number=1) for c in ask.needed
        )
        try:
            ask = method.send(trials)
        except StopIteration as end:
            choice: Choice = end.value
            break
    assert choice.trial.status == "complete"
    assert hits > 0
