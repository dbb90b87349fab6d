"""One search on a published table: a generator of this project asks, and the table answers in the place of a training.

A search costs the epochs of its trainings over those of a full one; a training that would go beyond its budget ends it. Tables
hold no second seed, so that a repeated training would tell nothing: methods that repeat are asked not to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.table_files import Table
from benchmarks.table_space import number_of
from edgenas.errors import EdgenasError, LimitError
from edgenas.methods import Method
from edgenas.methods.endings import ended_when
from edgenas.methods.ladder import Training
from edgenas.methods.spec import MethodSpec, Search
from edgenas.records import Candidate, Choice, Limits, Recipe, Record, Trial

OBJECTIVE = "val_accuracy"
SLACK = 1e-9  # of a budget, for sums of thirds


@dataclass
class Ledger:
    """What a search trained: answers of the table, and what they cost."""

    table: Table
    limits: Limits
    budget: float  # full trainings
    spent: float = 0.0
    full: dict[int, float] = field(default_factory=dict)  # member trained in full -> what had been spent then
    known: dict[str, Trial] = field(default_factory=dict)

    def answer(self, candidate: Candidate) -> Trial:
        """The trial of a candidate; what was trained before costs nothing."""
        if candidate.key not in self.known:
            self.known[candidate.key] = self._trained(candidate)
        return self.known[candidate.key]

    def beyond(self, answers: tuple[Trial, ...], asked: Candidate) -> str:
        """Why the search ends here: this training does not fit into the budget."""
        del answers
        share = 0.0 if asked.key in self.known else self._share(asked)
        return "the budget is spent" if self.spent + share > self.budget + SLACK else ""

    def _share(self, candidate: Candidate) -> float:
        cost = self.table.cost(number_of(candidate.architecture))
        return 0.0 if self.limits.broken(cost) else candidate.recipe.epochs / self.table.full

    def _trained(self, candidate: Candidate) -> Trial:
        row, epochs = number_of(candidate.architecture), candidate.recipe.epochs
        cost = self.table.cost(row)
        if broken := self.limits.broken(cost):
            return Trial(candidate, "infeasible", cost, 0, error="; ".join(broken))
        if epochs not in self.table.seen:
            there = ", ".join(map(str, sorted(self.table.seen)))
            raise EdgenasError(f"{candidate.phase} trains for {epochs} epochs, the table has accuracies after {there}")
        self.spent += epochs / self.table.full
        if epochs == self.table.full:
            self.full.setdefault(row, self.spent)
        score = float(self.table.seen[epochs][row])
        return Trial(candidate, "complete", cost, 0, {OBJECTIVE: score, "train_accuracy": score})


@dataclass(frozen=True)
class Found:
    """What a search ends with. full: members trained in full, in order, with what had been spent then. choice: None where no
    member within the limits was found."""

    full: dict[int, float]
    choice: int | None
    spent: float


def searched(table: Table, spec: MethodSpec, budget: float, seed: int, limits: Limits | None = None) -> Found:
    """The method with this budget of full trainings."""
    limits = limits or Limits()
    recipe = Recipe("table", epochs=table.full, batch_size=64, lr=0.1)
    search = Search(
        table.space, rules_of(spec, table, budget), Training(recipe), lambda net: table.cost(number_of(net)), limits, seed
    )  # fmt: skip
    ledger = Ledger(table, limits, budget)
    try:
        choice = played(ended_when(spec.make(search), ledger.beyond, OBJECTIVE), ledger)
    except LimitError:
        return Found(ledger.full, None, ledger.spent)
    return Found(ledger.full, number_of(choice.trial.candidate.architecture), ledger.spent)


def rules_of(spec: MethodSpec, table: Table, budget: float) -> Record:
    """The method's rules for this budget: `trials` full trainings of `epochs`, and, where it has such rules, two objectives
    and no repeats."""
    asked = {
        "trials": max(1, int(budget)),
        "epochs": table.full,
        "objectives": 2,
        "repeats": 0.0,
    }
    return spec.as_planned("tiny", {name: asked[name] for name in asked if name in spec.rules.__struct_fields__})


def played(method: Method, ledger: Ledger) -> Choice:
    """The method's choice, all that it needs answered from the table."""
    ask = next(method)
    while True:
        answers = tuple(ledger.answer(candidate) for candidate in ask.needed)
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            return choice
