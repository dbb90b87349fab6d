"""The search's logic on a space whose accuracies are known: a supernet that knows each operation's worth by heart."""

import itertools
from collections.abc import Callable, Generator
from typing import Any, Literal

import pytest
from msgspec.structs import replace

from edgenas.architectures.multibranch import CellOps, MultiBranchSpace
from edgenas.architectures.subspace import Fitness, Round, RoundPlan, Scored, kept_by, union
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods import Method
from edgenas.methods.nse import Start, first_plan, nse, rounds_of, surviving
from edgenas.methods.nse_rules import Economy, NseRules, fitted
from edgenas.records import (
    ACCURACY,
    Architecture,
    Ask,
    Choice,
    Classes,
    Cost,
    Latency,
    Limits,
    Metric,
    MultiBranchArchitecture,
    Recipe,
    Trial,
)

SPACE = MultiBranchSpace(19, "NRN", (4, 8), Classes(10), 1, 16, tail_channels=16)
RULES = NseRules(operations=5, networks=60, cheap_networks=10, finals=3, channel_step=2)
RECIPE = Recipe("fast", 1, 8, 0.1)


def cost(architecture: Architecture) -> Cost:
    workload = workload_from_architecture(architecture)
    latency = Latency(workload.macs / 1e6, "predicted", "board")
    return Cost(workload.params, workload.macs, workload.bytes_moved, 0.0, 0.0, {"board": latency})


class KnownWorth:
    """Operation 17 (a rectangle) is worth most, then the lower the better; the error falls with the mean worth."""

    def __init__(self) -> None:
        self.rounds: dict[int, Round] = {}
        self.trained: list[RoundPlan] = []

    def recall(self, number: int) -> Round | None:
        return self.rounds.get(number)

    def remember(self, played: Round) -> None:
        self.rounds[played.plan.number] = played

    def train(self, plan: RoundPlan) -> Fitness:
        self.trained.append(plan)
        return tuple(tuple(worth(op) - 1 for op in ops) for ops in plan.subspace)

    def errors(self, plan: RoundPlan, networks: tuple[CellOps, ...]) -> tuple[float, ...]:
        return tuple(error(ops) for ops in networks)


def worth(op: int) -> float:
    return 3.0 if op == 17 else 2.0 - op / 10


def error(ops: CellOps) -> float:
    return 50 - 5 * sum(max(map(worth, chosen)) for chosen in ops if chosen)


def play(method: Method) -> tuple[list[Ask], Choice]:
    """Answer every candidate with 100 - error of its operations."""
    asks, answers = [], ()
    generator: Generator[Ask, Any, Choice] = method
    while True:
        try:
            ask = generator.send(answers) if asks else next(generator)
        except StopIteration as end:
            return asks, end.value
        asks.append(ask)
        answers = tuple(
            Trial(c, "complete", cost(c.architecture), 0, {"val_accuracy": 100 - error(ops_of(c.architecture))})
            for c in ask.needed
        )


def ops_of(architecture: Architecture) -> CellOps:
    assert isinstance(architecture, MultiBranchArchitecture)
    return tuple(cell.ops for cell in architecture.cells)


def test_rounds_try_the_whole_pool_once_and_keep_what_the_front_uses() -> None:
    supernets = KnownWorth()
    asks, choice = play(nse(SPACE, RULES, supernets, RECIPE, cost))
    plans = supernets.trained
    assert len(plans) == len(asks) - 1 == (19 - 1) // (5 - 1)
    for before, plan in itertools.pairwise(plans):
        kept = supernets.rounds[before.number].kept
        for cell in range(3):
            assert plan.subspace[cell][: len(kept[cell])] == kept[cell]
            assert len(plan.subspace[cell]) == max(5, len(kept[cell]))
    new = [set(plan.subspace[0]) - set(plan.protected[0]) for plan in plans]
    assert sum(map(len, new)) == len(set().union(*new))  # nothing is tried twice
    assert choice.macro == {"rounds": 4}


