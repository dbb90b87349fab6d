"""What was searched beside public networks, on one study: references are trained as the winner was, then all are held
together."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.data import whole_task
from edgenas.engine.events import Listener, noting
from edgenas.engine.heritage import heritage_in
from edgenas.engine.plan import validation_in
from edgenas.engine.references import (
    FINAL,
    Tell,
    TrainingOfReferences,
    add_references,
    cost_of,
    references_in,
    trained_reference,
)
from edgenas.engine.scores import metric_of, split_interval
from edgenas.engine.sessions import begin_session
from edgenas.engine.teachers import taught_words
from edgenas.engine.verdict import Comparison, Competitor, compared, interval_of_mean
from edgenas.errors import StudyError
from edgenas.records import Cost, FinalTraining, Metric
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task

KIND = "comparison"  # of the store's rows: one, under the same name


def compare(
    folder: Path, asked: Sequence[str], training: TrainingOfReferences, listener: Listener, own: Task | None = None
) -> Comparison:
    """Train the study's references and those `asked` for, where they are not trained yet, and hold the winners against them.

    `own`: the task, whole, of a study that was made from an object. Raises StudyError where nothing is trained in full yet, and
    where there is no reference.
    """
    tell = noting(listener)
    with Store.write(folder) as store:
        finals = winners_in(store)
        if not asked and not references_in(store):
            raise StudyError(
                f"{folder} has no reference: name one, such as `edgenas compare {folder} --reference "
                "torchvision:mobilenet_v3_small`"
            )
        begin_session(store, "compare", tell)
        task = whole_task(store, tell, own=own)
        add_references(store, asked, task, tell)
        for reference in references_in(store):
            trained_reference(store, reference, task, finals[0], training, listener)
        comparison = comparison_in(store, finals, len(task.test), tell)
        store.put(KIND, KIND, comparison)
    return comparison


def winners_in(store: Store) -> tuple[FinalTraining, ...]:
    """Final trainings on the study's own data: that of the choice first, then the best on validation. StudyError without one."""
    every = [final for final in store.all("final", FinalTraining).values() if final.data == store.study.data]
    finals = [final for final in every if not final.all_images]
    if every and not finals:
        raise StudyError(
            f"{store.folder}: what is trained saw the validation images, too (--all-images), and a reference would not: run "
            f"`edgenas train {store.folder}` without it first"
        )
    if not finals:
        raise StudyError(f"{store.folder}: no network is trained in full yet: run `edgenas train {store.folder}` first")
    chosen = store.choice.trial.number if store.choice is not None else None
    gain = metric_of(finals[0]).gain
    return tuple(sorted(finals, key=lambda one: (one.trial != chosen, -gain(statistics.fmean(_scores(one, "val"))))))


def comparison_in(store: Store, finals: Sequence[FinalTraining], images: int, tell: Tell) -> Comparison:
    """The winners and every trained reference; `images`: of the test set."""
    trials = {trial.number: trial for trial in store.ledger()}
    choice = store.choice
    if choice is not None:
        trials[choice.trial.number] = choice.trial
    winners = []
    for final in finals:
        trial = trials.get(final.trial)
        same = trial is not None and trial.candidate.architecture == final.architecture
        cost = trial.cost if trial is not None and same else cost_of(store, final.architecture, tell)
        origin = origin_of(store, final)
        winners.append(_competitor(store, f"trial {final.trial}", final, cost, images, origin, final.trial))
    references = []
    for reference in references_in(store):
        trained = store.get(FINAL, reference.name, FinalTraining)
        if trained is not None:
            references.append(_competitor(store, reference.name, trained, reference.cost, images, reference.origin))
    return compared(metric_of(finals[0]), images, store.study.profiles[0], winners, references)


def _competitor(
    store: Store,
    name: str,
    final: FinalTraining,
    cost: Cost,
    images: int,
    origin: str,
    trial: int | None = None,
) -> Competitor:
    each = _scores(final, "test")
    ends = [split_interval(run.test, final, "test") for run in final.runs]
    return Competitor(
        name=name,
        each=each,
        interval=interval_of_mean(each, ends, metric_of(final), images),
        cost=cost,
        epochs=final.recipe.epochs,
        seconds=statistics.fmean(run.seconds for run in final.runs),
        origin=origin + taught_words(store, final.recipe),
        breaks=store.study.limits.broken(cost),
        trial=trial,
        validation=_scores(final, "val"),
        learned=_learned(store, each, metric_of(final), images),
        scores={name: tuple(run.test[name] for run in final.runs) for name in final.runs[0].test},
    )


def origin_of(store: Store, final: FinalTraining) -> str:
    """What a searched network's training started from, in a few words."""
    heritage = heritage_in(store)
    if heritage is None or not final.inherited_percent:
        return "from scratch"
    return f"{final.inherited_percent:.0f} % from {heritage.source}"


def _learned(store: Store, each: Sequence[float], metric: Metric, images: int) -> bool:
    """Is a mean on the test set better than chance there?"""
    validation = validation_in(store.study)
    if validation is None:
        return True
    there = msgspec.structs.replace(validation, images=images)
    return metric.gain(statistics.fmean(each)) > metric.gain(there.above_chance)


def _scores(final: FinalTraining, split: str) -> tuple[float, ...]:
    return tuple((run.test if split == "test" else run.val)[final.metric] for run in final.runs)
