"""TRG-NAS: Siddiqui, Kyrkou, Theocharides, "True Rank Guided Efficient NAS", CAIP 2023.

Every candidate is trained in full and ranked by that; no parameter matching; only the first two thirds of the layers are
tried with other operations and kernels.
"""

from __future__ import annotations

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
from edgenas.methods.spec import BOUNDS, MethodSpec, Search, largest_chains
from edgenas.ranges import Epochs, Points, Share
from edgenas.records import Candidate, ChainArchitecture, Choice, Limits, Record, Trial


class TrgnasRules(Record, frozen=True):
    """The published rules; thresholds in percentage points."""

    epochs: Epochs = 600
    depth_accept: Points = 0.25
    depth_go_on: Points = -0.15
    width_loss: Points = 0.5  # below the depth phase's best
    micro_accept: Points = 0.10
    target_score: Points = 99.0
    target_margin: Points = 0.5
    layer_share: Share = 2 / 3  # of the layers, from the first on, in the micro phases


def trgnas(
    space: ChainSpace,
    rules: TrgnasRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    confirm_seeds: int = 0,
) -> Method:
    """Depth, width, operations, kernels, each ranked by full training."""
    ladder = Ladder(space, training, cost, limits or Limits(), objective, confirm_seeds)
    tall = yield from grow_depth(ladder, rules)
    slim = yield from shrink_width(ladder, rules, tall)
    best = yield from choose_operations_and_kernels(ladder, rules, slim)
    macro = chain_of(slim)
    return Choice(best, {"depth": macro.depth, "width": macro.width, "epochs": rules.epochs}, ladder.told())


def grow_depth(ladder: Ladder, rules: TrgnasRules) -> Asking[Trial]:
    """TRG-NAS, depth phase: accept from +0.25 on, look further down to -0.15, otherwise stop; also stop at the target and
    where the best network knows all its training images."""
    best: Trial | None = None
    for depth in range(ladder.space.min_depth, ladder.space.max_depth + 1):
        width = ladder.widest(depth)
        if width != ladder.space.max_width:
            too_wide = yield from ladder.ask(_rung(ladder, rules, depth, ladder.space.max_width))
            ladder.decide(too_wide, "infeasible", "", None)
        if width is None:
            break
        trial = yield from ladder.ask(_rung(ladder, rules, depth, width), _deeper(ladder, rules, depth))
        if best is None:
            best = ladder.require_complete(trial)
            ladder.decide(trial, "start", "the shallowest", None)
        elif (gain := ladder.gain(trial, best)) >= rules.depth_accept - TOLERANCE and (
            yield from ladder.confirm(trial, best)
        ):
            ladder.decide(trial, "accept", f"{gain:+.2f} points", best)
            best = trial
        elif gain >= rules.depth_go_on - TOLERANCE:
            ladder.decide(trial, "neutral", f"{gain:+.2f} points", best)
        else:
            ladder.decide(trial, "reject", f"{gain:+.2f} points", best)
            break
        if ladder.learned_enough(best, rules.target_score - rules.target_margin):
            break
    if best is None:
        raise ladder.nothing_fits()
    return best


def shrink_width(ladder: Ladder, rules: TrgnasRules, tall: Trial) -> Asking[Trial]:
    """TRG-NAS, width phase: narrower while within 0.5 points of the depth phase's best; the first failure stops."""
    depth, step = chain_of(tall).depth, ladder.space.width_step
    widths = range(chain_of(tall).width - step, ladder.space.min_width - 1, -step)
    rungs = [ladder.candidate(ladder.space.chain(depth, width), "width", rules.epochs) for width in widths]
    slim = tall
    for index, rung in enumerate(rungs, start=1):
        trial = yield from ladder.ask(rung, rungs[index : index + LOOKAHEAD])
        gain = ladder.gain(trial, tall)
        if gain < -rules.width_loss - TOLERANCE:
            ladder.decide(trial, "reject", f"{gain:+.2f} points", tall)
            break
        ladder.decide(trial, "accept", f"{gain:+.2f} points", tall)
        slim = trial
    return slim


def choose_operations_and_kernels(ladder: Ladder, rules: TrgnasRules, slim: Trial) -> Asking[Trial]:
    """TRG-NAS, micro phases: dense operations, then kernels 5 and 7, in the first two thirds of the layers (rounded down, or
    what `layer_share` says); a change is kept if it gains more than 0.10 points over the best so far."""
    net = chain_of(slim)
    layers = range(tried_layers(rules, net.depth))
    changes = [("ops", layer, DENSE) for layer in layers]
    changes += [("kernels", layer, kernel) for layer in layers for kernel in ladder.space.kernels[1:]]

    def changed(base: ChainArchitecture, phase: str, layer: int, value: int) -> Candidate:
        ops, kernels = list(base.ops), list(base.kernels)
        (ops if phase == "ops" else kernels)[layer] = value
        architecture = ladder.space.chain(base.depth, base.width, tuple(ops), tuple(kernels))
        return ladder.candidate(architecture, phase, rules.epochs)

    best = slim
    for index, (phase, layer, value) in enumerate(changes):
        base = chain_of(best)
        following = [changed(base, *change) for change in changes[index + 1 : index + 1 + LOOKAHEAD]]
        trial = yield from ladder.ask(changed(base, phase, layer, value), following)
        gain = ladder.gain(trial, best)
        keep = gain > rules.micro_accept + TOLERANCE and (yield from ladder.confirm(trial, best))
        what = f"dense at layer {layer}" if phase == "ops" else f"kernel {value} at layer {layer}"
        ladder.decide(trial, "accept" if keep else "reject", f"{what}, {gain:+.2f} points", best)
        best = trial if keep else best
    return best


def tried_layers(rules: TrgnasRules, depth: int) -> int:
    """How many layers of a network, from the first on, are tried with other operations and kernels."""
    return int(rules.layer_share * depth + TOLERANCE)


def _rung(ladder: Ladder, rules: TrgnasRules, depth: int, width: int) -> Candidate:
    return ladder.candidate(ladder.space.chain(depth, width), "depth", rules.epochs)


def _deeper(ladder: Ladder, rules: TrgnasRules, depth: int) -> list[Candidate]:
    last = min(depth + LOOKAHEAD, ladder.space.max_depth)
    widths = [(later, ladder.widest(later)) for later in range(depth + 1, last + 1)]
    return [_rung(ladder, rules, later, width) for later, width in widths if width is not None]


def _made(search: Search) -> Method:
    space, rules = search.space_as(ChainSpace), search.rules_as(TrgnasRules)
    limits, objective = search.limits, search.objective
    return trgnas(space, rules, search.training, search.cost, limits, objective, search.confirm_seeds)


def _left(search: Search, last: Trial, decided: int) -> int | None:
    tried = tried_layers(search.rules_as(TrgnasRules), chain_of(last).depth)
    return left_in_phase(search.space_as(ChainSpace), last, decided, tried)


TRGNAS = MethodSpec(
    "trgnas",
    "the same phases, every candidate trained in full (TRG-NAS)",
    _made,
    TrgnasRules,
    presets={"tiny": TrgnasRules(epochs=10)},
    spaces=("chain",),
    heeds=(*BOUNDS, "policy", "confirm_seeds", "final_width"),
    gpu_preset="trg",
    left=_left,
    largest=largest_chains,
    macro=largest_separable,
    check=refuse_separable,
)
