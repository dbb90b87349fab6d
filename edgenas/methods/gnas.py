"""GNAS: Siddiqui, Kyrkou, Theocharides, "Efficient Global Neural Architecture Search", arXiv 2502.03553.

Macro: depth at full width, then width at that depth. Micro: dense operations, then larger kernels, at matched size.
A candidate's epochs depend on the candidate (architecture-aware training).
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edgenas.architectures.chain import DENSE, ChainSpace
from edgenas.methods import Asking, CostOf, Method
from edgenas.methods.ladder import (
    LOOKAHEAD,
    TOLERANCE,
    Ladder,
    Training,
    chain_of,
    largest_separable,
    left_in_phase,
    refuse_separable,
)
from edgenas.methods.spec import BOUNDS, MethodSpec, Search
from edgenas.ranges import Channels, Count, Epochs, Networks, Points, Tries
from edgenas.records import Ask, Candidate, Choice, Embedding, Limits, Record, Trial


class GnasRules(Record, frozen=True):
    """The published rules; thresholds in percentage points, epochs before any scaling."""

    first_epochs: Epochs = 10  # of the shallowest network; one more per layer
    depth_accept: Points = 0.10
    depth_neutral: Points = -0.05
    depth_fails: Networks = 3
    width_fails: Networks = 3
    width_epochs: Tries = 2  # more epochs per step
    micro_epochs: Epochs = 2
    micro_slack: Count = 10_000  # parameters above the macro network that a matched candidate may have
    target_score: Points = 100.0
    target_margin: Points = 0.10
    dims: tuple[Channels, ...] = (64, 128, 256, 512)  # sizes of an embedding
    final_full: Count = 0  # ours: so many of the last accepted networks are trained as long as the macro network was


Found = Asking[tuple[Trial, int]]


def gnas(
    space: ChainSpace,
    rules: GnasRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    confirm_seeds: int = 0,
) -> Method:
    """Depth at full width, width at that depth, then operations and kernels at matched size."""
    ladder = Ladder(space, training, cost, limits or Limits(), objective, confirm_seeds)
    tall, epochs = yield from grow_depth(ladder, rules)
    slim, epochs = yield from shrink_width(ladder, rules, tall, epochs)
    mixed, final_width = yield from choose_operations(ladder, rules, slim)
    best = yield from choose_kernels(ladder, rules, mixed, final_width)
    best = yield from choose_embedding(ladder, rules, best)
    if rules.final_full:
        best = yield from choose_in_full(ladder, rules, slim, epochs)
    macro = chain_of(slim)
    return Choice(best, {"depth": macro.depth, "width": macro.width, "epochs": epochs}, ladder.told())


def grow_depth(ladder: Ladder, rules: GnasRules) -> Found:
    """GNAS, depth phase: add one layer and one epoch at a time while the accuracy rises. Returns the last accepted
    trial, and the epochs that the last candidate was trained for, accepted or not."""
    best: Trial | None = None
    fails, epochs = 0, rules.first_epochs
    for depth in range(ladder.space.min_depth, ladder.space.max_depth + 1):
        width = yield from _width_within_limits(ladder, rules, depth)
        if width is None:
            break
        epochs = rules.first_epochs + depth - ladder.space.min_depth
        trial = yield from ladder.ask(_rung(ladder, rules, depth, width), _deeper(ladder, rules, depth))
        if best is None:
            best = ladder.require_complete(trial)
            ladder.decide(trial, "start", "the shallowest", None)
        elif (gain := ladder.gain(trial, best)) >= rules.depth_accept - TOLERANCE and (
            yield from ladder.confirm(trial, best)
        ):
            ladder.decide(trial, "accept", f"{gain:+.2f} points", best)
            best, fails = trial, 0
        elif gain >= rules.depth_neutral - TOLERANCE:
            ladder.decide(trial, "neutral", f"{gain:+.2f} points", best)
        else:
            fails += 1
            ladder.decide(trial, "reject", f"{gain:+.2f} points, {fails} of {rules.depth_fails}", best)
        if fails >= rules.depth_fails or ladder.learned_enough(best, rules.target_score - rules.target_margin):
            break
    if best is None:
        raise ladder.nothing_fits()
    return best, epochs


def shrink_width(ladder: Ladder, rules: GnasRules, best: Trial, epochs: int) -> Found:
    """GNAS, width phase: take channels away and add epochs while the accuracy does not fall. Returns the last
    accepted trial and its epochs."""
    depth, step = chain_of(best).depth, ladder.space.width_step
    widths = range(chain_of(best).width - step, ladder.space.min_width - 1, -step)
    rungs = [
        ladder.candidate(ladder.space.chain(depth, width), "width", epochs + rules.width_epochs * steps)
        for steps, width in enumerate(widths, start=1)
    ]
    accepted_epochs, fails = epochs, 0
    for steps, rung in enumerate(rungs, start=1):
        trial = yield from ladder.ask(rung, rungs[steps : steps + LOOKAHEAD])
        gain = ladder.gain(trial, best)
        if gain >= -TOLERANCE:
            ladder.decide(trial, "accept", f"{gain:+.2f} points", best)
            best, accepted_epochs, fails = trial, epochs + rules.width_epochs * steps, 0
            continue
        fails += 1
        ladder.decide(trial, "reject", f"{gain:+.2f} points, {fails} of {rules.width_fails}", best)
        if fails >= rules.width_fails:
            break
    return best, accepted_epochs


def choose_operations(ladder: Ladder, rules: GnasRules, macro: Trial) -> Found:
    """GNAS, operation phase: try each layer dense instead of separable, at matched size; keep what is strictly better.
    Returns the last accepted trial (the macro network's short training, if none was) and its width."""
    net = chain_of(macro)
    budget = ladder.cost(net).params + rules.micro_slack
    baseline = ladder.candidate(net, "ops", rules.micro_epochs)
    layers = range(net.depth)

    def dense_at(ops: tuple[int, ...], layer: int) -> Candidate | None:
        mixed = (*ops[:layer], DENSE, *ops[layer + 1 :])
        width = ladder.matched(net.depth, net.width, mixed, net.kernels, budget)
        if width is None:
            return None
        return ladder.candidate(ladder.space.chain(net.depth, width, mixed, net.kernels), "ops", rules.micro_epochs)

    best = yield from ladder.ask(baseline, _present(dense_at(net.ops, layer) for layer in layers[:LOOKAHEAD]))
    ladder.decide(ladder.require_complete(best), "start", "the macro network, trained as briefly as the others", None)
    for layer in layers:
        candidate = dense_at(chain_of(best).ops, layer)
        if candidate is None:
            continue
        following = layers[layer + 1 : layer + 1 + LOOKAHEAD]
        unchanged = chain_of(best).ops
        trial = yield from ladder.ask(candidate, _present(dense_at(unchanged, later) for later in following))
        best = yield from _keep_if_better(ladder, trial, best, f"dense at layer {layer}")
    return best, chain_of(best).width


def choose_kernels(ladder: Ladder, rules: GnasRules, mixed: Trial, width: int) -> Asking[Trial]:
    """GNAS, kernel phase: try each layer with a larger kernel, at the size of the network that the operation phase left."""
    net = chain_of(mixed)
    budget = ladder.cost(net).params + rules.micro_slack
    changes = [(layer, kernel) for layer in range(net.depth) for kernel in ladder.space.kernels[1:]]

    def larger_at(kernels: tuple[int, ...], layer: int, kernel: int) -> Candidate | None:
        larger = (*kernels[:layer], kernel, *kernels[layer + 1 :])
        matched = ladder.matched(net.depth, width, net.ops, larger, budget)
        if matched is None:
            return None
        return ladder.candidate(ladder.space.chain(net.depth, matched, net.ops, larger), "kernels", rules.micro_epochs)

    best = mixed
    for index, (layer, kernel) in enumerate(changes):
        unchanged = chain_of(best).kernels
        candidate = larger_at(unchanged, layer, kernel)
        if candidate is None:
            continue
        following = changes[index + 1 : index + 1 + LOOKAHEAD]
        trial = yield from ladder.ask(candidate, _present(larger_at(unchanged, *change) for change in following))
        best = yield from _keep_if_better(ladder, trial, best, f"kernel {kernel} at layer {layer}")
    return best


def choose_embedding(ladder: Ladder, rules: GnasRules, best: Trial) -> Asking[Trial]:
    """Recognisers only: the same network with embeddings of other sizes. A tie goes to the smaller: cheaper galleries."""
    head = chain_of(best).head
    if not isinstance(head, Embedding):
        return best
    for dim in rules.dims:
        other = msgspec.structs.replace(chain_of(best), head=msgspec.structs.replace(head, dim=dim))
        if dim != head.dim and ladder.fits(other):
            trial = yield from ladder.ask(ladder.candidate(other, "embedding", rules.micro_epochs))
            best = yield from _keep_if_better(ladder, trial, best, f"embedding of {dim}")
    return best


def choose_in_full(ladder: Ladder, rules: GnasRules, macro: Trial, epochs: int) -> Asking[Trial]:
    """Not in the paper: the networks that the micro phases accepted last, each trained for as many epochs as the macro network
    was. Returns the best of them and of the macro network, whose long training counts again."""
    net = chain_of(macro)
    # Where no narrower one was accepted, `epochs` are those of the last depth that was tried.
    if macro.candidate.phase == "depth":
        epochs = rules.first_epochs + net.depth - ladder.space.min_depth
    micro = [chain_of(trial) for trial in reversed(ladder.accepted) if trial.candidate.phase not in ("depth", "width")]
    latest = [other for other in dict.fromkeys(micro) if other != net][: rules.final_full]
    best = macro
    if latest:
        trials = yield Ask(tuple(ladder.candidate(other, "full", epochs) for other in latest), (), ladder.told())
        for trial in trials:
            how = f"{trial.candidate.recipe.epochs} epochs, as the macro network"
            best = yield from _keep_if_better(ladder, trial, best, how)
    return best


def _keep_if_better(ladder: Ladder, trial: Trial, best: Trial, change: str) -> Asking[Trial]:
    gain = ladder.gain(trial, best)
    keep = gain > TOLERANCE and (yield from ladder.confirm(trial, best))
    ladder.decide(trial, "accept" if keep else "reject", f"{change}, {gain:+.2f} points", best)
    return trial if keep else best


def _rung(ladder: Ladder, rules: GnasRules, depth: int, width: int) -> Candidate:
    epochs = rules.first_epochs + depth - ladder.space.min_depth
    return ladder.candidate(ladder.space.chain(depth, width), "depth", epochs)


def _deeper(ladder: Ladder, rules: GnasRules, depth: int) -> tuple[Candidate, ...]:
    last = min(depth + LOOKAHEAD, ladder.space.max_depth)
    widths = [(later, ladder.widest(later)) for later in range(depth + 1, last + 1)]
    return tuple(_rung(ladder, rules, later, width) for later, width in widths if width is not None)


def _width_within_limits(ladder: Ladder, rules: GnasRules, depth: int) -> Asking[int | None]:
    """W(depth). Where the widest network breaks a limit it is put on record first, as one infeasible trial."""
    width = ladder.widest(depth)
    if width != ladder.space.max_width:
        trial = yield from ladder.ask(_rung(ladder, rules, depth, ladder.space.max_width))
        ladder.decide(trial, "infeasible", "", None)
    return width


def _present(candidates: Iterable[Candidate | None]) -> tuple[Candidate, ...]:
    return tuple(candidate for candidate in candidates if candidate is not None)


def _made(search: Search) -> Method:
    space, rules = search.space_as(ChainSpace), search.rules_as(GnasRules)
    limits, objective = search.limits, search.objective
    return gnas(space, rules, search.training, search.cost, limits, objective, search.confirm_seeds)


def _left(search: Search, last: Trial, decided: int) -> int | None:
    return left_in_phase(search.space_as(ChainSpace), last, decided, chain_of(last).depth)


GNAS = MethodSpec(
    "gnas",
    "depth, width, then operations and kernels at matched size (GNAS)",
    _made,
    GnasRules,
    presets={"tiny": GnasRules(first_epochs=6, micro_epochs=4)},
    spaces=("chain",),
    heeds=(*BOUNDS, "policy", "confirm_seeds", "final_width"),
    left=_left,
    check=refuse_separable,
    largest=largest_separable,  # what is dense or has larger kernels is matched to its size
)
