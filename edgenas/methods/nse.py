"""NSE: Ci, Lin, Sun, Chen, Zhang, Ouyang, "Evolving Search Space for Neural Architecture Search", arXiv 2011.10904.

No space is searched whole. A round looks at K operations per cell, finds the Pareto-best networks among them with the weights
of one supernet, keeps the operations that those networks use, and refills from what was not tried yet.
"""

from __future__ import annotations

import time
from typing import Literal, Protocol

import numpy as np

from edgenas.architectures.multibranch import CellOps, MultiBranchSpace, pool_operations
from edgenas.architectures.subspace import (
    Fitness,
    Round,
    RoundPlan,
    Scored,
    additive_cost,
    draw_networks,
    pareto_front,
    refill,
    union,
)
from edgenas.errors import EdgenasError, LimitError, TrainingError
from edgenas.methods import CONTROL, Asking, CostOf, Method
from edgenas.methods.nse_rules import Economy, NseRules, fitted, target_of, whole_pool
from edgenas.records import (
    ACCURACY,
    Ask,
    Candidate,
    Choice,
    Decision,
    Limits,
    Metric,
    MultiBranchArchitecture,
    Recipe,
    Record,
    Trial,
)


class Start(Record, frozen=True):
    """What this search takes over from an earlier one: operations to keep, operations already tried, its best networks."""

    kept: CellOps
    tried: CellOps
    survivors: tuple[Scored, ...]


class Supernets(Protocol):
    """Trains a round's supernet and scores networks with its weights; remembers finished rounds."""

    def recall(self, number: int) -> Round | None:
        """The finished round of this number, where an earlier run of the same search played it."""
        ...

    def train(self, plan: RoundPlan) -> Fitness:
        """The fitness that training on the subspace ended with."""
        ...

    def errors(self, plan: RoundPlan, networks: tuple[CellOps, ...]) -> tuple[float, ...]:
        """Percent of held-out images that each network gets wrong with the weights that it inherits."""
        ...

    def remember(self, played: Round) -> None: ...


def nse(
    space: MultiBranchSpace,
    rules: NseRules,
    supernets: Supernets,
    recipe: Recipe,
    cost: CostOf,
    limits: Limits | None = None,
    seed: int = 0,
    objective: str = "val_accuracy",
    start: Start | None = None,
    metric: Metric = ACCURACY,
) -> Method:
    """Evolve the space round by round, then train the last front's best networks from scratch."""
    economy = Economy(cost, limits or Limits(), rules)
    target = target_of(space, rules, economy)
    kept, survivors, pending = _beginning(space, start, seed)
    last: Round | None = None
    stop: tuple[Decision, ...] = ()
    for number in range(1, rounds_of(space, rules) + 1):
        front = kept
        kept, survivors = _with_room(front, survivors, pending, rules.operations)
        subspace, pending = refill(kept, pending, rules.operations)
        if subspace == kept:
            stop = _stop(last, space, rules, pending)
            break
        if kept != front:
            yield Ask((), decisions=(_narrowed(number, front, kept),))
        last = supernets.recall(number)
        if last is None:
            plan = _plan(number, seed, space, subspace, kept, target, economy)
            last = _play(plan, rules, supernets, economy, survivors)
            supernets.remember(last)
        kept, survivors = last.kept, last.survivors
        yield Ask((), decisions=(_decision(last, metric),))
    if last is None:
        raise EdgenasError(_nothing_to_try(space, rules, pending))
    trials = yield from _train_finals(last, target, rules, recipe, economy)
    if rules.control:
        yield from _train_control(last.plan, target, rules, recipe, economy)
    return _choice(trials, objective, last.plan.number, stop)


def _beginning(space: MultiBranchSpace, start: Start | None, seed: int) -> tuple[CellOps, tuple[Scored, ...], CellOps]:
    """(kept, survivors, pending): per cell a random order of the pool, once; without what another search tried before."""
    rng = np.random.default_rng([seed, 0])
    order = tuple(tuple(rng.permutation(len(pool_operations(space.pool))).tolist()) for _ in space.kinds)
    if start is None:
        return tuple(() for _ in space.kinds), (), order
    pending = tuple(tuple(op for op in ops if op not in tried) for ops, tried in zip(order, start.tried, strict=True))
    return start.kept, start.survivors, pending


def _with_room(
    kept: CellOps, survivors: tuple[Scored, ...], pending: CellOps, size: int
) -> tuple[CellOps, tuple[Scored, ...]]:
    """What goes on into the next round: the operations that the front uses, and its networks.

    Where these leave no cell room for an operation that was not tried (near the dearest cost every network holds nearly all of
    them), the published rule looks at the same operations once more. Here only the front's most accurate network goes on then.
    """
    full = any(pending) and refill(kept, pending, size)[0] == kept
    if not full or not survivors:
        return kept, survivors
    best = min(survivors, key=_by_error)
    return best.ops, (best,)