@pytest.mark.parametrize(
    ("metric", "score"), [(ACCURACY, lambda e: 100 - e), (Metric("mae", "deg", "lower"), lambda e: -e)]
)
def test_a_rounds_best_is_told_as_what_is_to_be_maximised(metric: Metric, score: Callable[[float], float]) -> None:
    supernets = KnownWorth()
    asks, _ = play(nse(SPACE, RULES, supernets, RECIPE, cost, metric=metric))
    told = [decision for ask in asks for decision in ask.decisions if decision.phase.startswith("round")]
    best = [min(network.error for network in played.survivors) for played in supernets.rounds.values()]
    assert [decision.score for decision in told] == pytest.approx([score(e) for e in best])


def test_what_is_best_is_found() -> None:
    supernets = KnownWorth()
    _, choice = play(nse(SPACE, RULES, supernets, RECIPE, cost))
    tried = [set().union(*(plan.subspace[cell] for plan in supernets.trained)) for cell in range(3)]
    chosen = ops_of(choice.trial.candidate.architecture)
    assert sum(17 in ops for ops in chosen) >= sum(17 in ops for ops in tried) - 1


def test_the_chosen_network_meets_the_target_with_scaled_channels() -> None:
    rules = NseRules(operations=5, networks=60, cheap_networks=10, finals=3, channel_step=2, target_mmacs=0.25)
    asks, _ = play(nse(SPACE, rules, KnownWorth(), RECIPE, cost))
    for candidate in asks[-1].needed:
        assert candidate.phase == "final"
        macs = cost(candidate.architecture).macs / 1e6
        assert 0.2 < macs <= 0.25


def test_a_latency_limit_binds_every_network_and_sets_the_target() -> None:
    supernets = KnownWorth()
    limits = Limits(latency_ms=0.2)
    _, choice = play(nse(SPACE, RULES, supernets, RECIPE, cost, limits))
    assert choice.trial.cost.latencies["board"].ms <= 0.2
    assert all(plan.unit == "ms" and plan.target == pytest.approx(0.19) for plan in supernets.trained)
    assert all(network.cost <= 0.2 for played in supernets.rounds.values() for network in played.networks)


def test_a_limit_on_macs_binds_every_network_and_sets_the_target() -> None:
    supernets = KnownWorth()
    _, choice = play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(mmacs=0.25)))
    assert 0.15 < choice.trial.cost.macs / 1e6 <= 0.2375
    assert {(plan.unit, plan.target) for plan in supernets.trained} == {("M MACs", 0.95 * 0.25)}
    assert all(network.cost <= 0.25 for played in supernets.rounds.values() for network in played.networks)


def test_finals_are_widened_up_to_a_limit_on_macs_exactly_where_the_target_is_latency() -> None:
    ops = ((17,), (17, 18), (17,))
    rules = replace(RULES, target_ms=1e9)

    def macs(limits: Limits) -> int:
        return cost(fitted(SPACE, ops, 1e9, rules, Economy(cost, limits, rules))).macs

    widest = macs(Limits())
    assert macs(Limits(mmacs=widest / 1e6)) == widest
    assert macs(Limits(mmacs=(widest - 1) / 1e6)) < widest


def test_under_both_limits_latency_is_the_target_and_macs_hold() -> None:
    supernets = KnownWorth()
    _, free = play(nse(SPACE, RULES, KnownWorth(), RECIPE, cost, Limits(latency_ms=0.2)))
    most = free.trial.cost.macs - 1
    _, choice = play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(latency_ms=0.2, mmacs=most / 1e6)))
    assert {plan.unit for plan in supernets.trained} == {"ms"}
    assert choice.trial.cost.macs <= most


@pytest.mark.parametrize("limit", [0.08, 0.15, 0.3, 0.35])
def test_the_target_is_95_percent_of_any_limit_that_networks_can_come_near(limit: float) -> None:
    supernets = KnownWorth()
    asks, _ = play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(latency_ms=limit)))
    assert {plan.target for plan in supernets.trained} == {0.95 * limit}
    finals = [cost(candidate.architecture).latencies["board"].ms for candidate in asks[-1].needed]
    assert all(0.8 * limit < ms <= 0.95 * limit for ms in finals)


