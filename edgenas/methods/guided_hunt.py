"""A guided search on its way: what was trained, what is known from it, and what to train next."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from edgenas.binomial import NORMAL_95, Validation, wilson
from edgenas.errors import LimitError
from edgenas.methods.guided_gain import Front, gains, undominated
from edgenas.methods.guided_model import Array, Expected, Runs, Surrogate, fitted
from edgenas.methods.guided_pool import Axis, Pool, Scaling, axis_for
from edgenas.methods.guided_prior import Learned
from edgenas.methods.guided_time import seconds_of
from edgenas.methods.ladder import Training
from edgenas.ranges import Epochs, Networks, Share
from edgenas.records import Candidate, Decision, Limits, Record, Trial

PHASE = "guided"
NEAREST = 6  # members near a step of the first design, of which the one with the most MACs is trained
GROWTHS = 8  # generations of neighbours, where few random members are within the limits
ASKED = 20  # candidates that may be asked for per one that is trained: measured latencies may break a limit
CAPS = (1.0, 0.75, 0.5, 0.25)  # shares of the axis under which parents are looked for


class GuidedRules(Record, frozen=True):
    """What a guided search may spend, and how it looks around.

    trials: trained, or `budget` (epochs x bytes moved) where that is set, whichever ends first. start: networks of the first
    design, at most a third of the trials. pool: random members that it begins with; fresh: further ones before each proposal;
    parents, neighbours: so many trained networks have so many neighbours looked at; view: members found last, of which the next
    is chosen. ahead: proposals that are made before the answer to the one before is known: so many more workers are busy.
    choice: weight of the single best network beside that of the whole front; limited: the same where the cost is limited.
    cost_exponent: by the clock, gains are divided by the seconds of a training to this power.
    repeats: share of the trials, at the end, that train the best again with other seeds. learned: from studies of other data
    (--warm-start).
    """

    trials: Networks = 24
    epochs: Epochs = 10
    budget: float | None = None
    start: Networks = 5
    pool: Networks = 250
    fresh: Networks = 50
    parents: Networks = 6
    neighbours: Networks = 8
    view: Networks = 800
    ahead: Networks = 1
    choice: float = 0.1
    limited: float = 1.0
    cost_exponent: Share = 0.0
    repeats: Share = 0.1
    learned: tuple[Learned, ...] = ()


class Known(NamedTuple):
    """What the trainings so far say. names: fingerprints of the n networks that were trained; along: (n,) their costs; expected:
    (n,) their scores, each network's own deviation being part of it."""

    model: Surrogate
    names: tuple[str, ...]
    along: Array
    expected: Expected

    def ranked(self, values: Array) -> list[int]:
        """The networks by these (n,) values, the largest first; of equals the first by name, so that no processor decides."""
        return sorted(range(len(self.names)), key=lambda i: (-values[i], self.names[i]))


@dataclass
class Hunt:
    """The state of one search. queue: decided, and not answered yet; hoped: score that a candidate was expected to have, with its
    standard deviation, when it was decided; view: members that the next candidate is chosen from, those found last at the end."""

    rules: GuidedRules
    training: Training
    pool: Pool
    axis: Axis
    scaling: Scaling
    bottom: float
    top: float
    objective: str
    validation: Validation | None
    rng: random.Random
    clock: Callable[[int], float] | None = None
    trials: list[Trial] = field(default_factory=list)
    queue: list[Candidate] = field(default_factory=list)
    hoped: dict[str, tuple[float, float]] = field(default_factory=dict)
    untold: list[Decision] = field(default_factory=list)
    known: Known | None = None
    view: dict[str, None] = field(default_factory=dict)

    def look(self, names: Sequence[str]) -> None:
        """These were found last."""
        for name in names:
            self.view.pop(name, None)
            self.view[name] = None
        for name in list(self.view)[: max(0, len(self.view) - self.rules.view)]:
            del self.view[name]

    def candidate(self, name: str, repeat: int = 0) -> Candidate:
        member = self.pool.members[name]
        first = Candidate(member.network, self.training.recipe_for(self.rules.epochs, member.cost), PHASE)
        return self.training.again(first, repeat)

    def rows(self, names: Sequence[str]) -> Array:
        return self.scaling(np.array([self.pool.members[name].row for name in names]))

    def along(self, names: Sequence[str]) -> Array:
        return np.array([self.axis(self.pool.cost_of(name)) for name in names])

    def macs(self, names: Sequence[str]) -> Array:
        return np.array([self.pool.members[name].cost.macs for name in names], np.float64)

    def epochs(self, names: Sequence[str]) -> Array:
        return np.array([self.candidate(name).recipe.epochs for name in names], np.float64)

    def share(self) -> float:
        """How much of what may be spent is spent or decided. By the clock those in the queue take as long as those before."""
        if self.clock is not None:
            trials = len(self.trials)
            return self.clock(trials) * (1 + len(self.queue) / max(1, trials))
        planned = [trial.candidate for trial in self.trials if trial.status != "infeasible"] + self.queue
        share = max(len(planned), len(self.trials) / ASKED) / self.rules.trials
        if self.rules.budget is None:
            return share
        costs = [self.pool.members[name_of(c)].cost.bytes_moved for c in planned]
        spent = sum(c.recipe.epochs * moved for c, moved in zip(planned, costs, strict=True))
        return max(share, spent / self.rules.budget)

    def told(self) -> tuple[Decision, ...]:
        untold, self.untold = tuple(self.untold), []
        return untold


