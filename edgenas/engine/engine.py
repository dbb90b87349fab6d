"""From settings to a finished study: decide once, write it down, then run what is written down. The same call goes on after an
interruption."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.architectures.named_spaces import SpaceForData
from edgenas.engine.arrays import Arrays, keep
from edgenas.engine.budgets import Clock, processes, refuse_double_plan, spent_of, warned, within_budget
from edgenas.engine.data import lines_of, searched_task
from edgenas.engine.events import Listener, SearchBegins, noting
from edgenas.engine.folders import Asked, asked_in, differences, folder_to_write
from edgenas.engine.limits import check_limits
from edgenas.engine.methods import method_of, search_of
from edgenas.engine.plan import Plan, plan_json, plan_of, refuse_missing_object
from edgenas.engine.registry import method_named
from edgenas.engine.scores import validation_words
from edgenas.engine.sessions import begin_session, refuse_other_meaning, refuse_unresumable
from edgenas.engine.settings import PRESETS, as_asked, preset_of, refuse_unheeded, space_asked
from edgenas.engine.versions import versions
from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name, profiles_of, resolved
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import Lab, MethodSpec, Planning
from edgenas.records import Choice, Decision, HardwareProfile, StudyRecord, Trial
from edgenas.remote.boards import measuring
from edgenas.store import Store, refuse_differences
from edgenas.study import run

if TYPE_CHECKING:
    from edgenas.tasks import Task, TaskSettings
    from edgenas.training.executors import CrewExecutor


@dataclass(frozen=True)
class Where:
    """What does not decide the result: which folder, how many processes, which machines."""

    study: str | None = None
    workers: int | None = None
    ray: str | None = None
    boards: tuple[str, ...] = ()
    token_file: Path | None = None
    ca: Path | None = None

    def __post_init__(self) -> None:
        if self.ray is not None and self.workers is not None:
            raise EdgenasError("--workers counts processes here, --ray takes a cluster's slots: give one of them")


@dataclass(frozen=True)
class Given:
    """Objects of the caller's in place of names. The settings call them by the names that they have."""

    method: MethodSpec | None = None
    space: SpaceForData | None = None
    task: Task | None = None  # with all its training images
    arrays: Arrays | None = None  # what `task` is made of, if it is made of arrays: they are kept in the study's folder

    def method_for(self, name: str) -> MethodSpec:
        """The method of this name: the caller's own, or one that is installed."""
        return method_named(name) if self.method is None or self.method.name != name else self.method

    @property
    def objects(self) -> tuple[str, ...]:
        """Which of data, method and space are objects that another process does not find."""
        held = {"data": self.arrays is None and self.task, "method": self.method, "space": self.space}
        return tuple(name for name, thing in held.items() if thing)


NOTHING = Given()


def search(settings: SearchSettings, where: Where, listener: Listener, given: Given = NOTHING) -> Path:
    """Start or continue a search, or leave a finished one as it is; returns the study's folder."""
    started, tell = time.monotonic(), noting(listener)
    spec = given.method_for(settings.method)
    refuse_unheeded(settings, spec)
    profiles = tuple(profile_from_name(name) for name in settings.target)
    for name, profile in zip(settings.target, profiles, strict=True):
        tell(resolved(name, profile))
    begun = study_record(settings, profiles)
    asked = Asked(begun, as_asked(settings, profiles), bool(where.boards))
    folder = folder_to_write(where.study, asked, tell)
    study, whole = _existing(folder, asked), None
    if study is not None and _finished(folder, listener):
        return folder
    if study is None:
        plan, whole = planned(settings, spec, profiles, where, started, listener, given)
        study = msgspec.structs.replace(begun, metric=whole.metric, plan=plan_json(plan))
    tell(f"study {folder}")
    with Store.create(folder, study) as store:
        if given.arrays is not None:
            keep(given.arrays, folder)
        begin_session(store, "search", tell)
        task = searched_task(store, tell, settings.data_dir, whole or given.task)
        whole = None  # where the search takes a part of the images, the others need no memory any more
        _go_on(store, plan_of(study, spec, given.space), spec, task, where, started, listener)
    return folder


def go_on(folder: Path, where: Where, listener: Listener, data_dir: str | None = None, given: Given = NOTHING) -> None:
    """Continue a study with the settings that it holds; one that is finished stays as it is."""
    started, tell = time.monotonic(), noting(listener)
    if _finished(folder, listener):
        return
    with Store.read(folder) as store:
        refuse_unresumable(store, bool(where.boards))
        refuse_other_meaning(store)
        for what in ("method", "space"):
            if getattr(given, what) is None:
                refuse_missing_object(store.study, what)
        spec = _method_of(store.study, given)
        plan = plan_of(store.study, spec, given.space)
    tell(f"study {folder}")
    with Store.write(folder) as store:
        begin_session(store, "search", tell)
        task = searched_task(store, tell, data_dir, given.task)
        _go_on(store, plan, spec, task, where, started, listener)


def study_record(settings: SearchSettings, profiles: tuple[HardwareProfile, ...]) -> StudyRecord:
    """The record that identifies a study, with no plan yet."""
    return StudyRecord(
        method=settings.method,
        task=settings.task,
        data=settings.data,
        profiles=tuple(profile.name for profile in profiles),
        precision=settings.precision or profiles[0].precision,
        limits=settings.limits,
        seed=settings.seed,
        hardware=profiles,
        versions=versions(),
    )