def test_with_margin_rounds_and_finals_aim_at_the_upper_ends_by_which_the_limit_is_kept() -> None:
    def banded(architecture: Architecture) -> Cost:
        found = cost(architecture)
        wide = {name: replace(one, high=2 * one.ms) for name, one in found.latencies.items()}
        return replace(found, latencies=wide)

    figures, ends, asked = KnownWorth(), KnownWorth(), KnownWorth()
    alike, _ = play(nse(SPACE, RULES, figures, RECIPE, cost, Limits(latency_ms=0.2)))
    asks, choice = play(nse(SPACE, RULES, ends, RECIPE, banded, Limits(latency_ms=0.4, margin=True)))
    assert len(ends.rounds) == len(figures.rounds) > 1
    scored = {number: [(one.ops, 2 * one.cost) for one in played.networks] for number, played in figures.rounds.items()}
    assert scored == {
        number: [(one.ops, one.cost) for one in played.networks] for number, played in ends.rounds.items()
    }
    assert [one.architecture for one in asks[-1].needed] == [one.architecture for one in alike[-1].needed]
    assert choice.trial.cost.latencies["board"].ms <= 0.2
    # a target that was asked for is a figure
    play(nse(SPACE, replace(RULES, target_ms=0.15), asked, RECIPE, banded, Limits(latency_ms=0.4, margin=True)))
    assert {plan.target for plan in asked.trained} == {0.15}
    assert all(one.cost <= 1.05 * 0.15 for played in asked.rounds.values() for one in played.networks)
    assert len(asked.rounds) > 1
    scored_ms = [
        cost(SPACE.member(one.ops)).latencies["board"].ms for played in asked.rounds.values() for one in played.networks
    ]
    assert max(scored_ms) > 0.9 * 0.15


def test_under_a_loose_limit_a_round_aims_at_what_its_networks_can_cost_and_the_finals_grow_towards_the_limit() -> None:
    dearest, widest = {}, {}
    for limit in (0.6, 1.0, 100.0):
        supernets = KnownWorth()
        asks, _ = play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(latency_ms=limit)))
        for plan in supernets.trained:
            whole = plan.cost.of(plan.subspace, plan.subspace)
            assert plan.target == pytest.approx(0.95 * min(limit, whole))
        dearest[limit] = max(cost(candidate.architecture).latencies["board"].ms for candidate in asks[-1].needed)
        widest[limit] = max(c.architecture.cells[0].out_channels for c in asks[-1].needed)  # type: ignore[union-attr]
    assert dearest[0.6] <= 0.57 < dearest[1.0] <= 0.95 < dearest[100.0]
    assert widest[100.0] == 1.5 * SPACE.channels[0]  # as wide as they become


def test_final_networks_are_no_wider_than_the_limits_allow() -> None:
    most = 35_000  # a round's networks have 32,474 at most, before they are widened
    params = []
    for limits in (Limits(latency_ms=100.0), Limits(latency_ms=100.0, params=most)):
        supernets = KnownWorth()
        asks, _ = play(nse(SPACE, RULES, supernets, RECIPE, cost, limits))
        params.append(max(cost(candidate.architecture).params for candidate in asks[-1].needed))
    assert params[1] <= most < params[0]


def test_a_target_that_was_asked_for_is_not_changed() -> None:
    rules = NseRules(operations=5, networks=60, cheap_networks=10, finals=3, channel_step=2, target_ms=5.0)
    with pytest.raises(LimitError, match=r"no network of round 1 costs 4.5..5.25 ms within the limits"):
        play(nse(SPACE, rules, KnownWorth(), RECIPE, cost, Limits(latency_ms=100.0)))


def test_an_impossible_limit_names_what_networks_cost() -> None:
    with pytest.raises(LimitError, match=r"its networks cost 0\.\d+\.\.\S+ ms, and the smallest has latency"):
        play(nse(SPACE, RULES, KnownWorth(), RECIPE, cost, Limits(latency_ms=0.01)))


