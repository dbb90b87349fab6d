"""The part of a multi-branch space that one round of NSE looks at: K operations per cell, each with a fitness.

Pure arithmetic on sets and probabilities; what the search decides with and what the supernet trains with.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.multibranch import CellOps, MultiBranchSpace
from edgenas.records import Architecture, Recipe, Record

Fitness = tuple[tuple[float | None, ...], ...]  # alpha of every operation of the subspace; None = dropped
Floats = NDArray[np.float64]
LEAST_CHOICE = 2  # an E or R cell is never dropped below this many operations
DRAWS = 200  # batches of draws before a sampling gives up


class AdditiveCost(Record, frozen=True):
    """What each operation of a subspace adds to the cost (M MACs or ms), and what stem, tail and head cost."""

    base: float
    operations: tuple[tuple[float, ...], ...]

    def of(self, subspace: CellOps, chosen: CellOps) -> float:
        """The cost of one network; exact for MACs."""
        parts = (
            cost
            for ops, costs, picked in zip(subspace, self.operations, chosen, strict=True)
            for op, cost in zip(ops, costs, strict=True)
            if op in picked
        )
        return self.base + math.fsum(parts)


class RoundPlan(Record, frozen=True):
    """All that decides one round. `protected`: operations of the previous front, never dropped. `target`: M MACs or ms."""

    number: int
    seed: int
    space: MultiBranchSpace
    subspace: CellOps
    protected: CellOps
    cost: AdditiveCost
    target: float
    unit: Literal["M MACs", "ms"]


class Scored(Record, frozen=True):
    """One network of a round with inherited weights. band: target, cheap (it only shapes the front), or previous (of the
    round before)."""

    ops: CellOps
    cost: float
    error: float
    band: Literal["target", "cheap", "previous"]


class Round(Record, frozen=True):
    """One played round: what it looked at, what it found, and what it keeps for the next."""

    plan: RoundPlan
    fitness: Fitness
    networks: tuple[Scored, ...]
    survivors: tuple[Scored, ...]  # the Pareto front without the cheap band, by rising cost
    kept: CellOps
    seconds: float


def kept_by(rounds: Sequence[Round]) -> tuple[CellOps, ...]:
    """What each of a study's rounds kept for the next; of the last, what its front uses."""
    return (*(following.plan.protected for following in rounds[1:]), *(last.kept for last in rounds[-1:]))


def probability(alpha: float) -> float:
    """The probability that an operation is in a cell, .0005 to .9995: so every operation can still change its fitness."""
    return 0.999 / (1 + math.exp(-alpha)) + 0.0005


def without_unfit(plan: RoundPlan, fitness: Fitness, least: float) -> Fitness:
    """Drop operations with a fitness below `least`, the worst first: none of the previous front, and none of an E or R cell
    that is down to two."""
    kept = []
    for kind, ops, safe, alphas in zip(plan.space.kinds, plan.subspace, plan.protected, fitness, strict=True):
        left = list(alphas)
        unfit = [i for i, alpha in enumerate(alphas) if alpha is not None and alpha < least and ops[i] not in safe]
        for index in sorted(unfit, key=lambda i: alphas[i] or 0.0):
            alive = sum(alpha is not None for alpha in left)
            if kind == "N" or alive > LEAST_CHOICE:
                left[index] = None
        kept.append(tuple(left))
    return tuple(kept)


def additive_cost(space: MultiBranchSpace, subspace: CellOps, expense: Callable[[Architecture], float]) -> AdditiveCost:
    """Each operation's share, as the difference that it makes in an otherwise smallest network."""
    smallest = tuple(() if kind == "N" else ops[:1] for kind, ops in zip(space.kinds, subspace, strict=True))

    def with_cell(cell: int, ops: tuple[int, ...]) -> float:
        return expense(space.member((*smallest[:cell], ops, *smallest[cell + 1 :])))

    whole = expense(space.member(smallest))
    base, operations = whole, []
    for cell, (kind, ops) in enumerate(zip(space.kinds, subspace, strict=True)):
        if kind == "N":
            shares = [with_cell(cell, (op,)) - whole for op in ops]
        elif len(ops) == 1:
            shares = [0.0]  # the cell has no choice: its cost is part of the base
        else:  # such a cell is never empty: the first operation is counted beside the second, the others beside the first
            first = with_cell(cell, ops[:2]) - with_cell(cell, ops[1:2])
            shares = [first, *(with_cell(cell, (ops[0], op)) - whole for op in ops[1:])]
            base -= first
        operations.append(tuple(shares))
    return AdditiveCost(base, tuple(operations))


