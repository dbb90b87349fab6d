"""What the other searches are compared with, on any space: random members. Evolution (evolution.py) and Optuna's samplers
(samplers.py) share these rules.

All stop at an equal budget: the sum of epochs times bytes moved, which is what training these networks costs.
"""

from __future__ import annotations

import contextlib
import random
from collections import deque
from collections.abc import Callable, Iterator
from typing import Annotated

import msgspec
from msgspec import Meta

from edgenas.architectures.space import Space
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods import CONTROL, Asking, CostOf, Method
from edgenas.methods.endings import Spent
from edgenas.methods.ladder import LOOKAHEAD, Training, most_accurate, with_reference
from edgenas.methods.spec import BOUNDS, MethodSpec, Search, largest_members
from edgenas.ranges import Epochs, Networks
from edgenas.records import Architecture, Ask, Candidate, Choice, Decision, Limits, Record, Trial

DRAWS = 10_000  # random members looked at before a limit is called unreachable
IN_VAIN = 1000  # networks asked for in a row of which none can be trained, or all were, before a search ends


class BaselineRules(Record, frozen=True):
    """What a baseline may spend: `trials` trained, or `budget` (epochs x bytes moved) where that is set, whichever ends first.

    population: of NSGA-II and evolution; TPE and GP draw so many before their model proposes. at_once: how many TPE then proposes
    before it hears of any; GP proposes one. objectives, of Optuna's samplers: 3
    = error, latency and parameters; 2 = error and the logarithm of latency, or of parameters where no target is known. sample: of
    the population, from whose best evolution takes the next child.
    """

    trials: Networks = 24
    epochs: Epochs = 10
    population: Networks = 8
    budget: float | None = None
    objectives: Annotated[int, Meta(ge=2, le=3)] = 3
    sample: Networks = 4
    at_once: Networks | None = None  # None: the population, as in studies of before; new ones of TPE have 1


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
    """Members within the limits, every choice drawn uniformly. One that is asked for and breaks a limit costs nothing."""
    candidates = _random_candidates("random", space, rules, training, cost, limits or Limits(), seed)
    trials = yield from _spend(candidates, rules, cost)
    return best_of_all(trials, objective)


def with_control(
    method: Method,
    space: Space,
    training: Training,
    cost: CostOf,
    limits: Limits,
    seed: int,
    ended: Spent | None = None,
) -> Method:
    """Run `method`, then spend what it spent on random members of the same space (phase `CONTROL`); less where `ended`, which is
    asked before each of them, gives a reason. The choice is the method's."""
    spent, epochs = 0.0, 1
    trained: dict[str, Trial] = {}  # what is asked for again costs nothing
    ask = next(method)
    while True:
        answers = yield ask
        for trial in answers:
            spent += 0.0 if trial.candidate.key in trained else work(trial)
            trained[trial.candidate.key] = trial
        epochs = max([epochs, *(t.candidate.recipe.epochs for t in answers)])
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            break
    # A macro network's epochs are those before scale and policy; the epochs of trials are what was trained.
    scheduled = choice.macro.get("epochs")
    rules = BaselineRules(trials=DRAWS, epochs=scheduled or epochs, budget=spent)
    how = training if scheduled or training.policy != "gnas" else Training(training.recipe)
    candidates = _random_candidates(CONTROL, space, rules, how, cost, limits, seed)
    control, had = _spend(_as_many_as_there_are(candidates), rules, cost), 0.0
    try:
        ask = next(control)
        while True:
            reason = "" if ended is None else ended(tuple(trained.values()), ask.needed[0])
            if reason:
                stop = Decision(
                    CONTROL, "stop", f"{reason}: the control had {had / spent:.0%} of what the search spent"
                )
                return msgspec.structs.replace(choice, decisions=(*choice.decisions, stop))
            (trial,) = yield ask
            trained[trial.candidate.key] = trial
            had += work(trial)
            ask = control.send((trial,))
    except StopIteration:
        return choice


def _as_many_as_there_are(candidates: Iterator[Candidate]) -> Iterator[Candidate]:
    """The candidates, without an error where no further one is within the limits: then the control ends, and not the search."""
    with contextlib.suppress(LimitError):
        yield from candidates