def first_plan(
    space: MultiBranchSpace, rules: NseRules, cost: CostOf, limits: Limits, seed: int, start: Start | None
) -> RoundPlan:
    """What the first round would look at: for a throughput trial."""
    economy = Economy(cost, limits, rules)
    kept, survivors, pending = _beginning(space, start, seed)
    kept, _ = _with_room(kept, survivors, pending, rules.operations)
    subspace, _ = refill(kept, pending, rules.operations)
    return _plan(1, seed, space, subspace, kept, target_of(space, rules, economy), economy)


def _plan(
    number: int, seed: int, space: MultiBranchSpace, subspace: CellOps, kept: CellOps, target: float, economy: Economy
) -> RoundPlan:
    shares = additive_cost(space, subspace, economy.expense)
    aim = economy.within_reach(target, shares.of(subspace, subspace))
    return RoundPlan(number, seed, space, subspace, kept, shares, aim, economy.unit)


def rounds_of(space: MultiBranchSpace, rules: NseRules) -> int:
    """At most this many: those asked for, or those that the pool needs where every cell keeps one operation."""
    needed = (space.pool - 1) // max(1, rules.operations - 1)
    return max(1, needed) if rules.rounds is None else rules.rounds


def _play(
    plan: RoundPlan, rules: NseRules, supernets: Supernets, economy: Economy, previous: tuple[Scored, ...]
) -> Round:
    """Train the supernet, draw networks by fitness, score them with inherited weights, keep what the front uses."""
    began = time.monotonic()
    fitness = supernets.train(plan)
    drawn = _draw(plan, rules, fitness, economy)
    # what another study kept may break this one's limits
    drawn.update({one.ops: "previous" for one in previous if economy.fits(plan.space.member(one.ops))})
    errors = supernets.errors(plan, tuple(drawn))
    networks = tuple(
        Scored(ops, economy.expense(plan.space.member(ops)), error, band)
        for (ops, band), error in zip(drawn.items(), errors, strict=True)
    )
    survivors = surviving(networks)
    kept = union([network.ops for network in survivors], len(plan.space.kinds))
    return Round(plan, fitness, networks, survivors, kept, time.monotonic() - began)


def surviving(networks: tuple[Scored, ...]) -> tuple[Scored, ...]:
    """The Pareto front over (cost, error) without the cheap band."""
    front = [networks[i] for i in pareto_front([(n.cost, n.error) for n in networks])]
    wanted = tuple(network for network in front if network.band != "cheap")
    if wanted:
        return wanted
    # A cheap network beat everything in the band: a noisy score, but a round has to keep something.
    return (min((n for n in networks if n.band != "cheap"), key=lambda n: (n.error, n.cost)),)


def _draw(
    plan: RoundPlan, rules: NseRules, fitness: Fitness, economy: Economy
) -> dict[CellOps, Literal["target", "cheap", "previous"]]:
    """Networks around the target, and a few cheaper ones; every one of them keeps the limits."""
    rng = np.random.default_rng([plan.seed, plan.number])
    bands: tuple[tuple[Literal["target", "cheap"], tuple[float, float], int], ...] = (
        ("target", (rules.band_low, rules.band_high), rules.networks),
        ("cheap", (rules.cheap_low, rules.band_low), rules.cheap_networks),
    )
    drawn: dict[CellOps, Literal["target", "cheap", "previous"]] = {}
    for name, (low, high), count in bands:
        band = (low * plan.target, high * plan.target)
        found = draw_networks(plan, fitness, band, count, lambda ops: economy.fits(plan.space.member(ops)), rng)
        if name == "target" and not found:
            raise LimitError(_nothing_in_band(plan, band, economy))
        drawn.update({ops: name for ops in found if ops not in drawn})
    return drawn


def _nothing_in_band(plan: RoundPlan, band: tuple[float, float], economy: Economy) -> str:
    zipped = zip(plan.space.kinds, plan.subspace, plan.cost.operations, strict=True)
    smallest = tuple(() if kind == "N" else (ops[int(np.argmin(shares))],) for kind, ops, shares in zipped)
    broken = ", ".join(economy.limits.broken(economy.cost(plan.space.member(smallest))))
    low, high = (plan.cost.of(plan.subspace, ops) for ops in (smallest, plan.subspace))
    return (
        f"no network of round {plan.number} costs {band[0]:.4g}..{band[1]:.4g} {plan.unit} within the limits: its networks cost "
        f"{low:.4g}..{high:.4g} {plan.unit}{f', and the smallest has {broken}' if broken else ''}: change the limit, the "
        "target or the channels"
    )


