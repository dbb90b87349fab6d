"""What a search's settings decide, for these data and this machine: the study's record and its plan."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.budgets import Clock, processes, refuse_double_plan, within_budget
from edgenas.engine.call import Call
from edgenas.engine.data import lines_of, loading_of
from edgenas.engine.limits import check_limits
from edgenas.engine.plan import Plan
from edgenas.engine.scores import validation_words
from edgenas.engine.settings import PRESETS, as_asked
from edgenas.engine.shape import shape_of
from edgenas.engine.versions import versions
from edgenas.engine.warm import learned_from
from edgenas.methods.ladder import Training
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import MethodSpec
from edgenas.records import HardwareProfile, StudyRecord

if TYPE_CHECKING:
    from edgenas.tasks import Task, TaskSettings


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
    settings: SearchSettings, spec: MethodSpec, profiles: tuple[HardwareProfile, ...], call: Call, folder: Path
) -> tuple[Plan, Task]:
    """The plan of a new study in `folder`, and its data with all training images: read once, for the plan and for the search."""
    from edgenas.tasks import load_task

    refuse_double_plan(settings)
    asked = msgspec.structs.replace(data_asked(settings), search_images=None)
    whole = call.given.task or load_task(asked, loading_of(folder, call.tell))
    plan = decide(settings, spec, profiles, whole, call)
    check_limits(plan, spec, profiles, call.tell)
    if settings.budget is not None:
        clock = Clock(settings.budget, call.started, processes(call.where.workers, plan.device))
        plan = within_budget(plan, spec, whole, profiles, clock, call.tell)
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
        settings.fit,
        settings.skip_damaged,
        settings.balance,
        settings.metric,
        exact=True,
    )


def decide(
    settings: SearchSettings, spec: MethodSpec, profiles: tuple[HardwareProfile, ...], whole: Task, call: Call
) -> Plan:
    """Everything that follows from the settings, the data (all training images) and this machine."""
    import torch

    from edgenas.networks.regularised import refuse_unfit, regularises
    from edgenas.tasks import as_searched, validation_of
    from edgenas.training.cuts import cut_anew
    from edgenas.training.recipes import recipe_from_name

    device = "cuda" if torch.cuda.is_available() else "cpu"
    wanted = data_asked(settings)
    task = as_searched(whole, wanted)
    for line in lines_of(settings.data, task):
        call.tell(line)
    formed = shape_of(settings, spec, profiles, task, device, own=call.given.space, boards=call.boards)
    validation = validation_of(task)
    known = "" if validation is None else f" ({validation_words(validation, task.metric)})"
    call.tell(
        f"preset {formed.preset}, on {device}: {len(task.train)} training and {len(task.val)} validation images{known}"
    )
    for line in formed.lines:
        call.tell(line)
    training = Training(
        recipe_from_name(settings.recipe, task, device),
        settings.policy,
        fixed_epochs=PRESETS[formed.preset].fixed_epochs,
        epoch_scale=1.0 if settings.epoch_scale is None else settings.epoch_scale,
        other_cuts=cut_anew(task),
    )
    space, rules = formed.space, formed.rules
    if regularises(training.recipe):
        refuse_unfit(training.recipe, space.reference())
    if settings.warm_start:
        rules = msgspec.structs.replace(rules, learned=tuple(learned_from(one, space) for one in settings.warm_start))
    asked = as_asked(settings, profiles)
    return Plan(
        asked, call.boards, formed.preset, device, wanted, training, space, rules, validation,
        objects=call.given.objects, targets=settings.target,
    )  # fmt: skip
