"""Regularised evolution: Real, Aggarwal, Huang, Le, "Regularized Evolution for Image Classifier Architecture Search", AAAI 2019.

Algorithm 1 of the paper (arXiv 1802.01548), on any space: a neighbour of the best of a few takes the place of the oldest. Limits,
which the paper has none of, are kept by trying another neighbour: what breaks one is never trained.
"""

from __future__ import annotations

import math
import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from edgenas.architectures.space import Space
from edgenas.errors import EdgenasError
from edgenas.methods import CostOf, Method
from edgenas.methods.baselines import (
    IN_VAIN,
    BaselineRules,
    baseline,
    baseline_rules,
    best_of_all,
    drawn_by,
    random_members,
    unspent,
    work,
)
from edgenas.methods.ladder import LOOKAHEAD, Training, with_reference
from edgenas.methods.spec import Search
from edgenas.records import Architecture, Ask, Candidate, Limits, Trial

PHASE = "evolution"
TRIES = 100  # neighbours of a parent that are looked at before a random member takes their place


@dataclass
class Evolving:
    """A search in progress. population: the youngest, the oldest first."""

    space: Space
    rules: BaselineRules
    cost: CostOf
    limits: Limits
    objective: str
    rng: random.Random
    population: deque[Trial]
    seen: set[str] = field(default_factory=set)  # fingerprints

    def strangers(self) -> Iterator[Architecture]:
        """Random members, until there are no further ones; LimitError where there is none at all."""
        return random_members(self.space, self.cost, self.limits, self.rng, self.seen)

    def next(self) -> Architecture | None:
        """A child; a random member where the parent has no further neighbour within the limits, or nothing is trained yet; None
        where there is none."""
        if not self.population:
            return next(self.strangers(), None)
        parent = self._parent().candidate.architecture
        for _ in range(TRIES):
            try:
                child = self.space.neighbour(parent, self.rng)
            except EdgenasError:  # it has none
                break
            if child.fingerprint not in self.seen and not self.limits.broken(self.cost(child)):
                self.seen.add(child.fingerprint)
                return child
        return next(self.strangers(), None)

    def _parent(self) -> Trial:
        """The most accurate of `sample` that are drawn with replacement."""
        drawn = self.rng.choices(self.population, k=self.rules.sample)
        return max(drawn, key=lambda trial: trial.scores.get(self.objective, -math.inf))


def evolution(
    space: Space,
    rules: BaselineRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    seed: int = 0,
) -> Method:
    """`population` random members first, then children; none is trained twice, and what is asked for and breaks a limit has no
    children. It ends early where no further member is found. Raises LimitError where none is within the limits at all."""
    training = with_reference(training, space, cost)
    state = Evolving(
        space, rules, cost, limits or Limits(), objective, random.Random(seed), deque(maxlen=rules.population)
    )
    first = list(islice(state.strangers(), min(rules.population, rules.trials)))
    history: list[Trial] = []
    trained = in_vain = 0
    spent = 0.0
    while unspent(rules, trained, spent) and in_vain < IN_VAIN:
        network = first.pop(0) if first else state.next()
        if network is None:
            break
        asked, *likely = (
            Candidate(net, training.recipe_for(rules.epochs, cost(net)), PHASE) for net in (network, *first[:LOOKAHEAD])
        )
        (trial,) = yield Ask((asked,), tuple(likely))
        history.append(trial)
        if trial.status == "infeasible":  # another one in its place
            in_vain += 1
            first += islice(state.strangers(), int(trained < rules.population))
            continue
        trained, in_vain = trained + 1, 0
        state.population.append(trial)
        spent += work(trial)
    return best_of_all(history, objective)


def _by_evolution(search: Search) -> Method:
    how = (search.training, *drawn_by(search), search.objective, search.seed)
    return evolution(search.space, baseline_rules(search), *how)


# The paper has 100 and 25 of 20,000 trainings; 5 and 2 to 16 and 8 were tried on published tables with 25 and 50.
EVOLUTION = baseline("evolution", "regularised evolution", _by_evolution, population=12)
