"""From settings to a finished study: decide once, write it down, then run what is written down."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from edgenas.architectures.chain import ChainSpace
from edgenas.cli.data import say_data
from edgenas.cli.evolve import decide_evolution, evolution_method, evolution_within_budget
from edgenas.cli.nal_search import decide_designs, nal_method
from edgenas.cli.output import say
from edgenas.cli.progress import SearchView
from edgenas.cli.settings import (
    PRESETS,
    SearchSettings,
    differences,
    preset_of,
    rules_from,
    space_from,
    study_record,
)
from edgenas.cli.studies import begin_session, study_to_write
from edgenas.cli.study_data import searched_task
from edgenas.errors import EdgenasError, StudyError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import HOST_CPU, profile_from_name, profiles_of, resolved
from edgenas.methods import Method
from edgenas.methods.baselines import BaselineRules, Sampler, optuna_search, random_search, with_control
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training, refuse_impossible_limit
from edgenas.methods.nal import CellSpace, NalRules
from edgenas.methods.nse import refuse_impossible_space
from edgenas.methods.trgnas import TrgnasRules, trgnas
from edgenas.records import Choice, Decision, HardwareProfile, Limits, Study, Trial
from edgenas.remote.boards import measuring
from edgenas.report.front import objective_of, summary
from edgenas.store import Store, refuse_differences
from edgenas.study import Executor, run

if TYPE_CHECKING:
    from edgenas.tasks import Task

START_SECONDS = 20  # imports, data and worker processes, before and after the throughput trial


@dataclasses.dataclass(frozen=True)
class Where:
    """What does not decide the result: which folder, how many processes, which machines."""

    study: str | None = None
    workers: int | None = None
    ray: str | None = None
    boards: tuple[str, ...] = ()
    token_file: Path | None = None


def run_search(settings: SearchSettings, where: Where) -> dict[str, Any]:
    """Start, continue or just read a search; returns the document of cli.md."""
    if where.ray is not None and where.workers is not None:
        raise EdgenasError("--workers counts processes here, --ray takes a cluster's slots: give one of them")
    profiles = tuple(profile_from_name(name) for name in settings.target)
    for name, profile in zip(settings.target, profiles, strict=True):
        say(resolved(name, profile))
    asked = study_record(settings, profiles, bool(where.boards), {})
    folder = study_to_write(where.study, asked)
    study = _existing(folder, asked)
    if study is not None and (document := _finished(folder)) is not None:
        return document
    if study is None:
        decided = decide(settings)
        _refuse_impossible(settings, profiles, where, decided)
        if settings.budget is not None:
            decided = within_budget(settings, profiles, where, decided)
        study = study_record(settings, profiles, bool(where.boards), decided)
    profiles = profiles_of(study)
    say(f"study {folder}")
    with Store.create(folder, study) as store:
        begin_session(store, "search")
        return _search(store, profiles, where, settings.data_dir)


def _all_predicted(profiles: tuple[HardwareProfile, ...], where: Where) -> bool:
    """Are latencies known without measuring anything?"""
    return not where.boards and all(profile.name != HOST_CPU for profile in profiles)


def _refuse_impossible(
    settings: SearchSettings, profiles: tuple[HardwareProfile, ...], where: Where, decided: dict[str, Any]
) -> None:
    """Raise LimitError before a study exists. Measured latencies are known later, and NAL says itself that it found nothing."""
    if settings.method == "nal" or not _all_predicted(profiles, where):
        return
    cost = CostModel(profiles, settings.precision, settings.limits)
    if settings.method == "nse":
        refuse_impossible_space(decided["space"], cost, settings.limits)
    else:
        refuse_impossible_limit(decided["space"], cost, settings.limits)


def decide(settings: SearchSettings) -> dict[str, Any]:
    """Everything that follows from the settings, the data and this machine: written into the study once."""
    import torch

    from edgenas.tasks import TaskSettings, load_task
    from edgenas.training.recipes import recipe_from_name

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = TaskSettings(
        settings.data,
        settings.task,
        settings.data_dir,
        settings.image_size,
        settings.flip,
        settings.seed,
        settings.search_images,
        {} if settings.far is None else {"far": settings.far},
    )
    task = load_task(wanted)
    say_data(settings.data, task)
    name = preset_of(settings, device == "cuda")
    say(f"preset {name}, on {device}: {len(task.train)} training and {len(task.val)} validation images")
    preset = PRESETS[name]
    shape = task.preprocessing
    space = space_from(settings, preset, task.head, shape.channels, shape.input_size)
    training = Training(
        recipe_from_name(settings.recipe, task, device),
        settings.policy,
        fixed_epochs=preset.baseline.epochs,
        epoch_scale=1.0 if settings.epoch_scale is None else settings.epoch_scale,
    )
    if settings.method == "nse":
        evolution = decide_evolution(settings, name, task, device)
        return {"preset": name, "device": device, "task": wanted, "training": training, **evolution}
    rules = rules_from(settings, preset)
    if isinstance(rules, NalRules):
        designs = decide_designs(settings, rules, CellSpace(task.head, shape.channels, shape.input_size))
        return {"preset": name, "device": device, "task": wanted, "training": training, **designs}
    return {"preset": name, "device": device, "task": wanted, "space": space, "training": training, "rules": rules}


def within_budget(
    settings: SearchSettings, profiles: tuple[HardwareProfile, ...], where: Where, decided: dict[str, Any]
) -> dict[str, Any]:
    """The same decisions with the epoch scale and the search images (nse: rounds, epochs, images) that fit --budget here."""
    from edgenas.tasks import load_task
    from edgenas.training.budget import fit_budget, rehearse
    from edgenas.training.executors import local_devices
    from edgenas.training.recipes import recipe_from_name

    assert settings.budget is not None
    if settings.epoch_scale is not None or settings.search_images is not None:
        raise EdgenasError("--budget chooses --epoch-scale and --search-images: give those two, or the budget")
    seconds = 60 * settings.budget - START_SECONDS
    if settings.method == "nse":
        known = [profile for profile in profiles if not where.boards and profile.name != HOST_CPU]
        limits = settings.limits if known else Limits()  # what is measured is not known yet: the trial goes by MACs
        cost = CostModel(known, settings.precision, limits)
        return evolution_within_budget(settings, decided, cost, seconds, where.workers)
    # What is measured is not known yet: the limits on it are left out of the rehearsal, which then is the longer one.
    predicted = profiles if _all_predicted(profiles, where) else ()
    cost = CostModel(predicted, settings.precision, settings.limits)
    study = study_record(settings, profiles, bool(where.boards), decided)
    task, device = load_task(decided["task"]), decided["device"]
    candidates = rehearse(_method(study, decided["training"], cost), cost, objective_of(study))
    workers = where.workers or len(local_devices(device))
    budget = fit_budget(seconds, candidates, cost, task, device, workers)
    images = budget.search_images or len(task.train)
    say(
        f"budget {settings.budget:g} min: {images} images, epochs x {budget.epoch_scale:g}, for up to {budget.candidates} "
        f"candidates in about {budget.predicted_seconds:.0f} s ({budget.images_per_second['slowest']:.0f} to "
        f"{budget.images_per_second['fastest']:.0f} images/s a worker)"
    )
    wanted = msgspec.structs.replace(decided["task"], search_images=budget.search_images)
    recipe = recipe_from_name(settings.recipe, load_task(wanted), device)
    training = msgspec.structs.replace(decided["training"], recipe=recipe, epoch_scale=budget.epoch_scale)
    return {**decided, "task": wanted, "training": training, "budget": budget}


def _search(store: Store, profiles: tuple[HardwareProfile, ...], where: Where, data_dir: str | None) -> dict[str, Any]:
    study = store.study
    decided = study.settings
    training = msgspec.convert(decided["training"], type=Training)
    task = searched_task(store, data_dir)
    with ExitStack() as stack:
        precision = decided["asked"]["precision"]
        hook = measuring(where.boards, where.token_file, profiles, precision, store, say)
        measure, measured = stack.enter_context(hook)
        cost = CostModel(profiles, precision, study.limits, measure, measured)
        nse = study.method == "nse"  # trains its supernets in this process
        method = evolution_method(store, task, training, cost) if nse else _method(study, training, cost)
        executor = stack.enter_context(executor_of(study, task, cost, where))
        budget = decided["asked"]["budget"]
        view = stack.enter_context(SearchView(study, objective_of(study), 60 * budget if budget else None))
        choice = _follow(run(method, executor, store), store, view)
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


def _method(study: Study, training: Training, cost: CostModel) -> Method:
    """The generator of the study's method."""
    decided = study.settings
    if study.method == "nal":
        return nal_method(study, training, cost)
    space, rules = msgspec.convert(decided["space"], ChainSpace), decided["rules"]
    objective = objective_of(study)
    limits, seed, confirm = study.limits, study.seed, decided["asked"]["confirm_seeds"]
    if study.method == "gnas":
        method = gnas(space, msgspec.convert(rules, GnasRules), training, cost, limits, objective, confirm)
    elif study.method == "trgnas":
        method = trgnas(space, msgspec.convert(rules, TrgnasRules), training, cost, limits, objective, confirm)
    elif study.method == "random":
        method = random_search(space, msgspec.convert(rules, BaselineRules), training, cost, limits, objective, seed)
    else:
        sampler, rules = msgspec.convert(study.method, Sampler), msgspec.convert(rules, BaselineRules)
        method = optuna_search(sampler, space, rules, training, cost, limits, objective, seed)
    if decided["asked"]["control"] == "random":
        method = with_control(method, space, training, cost, limits, seed)
    return method


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
    return there


def _finished(folder: Path) -> dict[str, Any] | None:
    with Store.read(folder) as store:
        choice = store.choice
        if choice is None:
            return None
        say(f"study {folder} is finished")
        return summary(store.study, str(folder), store.ledger(), choice, store.get("clock", "wall", float) or 0.0)
