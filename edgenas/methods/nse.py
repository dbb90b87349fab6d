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
from edgenas.records import (
    Architecture,
    Ask,
    Candidate,
    Choice,
    Decision,
    Limits,
    MultiBranchArchitecture,
    Recipe,
    Record,
    Trial,
)

WIDEST, NARROWEST, FACTORS = 1.5, 0.25, 81  # channel factors that are tried to meet the target


class NseRules(Record, frozen=True):
    """The published numbers, unless a preset says otherwise. Bands are shares of the target.

    target_mmacs, target_ms: the cost that the search aims at; see `target_of` for what it is without them.
    """

    operations: int = 5  # K, per cell
    rounds: int | None = None  # None: as many as the pool needs, (size - 1) // (K - 1)
    target_mmacs: float | None = None
    target_ms: float | None = None
    band_low: float = 0.9
    band_high: float = 1.05
    cheap_low: float = 0.6  # the cheaper band ends where the band begins
    networks: int = 2000
    cheap_networks: int = 100
    finals: int = 4  # of the last round, trained from scratch
    control: int = 0  # random members of the whole space, trained from scratch beside them
    channel_step: int = 8
    limit_share: float = 0.95  # of a latency limit, as the target


class Start(Record, frozen=True):
    """What another search leaves to this one: operations to keep, operations already tried, its best networks."""

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


class Economy:
    """Cost of a network: ms where the rules or a limit speak of latency, M MACs otherwise; and whether it keeps the limits."""

    def __init__(self, cost: CostOf, limits: Limits, rules: NseRules) -> None:
        self.cost, self.limits = cost, limits
        timed = rules.target_ms is not None or (rules.target_mmacs is None and limits.latency_ms is not None)
        self.unit: Literal["M MACs", "ms"] = "ms" if timed else "M MACs"

    def expense(self, architecture: Architecture) -> float:
        """M MACs, or the slowest target's ms."""
        cost = self.cost(architecture)
        if self.unit == "M MACs":
            return cost.macs / 1e6
        if not cost.latencies:
            broken = ", ".join(self.limits.broken(cost))
            raise LimitError(
                f"a network that has to be timed breaks a limit ({broken}): raise it, or lower the channels"
            )
        return max(latency.ms for latency in cost.latencies.values())

    def fits(self, architecture: Architecture) -> bool:
        return not self.limits.broken(self.cost(architecture))


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
) -> Method:
    """Evolve the space round by round, then train the last front's best networks from scratch."""
    economy = Economy(cost, limits or Limits(), rules)
    target = target_of(space, rules, economy)
    kept, survivors, pending = _beginning(space, start, seed)
    last: Round | None = None
    for number in range(1, rounds_of(space, rules) + 1):
        subspace, pending = refill(kept, pending, rules.operations)
        if subspace == kept:
            break  # nothing is left that was not tried
        last = supernets.recall(number)
        if last is None:
            plan = _plan(number, seed, space, subspace, kept, target, economy)
            last = _play(plan, rules, supernets, economy, survivors)
            supernets.remember(last)
        kept, survivors = last.kept, last.survivors
        yield Ask((), decisions=(_decision(last),))
    if last is None:
        raise EdgenasError(
            f"pool {space.pool} holds nothing that the other study has not tried: choose a larger --pool"
        )
    trials = yield from _train_finals(last, rules, recipe, economy)
    if rules.control:
        yield from _train_control(last.plan, rules, recipe, economy)
    return _choice(trials, objective, last.plan.number)


def target_of(space: MultiBranchSpace, rules: NseRules, economy: Economy) -> float:
    """The rules' target. Without one: what a network with one average operation of the pool in every cell costs; for latency
    under a limit most of that limit, but never more than where every round starts, half of K operations in every cell."""
    for asked in (rules.target_ms, rules.target_mmacs):
        if asked is not None:
            return asked
    whole = additive_cost(space, _whole_pool(space), economy.expense)
    one_each = sum(float(np.mean(shares)) for shares in whole.operations)
    limit = economy.limits.latency_ms
    if economy.unit == "M MACs" or limit is None:
        return whole.base + one_each
    return min(rules.limit_share * limit, whole.base + one_each * rules.operations / 2)


def refuse_impossible_space(space: MultiBranchSpace, cost: CostOf, limits: Limits) -> None:
    """Raise LimitError where not even the cheapest operation of the pool in every cell that needs one keeps the limits."""
    smallest = space.member(tuple((0,) if kind != "N" else () for kind in space.kinds))
    broken = limits.broken(cost(smallest))
    if broken:
        raise LimitError(
            f"no network of this space meets the limit: its smallest member, one small operation in every cell that changes the "
            f"channels, has {', '.join(broken)}: raise the limit, or set fewer channels under [rules]"
        )


def _beginning(space: MultiBranchSpace, start: Start | None, seed: int) -> tuple[CellOps, tuple[Scored, ...], CellOps]:
    """(kept, survivors, pending): per cell a random order of the pool, once; without what another search tried before."""
    rng = np.random.default_rng([seed, 0])
    order = tuple(tuple(rng.permutation(len(pool_operations(space.pool))).tolist()) for _ in space.kinds)
    if start is None:
        return tuple(() for _ in space.kinds), (), order
    pending = tuple(tuple(op for op in ops if op not in tried) for ops, tried in zip(order, start.tried, strict=True))
    return start.kept, start.survivors, pending


