"""What was searched beside public networks, on one study: references are trained as the winner was, then all are held
together."""

from __future__ import annotations

import shlex
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.again import BOARD, board_words, boards_known
from edgenas.engine.call import Where
from edgenas.engine.costing import Costing
from edgenas.engine.data import whole_task
from edgenas.engine.events import Listener, noting
from edgenas.engine.heritage import heritage_in
from edgenas.engine.plan import validation_in
from edgenas.engine.references import (
    FINAL,
    TrainingOfReferences,
    add_references,
    references_in,
    trained_reference,
)
from edgenas.engine.scores import metric_of, split_interval
from edgenas.engine.sessions import begin_session
from edgenas.engine.taught import taught_words
from edgenas.engine.verdict import Comparison, Competitor, comparable, compared, interval_of_mean
from edgenas.errors import EdgenasError, StudyError
from edgenas.faces.pixels import Pixels
from edgenas.hardware.candidates import KIND as KIND_MEASURED
from edgenas.records import Cost, FinalTraining, Measurement, Metric
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task

KIND = "comparison"  # of the store's rows: one, under the same name


def compare(
    folder: Path,
    asked: Sequence[str],
    training: TrainingOfReferences,
    listener: Listener,
    own: Task | None = None,
    where: Where = Where(),
    data_dir: str | None = None,
    pixels: Pixels | None = None,
) -> Comparison:
    """Train the study's references and those `asked` for, where they are not trained yet, and hold the winners against them.

    `own`: the task, whole, of a study that was made from an object. `where`: boards that measure all of them whose latency is not
    measured yet. `data_dir`: where a data set that is named lies now. `pixels`: what the one FILE.onnx that is asked for takes.
    Raises StudyError where nothing is trained in full yet, and where there is no reference.
    """
    if pixels is not None and (len(asked) != 1 or not asked[0].lower().endswith(".onnx")):
        raise EdgenasError(
            "--reference-mean and --reference-std say what one FILE.onnx takes: name it alone with --reference"
        )
    tell = noting(listener)
    with Store.write(folder) as store:
        finals = winners_in(store)
        if not asked and not references_in(store):
            raise StudyError(
                f"{folder} has no reference: name one, such as `edgenas compare {shlex.quote(str(folder))} --reference "
                "torchvision:mobilenet_v3_small`"
            )
        begin_session(store, "compare", tell)
        task = whole_task(store, tell, data_dir, own)
        with Costing(store, tell, where) as cost:
            add_references(store, asked, task, cost, pixels)
            costs = costs_of_winners(store, finals, cost)
        for reference in references_in(store):
            trained_reference(store, reference, task, finals[0], training, listener)
        comparison = comparison_in(store, finals, costs, len(task.test))
        store.put(KIND, KIND, comparison)
    return comparison


def winners_in(store: Store) -> tuple[FinalTraining, ...]:
    """Final trainings on the study's own data: that of the choice first, then the best on validation. StudyError without one."""
    every = [final for final in store.all("final", FinalTraining).values() if final.data == store.study.data]
    finals = [final for final in every if not final.all_images]
    if every and not finals:
        raise StudyError(
            f"{store.folder}: what is trained saw the validation images, too (--all-images), and a reference would not: run "
            f"`edgenas train {shlex.quote(str(store.folder))}` without it first"
        )
    if not finals:
        raise StudyError(
            f"{store.folder}: no network is trained in full yet: run `edgenas train {shlex.quote(str(store.folder))}` first"
        )
    chosen = store.choice.trial.number if store.choice is not None else None
    gain = metric_of(finals[0]).gain
    return tuple(sorted(finals, key=lambda one: (one.trial != chosen, -gain(statistics.fmean(_scores(one, "val"))))))


def costs_of_winners(store: Store, finals: Sequence[FinalTraining], cost: Costing) -> tuple[Cost, ...]:
    """What each cost when it was searched; measured, where a board has measured it since or is given now."""
    trials = {trial.number: trial for trial in store.ledger()}
    choice = store.choice
    if choice is not None:
        trials[choice.trial.number] = choice.trial
    found = []
    for final in finals:
        trial = trials.get(final.trial)
        same = trial is not None and trial.candidate.architecture == final.architecture
        if trial is None or not same or cost.is_better(trial.cost) or cost.knows(final.architecture):
            found.append(cost(final.architecture))
        else:
            found.append(trial.cost)
    return tuple(found)


def comparison_in(store: Store, finals: Sequence[FinalTraining], costs: Sequence[Cost], images: int) -> Comparison:
    """The winners, each with its cost, and every trained reference; `images`: of the test set."""
    winners = [
        _competitor(store, f"trial {final.trial}", final, cost, images, origin_of(store, final), final.trial)
        for final, cost in zip(finals, costs, strict=True)
    ]
    profile = store.study.profiles[0]
    references = []
    for reference in references_in(store):
        trained = store.get(FINAL, reference.name, FinalTraining)
        if trained is not None:
            one = _competitor(store, reference.name, trained, reference.cost, images, reference.origin)
            if not comparable(costs[0].latencies[profile], reference.cost.latencies[profile]):
                one = msgspec.structs.replace(one, breaks=_broken_but_by_latency(store, reference.cost))
            references.append(one)
    found = compared(metric_of(finals[0]), images, profile, winners, references)
    return msgspec.structs.replace(found, advice=_advice(store, found))


def _broken_but_by_latency(store: Store, cost: Cost) -> tuple[str, ...]:
    """Without the limits on what takes time or energy, for a latency of another origin than the winner's."""
    return store.study.limits.broken(msgspec.structs.replace(cost, latencies={}))


def _advice(store: Store, found: Comparison) -> str:
    """What to do where latencies or energies are not of one origin; "" where they are."""
    profile, energy = found.profile, store.study.limits.energy_mj
    open_ = [one.reference for one in found.outcomes if not one.comparable]
    unknown = [one.name for one in found.references if one.cost.latencies[profile].energy_mj is None]
    if not open_ and (energy is None or not unknown):
        return ""
    boards = boards_known(store.all(KIND_MEASURED, Measurement).values()) or (BOARD,)
    command = shlex.join(["edgenas", "compare", str(store.folder), *board_words(boards)])
    if open_:
        why = f"The latencies of {found.winners[0].name} and {', '.join(open_)} are not of one origin, so none is called faster"
    else:
        why = f"Whether {', '.join(unknown)} holds the limit of {energy:.12g} mJ is not known: no board has measured it"
    return f"{why}: `{command}` measures what is not measured yet."


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
