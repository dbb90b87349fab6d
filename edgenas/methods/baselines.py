"""What the other searches are compared with, on any space: random members, and Optuna's NSGA-II and TPE over its choices.

All stop at an equal budget: the sum of epochs times bytes moved, which is what training these networks costs.
"""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Literal

from edgenas.architectures.space import Space, Value, Values
from edgenas.errors import EdgenasError, LimitError, MissingExtraError
from edgenas.methods import CONTROL, Asking, CostOf, Method
from edgenas.methods.ladder import Training, expense, most_accurate, with_reference
from edgenas.methods.spec import BOUNDS, MethodSpec, Search, largest_members
from edgenas.ranges import Epochs, Networks
from edgenas.records import Architecture, Ask, Candidate, Choice, Decision, Limits, Record, Trial

if TYPE_CHECKING:
    from optuna.trial import Trial as OptunaTrial

Sampler = Literal["nsga2", "tpe"]
DRAWS = 10_000  # random members looked at before a limit is called unreachable
NO_NETWORK = 100.0  # as a broken constraint; limits count 1 each
PROPOSALS = 20  # of a sampler for each network that may be trained: many break a limit or were seen before


class BaselineRules(Record, frozen=True):
    """What a baseline may spend: `trials` trained, or `budget` (epochs x bytes moved) where that is set, whichever ends first."""

    trials: Networks = 24
    epochs: Epochs = 10
    population: Networks = 8
    budget: float | None = None


def work(trial: Trial) -> float:
    """What training a trial cost, in epochs times bytes moved by one image; nothing for one that was never trained."""
    return trial.candidate.recipe.epochs * trial.cost.bytes_moved if trial.status == "complete" else 0.0


def random_search(
    space: Space,
    rules: BaselineRules,
    training: Training,
    cost: CostOf,
    limits: Limits | None = None,
    objective: str = "val_accuracy",
    seed: int = 0,
) -> Method:
    """Members within the limits, every choice drawn uniformly."""
    candidates = _random_candidates("random", space, rules, training, cost, limits or Limits(), seed)
    trials = yield from _spend(candidates, rules, cost)
    return _best(trials, objective)


def with_control(method: Method, space: Space, training: Training, cost: CostOf, limits: Limits, seed: int) -> Method:
    """Run `method`, then spend what it spent on random members of the same space (phase `CONTROL`)."""
    spent, epochs = 0.0, 1
    ask = next(method)
    while True:
        answers = yield ask
        spent += sum(work(trial) for trial in answers)
        epochs = max([epochs, *(t.candidate.recipe.epochs for t in answers)])
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            break
    # A macro network's epochs are those before scale and policy; the epochs of trials are what was trained.
    scheduled = choice.macro.get("epochs")
    rules = BaselineRules(trials=DRAWS, epochs=scheduled or epochs, budget=spent)
    how = training if scheduled else Training(training.recipe)
    candidates = _random_candidates(CONTROL, space, rules, how, cost, limits, seed)
    yield from _spend(_as_many_as_there_are(candidates), rules, cost)
    return choice


