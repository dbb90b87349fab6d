"""Optuna's samplers as searches of any space: NSGA-II, TPE, and a Gaussian process that expects hypervolume.

They propose choices; what these make is asked for, and what comes of it is told. Costs are known before anything is trained: what
breaks a limit is told at once and costs nothing.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import statistics
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from edgenas.architectures.space import Space, Value, Values
from edgenas.errors import EdgenasError, LimitError, MissingExtraError, pip_line
from edgenas.methods import CostOf, Method
from edgenas.methods.baselines import (
    IN_VAIN,
    RANDOM,
    BaselineRules,
    baseline,
    baseline_rules,
    best_of_all,
    unspent,
    work,
)
from edgenas.methods.ladder import Training, expense, with_reference
from edgenas.methods.spec import MethodSpec, Search
from edgenas.records import Architecture, Ask, Candidate, Cost, Limits, Trial

if TYPE_CHECKING:
    from optuna.samplers import BaseSampler
    from optuna.study import Study
    from optuna.trial import Trial as OptunaTrial

Sampler = Literal["nsga2", "tpe", "gp"]
NO_NETWORK = 100.0  # as a broken constraint of NSGA-II and TPE; limits count 1 each
NO_NETWORK_SMOOTH = 1.0  # of the Gaussian process: as if a limit were exceeded e times
KNOWN_IN_A_ROW = 3  # proposals of the Gaussian process that were trained before, until a random one is asked for
PROPOSALS = 20  # of a sampler for each network that may be trained: many break a limit or were seen before
LEAST = 1e-9  # of what a logarithm is taken of


def optuna_search(
    sampler: Sampler,
    space: Space,
    rules: BaselineRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    seed: int = 0,
) -> Method:
    """NSGA-II (Deb et al. 2002), TPE (Bergstra et al. 2011) or a Gaussian process with expected hypervolume improvement (Optuna's
    GPSampler), broken limits being constraints. Raises MissingExtraError where Optuna is not installed."""
    limits, training = limits or Limits(), with_reference(training, space, cost)
    study = _study(sampler, rules, seed)
    model, stranger = study.sampler, _random_sampler(seed)
    told = _Told(study, sampler, rules.objectives, limits, objective)
    trained: dict[str, Trial] = {}  # what breaks a limit, or was proposed before, costs nothing
    proposals = nothing = known = in_vain = 0
    spent = 0.0
    while unspent(rules, len(trained), spent) and proposals < PROPOSALS * rules.trials and in_vain < IN_VAIN:
        after = {"nsga2": rules.population, "tpe": rules.at_once or rules.population, "gp": 1}[sampler]
        together = rules.population if len(trained) < rules.population else after
        study.sampler = stranger if sampler == "gp" and known >= KNOWN_IN_A_ROW else model
        asked = [study.ask() for _ in range(min(together, rules.trials - len(trained)))]
        proposals, in_vain = proposals + len(asked), in_vain + len(asked)
        members: list[tuple[OptunaTrial, Architecture]] = []
        for suggestion in asked:
            net = _suggested(space, suggestion)
            if net is None:
                nothing += 1
                told.no_network(suggestion)
            else:
                members.append((suggestion, net))
        answers = yield Ask(
            tuple(Candidate(n, training.recipe_for(rules.epochs, cost(n)), sampler) for _, n in members)
        )
        for (suggestion, _), trial in zip(members, answers, strict=True):
            told.trial(suggestion, trial)
            known = known + 1 if trial.candidate.key in trained else 0
            if trial.status != "infeasible" and trial.candidate.key not in trained:
                trained[trial.candidate.key] = trial
                spent, in_vain = spent + work(trial), 0
    if not trained:
        raise LimitError(
            f"none of {proposals} proposals of {sampler} can be trained: {nothing} made no network, the others broke the limit: "
            "raise it, or search with another method"
        )
    return best_of_all(list(trained.values()), objective)


def _study(sampler: Sampler, rules: BaselineRules, seed: int) -> Study:
    try:
        import optuna
    except ImportError:
        raise MissingExtraError(f"--method {sampler} needs Optuna: {pip_line('baselines')}") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen: optuna.samplers.BaseSampler
    if sampler == "nsga2":
        chosen = optuna.samplers.NSGAIISampler(population_size=rules.population, seed=seed)
    elif sampler == "tpe":
        chosen = optuna.samplers.TPESampler(seed=seed, n_startup_trials=rules.population)
    else:
        chosen = optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=rules.population, warn_independent_sampling=False
        )
    return optuna.create_study(directions=["minimize"] * rules.objectives, sampler=chosen)


def _random_sampler(seed: int) -> BaseSampler:
    import optuna

    return optuna.samplers.RandomSampler(seed=seed)


class _Told:
    """Tells the sampler what came of its proposals.

    A network that was not trained has no error. NSGA-II and TPE only rank, and are told the worst. A Gaussian process would bend
    its surface towards that: it is told the mean of the errors known (of all values, where there is no network), once there are
    any, and by how much the limits are broken.
    """

    def __init__(self, study: Study, sampler: Sampler, objectives: int, limits: Limits, objective: str) -> None:
        self.study, self.objectives, self.limits, self.objective = study, objectives, limits, objective
        self.smooth = sampler == "gp"
        self.worst = 100.0
        self.known: list[list[float]] = []  # values of what was trained
        self.waiting: list[
            tuple[OptunaTrial, Sequence[float] | None]
        ] = []  # without an error; costs, None = no network

    def no_network(self, suggestion: OptunaTrial) -> None:
        if self.smooth:
            suggestion.set_constraint("limits", NO_NETWORK_SMOOTH)
            self.waiting.append((suggestion, None))
            self._told_means()
        else:  # worse than any limit broken, so that the sampler learns to avoid it
            suggestion.set_constraint("limits", NO_NETWORK)
            self.study.tell(suggestion, [100.0, *[0.0] * (self.objectives - 1)])

    def trial(self, suggestion: OptunaTrial, trial: Trial) -> None:
        costs = costs_told(trial.cost, self.objectives)
        broken = excess(self.limits, trial.cost) if self.smooth else float(len(self.limits.broken(trial.cost)))
        suggestion.set_constraint("limits", broken)
        if self.smooth and trial.status != "complete":
            self.waiting.append((suggestion, costs))
        else:
            error = error_told(trial, self.objective, self.worst)
            self.worst = max(self.worst, error)
            self.known.append([error, *costs])
            self.study.tell(suggestion, self.known[-1])
        self._told_means()

    def _told_means(self) -> None:
        if not self.known or not self.waiting:
            return
        means = [statistics.fmean(values) for values in zip(*self.known, strict=True)]
        for suggestion, costs in self.waiting:
            self.study.tell(suggestion, means if costs is None else [means[0], *costs])
        self.waiting.clear()


def error_told(trial: Trial, objective: str, worst: float) -> float:
    """What a sampler minimises: 100 - score. Where there is no score it is the `worst` so far: errors in other units than percent
    go beyond 100."""
    return 100.0 - trial.scores[objective] if trial.status == "complete" else worst


def costs_told(cost: Cost, objectives: int) -> list[float]:
    """What is minimised beside the error: of three objectives latency and parameters, of two the logarithm of latency on the
    slowest target, or of parameters where no target is known."""
    latency, params = expense(cost)
    if objectives == 3:
        return [latency, float(params)]
    return [math.log(max(LEAST, latency if cost.latencies else params))]


def excess(limits: Limits, cost: Cost) -> float:
    """By how much the limit that is broken most is, as a logarithm; at most 0 where all are met, -1 where there are none."""
    share = limits.excess(cost)
    return math.log(share) if share else -1.0


def _suggested(space: Space, suggestion: OptunaTrial) -> Architecture | None:
    """The member that Optuna proposes; None where its choices make no network."""

    def answer(name: str, values: Values) -> Value:
        if isinstance(values, range):
            return suggestion.suggest_int(name, values[0], values[-1], step=values.step)
        chosen = suggestion.suggest_categorical(name, values)
        assert chosen is not None  # no choice has such a value
        return chosen

    try:
        return space.choose(answer)
    except EdgenasError:
        return None


def _by_optuna(sampler: Sampler, search: Search) -> Method:
    how = (search.training, search.guess or search.cost, search.limits, search.objective, search.seed)
    return optuna_search(sampler, search.space, baseline_rules(search), *how)


def _left(search: Search, last: Trial, decided: int) -> int | None:
    """Under limits unknown: proposals that break one are trials, and none of those that may be trained."""
    return RANDOM.left(search, last, decided) if search.limits == Limits() else None


def _spec(sampler: Sampler, summary: str, **rules: int) -> MethodSpec:
    made = baseline(sampler, summary, functools.partial(_by_optuna, sampler), **rules)
    return dataclasses.replace(made, left=_left)


NSGA2 = _spec("nsga2", "NSGA-II, by Optuna")
TPE = _spec("tpe", "TPE, by Optuna", at_once=1)
GP = _spec("gp", "Gaussian process, by Optuna", objectives=2)