def test_a_resumed_search_plays_no_round_twice_and_ends_alike() -> None:
    first, second = KnownWorth(), KnownWorth()
    asks, choice = play(nse(SPACE, RULES, first, RECIPE, cost))
    second.rounds = {number: first.rounds[number] for number in (1, 2)}
    resumed_asks, resumed = play(nse(SPACE, RULES, second, RECIPE, cost))
    assert [plan.number for plan in second.trained] == [3, 4]
    assert second.trained == first.trained[2:]
    assert (resumed_asks, resumed) == (asks, choice)


def test_the_control_trains_as_many_random_members_of_the_whole_space() -> None:
    rules = NseRules(operations=5, networks=40, cheap_networks=5, finals=3, control=3, channel_step=2)
    asks, choice = play(nse(SPACE, rules, KnownWorth(), RECIPE, cost))
    assert [len(ask.needed) for ask in asks[-2:]] == [3, 3]
    assert {candidate.phase for candidate in asks[-1].needed} == {"control"}
    assert choice.trial.candidate.phase == "final"


def test_a_larger_pool_goes_on_from_what_another_search_kept() -> None:
    survivor = Scored(((3,), (4,), ()), 1.0, 30.0, "target")
    tried = tuple(tuple(range(27)) for _ in "NRN")
    start = Start(((3,), (4,), ()), tried, (survivor,))
    space = MultiBranchSpace(72, "NRN", (4, 8), Classes(10), 1, 16, tail_channels=16)
    rules = NseRules(operations=6, rounds=2, networks=40, cheap_networks=5, finals=1, channel_step=2)
    supernets = KnownWorth()
    play(nse(space, rules, supernets, RECIPE, cost, start=start))
    first = supernets.trained[0]
    assert first.protected == start.kept
    assert all(op >= 27 for ops, kept in zip(first.subspace, start.kept, strict=True) for op in set(ops) - set(kept))
    assert survivor.ops in [network.ops for network in supernets.rounds[1].networks]


@pytest.mark.parametrize(("over", "kept"), [(0, True), (1, False)])
def test_a_network_that_another_search_kept_is_scored_only_where_it_keeps_this_ones_limits(
    over: int, kept: bool
) -> None:
    ops = ((17,), (17, 18), (17,))
    tried = tuple(tuple(range(27)) for _ in "NRN")
    space = MultiBranchSpace(72, "NRN", (4, 8), Classes(10), 1, 16, tail_channels=16)
    params, ms = cost(space.member(ops)).params, cost(space.member(ops)).latencies["board"].ms
    rules = NseRules(
        operations=6, rounds=1, networks=40, cheap_networks=5, finals=1, channel_step=2, target_ms=0.6 * ms
    )
    supernets = KnownWorth()
    start = Start(ops, tried, (Scored(ops, 1.0, 30.0, "target"),))
    play(nse(space, rules, supernets, RECIPE, cost, Limits(params=params - over), start=start))
    (played,) = supernets.rounds.values()
    assert [one.ops for one in played.networks if one.band == "previous"] == [ops] * kept
    assert all(cost(space.member(one.ops)).params <= params - over for one in played.networks)


@pytest.mark.parametrize(
    ("pool", "advice"), [(19, "leave --from out"), (27, "take --pool 72"), (72, "leave --from out")]
)
def test_nothing_left_to_try_is_an_error_and_says_what_there_is_beyond_this_pool(
    pool: Literal[19, 27, 72], advice: str
) -> None:
    everything = tuple(tuple(range(pool)) for _ in "NRN")
    words = f"pool {pool} holds nothing that the other study has not tried: {advice}"
    space = replace(SPACE, pool=pool)
    with pytest.raises(EdgenasError, match=f"^{words}$"):
        play(nse(space, RULES, KnownWorth(), RECIPE, cost, start=Start(((), (1,), ()), everything, ())))


# ---------------------------------------------------------------- where no cell has room


class MoreIsBetter(KnownWorth):
    """Every operation lowers the error: near the dearest cost the front's networks hold nearly all of them."""

    def train(self, plan: RoundPlan) -> Fitness:
        self.trained.append(plan)
        return tuple((0.0,) * len(ops) for ops in plan.subspace)

    def errors(self, plan: RoundPlan, networks: tuple[CellOps, ...]) -> tuple[float, ...]:
        for ops in networks:  # a supernet has weights of its round's operations alone
            assert all(set(chosen) <= set(there) for chosen, there in zip(ops, plan.subspace, strict=True))
        return tuple(50.0 - sum(map(len, ops)) - sum(map(sum, ops)) / 1000 for ops in networks)


