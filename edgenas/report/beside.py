"""What stands beside public networks: is a comparison still about what is trained, and how alike were they trained?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from edgenas.engine.counts import counted
from edgenas.engine.verdict import Comparison, Competitor
from edgenas.records import FinalTraining, Recipe
from edgenas.report.values import duration

if TYPE_CHECKING:
    from edgenas.report.facts import Facts

SAME_SECONDS = 0.1  # whole epochs seldom take exactly as long as another network's
APART = ("epochs", "threads", "teacher", "teacher_weight", "temperature", "lr")  # told otherwise, or nothing to tell


def is_current(comparison: Comparison, finals: Sequence[FinalTraining], data: str) -> bool:
    """Are the searched networks in it trained still as they were then? `finals` that replaced one of them, on the study's `data`,
    have other scores."""
    now = [final for final in finals if final.data == data and not final.all_images]
    return all(any(_is_of(winner, final) for final in now) for winner in comparison.winners)


def _is_of(winner: Competitor, final: FinalTraining) -> bool:
    """By its scores; what versions before did not keep of a competitor says nothing."""
    test, val = ([scores[final.metric] for scores in each] for each in _scores(final))
    return (
        winner.trial in (None, final.trial)
        and winner.epochs == final.recipe.epochs
        and [*winner.each] == test
        and (not winner.validation or [*winner.validation] == val)
    )


def _scores(final: FinalTraining) -> tuple[list[dict[str, float]], list[dict[str, float]]]:
    return [run.test for run in final.runs], [run.val for run in final.runs]


def fairness_words(facts: Facts) -> str:
    """What was alike in the trainings of the comparison, and what was not; "" without one."""
    found = facts.comparison
    if found is None:
        return ""
    told = [words for one in found.references if (words := _otherwise(facts, found.winners[0], one))]
    alike = "All were trained on the same images"
    if not told:
        return f"{alike}, public ones by the same recipe and for as many seconds."
    return f"{alike}, public ones by the winner's recipe but for this: {'; '.join(told)}."


def _otherwise(facts: Facts, winner: Competitor, reference: Competitor) -> str:
    """How a reference was trained otherwise than the winner."""
    ours = next((one for one in facts.finals if one.trial == winner.trial and one.data == facts.study.data), None)
    theirs = facts.references.get(reference.name)
    told = ["how is not known"] if ours is None or theirs is None else [*_differences(ours.recipe, theirs.recipe)]
    if abs(reference.seconds - winner.seconds) > SAME_SECONDS * winner.seconds:
        each = (f"{duration(one.seconds)} ({counted(one.epochs, 'epoch')})" for one in (reference, winner))
        told.append("{} a run in place of {}".format(*each))
    return f"{reference.name} {', '.join(told)}" if told else ""


def _differences(ours: Recipe, theirs: Recipe) -> Iterator[str]:
    if ours.teacher and not theirs.teacher:
        yield "without the teacher"
    if theirs.lr != ours.lr:
        yield f"{theirs.lr / ours.lr:.2g} times the learning rate"
    for name in Recipe.__struct_fields__:
        value = getattr(theirs, name)
        if name not in APART and value != getattr(ours, name):
            yield f"{'another' if value else 'without'} {name}"
