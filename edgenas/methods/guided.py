"""Guided search: a model of what was trained says what to train next, where costs are known exactly (own method).

Every network's cost is known before it is trained, so only its score is uncertain. What is trained next is what is expected to
add most to the front of cost and score (guided_gain.py), by a Gaussian process of the scores so far (guided_model.py), among
random members of the space and neighbours of the best (guided_pool.py).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import msgspec

from edgenas.architectures.space import Space
from edgenas.binomial import NORMAL_95, Validation
from edgenas.methods import CONTROL, CostOf, Method
from edgenas.methods.baselines import check_budget
from edgenas.methods.endings import SearchEnds
from edgenas.methods.guided_hunt import PHASE, GuidedRules, Hunt, begun, decide, first_design, learn, name_of
from edgenas.methods.guided_pool import Pool
from edgenas.methods.guided_prior import Prior
from edgenas.methods.ladder import Training, most_accurate, with_reference
from edgenas.methods.spec import BOUNDS, MethodSpec, Search, largest_members
from edgenas.records import Ask, Choice, Decision, Expectation, Limits, Trial

DIGITS = 6  # of what is stored: the last digits of a product differ between processors


def guided(
    space: Space,
    rules: GuidedRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    seed: int = 0,
    validation: Validation | None = None,
    share: Callable[[int], float] | None = None,
    guess: CostOf | None = None,
) -> Method:
    """A first design along the axis of cost, then what is expected to add most to the front, at the end the best again.

    A candidate is decided while the one before is trained: two workers are busy, and what is decided depends on no number of
    workers. Raises LimitError where no member within the limits is found, TrainingError where none could be trained."""
    limits, training = limits or Limits(), with_reference(training, space, cost)
    pool = Pool(space, guess or cost, limits, tuple(map(Prior, rules.learned)), cost if guess else None)
    hunt = begun(pool, rules, training, limits, objective, seed, validation, share)
    hunt.queue += first_design(hunt)
    full: str | None = None  # why nothing more is decided
    try:
        while hunt.queue:
            (trial,) = yield Ask((hunt.queue[0],), tuple(hunt.queue[1:]), hunt.told())
            del hunt.queue[0]
            learn(hunt, trial)
            while len(hunt.queue) <= rules.ahead and full is None:
                full = decide(hunt)
    except SearchEnds as end:
        full = str(end)
    return _chosen(hunt, full or "")


def _chosen(hunt: Hunt, ended: str) -> Choice:
    """The network with the best expected score; what is expected of every network that was trained."""
    most_accurate(hunt.trials, hunt.objective)  # raises where nothing could be trained
    known = hunt.known
    assert known is not None
    mean, sd = (values.round(DIGITS).tolist() for values in known.expected)
    best, *others = known.ranked(known.expected.mean)
    trial = next(t for t in hunt.trials if t.status == "complete" and name_of(t.candidate) == known.names[best])
    near = sum(mean[best] - mean[i] <= NORMAL_95 * math.hypot(sd[best], sd[i]) for i in others)
    noise = f"; {near} {'is' if near == 1 else 'are'} inside its noise" if near else ""
    reason = (
        f"the best expected score of {len(mean)} networks, +- {sd[best]:.2f} points (one standard deviation){noise}"
    )
    verdict = Decision(PHASE, "accept", reason, score=trial.scores[hunt.objective], key=trial.candidate.key)
    stop = (Decision(PHASE, "stop", ended),) if ended else ()
    expected = {name: Expectation(mean[i], sd[i]) for i, name in enumerate(known.names)}
    return Choice(trial, {}, (*hunt.told(), verdict, *stop), expected)


def _made(search: Search) -> Method:
    rules = search.rules_as(GuidedRules)
    check_budget(search, rules.budget)
    how = (search.training, search.cost, search.limits, search.objective, search.seed)
    return guided(search.space, rules, *how, search.validation, search.share, search.guess)


def _left(search: Search, last: Trial, decided: int) -> int | None:
    del decided
    if last.candidate.phase == CONTROL or search.share is not None:
        return None
    if search.guess is not None and search.limits != Limits():  # what is measured may break a limit, and is not trained
        return None
    return max(0, search.rules_as(GuidedRules).trials - (last.number or 0))


# The record's own defaults are those of studies from before these two were chosen.
NEW = GuidedRules(limited=0.5, cost_exponent=0.5)
GUIDED = MethodSpec(
    "guided",
    "a model of what was trained says what to train next (own method)",
    _made,
    GuidedRules,
    presets={
        "tiny": msgspec.structs.replace(NEW, trials=24, epochs=10),
        **{preset: msgspec.structs.replace(NEW, trials=100, epochs=25) for preset in ("t", "m", "trg")},
    },
    heeds=(*BOUNDS, "policy", "space", "warm_start", "start"),
    left=_left,
    largest=largest_members,
)
