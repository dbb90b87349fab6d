"""From settings to a finished study: decide once, write it down, then run what is written down."""

from __future__ import annotations

import dataclasses
import functools
import shlex
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgenas.cli.budgets import refuse_double_plan, spent_of, warned, within_budget
from edgenas.cli.data import say_data
from edgenas.cli.evolve import decide_evolution, evolution_method
from edgenas.cli.limits import check_limits
from edgenas.cli.method import ended_early, method_of
from edgenas.cli.nal_search import decide_designs
from edgenas.cli.output import say
from edgenas.cli.progress import SearchView, interruptible
from edgenas.cli.sessions import begin_session, refuse_other_meaning, refuse_unresumable, study_to_write
from edgenas.cli.settings import (
    PRESETS,
    SearchSettings,
    differences,
    preset_of,
    rules_from,
    space_from,
    study_record,
)
from edgenas.cli.studies import study_folder
from edgenas.cli.study_data import searched_task
from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import profile_from_name, profiles_of, resolved
from edgenas.methods.ladder import Training
from edgenas.methods.nal import CellSpace, NalRules
from edgenas.records import Choice, Decision, HardwareProfile, Study, Trial
from edgenas.remote.boards import measuring
from edgenas.report.front import summary
from edgenas.report.scores import objective_of, validation_words
from edgenas.store import Store, refuse_differences
from edgenas.study import Executor, run

if TYPE_CHECKING:
    from edgenas.tasks import Task, TaskSettings


@dataclasses.dataclass(frozen=True)
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


def run_search(settings: SearchSettings, where: Where) -> dict[str, Any]:
    """Start, continue or just read a search; returns the document of cli.md."""
    started = time.monotonic()
    profiles = tuple(profile_from_name(name) for name in settings.target)
    for name, profile in zip(settings.target, profiles, strict=True):
        say(resolved(name, profile))
    asked = study_record(settings, profiles, bool(where.boards), {})
    folder = study_to_write(where.study, asked)
    study, whole = _existing(folder, asked), None
    if study is not None and (document := _finished(folder)) is not None:
        return document
    if study is None:
        study, whole = _planned(settings, profiles, where, started)
    say(f"study {folder}")
    with interruptible(_resuming(folder)), Store.create(folder, study) as store:
        begin_session(store, "search")
        task = searched_task(store, settings.data_dir, whole)
        whole = None  # where the search takes a part of the images, the others need no memory any more
        return _search(store, task, where, started)


def resume_search(name: str, where: Where, data_dir: str | None) -> dict[str, Any]:
    """Continue the study of this name or folder with the settings that it holds, or just read it where it is finished."""
    started = time.monotonic()
    folder = study_folder(name)
    if (document := _finished(folder)) is not None:
        return document
    with Store.read(folder) as store:
        refuse_unresumable(store, bool(where.boards))
        refuse_other_meaning(store)
    say(f"study {folder}")
    with interruptible(_resuming(folder)), Store.write(folder) as store:
        begin_session(store, "search")
        return _search(store, searched_task(store, data_dir), where, started)


def _resuming(folder: Path) -> str:
    return f"edgenas search --resume {shlex.quote(str(folder))}"


def _planned(
    settings: SearchSettings, profiles: tuple[HardwareProfile, ...], where: Where, started: float
) -> tuple[Study, Task]:
    """A new study, and its data with all training images: read once, for the plan and for the search."""
    from edgenas.tasks import load_task

    refuse_double_plan(settings)
    boards, workers = bool(where.boards), where.workers
    whole = load_task(msgspec.structs.replace(data_asked(settings), search_images=None))
    decided = decide(settings, whole)
    check_limits(settings, profiles, boards, decided)
    study_with = functools.partial(study_record, settings, profiles, boards)
    if settings.budget is not None:
        decided = within_budget(settings, whole, profiles, boards, workers, decided, study_with, started)
    return study_with(decided), whole


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