def first_plan(
    space: MultiBranchSpace, rules: NseRules, cost: CostOf, limits: Limits, seed: int, start: Start | None
) -> RoundPlan:
    """What the first round would look at: for a throughput trial."""
    economy = Economy(cost, limits, rules)
    kept, _, pending = _beginning(space, start, seed)
    subspace, _ = refill(kept, pending, rules.operations)
    return _plan(1, seed, space, subspace, kept, target_of(space, rules, economy), economy)


def _plan(
    number: int, seed: int, space: MultiBranchSpace, subspace: CellOps, kept: CellOps, target: float, economy: Economy
) -> RoundPlan:
    shares = additive_cost(space, subspace, economy.expense)
    return RoundPlan(number, seed, space, subspace, kept, shares, target, economy.unit)


def rounds_of(space: MultiBranchSpace, rules: NseRules) -> int:
    """At most this many: those asked for, or those that the pool needs."""
    needed = (space.pool - 1) // max(1, rules.operations - 1)
    return needed if rules.rounds is None else rules.rounds


def _play(
    plan: RoundPlan, rules: NseRules, supernets: Supernets, economy: Economy, previous: tuple[Scored, ...]
) -> Round:
    """Train the supernet, draw networks by fitness, score them with inherited weights, keep what the front uses."""
    began = time.monotonic()
    fitness = supernets.train(plan)
    drawn = _draw(plan, rules, fitness, economy)
    drawn.update({network.ops: "previous" for network in previous})
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


def _train_finals(last: Round, rules: NseRules, recipe: Recipe, economy: Economy) -> Asking[tuple[Trial, ...]]:
    """The front first, by error, then the best of the rest around the target; channels scaled to the target."""
    rest = [network for network in last.networks if network.band != "cheap" and network not in last.survivors]
    ranked = [*sorted(last.survivors, key=_by_error), *sorted(rest, key=_by_error)][: rules.finals]
    networks = [fitted(last.plan, network.ops, rules, economy) for network in ranked]
    return (yield from _ask(networks, recipe, "final"))


def _train_control(plan: RoundPlan, rules: NseRules, recipe: Recipe, economy: Economy) -> Asking[tuple[Trial, ...]]:
    """Random members of the whole space in the same band, scaled and trained in the same way."""
    whole = _whole_pool(plan.space)
    everything = RoundPlan(
        0, plan.seed, plan.space, whole, (), additive_cost(plan.space, whole, economy.expense), plan.target, plan.unit
    )
    even: Fitness = tuple((0.0,) * len(ops) for ops in whole)
    band = (rules.band_low * plan.target, rules.band_high * plan.target)
    rng = np.random.default_rng([plan.seed, 0, 1])
    members = draw_networks(
        everything, even, band, rules.control, lambda ops: economy.fits(plan.space.member(ops)), rng
    )
    return (yield from _ask([fitted(plan, ops, rules, economy) for ops in members], recipe, CONTROL))


def _ask(networks: list[MultiBranchArchitecture], recipe: Recipe, phase: str) -> Asking[tuple[Trial, ...]]:
    return (yield Ask(tuple(Candidate(network, recipe, phase) for network in dict.fromkeys(networks))))


def fitted(plan: RoundPlan, ops: CellOps, rules: NseRules, economy: Economy) -> MultiBranchArchitecture:
    """The network with its channels scaled by one factor to the most that the target and the limits allow."""
    factors = np.linspace(NARROWEST, WIDEST, FACTORS)
    widths = list(dict.fromkeys(_scaled(plan.space.channels, factor, rules.channel_step) for factor in factors))
    low, high = 0, len(widths)  # cost rises with the factor: the first that is too dear, by bisection
    while low < high:
        middle = (low + high) // 2
        network = plan.space.member(ops, widths[middle])
        if economy.fits(network) and economy.expense(network) <= plan.target:
            low = middle + 1
        else:
            high = middle
    return plan.space.member(ops, widths[max(0, low - 1)])


def _scaled(channels: tuple[int, ...], factor: float, step: int) -> tuple[int, ...]:
    return tuple(max(step, round(channel * factor / step) * step) for channel in channels)


def _choice(trials: tuple[Trial, ...], objective: str, rounds: int) -> Choice:
    """The most accurate from scratch; of equals the cheaper."""
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
    return Choice(best, {"rounds": rounds}, decisions)


def _decision(played: Round) -> Decision:
    plan = played.plan
    best = min(played.survivors, key=_by_error)
    looked_at = sum(map(len, plan.subspace))
    dropped = sum(alpha is None for alphas in played.fitness for alpha in alphas)
    reason = (
        f"round {plan.number}: kept {sum(map(len, played.kept))} of {looked_at} operations ({dropped} dropped in training), "
        f"scored {len(played.networks)} networks, front of {len(played.survivors)}, best at {best.cost:.4g} {plan.unit}"
    )
    return Decision(f"round {plan.number}", "accept", reason, score=100 - best.error)


def _by_error(network: Scored) -> tuple[float, float]:
    return network.error, network.cost


def _whole_pool(space: MultiBranchSpace) -> CellOps:
    return tuple(tuple(range(space.pool)) for _ in space.kinds)