def _spend(candidates: Iterator[Candidate], rules: BaselineRules, cost: CostOf) -> Asking[list[Trial]]:
    """Ask for candidates one by one, the next ones being known, until the budget is spent or there are no more."""
    waiting: deque[Candidate] = deque()
    trials: list[Trial] = []
    planned, spent, in_vain = 0, 0.0, 0

    def takes(candidate: Candidate) -> float:
        return candidate.recipe.epochs * cost(candidate.architecture).bytes_moved

    while in_vain < IN_VAIN:
        while len(waiting) <= LOOKAHEAD and unspent(rules, planned, spent):
            candidate = next(candidates, None)
            if candidate is None:
                break
            waiting.append(candidate)
            planned, spent = planned + 1, spent + takes(candidate)
        if not waiting:
            break
        (trial,) = yield Ask((waiting.popleft(),), tuple(waiting))
        trials.append(trial)
        if trial.status == "infeasible":
            planned, spent, in_vain = planned - 1, spent - takes(trial.candidate), in_vain + 1
        else:
            in_vain = 0
    return trials


def _random_candidates(
    phase: str, space: Space, rules: BaselineRules, training: Training, cost: CostOf, limits: Limits, seed: int
) -> Iterator[Candidate]:
    training = with_reference(training, space, cost)
    for net in random_members(space, cost, limits, random.Random(seed)):
        yield Candidate(net, training.recipe_for(rules.epochs, cost(net)), phase)


def random_members(
    space: Space, cost: CostOf, limits: Limits, rng: random.Random, seen: set[str] | None = None
) -> Iterator[Architecture]:
    """Distinct members within the limits, none whose fingerprint is in `seen`, to which they are added; they end where DRAWS
    draws in a row hold no new one. Raises LimitError where none was ever found."""
    seen = set() if seen is None else seen
    draws = 0
    while True:
        net = space.draw(rng)
        draws += 1
        if net.fingerprint not in seen and not limits.broken(cost(net)):
            seen.add(net.fingerprint)
            draws = 0
            yield net
        elif draws >= DRAWS:
            if not seen:
                raise LimitError(f"{DRAWS} random members of the space held none within the limit: raise the limit")
            return


def unspent(rules: BaselineRules, trials: int, spent: float) -> bool:
    """May another one be trained?"""
    return trials < rules.trials and (rules.budget is None or spent < rules.budget)


def best_of_all(trials: list[Trial], objective: str) -> Choice:
    """The most accurate as the choice. Raises TrainingError where none could be trained, LimitError where all broke a limit."""
    best = most_accurate(trials, objective)
    verdict = Decision(
        best.candidate.phase, "accept", "the best of all", score=best.scores[objective], key=best.candidate.key
    )
    return Choice(best, {}, (verdict,))


def check_budget(search: Search, budget: float | None) -> None:
    """Raise EdgenasError where the rule `budget` is less than an epoch of the smallest network: whoever gave it meant minutes."""
    if budget is None:
        return
    least = workload_from_architecture(search.space.smallest()).bytes_moved
    if budget < least:
        raise EdgenasError(
            f"[rules] budget = {budget:g} is epochs x bytes moved, and one epoch of the smallest network is {least:,}: give "
            "minutes by --budget (in a project file above [rules])"
        )


def baseline_rules(search: Search) -> BaselineRules:
    """The rules of a baseline. In a search by the clock the clock ends it, and not a number of trainings.

    Raises EdgenasError for a `budget` in which nothing can be trained."""
    rules = search.rules_as(BaselineRules)
    check_budget(search, rules.budget)
    return rules if search.share is None else msgspec.structs.replace(rules, trials=DRAWS)


def drawn_by(search: Search) -> tuple[CostOf, Limits]:
    """What members are drawn by: costs, and limits on what is known of them. Where latencies are measured only those of what is
    asked for are: looking for a member within the limits may take hours, and no clock would be asked."""
    if search.guess is None:
        return search.cost, search.limits
    return search.guess, msgspec.structs.replace(search.limits, latency_ms=None, energy_mj=None)


def _random(search: Search) -> Method:
    how = (search.training, *drawn_by(search), search.objective, search.seed)
    return random_search(search.space, baseline_rules(search), *how)


def _left(search: Search, last: Trial, decided: int) -> int | None:
    del decided
    if last.candidate.phase == CONTROL or search.share is not None or drawn_by(search)[1] != search.limits:
        return None
    return max(0, search.rules_as(BaselineRules).trials - (last.number or 0))


def baseline(name: str, summary: str, make: Callable[[Search], Method], **rules: int) -> MethodSpec:
    """The specification of a baseline; `rules`: those that are not at their defaults."""
    presets = {preset: BaselineRules(trials=100, epochs=25, **rules) for preset in ("t", "m", "trg")}
    return MethodSpec(
        name,
        summary,
        make,
        BaselineRules,
        presets={"tiny": BaselineRules(trials=24, epochs=10, **rules), **presets},
        heeds=(*BOUNDS, "policy", "space", "start"),
        left=_left,
        largest=largest_members,
    )


RANDOM = baseline("random", "random members within the limits", _random)