def draw_networks(
    plan: RoundPlan,
    fitness: Fitness,
    band: tuple[float, float],
    count: int,
    accept: Callable[[CellOps], bool],
    rng: np.random.Generator,
) -> tuple[CellOps, ...]:
    """Up to `count` distinct networks drawn from Bernoulli(p), whose additive cost is inside `band` and which `accept` takes.

    Where the expected cost is outside the band (the fitness steps have not met the target, or the band is the cheap one), all
    log-odds are shifted by one number that brings it to the band's centre. Fewer than `count` where the band holds no more.
    """
    flat = [
        (cell, op, alpha, share)
        for cell, (ops, alphas, shares) in enumerate(zip(plan.subspace, fitness, plan.cost.operations, strict=True))
        for op, alpha, share in zip(ops, alphas, shares, strict=True)
        if alpha is not None
    ]
    cells = np.array([cell for cell, *_ in flat], int)
    shares = np.array([share for *_, share in flat])
    logits = np.array([_logit(probability(alpha)) for _, _, alpha, _ in flat])
    p = 1 / (1 + np.exp(-logits - _shift(logits, shares, (band[0] - plan.cost.base, band[1] - plan.cost.base))))
    never_empty = [cell for cell, kind in enumerate(plan.space.kinds) if kind != "N"]
    found: dict[CellOps, None] = {}
    refused: set[CellOps] = set()
    for _ in range(DRAWS):
        drawn = rng.random((max(64, 4 * count), len(p))) < p
        total = plan.cost.base + drawn @ shares
        fits = (total >= band[0]) & (total <= band[1])
        for cell in never_empty:
            fits &= drawn[:, cells == cell].any(1)
        for row in drawn[fits]:
            chosen = tuple(
                tuple(sorted(flat[i][1] for i in np.flatnonzero(row & (cells == cell))))
                for cell in range(len(plan.space.kinds))
            )
            if chosen not in found and chosen not in refused:
                if accept(chosen):
                    found[chosen] = None
                else:
                    refused.add(chosen)
            if len(found) == count:
                return tuple(found)
    return tuple(found)


def _shift(logits: Floats, shares: Floats, band: tuple[float, float]) -> float:
    """The common change of log-odds that brings the operations' expected cost to the band's centre; 0 where it is inside."""

    def expected(shift: float) -> float:
        return float(shares @ (1 / (1 + np.exp(-logits - shift))))

    if band[0] <= expected(0.0) <= band[1]:
        return 0.0
    low, high = -12.0, 12.0
    for _ in range(60):  # bisection
        middle = (low + high) / 2
        low, high = (low, middle) if expected(middle) > sum(band) / 2 else (middle, high)
    return (low + high) / 2


def _logit(p: float) -> float:
    return math.log(p / (1 - p))


def pareto_front(points: Sequence[tuple[float, float]]) -> tuple[int, ...]:
    """Indices of the points (cost, error) that no other point beats in one and equals or beats in the other; of equal points
    the first. By rising cost."""
    best, front = math.inf, []
    for index in sorted(range(len(points)), key=lambda i: (*points[i], i)):
        if points[index][1] < best:
            best = points[index][1]
            front.append(index)
    return tuple(front)


def union(networks: Sequence[CellOps], cells: int) -> CellOps:
    """Per cell, every operation that any of the networks uses."""
    return tuple(tuple(sorted({op for network in networks for op in network[cell]})) for cell in range(cells))


def refill(kept: CellOps, pending: CellOps, size: int) -> tuple[CellOps, CellOps]:
    """(subspace, still pending): the kept operations of each cell and the next pending ones, up to `size`."""
    taken = [max(0, size - len(ops)) for ops in kept]
    subspace = tuple((*ops, *wait[:n]) for ops, wait, n in zip(kept, pending, taken, strict=True))
    return subspace, tuple(wait[n:] for wait, n in zip(pending, taken, strict=True))


class SupernetRules(Record, frozen=True):
    """How a supernet is trained; the published numbers but for the recipe, whose epochs are those of one round."""

    recipe: Recipe
    fitness_lr: float = 0.005
    fitness_every: int = 2  # weight steps
    cost_weight: float = 0.9  # of ((E[cost] - target) / target)^2: 1e-5 per (M MACs)^2 at the published 300 M
    drop_below: float = -2.0
    keep: float = 0.5  # probability of an operation in a weight step
    held_out: float = 0.2  # of the training images: half for fitness steps, half for scoring
    calibration_batches: int = 50