def _as_many_as_there_are(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    """The candidates, without an error where no further one is within the limits: then the control ends, and not the search."""
    with contextlib.suppress(LimitError):
        yield from candidates


def _spend(candidates: Iterator[Candidate], rules: BaselineRules, cost: CostOf) -> Asking[list[Trial]]:
    """Ask for candidates one by one, the next ones being known, until the budget is spent."""
    planned: list[Candidate] = []
    spent = 0.0
    while _unspent(rules, len(planned), spent):
        candidate = next(candidates, None)
        if candidate is None:
            break
        planned.append(candidate)
        spent += candidate.recipe.epochs * cost(candidate.architecture).bytes_moved
    trials: list[Trial] = []
    for index, candidate in enumerate(planned):
        trials += yield Ask((candidate,), tuple(planned[index + 1 : index + 9]))
    return trials


def _random_candidates(
    phase: str, space: Space, rules: BaselineRules, training: Training, cost: CostOf, limits: Limits, seed: int
) -> Iterator[Candidate]:
    training = with_reference(training, space, cost)
    for net in _random_members(space, cost, limits, random.Random(seed)):
        yield Candidate(net, training.recipe_for(rules.epochs, cost(net)), phase)


def _random_members(space: Space, cost: CostOf, limits: Limits, rng: random.Random) -> Iterator[Architecture]:
    """Distinct members within the limits. Raises LimitError where DRAWS draws in a row hold no new one."""
    seen: set[str] = set()
    draws = 0
    while True:
        net = space.draw(rng)
        draws += 1
        if net.fingerprint not in seen and not limits.broken(cost(net)):
            seen.add(net.fingerprint)
            draws = 0
            yield net
        elif draws >= DRAWS:
            raise LimitError(
                f"{DRAWS} random members of the space held no new one within the limit ({len(seen)} before): raise the limit"
            )


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
    """NSGA-II (Deb et al. 2002; broken limits are constraints) or TPE (Bergstra et al. 2011), by Optuna: error, latency and
    parameters minimised. Raises MissingExtraError where Optuna is not installed."""
    limits, training = limits or Limits(), with_reference(training, space, cost)
    try:
        import optuna
    except ImportError:
        raise MissingExtraError(f"--method {sampler} needs Optuna: pip install 'edgenas[baselines]'") from None
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    chosen: optuna.samplers.BaseSampler
    if sampler == "nsga2":
        chosen = optuna.samplers.NSGAIISampler(population_size=rules.population, seed=seed)
    else:
        chosen = optuna.samplers.TPESampler(seed=seed, n_startup_trials=rules.population)
    study = optuna.create_study(directions=["minimize"] * 3, sampler=chosen)
    trained: dict[str, Trial] = {}  # what breaks a limit, or was proposed before, costs nothing
    proposals = nothing = 0
    worst = 100.0
    spent = 0.0
    while _unspent(rules, len(trained), spent) and proposals < PROPOSALS * rules.trials:
        asked = [study.ask() for _ in range(min(rules.population, rules.trials - len(trained)))]
        proposals += len(asked)
        members: list[tuple[OptunaTrial, Architecture]] = []
        for suggestion in asked:
            net = _suggested(space, suggestion)
            if net is None:  # worse than any limit broken, so that the sampler learns to avoid it
                nothing += 1
                suggestion.set_constraint("limits", NO_NETWORK)
                study.tell(suggestion, [100.0, 0.0, 0.0])
            else:
                members.append((suggestion, net))
        answers = yield Ask(
            tuple(Candidate(n, training.recipe_for(rules.epochs, cost(n)), sampler) for _, n in members)
        )
        for (suggestion, _), trial in zip(members, answers, strict=True):
            suggestion.set_constraint("limits", float(len(limits.broken(trial.cost))))
            latency, params = expense(trial.cost)
            error = error_told(trial, objective, worst)
            worst = max(worst, error)
            study.tell(suggestion, [error, latency, float(params)])
            if trial.status != "infeasible" and trial.candidate.key not in trained:
                trained[trial.candidate.key] = trial
                spent += work(trial)
    if not trained:
        raise LimitError(
            f"none of {proposals} proposals of {sampler} can be trained: {nothing} made no network, the others broke the limit: "
            "raise it, or search with another method"
        )
    return _best(list(trained.values()), objective)


def error_told(trial: Trial, objective: str, worst: float) -> float:
    """What a sampler minimises: 100 - score. Where there is no score it is the `worst` so far: errors in other units than percent
    go beyond 100."""
    return 100.0 - trial.scores[objective] if trial.status == "complete" else worst


def _unspent(rules: BaselineRules, trials: int, spent: float) -> bool:
    return trials < rules.trials and (rules.budget is None or spent < rules.budget)


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


def _best(trials: list[Trial], objective: str) -> Choice:
    best = most_accurate(trials, objective)
    verdict = Decision(
        best.candidate.phase, "accept", "the best of all", score=best.scores[objective], key=best.candidate.key
    )
    return Choice(best, {}, (verdict,))


def _random(search: Search) -> Method:
    rules = search.rules_as(BaselineRules)
    return random_search(
        search.space, rules, search.training, search.cost, search.limits, search.objective, search.seed
    )


def _by_optuna(sampler: Sampler, search: Search) -> Method:
    rules = search.rules_as(BaselineRules)
    how = (search.training, search.cost, search.limits, search.objective, search.seed)
    return optuna_search(sampler, search.space, rules, *how)


def _left(search: Search, last: Trial, decided: int) -> int | None:
    del decided
    return (
        max(0, search.rules_as(BaselineRules).trials - (last.number or 0)) if last.candidate.phase != CONTROL else None
    )


def _baseline(name: str, summary: str, make: Callable[[Search], Method]) -> MethodSpec:
    presets = {preset: BaselineRules(trials=100, epochs=25) for preset in ("t", "m", "trg")}
    return MethodSpec(
        name,
        summary,
        make,
        BaselineRules,
        presets={"tiny": BaselineRules(trials=24, epochs=10), **presets},
        heeds=(*BOUNDS, "policy", "space"),
        left=_left,
        largest=largest_members,
    )


RANDOM = _baseline("random", "random members within the limits", _random)
NSGA2 = _baseline("nsga2", "NSGA-II, by Optuna", functools.partial(_by_optuna, "nsga2"))
TPE = _baseline("tpe", "TPE, by Optuna", functools.partial(_by_optuna, "tpe"))