def decide(settings: SearchSettings, whole: Task) -> dict[str, Any]:
    """Everything that follows from the settings, the data (all training images) and this machine: written into the study
    once."""
    import torch

    from edgenas.tasks import as_searched, validation_of
    from edgenas.training.recipes import recipe_from_name

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = data_asked(settings)
    task = as_searched(whole, wanted)
    say_data(settings.data, task)
    name = preset_of(settings, device == "cuda")
    validation = validation_of(task)
    known = "" if validation is None else f" ({validation_words(validation, task.metric.name)})"
    say(f"preset {name}, on {device}: {len(task.train)} training and {len(task.val)} validation images{known}")
    preset = PRESETS[name]
    shape = task.preprocessing
    space = space_from(settings, preset, task.head, shape.channels, shape.input_size)
    training = Training(
        recipe_from_name(settings.recipe, task, device),
        settings.policy,
        fixed_epochs=preset.baseline.epochs,
        epoch_scale=1.0 if settings.epoch_scale is None else settings.epoch_scale,
    )
    decided = {"preset": name, "device": device, "task": wanted, "validation": validation, "training": training}
    if settings.method == "nse":
        return decided | decide_evolution(settings, name, task, device)
    rules = rules_from(settings, preset)
    if isinstance(rules, NalRules):
        return decided | decide_designs(settings, rules, CellSpace(task.head, shape.channels, shape.input_size))
    return decided | {"space": space, "rules": rules}


def _search(store: Store, task: Task, where: Where, started: float) -> dict[str, Any]:
    """Go on with the study; `started`: when this command did, monotonic seconds."""
    study = store.study
    profiles, decided = profiles_of(study), study.settings
    training = msgspec.convert(decided["training"], type=Training)
    with ExitStack() as stack:
        precision = decided["asked"]["precision"]
        hook = measuring(where.boards, where.token_file, profiles, precision, store, say, ca=where.ca)
        measure, measured = stack.enter_context(hook)
        cost = CostModel(profiles, precision, study.limits, measure, measured)
        nse = study.method == "nse"  # trains its supernets in this process
        if nse:
            method = ended_early(evolution_method(store, task, training, cost), study)
        else:
            method = method_of(study, training, cost, spent_of(store, cost, started, where.workers))
        executor = stack.enter_context(executor_of(study, task, cost, where))
        budget = decided["asked"]["budget"]
        view = stack.enter_context(SearchView(study, objective_of(study), 60 * budget if budget else None))
        choice = _follow(run(warned(method, task), executor, store), store, view)
    return summary(study, str(store.folder), store.ledger(), choice, store.get("clock", "wall", float) or 0.0)


def _follow(events: Generator[Trial | Decision, None, Choice], store: Store, view: SearchView) -> Choice:
    """Show what happens; remember the wall time spent, over all sessions."""
    before = store.get("clock", "wall", float) or 0.0
    started = time.monotonic()
    while True:
        try:
            event = next(events)
        except StopIteration as end:
            store.put("clock", "wall", before + time.monotonic() - started)
            choice: Choice = end.value
            return choice
        view.show(event)
        store.put("clock", "wall", before + time.monotonic() - started)


def executor_of(study: Study, task: Task, cost: CostModel, where: Where) -> AbstractContextManager[Executor]:
    """Processes on this machine or a Ray cluster, which get the study's data once."""
    import torch

    from edgenas.training.evaluator import Evaluator
    from edgenas.training.executors import local_executor

    device = study.settings["device"]
    if device == "cuda" and not torch.cuda.is_available():
        raise StudyError(
            "this study was started on a GPU and there is none here: go on where there is one, or use another --study"
        )
    evaluator = Evaluator(task, study.seed, device)
    if where.ray is not None:
        from edgenas.training.ray_executor import RayExecutor

        return RayExecutor(evaluator, cost, where.ray)
    return local_executor(evaluator, cost, where.workers)


def _existing(folder: Path, asked: Study) -> Study | None:
    """The study on disk with these settings; None where there is none yet. Raises StudyError where it has others."""
    if not Store.is_in(folder):
        return None
    with Store.read(folder) as store:
        there = store.study
        refuse_differences(folder, differences(there, asked))
        if store.choice is None:
            refuse_other_meaning(store)
    return there


def _finished(folder: Path) -> dict[str, Any] | None:
    with Store.read(folder) as store:
        choice = store.choice
        if choice is None:
            return None
        say(f"study {folder} is finished")
        return summary(store.study, str(folder), store.ledger(), choice, store.get("clock", "wall", float) or 0.0)
