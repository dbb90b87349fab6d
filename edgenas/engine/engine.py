"""From settings to a finished study: decide once, write it down, then run what is written down. The same call goes on after an
interruption."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.arrays import keep
from edgenas.engine.budgets import processes, share_of, spent_before, spent_of, warned
from edgenas.engine.call import Call, Given, Where
from edgenas.engine.contents import contents_of
from edgenas.engine.costing import Costing
from edgenas.engine.data import searched_task, whole_task
from edgenas.engine.decide import planned, study_record
from edgenas.engine.events import Listener, SearchBegins, without
from edgenas.engine.final import GIVEN
from edgenas.engine.folders import ROOT, Asked, asked_in, differences, folder_to_write
from edgenas.engine.fronts import finalists
from edgenas.engine.guess import guess_of
from edgenas.engine.heritage import heritage_in, keep_heritage
from edgenas.engine.limits import refuse_measured_limit
from edgenas.engine.methods import method_of, search_of
from edgenas.engine.plan import Plan, plan_json, plan_of, refuse_missing_object, written_plan
from edgenas.engine.references import add_references
from edgenas.engine.sessions import begin_session, refuse_other_meaning, refuse_unresumable
from edgenas.engine.settings import as_asked, refuse_unheeded
from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name, profiles_of, resolved
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import Lab, MethodSpec
from edgenas.records import Choice, Decision, StudyRecord, Trial
from edgenas.remote.boards import measuring, refuse_precision, refuse_unmeasurable
from edgenas.remote.sparing import owes_finalists
from edgenas.store import Store, refuse_differences
from edgenas.study import run

if TYPE_CHECKING:
    from edgenas.tasks import Task
    from edgenas.training.executors import CrewExecutor


def search(settings: SearchSettings, where: Where, listener: Listener, given: Given | None = None) -> Path:
    """Start or continue a search, or leave a finished one as it is; returns the study's folder."""
    call = Call(where, given or Given(), listener)
    given, tell = call.given, call.tell
    given.refuse_taken_names(settings.space)
    spec = given.method_for(settings.method)
    refuse_unheeded(settings, spec)
    where.refuse_for(spec)
    if settings.max_energy_mj is not None and not where.boards:
        raise EdgenasError(
            "a limit on energy needs a board that measures its power: give --board, or leave the limit out"
        )
    profiles = tuple(profile_from_name(name) for name in settings.target)
    for name, profile in zip(settings.target, profiles, strict=True):
        tell(resolved(name, profile))
    begun = study_record(settings, profiles)
    asked = Asked(begun, as_asked(settings, profiles), call.boards, contents_of(settings, ROOT))
    folder = folder_to_write(where.study, asked, tell)
    study, whole = _existing(folder, asked, tell), None
    if study is not None and _finished(folder, tell):
        _measure_finalists(folder, call)
        if where.references:
            add_to_finished(folder, where.references, settings.data_dir, call)
        return folder
    if study is None:
        refuse_unmeasurable(where.boards, where.token_file, profiles, where.ca)
        if where.boards:
            refuse_precision(settings.precision or profiles[0].precision)
        plan, whole = planned(settings, spec, profiles, call, folder)
        plan = replace(plan, contents=asked.contents)
        study = msgspec.structs.replace(begun, metric=whole.metric, plan=plan_json(plan))
    tell(f"study {folder}")
    with Store.create(folder, study) as store:
        if given.arrays is not None:
            keep(given.arrays, folder)
        begin_session(store, "search", tell)
        plan = plan_of(study, spec, given.space)
        tasks, whole = [searched_task(store, tell, settings.data_dir, whole or given.task)], None
        said: set[str] = set()  # of boards, which the search greets again

        def told(text: str) -> None:
            said.add(text)
            tell(text)

        with Costing(store, told, where) as cost:  # what cannot be a reference is said before the search
            add_references(store, where.references, tasks[0], cost)
        call = replace(call, listener=without(call.listener, said))
        _go_on(store, plan, spec, tasks.pop(), call)  # nothing here keeps the images alive
    return folder


def go_on(
    folder: Path, where: Where, listener: Listener, data_dir: str | None = None, given: Given | None = None
) -> None:
    """Continue a study with the settings that it holds; one that is finished stays as it is."""
    call = Call(where, given or Given(), listener)
    given, tell = call.given, call.tell
    if _finished(folder, tell):
        _measure_finalists(folder, call)
        return
    with Store.read(folder) as store:
        refuse_unresumable(store, call.boards)
        refuse_other_meaning(store)
        for what in ("method", "space"):
            if getattr(given, what) is None:
                refuse_missing_object(store.study, what)
        spec = _method_of(store.study, given)
        plan = plan_of(store.study, spec, given.space)
    tell(f"study {folder}")
    with Store.write(folder) as store:
        begin_session(store, "search", tell)
        _go_on(store, plan, spec, searched_task(store, tell, data_dir, given.task), call)


def add_to_finished(folder: Path, references: tuple[str, ...], data_dir: str | None, call: Call) -> None:
    """Put references on record in a study whose search has ended."""
    with Store.write(folder) as store:
        begin_session(store, "search", call.tell)
        task = whole_task(store, call.tell, data_dir, call.given.task)
        with Costing(store, call.tell, call.where) as cost:
            add_references(store, references, task, cost)