def _train_finals(
    last: Round, target: float, rules: NseRules, recipe: Recipe, economy: Economy
) -> Asking[tuple[Trial, ...]]:
    """The front first, by error, then the best of the rest around the target; channels scaled to the target."""
    rest = [network for network in last.networks if network.band != "cheap" and network not in last.survivors]
    ranked = [*sorted(last.survivors, key=_by_error), *sorted(rest, key=_by_error)][: rules.finals]
    networks = [fitted(last.plan.space, network.ops, target, rules, economy) for network in ranked]
    return (yield from _ask(networks, recipe, "final"))


def _train_control(
    plan: RoundPlan, target: float, rules: NseRules, recipe: Recipe, economy: Economy
) -> Asking[tuple[Trial, ...]]:
    """Random members of the whole space in the same band, scaled and trained in the same way."""
    whole = whole_pool(plan.space)
    everything = RoundPlan(
        0, plan.seed, plan.space, whole, (), additive_cost(plan.space, whole, economy.expense), plan.target, plan.unit
    )
    even: Fitness = tuple((0.0,) * len(ops) for ops in whole)
    band = (rules.band_low * plan.target, rules.band_high * plan.target)
    rng = np.random.default_rng([plan.seed, 0, 1])
    members = draw_networks(
        everything, even, band, rules.control, lambda ops: economy.fits(plan.space.member(ops)), rng
    )
    return (yield from _ask([fitted(plan.space, ops, target, rules, economy) for ops in members], recipe, CONTROL))


def _ask(networks: list[MultiBranchArchitecture], recipe: Recipe, phase: str) -> Asking[tuple[Trial, ...]]:
    return (yield Ask(tuple(Candidate(network, recipe, phase) for network in dict.fromkeys(networks))))


def _choice(trials: tuple[Trial, ...], objective: str, rounds: int, stop: tuple[Decision, ...]) -> Choice:
    """The most accurate from scratch; of equals the cheaper. `stop`: why the rounds ended early, where they did."""
    complete = [trial for trial in trials if trial.status == "complete"]
    if not complete:
        raise TrainingError(f"none of the {len(trials)} final networks could be trained: {trials[0].error}")
    best = max(complete, key=lambda trial: (trial.scores[objective], -trial.cost.macs))
    decisions = tuple(
        Decision(
            trial.candidate.phase,
            "accept" if trial is best else ("reject" if trial.status == "complete" else trial.status),
            trial.error or ("the most accurate from scratch" if trial is best else "less accurate"),
            score=trial.scores.get(objective),
            best=best.scores[objective],
            key=trial.candidate.key,
        )
        for trial in trials
    )
    return Choice(best, {"rounds": rounds}, (*decisions, *stop))


def _decision(played: Round, metric: Metric) -> Decision:
    plan = played.plan
    best = min(played.survivors, key=_by_error)
    looked_at = _count(plan.subspace)
    dropped = sum(alpha is None for alphas in played.fitness for alpha in alphas)
    reason = (
        f"round {plan.number}: kept {_count(played.kept)} of {looked_at} operations ({dropped} dropped in training), "
        f"scored {len(played.networks)} networks, front of {len(played.survivors)}, best at {best.cost:.4g} {plan.unit}"
    )
    return Decision(f"round {plan.number}", "accept", reason, score=metric.gain(metric.error(best.error)))


def _narrowed(number: int, front: CellOps, kept: CellOps) -> Decision:
    reason = (
        f"round {number}: the front's {_count(front)} operations leave no cell room for another: only the {_count(kept)} of its "
        "most accurate network go on; a lower target under [rules] would leave more to try"
    )
    return Decision(f"round {number}", "neutral", reason)


def _stop(last: Round | None, space: MultiBranchSpace, rules: NseRules, pending: CellOps) -> tuple[Decision, ...]:
    """Why no round follows: nothing where the whole pool was tried."""
    if last is None or not any(pending):
        return ()
    reason = (
        f"no round after round {last.plan.number}: its most accurate network leaves no cell room for another operation, and "
        f"{_count(pending)} of {space.pool * len(space.kinds)} were never tried: set more operations (K, now "
        f"{rules.operations}) or a lower target under [rules]"
    )
    return (Decision(f"round {last.plan.number}", "stop", reason),)


def _nothing_to_try(space: MultiBranchSpace, rules: NseRules, pending: CellOps) -> str:
    """Why a search that goes on from another has no round to play."""
    if any(pending):
        return (
            f"the networks that the other study kept leave no cell room for one of the {_count(pending)} operations that it has "
            f"not tried: set more operations (K, now {rules.operations}) under [rules]"
        )
    larger = "take --pool 72" if space.pool == 27 else "leave --from out"
    return f"pool {space.pool} holds nothing that the other study has not tried: {larger}"


def _count(ops: CellOps) -> int:
    return sum(map(len, ops))


def _by_error(network: Scored) -> tuple[float, float]:
    return network.error, network.cost