def name_of(candidate: Candidate) -> str:
    """The fingerprint of its network."""
    return candidate.architecture.fingerprint


def begun(
    pool: Pool,
    rules: GuidedRules,
    training: Training,
    limits: Limits,
    objective: str,
    seed: int,
    validation: Validation | None,
    clock: Callable[[int], float] | None,
) -> Hunt:
    """A search that has looked at its first pool. Raises LimitError where nothing in it is within the limits."""
    rng = random.Random(seed)
    pool.probe(rng)
    pool.draw(rules.pool, rng)
    if len(pool.members) < rules.pool // 2:  # a tight limit, or a small space: what is near the smallest
        pool.add([pool.space.smallest()])
        for _ in range(GROWTHS):
            names = list(pool.members)
            if len(names) < rules.pool:
                pool.around(rng.sample(names, min(len(names), rules.pool // 10)), rules.neighbours, rng)
    if not pool.members:
        raise LimitError(
            f"{len(pool.over)} members of the space were looked at, and none is within the limits: raise the limit"
        )
    members = pool.members.values()
    axis = axis_for(limits, [*pool.over.values(), *(member.cost for member in members)])
    along = sorted(axis(pool.cost_of(name)) for name in pool.members)
    top = along[-1] if axis.limit is None else max(along[-1], math.log(axis.limit))
    scaling = Scaling.over(np.array([member.row for member in members]), len(rules.learned))
    hunt = Hunt(rules, training, pool, axis, scaling, along[0], top, objective, validation, rng, clock)
    hunt.look(list(pool.members))
    return hunt


def first_design(hunt: Hunt) -> list[Candidate]:
    """Equal steps of the axis from its low end to the limit; of the members nearest a step the one with the most MACs."""
    count = max(1, min(hunt.rules.start, hunt.rules.trials // 3))
    members, chosen = hunt.pool.members, list[str]()
    along = {name: hunt.axis(hunt.pool.cost_of(name)) for name in members}
    for step in np.linspace(hunt.bottom, hunt.top, count + 1)[1:].tolist():
        rest = sorted(set(members) - set(chosen), key=lambda name: (abs(along[name] - step), name))
        if rest:
            chosen.append(max(rest[:NEAREST], key=lambda name: (members[name].cost.macs, name)))
    return [hunt.candidate(name) for name in chosen]


def learn(hunt: Hunt, trial: Trial) -> None:
    """Take a trial in, and say what it means."""
    hunt.trials.append(trial)
    hunt.pool.learn(trial.candidate.architecture, trial.cost)
    candidate, name = trial.candidate, name_of(trial.candidate)
    if trial.status != "complete":
        verdict = "infeasible" if trial.status == "infeasible" else "reject"
        hunt.untold.append(Decision(PHASE, verdict, trial.error, key=candidate.key))
        return
    hunt.known = known = _known(hunt)
    score, best = trial.scores[hunt.objective], float(known.expected.mean.max())
    on_front = undominated(known.along, known.expected.mean)[known.names.index(name)]
    verdict = "accept" if on_front else "neutral"
    place = "on the front" if on_front else "behind the front"
    reason = f"of the first design, {place}"
    if candidate.key in hunt.hoped:
        mean, sd = hunt.hoped[candidate.key]
        reason = f"{score - mean:+.2f} points from what was expected (+- {sd:.2f}), {place}"
    hunt.untold.append(Decision(PHASE, verdict, reason, score=score, best=best, key=candidate.key))


def _known(hunt: Hunt) -> Known:
    trials = [trial for trial in hunt.trials if trial.status == "complete"]
    of_trial = [name_of(trial.candidate) for trial in trials]
    names = tuple(dict.fromkeys(of_trial))
    runs = Runs(
        hunt.rows(of_trial),
        np.array([names.index(name) for name in of_trial]),
        np.zeros(len(trials)),  # every training is one in full
        np.array([trial.scores[hunt.objective] for trial in trials]),
        np.array([_known_variance(hunt, trial) for trial in trials]),
        np.array([trial.candidate.cut for trial in trials]),
    )
    model = fitted(runs)
    expected = model.of_trained(np.array([of_trial.index(name) for name in names]))
    return Known(model, names, hunt.along(names), expected)


def _known_variance(hunt: Hunt, trial: Trial) -> float:
    """Of a score, by how many images it is a share of, or by the interval that it came with."""
    score, validation = hunt.objective, hunt.validation
    low, high = trial.scores.get(f"{score}_low"), trial.scores.get(f"{score}_high")
    if low is None or high is None:
        if validation is None or not validation.is_share(score):
            return 0.0
        low, high = wilson(trial.scores[score], validation.images)
    return float(((high - low) / (2 * NORMAL_95)) ** 2)


def decide(hunt: Hunt) -> str | None:
    """Put one more candidate into the queue. What keeps it from that: "" where all is spent, else the reason to end early."""
    share, rules, known = hunt.share(), hunt.rules, hunt.known
    if share >= 1 - 1e-9:
        return ""
    if share >= 1 - rules.repeats - 1e-9 and known is not None:
        hunt.queue.append(_best_again(hunt, known))
        return None
    taken = {name_of(trial.candidate) for trial in hunt.trials} | {name_of(candidate) for candidate in hunt.queue}
    hunt.look(hunt.pool.draw(rules.fresh, hunt.rng))
    if known is not None:
        hunt.look(hunt.pool.around(_parents(hunt, known), rules.neighbours, hunt.rng))
    names = [name for name in hunt.view if name not in taken and hunt.pool.within(name)]
    names = names or [name for name in hunt.pool.members if name not in taken and hunt.pool.within(name)]
    if not names:
        return f"all {len(taken)} networks within the limits that were found are trained"
    hunt.queue.append(hunt.candidate(names[0]) if known is None else _most_gain(hunt, known, names))
    return None


def _most_gain(hunt: Hunt, known: Known, names: Sequence[str]) -> Candidate:
    """The network that is expected to bring most, where those in the queue bring what they are expected to."""
    waiting = [name_of(candidate) for candidate in hunt.queue]
    expected, along = known.model.of_new(hunt.rows([*names, *waiting])), hunt.along([*names, *waiting])
    new = len(names)
    front = Front(
        np.concatenate([known.along, along[new:]]),
        np.concatenate([known.expected.mean, expected.mean[new:]]),
        hunt.bottom,
        hunt.top,
    )
    weight = hunt.rules.choice if hunt.axis.limit is None else hunt.rules.limited
    gain = gains(along[:new], Expected(expected.mean[:new], expected.sd[:new]), front, weight)
    if hunt.clock is not None:
        gain = gain / seconds_of(hunt.macs(names), hunt.epochs(names), hunt.trials) ** hunt.rules.cost_exponent
    best = min(range(new), key=lambda i: (-gain[i], names[i]))
    candidate = hunt.candidate(names[best])
    hunt.hoped[candidate.key] = float(expected.mean[best]), float(expected.sd[best])
    return candidate


def _parents(hunt: Hunt, known: Known) -> list[str]:
    """The best under the limit, and the best under shares of it, whose neighbours are worth a look."""
    ranked, parents = known.ranked(known.expected.mean), dict[str, None]()
    each = -(-hunt.rules.parents // len(CAPS))
    for share in CAPS:
        most = hunt.bottom + share * (hunt.top - hunt.bottom)
        under = [known.names[i] for i in ranked if known.along[i] <= most and known.names[i] not in parents]
        parents |= dict.fromkeys(under[:each])
    return list(parents)[: hunt.rules.parents]


def _best_again(hunt: Hunt, known: Known) -> Candidate:
    """The network that may be the best, with another seed; one that is not waiting for such an answer, where there is one."""
    waiting = {name_of(candidate) for candidate in hunt.queue}
    ranked = [known.names[i] for i in known.ranked(known.expected.mean + known.expected.sd)]
    name = next((name for name in ranked if name not in waiting), ranked[0])
    before = [*(trial.candidate for trial in hunt.trials), *hunt.queue]
    candidate = hunt.candidate(name, repeat=sum(name_of(other) == name for other in before))
    at = known.names.index(name)
    hunt.hoped[candidate.key] = float(known.expected.mean[at]), float(known.expected.sd[at])
    return candidate