@pytest.mark.parametrize("seed", range(3))
def test_under_a_loose_limit_every_round_is_played_and_tries_something_new(seed: int) -> None:
    supernets = MoreIsBetter()
    asks, choice = play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(latency_ms=100.0), seed))
    assert [plan.number for plan in supernets.trained] == [1, 2, 3, 4]
    assert choice.macro == {"rounds": 4}
    narrowed = []
    for before, plan in itertools.pairwise(supernets.trained):
        played = supernets.rounds[before.number]
        assert plan.subspace != plan.protected
        if plan.protected != played.kept:
            assert all(len(ops) >= RULES.operations for ops in played.kept)  # only where all cells were full
            assert plan.protected == min(played.survivors, key=lambda network: network.error).ops
            narrowed.append(plan.number)
    assert narrowed
    told = [(d.phase, d.reason) for ask in asks for d in ask.decisions if d.verdict == "neutral"]
    assert [phase for phase, _ in told] == [f"round {number}" for number in narrowed]
    kept = supernets.rounds[narrowed[0] - 1].kept, supernets.trained[narrowed[0] - 1].protected
    front, best = (sum(map(len, ops)) for ops in kept)
    assert f"the front's {front} operations leave no cell room for another: only the {best} of its most" in told[0][1]
    assert [decision for decision in choice.decisions if decision.verdict == "stop"] == []


def test_what_a_round_kept_is_what_the_next_one_begins_with() -> None:
    supernets = MoreIsBetter()
    play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(latency_ms=100.0)))
    rounds = tuple(supernets.rounds.values())
    assert kept_by(rounds) == (*(plan.protected for plan in supernets.trained[1:]), rounds[-1].kept)
    assert kept_by(rounds) != tuple(played.kept for played in rounds)
    assert kept_by(()) == ()


def test_a_front_that_leaves_one_cell_room_is_kept_whole() -> None:
    supernets = MoreIsBetter()
    play(nse(SPACE, RULES, supernets, RECIPE, cost, Limits(latency_ms=0.15)))
    with_room = [n for n, one in supernets.rounds.items() if n < 4 and min(map(len, one.kept)) < RULES.operations]
    assert with_room == [1, 2]
    for number in with_room:  # the front's networks use more than the most accurate one alone
        played, following = supernets.rounds[number], supernets.trained[number]
        assert following.protected == played.kept != min(played.survivors, key=lambda one: one.error).ops


def test_where_the_best_network_uses_everything_too_the_rounds_end_and_say_what_was_never_tried() -> None:
    whole = first_plan(SPACE, RULES, cost, Limits(), 0, None)
    rules = replace(RULES, target_mmacs=whole.cost.of(whole.subspace, whole.subspace))
    supernets = MoreIsBetter()
    asks, choice = play(nse(SPACE, rules, supernets, RECIPE, cost))
    assert union([min(supernets.rounds[1].survivors, key=lambda one: one.error).ops], 3) == supernets.rounds[1].kept
    assert choice.macro == {"rounds": 1}
    assert [ask.needed != () for ask in asks] == [False, True]
    (stop,) = (decision for decision in choice.decisions if decision.verdict == "stop")
    assert (stop.phase, stop.reason) == (
        "round 1",
        "no round after round 1: its most accurate network leaves no cell room for another operation, and 42 of 57 were never "
        "tried: set more operations (K, now 5) or a lower target under [rules]",
    )
    # where the whole pool was tried, there is nothing to say
    _, choice = play(nse(SPACE, replace(rules, operations=19, target_mmacs=None), MoreIsBetter(), RECIPE, cost))
    assert [decision for decision in choice.decisions if decision.verdict == "stop"] == []


