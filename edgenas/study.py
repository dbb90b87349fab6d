"""The engine: joins a method, which only asks, to an executor, which only answers, over the store, which remembers.

Resuming and speculation are the same thing: an answer that is already in the store costs nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Protocol

from edgenas.errors import EdgenasError
from edgenas.methods import Method
from edgenas.records import Ask, Choice, Decision, Trial
from edgenas.store import Store


class Executor(Protocol):
    """Evaluates candidates somewhere: in this process, in others, on a cluster."""

    def answer(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        """One trial per needed candidate, in order: from the store where it is there, else evaluated and stored.

        Idle workers may evaluate `ask.likely` meanwhile; those trials are stored too, and nothing waits for them.
        """
        ...


def run(method: Method, executor: Executor, store: Store) -> Generator[Trial | Decision, None, Choice]:
    """Yield trials as decisions read them (numbered in that order) and the decisions; return the method's choice."""
    decided = 0
    ask = next(method)
    while True:
        for decision in ask.decisions:
            decided = _record(store, decided, decision)
            yield decision
        answers = executor.answer(ask, store)
        numbered = tuple(store.number(trial.candidate.key) for trial in answers)
        yield from numbered
        try:
            ask = method.send(numbered)
        except StopIteration as end:
            choice = _choice(end.value, store)
            for decision in choice.decisions:
                decided = _record(store, decided, decision)
                yield decision
            store.choose(choice)
            return choice


def _choice(returned: object, store: Store) -> Choice:
    """What the method has returned. EdgenasError for what could not be read again: no Choice, or one of a network that the search
    has no complete trial of."""
    name = f"method {store.study.method}"
    if not isinstance(returned, Choice):
        raise EdgenasError(f"{name} returned {returned!r:.80}: it has to return a Choice of one of its trials")
    found = store.find(returned.trial.candidate.key)
    if found is None or found.status != "complete" or found.number is None:
        raise EdgenasError(
            f"{name} chose a network that it has no complete trial of: it has to choose one of the trials that it was given"
        )
    return returned


def _record(store: Store, decided: int, decision: Decision) -> int:
    store.put("decision", f"{decided:06d}", decision)
    return decided + 1