def _measure_finalists(folder: Path, call: Call) -> None:
    """On the boards that are given, where the search was stopped before it came to that."""
    where = call.where
    with Store.read(folder) as store:
        if not where.boards or not owes_finalists(store):
            return
    with Store.write(folder) as store:
        begin_session(store, "search", call.tell)
        precision = written_plan(store.study).asked.precision
        how = (where.boards, where.token_file, profiles_of(store.study), precision, store, call.tell)
        hook = measuring(*how, finalists=finalists, ca=where.ca)
        try:
            with hook:
                pass  # they are measured as it ends
        except EdgenasError as error:
            call.tell(f"warning: the finalists are not measured: {error}")


def _method_of(study: StudyRecord, given: Given) -> MethodSpec:
    """The method that the study was begun with. StudyError, naming the version that had it, where it is not here."""
    if study.method == GIVEN:
        raise StudyError(
            "this study trains a network that was given: the `edgenas train` that began it goes on with it"
        )
    try:
        return given.method_for(study.method)
    except EdgenasError as error:
        began = study.versions.get("edgenas", "of another version")
        raise StudyError(f"{error}; this study was begun by edgenas {began}") from error


def _go_on(store: Store, plan: Plan, spec: MethodSpec, task: Task, call: Call) -> None:
    """Go on with the study until it is finished. Worker processes have the images: this one lets go of them."""
    from edgenas.training.work import refuse_without_gpu

    refuse_without_gpu(plan.device)
    study, where, tell = store.study, call.where, call.tell
    keep_heritage(store, plan.asked, task, tell)
    profiles = profiles_of(study)
    workers = processes(where.workers, plan.device)
    where.refuse_for(spec)
    where.refuse_more_than(workers, processes(None, plan.device) if plan.device == "cuda" else None)
    with ExitStack() as stack:
        precision = plan.asked.precision
        how = (where.boards, where.token_file, profiles, precision, store, tell)
        hook = measuring(*how, finalists=finalists, ca=where.ca)
        measure, measured = stack.enter_context(hook)
        cost = CostModel(profiles, precision, study.limits, measure, measured)
        if measured is not None and not store.ledger():
            refuse_measured_limit(plan, spec, cost)
        executor, images = stack.enter_context(executor_of(store, plan, task, cost, where)), len(task.train)
        del task
        lab = Lab(store, executor.results, tell, where.processes)
        guess = guess_of(profiles, precision, study.limits, measured) if measured else None
        share = share_of(store, plan, call.started)
        search = search_of(plan, study.metric, cost, study.limits, lab, share, guess)
        spent = spent_of(store, plan, cost, call.started)
        control_spent = spent_of(store, plan, cost, call.started, control=True)
        method = method_of(spec, search, plan, spent, control_spent)
        budget = plan.asked.budget
        gone = spent_before(store) + time.monotonic() - call.started
        seconds = None if budget is None else max(0.0, 60 * budget - gone)
        call.listener(
            SearchBegins(study, store.folder, seconds, lambda last, decided: spec.left(search, last, decided))
        )
        _follow(run(warned(method, images, tell), executor, store), store, call.listener, call.started)


def _follow(
    events: Generator[Trial | Decision, None, Choice], store: Store, listener: Listener, started: float
) -> None:
    """Tell what happens; remember the wall time since `started` (monotonic seconds), over all sessions."""
    before = spent_before(store)
    for event in events:
        listener(event)
        store.put("clock", "wall", before + time.monotonic() - started)
    store.put("clock", "wall", before + time.monotonic() - started)


def executor_of(store: Store, plan: Plan, task: Task, cost: CostModel, where: Where) -> CrewExecutor:
    """Processes on this machine or a Ray cluster, which get the study's data once."""
    from edgenas.training.evaluator import Evaluator
    from edgenas.training.executors import local_executor

    begins = heritage_in(store)
    start = None if begins is None else begins.at(store.folder.resolve())
    evaluator = Evaluator(task, store.study.seed, plan.device, start)
    if where.ray is not None:
        from edgenas.training.ray_executor import ray_executor

        return ray_executor(evaluator, cost, where.ray)
    return local_executor(evaluator, cost, where.workers)


def _existing(folder: Path, asked: Asked, tell: Callable[[str], None]) -> StudyRecord | None:
    """The study on disk with these settings; None where there is none yet. Raises StudyError where it has others."""
    if not Store.is_in(folder):
        return None
    with Store.read(folder) as store:
        there = asked_in(store)
        refuse_differences(folder, differences(there, asked))
        if store.choice is None:
            refuse_other_meaning(store)
    for name in sorted({*asked.contents} - {*there.contents}):
        tell(
            f"warning: {folder} was begun before it was noted what {getattr(asked.settings, name)} says: it keeps to "
            "what that said then; for another content name another --study"
        )
    return there.study


def _finished(folder: Path, tell: Callable[[str], None]) -> bool:
    with Store.read(folder) as store:
        finished = store.choice is not None
    if finished:
        tell(f"study {folder} is finished")
    return finished