def full_start(*survivors: CellOps) -> Start:
    """A study of the 27 whose front uses five operations in every cell."""
    scored = tuple(Scored(ops, 1.0 + place, 30.0 - place, "target") for place, ops in enumerate(survivors))
    return Start(union(survivors, 3), tuple(tuple(range(27)) for _ in "NRN"), scored)


FULL: CellOps = (tuple(range(5)),) * 3
LARGEST = replace(SPACE, pool=72)


def test_a_larger_pool_finds_room_where_the_other_study_kept_all_that_a_cell_holds() -> None:
    best: CellOps = ((0, 1), (2, 3, 4), (1,))
    start, supernets = full_start(FULL, best), KnownWorth()
    rules = replace(RULES, rounds=1)
    asks, _ = play(nse(LARGEST, rules, supernets, RECIPE, cost, start=start))
    (plan,) = supernets.trained
    assert plan.protected == best
    assert [len(ops) for ops in plan.subspace] == [5, 5, 5]
    assert [one.ops for one in supernets.rounds[1].networks if one.band == "previous"] == [best]
    assert asks[0].decisions[0].reason.startswith("round 1: the front's 15 operations leave no cell room for another")
    assert first_plan(LARGEST, rules, cost, Limits(), 0, start) == plan  # what a budget is measured by


def test_where_nothing_of_a_larger_pool_has_room_more_operations_are_advised() -> None:
    words = (
        r"the networks that the other study kept leave no cell room for one of the 135 operations that it has not tried: set "
        r"more operations \(K, now 5\) under \[rules\]$"
    )
    for start in (full_start(FULL), replace(full_start(FULL), survivors=())):
        with pytest.raises(EdgenasError, match=words):
            play(nse(LARGEST, RULES, KnownWorth(), RECIPE, cost, start=start))
    supernets = KnownWorth()
    play(nse(LARGEST, replace(RULES, operations=6, rounds=1), supernets, RECIPE, cost, start=full_start(FULL)))
    assert supernets.trained[0].protected == FULL


@pytest.mark.parametrize(("operations", "rounds"), [(5, 4), (18, 1), (19, 1), (20, 1), (1, 18)])
def test_there_is_a_round_even_where_a_cell_holds_the_whole_pool(operations: int, rounds: int) -> None:
    assert rounds_of(SPACE, replace(RULES, operations=operations)) == rounds


def test_the_cheap_band_shapes_the_front_but_does_not_survive() -> None:
    cheap = Scored(((0,), (0,), ()), 1.0, 10.0, "cheap")
    dear, good, beaten = (
        Scored(((op,), (0,), ()), c, e, "target") for op, c, e in ((1, 2.0, 12.0), (2, 3.0, 5.0), (3, 4.0, 6.0))
    )
    assert surviving((cheap, dear, good, beaten)) == (good,)
    assert surviving((cheap, dear)) == (dear,)  # where the cheap one beats everything, the best of the band stays


def test_every_network_that_a_round_scores_keeps_limits_that_its_target_does_not_know() -> None:
    limits = Limits(params=6000)  # the band goes by MACs: of its networks some have more parameters, some fewer
    supernets = KnownWorth()
    play(nse(SPACE, RULES, supernets, RECIPE, cost, limits))
    scored = [network.ops for played in supernets.rounds.values() for network in played.networks]
    params = [cost(SPACE.member(ops)).params for ops in scored]
    free = KnownWorth()
    play(nse(SPACE, RULES, free, RECIPE, cost))
    unlimited = [cost(SPACE.member(n.ops)).params for played in free.rounds.values() for n in played.networks]
    assert max(params) <= 6000 < max(unlimited)


def test_finals_are_widened_up_to_a_limit_that_their_target_does_not_know_of() -> None:
    ops = ((17,), (17, 18), (17,))

    def params(limits: Limits) -> int:
        return cost(fitted(SPACE, ops, 1e9, RULES, Economy(cost, limits, RULES))).params

    widest = params(Limits())  # no target and no limit in the way
    assert params(Limits(params=widest)) == widest
    assert params(Limits(params=widest - 1)) < widest
    assert 0.4 * widest < params(Limits(params=widest // 2)) <= widest // 2
