"""Reasons to end a search before its method does: results that are no better than chance, and a budget that is spent.

Both wrap a method and are methods themselves: they read answers only, so that a search that was killed ends where it would have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from edgenas.binomial import Validation
from edgenas.errors import EdgenasError
from edgenas.methods import CONTROL, Method
from edgenas.methods.ladder import most_accurate, nothing_trained
from edgenas.records import Ask, Candidate, Choice, Decision, Trial

IN_A_ROW = 3  # results at chance that end a search


class SearchEnds(Exception):  # noqa: N818  it is no error
    """Thrown into a method that is to end now, for this reason. One that catches it returns its own choice; any other ends with
    the best score so far."""


# (all answers so far, what is asked for next) -> why the search ends here; "" = it goes on
Spent = Callable[[tuple[Trial, ...], Candidate], str]


def ended_at_chance(method: Method, validation: Validation, objective: str) -> Method:
    """Run `method`. After IN_A_ROW complete results in a row that are chance (Validation.is_chance), end with its best so far."""
    seen: dict[str, Trial] = {}
    row = 0
    ask = next(method)
    while True:
        try:
            answers = yield ask
        except SearchEnds as end:
            return _ended(method, seen.values(), objective, (), str(end))
        stop = False
        for trial in answers:
            counts = trial.status == "complete" and trial.candidate.phase != CONTROL
            if counts and trial.candidate.key not in seen:
                row = row + 1 if validation.is_chance(trial.scores, objective) else 0
                stop = stop or row == IN_A_ROW
            seen[trial.candidate.key] = trial
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            return choice
        if stop:
            return _ended(method, seen.values(), objective, ask.decisions, _at_chance(validation, objective))


def ended_when(method: Method, spent: Spent, objective: str) -> Method:
    """Run `method`. Where `spent` gives a reason to end before the next training, end with its best so far. It is asked as soon
    as there is one answer: TrainingError where nothing could be trained by then, LimitError where nothing was within the limits.
    Of what is asked for at once the first is needed and the others are likely, so that a generation ends where the time does."""
    seen: dict[str, Trial] = {}
    ask = next(method)
    while True:
        answers: tuple[Trial, ...] = ()
        for place, candidate in enumerate(ask.needed):
            told = () if place else ask.decisions
            if seen and candidate.key not in seen:
                tried = tuple(seen.values())
                reason = spent(tried, candidate)
                if reason:
                    if all(trial.status != "complete" for trial in tried):
                        raise nothing_trained(tried, reason)
                    trained = [trial for trial in tried if trial.status != "infeasible"]
                    return _ended(method, trained, objective, told, reason)
            (trial,) = yield Ask((candidate,), (*ask.needed[place + 1 :], *ask.likely), told)
            seen[candidate.key] = trial
            answers = (*answers, trial)
        if not ask.needed:
            answers = yield ask
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            return choice


def _ended(method: Method, trials: Iterable[Trial], objective: str, told: tuple[Decision, ...], reason: str) -> Choice:
    """The choice of a method that ends early: its own, where it makes one. `told`: decisions that were not told yet."""
    try:
        method.throw(SearchEnds(reason))
    except StopIteration as end:
        choice: Choice = end.value
        return msgspec.structs.replace(choice, decisions=(*told, *choice.decisions))
    except SearchEnds:
        return _best_so_far(trials, objective, told, reason)
    raise EdgenasError("a method that is told to end asked for more: return a choice on SearchEnds, or let it pass")


def _best_so_far(trials: Iterable[Trial], objective: str, told: tuple[Decision, ...], reason: str) -> Choice:
    """The choice of a search that ends early, for this reason."""
    seen = tuple(trial for trial in trials if trial.candidate.phase != CONTROL)
    last = Decision(seen[-1].candidate.phase, "stop", reason)
    return Choice(most_accurate(seen, objective), {}, (*told, last))


def _at_chance(validation: Validation, objective: str) -> str:
    near = "within two standard errors of" if validation.by_errors(objective) else "no better than"
    return (
        f"three results in a row are {near} chance ({validation.chance_words(objective)}): such trainings "
        "decide nothing, and the search ends with its best so far. Train longer (--budget, --epoch-scale), on more images, or "
        "with another --recipe"
    )
