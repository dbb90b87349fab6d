"""Runs a method on accuracies that a test makes up, as fast as it can ask."""

from collections.abc import Callable

from edgenas.architectures.chain import ChainSpace
from edgenas.methods import CostOf, Method
from edgenas.methods.ladder import Training
from edgenas.records import Ask, Candidate, Choice, Classes, Decision, Limits, Recipe, Trial

SPACE = ChainSpace(Classes(10), 3, 32, min_depth=4, max_depth=12, min_width=8, max_width=16, width_step=2)
TRAINING = Training(Recipe("made up", epochs=1, batch_size=64, lr=0.1))
Scores = Callable[[Candidate], float | dict[str, float]]


def play(
    method: Method,
    scores: Scores,
    cost: CostOf,
    limits: Limits | None = None,
    seconds: Callable[[Candidate], float] = lambda _: 0.0,
) -> tuple[Choice, list[Trial], list[Decision]]:
    """(choice, trials in decision order, decisions), with infeasible trials as an executor would answer them."""
    trials: list[Trial] = []
    decisions: list[Decision] = []
    ask: Ask = next(method)
    while True:
        decisions += ask.decisions
        answers = []
        for candidate in ask.needed:
            price = cost(candidate.architecture)
            broken = (limits or Limits()).broken(price)
            score = {} if broken else scores(candidate)
            values = score if isinstance(score, dict) else {"val_accuracy": score, "train_accuracy": 50.0}
            status = "infeasible" if broken else "complete"
            number = len(trials) + len(answers) + 1
            error, took = "; ".join(broken), 0.0 if broken else seconds(candidate)
            answers.append(Trial(candidate, status, price, 0, values, took, error, number))
        trials += answers
        try:
            ask = method.send(tuple(answers))
        except StopIteration as end:
            return end.value, trials, decisions + list(end.value.decisions)
