"""`--budget`: what fits the minutes on this machine, decided once and stored; a warning where trainings are too short anyway."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from edgenas.cli.evolve import evolution_within_budget
from edgenas.cli.method import method_of
from edgenas.cli.output import say
from edgenas.cli.settings import SearchSettings
from edgenas.errors import EdgenasError
from edgenas.hardware.cost import CostModel
from edgenas.hardware.profile import HOST_CPU
from edgenas.methods import Method
from edgenas.methods.baselines import work
from edgenas.methods.endings import Spent
from edgenas.records import Candidate, Choice, HardwareProfile, Limits, Study, Trial
from edgenas.report.scores import objective_of

if TYPE_CHECKING:
    from edgenas.store import Store
    from edgenas.tasks import Task
    from edgenas.training.budget import Budget

START_SECONDS = 10.0  # worker processes: their imports, and the data they get
END_SECONDS = 2.0  # workers end, the front is written


def refuse_double_plan(settings: SearchSettings) -> None:
    """Raise EdgenasError where both the budget and its results were given."""
    if settings.budget is not None and (settings.epoch_scale is not None or settings.search_images is not None):
        raise EdgenasError("--budget chooses --epoch-scale and --search-images: give those two, or the budget")


def within_budget(
    settings: SearchSettings,
    whole: Task,
    profiles: tuple[HardwareProfile, ...],
    boards: bool,
    workers: int | None,
    decided: dict[str, Any],
    study_with: Callable[[dict[str, Any]], Study],
    started: float,
) -> dict[str, Any]:
    """The same decisions with the epoch scale and the search images (nse: rounds, epochs, images) that fit what is left of the
    minutes since `started` (monotonic seconds), in which `whole`, the data, was read. Raises EdgenasError with figures where
    not even the smallest search fits."""
    assert settings.budget is not None
    known = tuple(profile for profile in profiles if not boards and profile.name != HOST_CPU)
    device = decided["device"]
    left = functools.partial(_left, settings.budget, started)
    if settings.method == "nse":
        limits = settings.limits if known else Limits()  # what is measured is not known yet: the trial goes by MACs
        cost = CostModel(known, settings.precision, limits)
        return evolution_within_budget(settings, whole, decided, cost, left, processes(workers, device))
    # What is measured is not known yet: the limits on it are left out of the rehearsal, which then is the longer one.
    cost = CostModel(known if len(known) == len(profiles) else (), settings.precision, settings.limits)
    # The rehearsal's scores are made up: they know nothing of chance.
    study = study_with({name: value for name, value in decided.items() if name != "validation"})
    budget = _fitted(settings, decided, study, cost, whole, left, processes(workers, device))
    return {**decided, **_as_planned(settings, decided, whole, budget)}


def processes(workers: int | None, device: str) -> int:
    """How many train at once here: those asked for (0: this process alone), or one per core or GPU."""
    from edgenas.training.executors import local_devices

    return len(local_devices(device)) if workers is None else max(1, workers)


def _left(minutes: float, started: float) -> float:
    return 60 * minutes - (time.monotonic() - started) - START_SECONDS - END_SECONDS


def _fitted(
    settings: SearchSettings, decided: dict[str, Any], study: Study, cost: CostModel, task: Task,
    left: Callable[[], float], workers: int,
) -> Budget:  # fmt: skip
    from edgenas.training.budget import fit_budget, rehearse
    from edgenas.training.recipes import recipe_from_name, steps_an_epoch

    def plan(most: int | None) -> tuple[Candidate, ...]:
        spent = None if most is None else ended_after(most)
        return rehearse(method_of(study, decided["training"], cost, spent), cost, objective_of(study))

    def steps(images: int) -> int:
        return steps_an_epoch(recipe_from_name(settings.recipe, task, decided["device"], images=images), images)

    return fit_budget(left, plan, functools.cache(steps), cost, task, decided["device"], workers)


def _as_planned(settings: SearchSettings, decided: dict[str, Any], whole: Task, budget: Budget) -> dict[str, Any]:
    """What of the study the budget decides; said in one line."""
    from edgenas.tasks import as_searched
    from edgenas.training.budget import least_epochs
    from edgenas.training.recipes import recipe_from_name, steps_an_epoch

    images = budget.search_images or len(whole.train)
    fewer = "" if budget.most_candidates is None else f", fewer than the {budget.rehearsed} that the search would like"
    scaled = f"epochs x {budget.epoch_scale:g} ({budget.least_epochs} or more: {budget.least_steps} steps)"
    if budget.epoch_scale == 0:
        scaled = f"{budget.least_epochs} epochs each ({budget.least_steps} steps)"
    say(
        f"budget {settings.budget:g} min: {images} images, {scaled}, for up to {budget.candidates} candidates{fewer}, in about "
        f"{budget.predicted_seconds:.0f} s ({budget.images_per_second['slowest']:.0f} to "
        f"{budget.images_per_second['fastest']:.0f} images/s a worker)"
    )
    wanted = msgspec.structs.replace(decided["task"], search_images=budget.search_images)
    fewer_images = as_searched(whole, wanted)
    recipe = recipe_from_name(settings.recipe, fewer_images, decided["device"])
    # A stratified subsample has about as many images as were asked for: a few less can be a step less.
    least = max(budget.least_epochs, least_epochs(steps_an_epoch(recipe, len(fewer_images.train))))
    training = msgspec.structs.replace(
        decided["training"], recipe=recipe, epoch_scale=budget.epoch_scale, least_epochs=least
    )
    return {"task": wanted, "training": training, "budget": budget}


# ---------------------------------------------------------------- while the search runs


def ended_after(most: int) -> Spent:
    """So many trainings are planned."""

    def spent(trained: tuple[Trial, ...], asked: tuple[Candidate, ...]) -> str:
        del asked  # all of them are too many
        return f"the {most} trainings that the budget has room for are done" if len(trained) >= most else ""

    return spent


def spent_of(store: Store, cost: CostModel, started: float, workers: int | None) -> Spent | None:
    """When a search with a budget ends early: after as many trainings as were planned, or where the next one would not end
    within the minutes since `started` (monotonic seconds). Where that was is stored: the same command ends there again."""
    from edgenas.training.budget import PARALLEL, Budget

    minutes = store.study.settings["asked"]["budget"]
    if minutes is None:
        return None
    budget = msgspec.convert(store.study.settings["budget"], type=Budget)
    planned = ended_after(budget.most_candidates) if budget.most_candidates is not None else None
    share = 0.5 if store.study.settings["asked"]["control"] else 1.0  # the control spends as much again
    before, began = store.get("clock", "wall", float) or 0.0, time.monotonic()
    faster = 1 + PARALLEL * (processes(workers, store.study.settings["device"]) - 1)
    seconds = share * (60 * minutes - (began - started) - END_SECONDS)

    def spent(trained: tuple[Trial, ...], asked: tuple[Candidate, ...]) -> str:
        if planned is not None and (reason := planned(trained, asked)):
            return reason
        end = store.get("budget", "end", int)
        if end is None:
            elapsed = before + time.monotonic() - began
            complete = [trial for trial in trained if trial.status == "complete"]
            pace = sum(trial.seconds for trial in complete) / max(1.0, sum(map(work, complete)))
            each = [pace * c.recipe.epochs * cost(c.architecture).bytes_moved for c in asked]
            if elapsed + max(max(each), sum(each) / faster) <= seconds:
                return ""
            end = len(trained)
            store.put("budget", "end", end)
        return f"the minutes of --budget are spent after {end} trainings" if len(trained) >= end else ""

    return spent


def warned(method: Method, task: Task) -> Method:
    """`method`; says so once, before the first training that is shorter than what can rank networks. It is obeyed."""
    from edgenas.training.budget import LEAST_STEPS
    from edgenas.training.recipes import steps_an_epoch

    told = False
    ask = next(method)
    while True:
        for candidate in () if told else ask.needed:
            recipe = candidate.recipe
            steps = recipe.epochs * steps_an_epoch(recipe, len(task.train))
            if steps < LEAST_STEPS:
                say(
                    f"warning: {recipe.epochs} epochs of {len(task.train)} images are {steps} steps: trainings under about "
                    f"{LEAST_STEPS} steps rank noise; --budget plans longer ones"
                )
                told = True
                break
        answers = yield ask
        try:
            ask = method.send(answers)
        except StopIteration as end:
            choice: Choice = end.value
            return choice