def planned(
    settings: SearchSettings,
    spec: MethodSpec,
    profiles: tuple[HardwareProfile, ...],
    where: Where,
    started: float,
    listener: Listener,
    given: Given = NOTHING,
) -> tuple[Plan, Task]:
    """A new study's plan, and its data with all training images: read once, for the plan and for the search."""
    from edgenas.tasks import load_task

    tell = noting(listener)
    refuse_double_plan(settings)
    whole = given.task or load_task(msgspec.structs.replace(data_asked(settings), search_images=None))
    plan = decide(settings, spec, profiles, whole, bool(where.boards), listener, given)
    check_limits(plan, spec, profiles, tell)
    if settings.budget is not None:
        clock = Clock(settings.budget, started, processes(where.workers, plan.device))
        plan = within_budget(plan, spec, whole, profiles, clock, tell)
    return plan, whole


def data_asked(settings: SearchSettings) -> TaskSettings:
    """Which arrays a search with these settings learns from."""
    from edgenas.tasks import TaskSettings

    return TaskSettings(
        settings.data,
        settings.task,
        settings.data_dir,
        settings.image_size,
        settings.flip,
        settings.seed,
        settings.search_images,
        {} if settings.far is None else {"far": settings.far},
    )


def decide(
    settings: SearchSettings,
    spec: MethodSpec,
    profiles: tuple[HardwareProfile, ...],
    whole: Task,
    boards: bool,
    listener: Listener,
    given: Given = NOTHING,
) -> Plan:
    """Everything that follows from the settings, the data (all training images) and this machine."""
    import torch

    from edgenas.tasks import as_searched, validation_of
    from edgenas.training.recipes import recipe_from_name

    tell = noting(listener)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = data_asked(settings)
    task = as_searched(whole, wanted)
    for line in lines_of(settings.data, task):
        tell(line)
    name = preset_of(settings, spec, device == "cuda")
    validation = validation_of(task)
    known = "" if validation is None else f" ({validation_words(validation, task.metric)})"
    tell(f"preset {name}, on {device}: {len(task.train)} training and {len(task.val)} validation images{known}")
    preset, shape = PRESETS[name], task.preprocessing
    training = Training(
        recipe_from_name(settings.recipe, task, device),
        settings.policy,
        fixed_epochs=preset.fixed_epochs,
        epoch_scale=1.0 if settings.epoch_scale is None else settings.epoch_scale,
    )
    if spec.plan is not None:
        space, rules = spec.plan(Planning(settings, name, task, device))
    else:
        space = space_asked(settings, spec, preset, given.space, (task.head, shape.channels, shape.input_size))
        rules = spec.as_planned(name, settings.rules)
    asked = as_asked(settings, profiles)
    return Plan(
        asked, boards, name, device, wanted, training, space, rules, validation, objects=given.objects
    )  # fmt: skip


def _method_of(study: StudyRecord, given: Given) -> MethodSpec:
    """The method that the study was begun with. StudyError, naming the version that had it, where it is not here."""
    try:
        return given.method_for(study.method)
    except EdgenasError as error:
        began = study.versions.get("edgenas", "of another version")
        raise StudyError(f"{error}; this study was begun by edgenas {began}") from error


def _go_on(
    store: Store, plan: Plan, spec: MethodSpec, task: Task, where: Where, started: float, listener: Listener
) -> None:
    """Go on with the study until it is finished; `started`: when this call did, monotonic seconds."""
    study, tell = store.study, noting(listener)
    profiles = profiles_of(study)
    workers = processes(where.workers, plan.device)
    with ExitStack() as stack:
        precision = plan.asked.precision
        hook = measuring(where.boards, where.token_file, profiles, precision, store, tell, ca=where.ca)
        measure, measured = stack.enter_context(hook)
        cost = CostModel(profiles, precision, study.limits, measure, measured)
        executor = stack.enter_context(executor_of(study, plan, task, cost, where))
        lab = Lab(store, executor.results, tell)
        search = search_of(plan, study.metric.objective, cost, study.limits, lab)
        method = method_of(spec, search, plan, spent_of(store, plan, cost, started, workers))
        budget = plan.asked.budget
        seconds = None if budget is None else 60 * budget - (time.monotonic() - started)
        listener(SearchBegins(study, store.folder, seconds, lambda last, decided: spec.left(search, last, decided)))
        _follow(run(warned(method, task, tell), executor, store), store, listener)


def _follow(events: Generator[Trial | Decision, None, Choice], store: Store, listener: Listener) -> None:
    """Tell what happens; remember the wall time spent, over all sessions."""
    before = store.get("clock", "wall", float) or 0.0
    started = time.monotonic()
    for event in events:
        listener(event)
        store.put("clock", "wall", before + time.monotonic() - started)
    store.put("clock", "wall", before + time.monotonic() - started)


def executor_of(study: StudyRecord, plan: Plan, task: Task, cost: CostModel, where: Where) -> CrewExecutor:
    """Processes on this machine or a Ray cluster, which get the study's data once."""
    import torch

    from edgenas.training.evaluator import Evaluator
    from edgenas.training.executors import local_executor

    if plan.device == "cuda" and not torch.cuda.is_available():
        raise StudyError(
            "this study was started on a GPU and there is none here: go on where there is one, or use another --study"
        )
    evaluator = Evaluator(task, study.seed, plan.device)
    if where.ray is not None:
        from edgenas.training.ray_executor import ray_executor

        return ray_executor(evaluator, cost, where.ray)
    return local_executor(evaluator, cost, where.workers)


def _existing(folder: Path, asked: Asked) -> StudyRecord | None:
    """The study on disk with these settings; None where there is none yet. Raises StudyError where it has others."""
    if not Store.is_in(folder):
        return None
    with Store.read(folder) as store:
        there = store.study
        refuse_differences(folder, differences(asked_in(there), asked))
        if store.choice is None:
            refuse_other_meaning(store)
    return there


def _finished(folder: Path, listener: Listener) -> bool:
    with Store.read(folder) as store:
        finished = store.choice is not None
    if finished:
        noting(listener)(f"study {folder} is finished")
    return finished
