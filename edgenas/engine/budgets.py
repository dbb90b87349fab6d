"""`--budget`: what fits the minutes on this machine, decided once and stored; a warning where trainings are too short anyway."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.methods import method_of, search_of
from edgenas.engine.plan import Plan
from edgenas.errors import EdgenasError
from edgenas.hardware.cost import CostModel, measured_target
from edgenas.methods import Method
from edgenas.methods.baselines import work
from edgenas.methods.endings import Spent
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import MethodSpec, Minutes
from edgenas.records import Candidate, Choice, HardwareProfile, Limits, Trial

if TYPE_CHECKING:
    from edgenas.store import Store
    from edgenas.tasks import Task
    from edgenas.training.budget import Budget

START_SECONDS = 10.0  # worker processes: their imports, and the data they get
END_SECONDS = 2.0  # workers end, the front is written
Tell = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Clock:
    """The minutes of a budget: since when they run (monotonic seconds), and how many processes train at once."""

    minutes: float
    started: float
    workers: int

    def left(self) -> float:
        """Seconds for trainings."""
        return 60 * self.minutes - (time.monotonic() - self.started) - START_SECONDS - END_SECONDS


def refuse_double_plan(settings: SearchSettings) -> None:
    """Raise EdgenasError where both the budget and its results were given."""
    if settings.budget is not None and (settings.epoch_scale is not None or settings.search_images is not None):
        raise EdgenasError("--budget chooses --epoch-scale and --search-images: give those two, or the budget")


def within_budget(
    plan: Plan, spec: MethodSpec, whole: Task, profiles: tuple[HardwareProfile, ...], clock: Clock, tell: Tell
) -> Plan:
    """The same plan with the epochs and the images that fit what is left of the minutes, in which `whole`, the data, was read.
    Raises EdgenasError with figures where not even the smallest search fits."""
    asked = plan.asked
    measured = measured_target(profiles, plan.boards)
    # What is measured is not known yet: a limit on it does not end the rehearsal, which then is the longer one.
    cost = CostModel(profiles, asked.precision, asked.limits, measured=measured)
    if spec.fit is not None:
        known = any(profile.name != measured for profile in profiles)
        limits = asked.limits if known else Limits(mmacs=asked.max_mmacs)  # the trial then goes by MACs
        of_plan = (plan.task, plan.space, plan.rules, plan.training, plan.device)
        minutes = Minutes(asked, whole, *of_plan, cost, limits, clock.left, clock.workers, tell)
        fitted = spec.fit(minutes)
        return dataclasses.replace(plan, **fitted._asdict())
    return _as_planned(plan, whole, _fitted(plan, spec, cost, whole, clock), tell)


def processes(workers: int | None, device: str) -> int:
    """How many train at once here: those asked for (0: this process alone), or one per core or GPU."""
    from edgenas.training.work import local_devices

    return len(local_devices(device)) if workers is None else max(1, workers)


def _fitted(plan: Plan, spec: MethodSpec, cost: CostModel, task: Task, clock: Clock) -> Budget:
    from edgenas.training.budget import fit_budget, rehearse_longest
    from edgenas.training.recipes import recipe_from_name, steps_an_epoch

    # The rehearsal's scores are made up: they know nothing of chance.
    rehearsed = dataclasses.replace(plan, validation=None)
    search = search_of(rehearsed, task.metric, cost, plan.asked.limits)

    def candidates(most: int | None) -> tuple[Candidate, ...]:
        spent = None if most is None else ended_after(most)
        return rehearse_longest(lambda: method_of(spec, search, rehearsed, spent), cost, search.objective)

    def steps(images: int) -> int:
        return steps_an_epoch(recipe_from_name(plan.asked.recipe, task, plan.device, images=images), images)

    return fit_budget(clock.left, candidates, functools.cache(steps), cost, task, plan.device, clock.workers)


def _as_planned(plan: Plan, whole: Task, budget: Budget, tell: Tell) -> Plan:
    """The plan as the budget has it; said in one line."""
    from edgenas.tasks import as_searched
    from edgenas.training.budget import least_epochs
    from edgenas.training.recipes import recipe_from_name, steps_an_epoch

    images = budget.search_images or len(whole.train)
    planned = f"up to {budget.candidates} candidates"
    if budget.most_candidates is not None:
        planned = f"{budget.candidates} of the {budget.rehearsed} candidates that the search would like, more while time is left"
    scaled = f"epochs x {budget.epoch_scale:g} ({budget.least_epochs} or more: {budget.least_steps} steps)"
    if budget.epoch_scale == 0:
        scaled = f"{budget.least_epochs} epochs each ({budget.least_steps} steps)"
    tell(
        f"budget {plan.asked.budget:g} min: {images} images, {scaled}, for {planned}, in about "
        f"{budget.predicted_seconds:.0f} s ({budget.images_per_second['slowest']:.0f} to "
        f"{budget.images_per_second['fastest']:.0f} images/s a worker)"
    )
    wanted = msgspec.structs.replace(plan.task, search_images=budget.search_images)
    fewer_images = as_searched(whole, wanted)
    recipe = recipe_from_name(plan.asked.recipe, fewer_images, plan.device)
    # A subsample may have a few images less than were asked for, since every class keeps one: that can be a step less.
    least = max(budget.least_epochs, least_epochs(steps_an_epoch(recipe, len(fewer_images.train))))
    scale = budget.epoch_scale
    training = msgspec.structs.replace(plan.training, recipe=recipe, epoch_scale=scale, least_epochs=least)
    return dataclasses.replace(plan, task=wanted, training=training, budget=budget)


# ---------------------------------------------------------------- while the search runs


def ended_after(most: int) -> Spent:
    """So many trainings are planned."""

    def spent(answers: tuple[Trial, ...], asked: Candidate) -> str:
        del asked  # whatever it is, it is one too many
        return f"the {most} trainings that the budget has room for are done" if _trained(answers) >= most else ""

    return spent


def share_of(store: Store, plan: Plan, started: float) -> Callable[[int], float] | None:
    """What share of the minutes of a budget is over when so many trials have been read; None without a budget, and where [rules]
    say how much is trained. It is stored: the search decides the same when it goes on."""
    from edgenas.training.budget import Budget

    if plan.asked.budget is None or not isinstance(plan.budget, Budget) or {"trials", "budget"} & set(plan.asked.rules):
        return None
    before, loaded = spent_before(store), loading_before(store, started)
    seconds = seconds_for_trainings(plan, loaded)

    def share(trials: int) -> float:
        key = f"share after {trials:06d}"
        known = store.get("budget", key, float)
        if known is None:
            known = min(1.0, (before + time.monotonic() - started - loaded) / seconds)
            store.put("budget", key, known)
        return known

    return share


def spent_before(store: Store) -> float:
    """Seconds that the sessions before this one took, from their commands to the last thing that they stored."""
    return store.get("clock", "wall", float) or 0.0


def loading_before(store: Store, started: float) -> float:
    """Seconds that the first session with a training, which may be this one, needed before it: they are none of the search's,
    unlike those of the sessions that went on."""
    known = store.get("clock", "loading", float)
    if known is None or not spent_before(store):
        known = time.monotonic() - started
        store.put("clock", "loading", known)
    return known


def seconds_for_trainings(plan: Plan, gone: float, *, control: bool = False) -> float:
    """What is left of the minutes of a budget after so many seconds; of a search that a control follows half of it. `control`:
    what is left for both."""
    assert plan.asked.budget is not None
    share = 0.5 if plan.asked.control and not control else 1.0
    return share * max(1.0, 60 * plan.asked.budget - gone - END_SECONDS)


def spent_of(store: Store, plan: Plan, cost: CostModel, started: float, *, control: bool = False) -> Spent | None:
    """When a search with a budget ends early: where the next training would not end within the minutes since `started` (monotonic
    seconds), by the pace of those that are done. A machine that is faster than it was thought trains more, a slower one less.
    What is trained already, by a session before or by a worker ahead of need, takes no time. Where the end was is stored: the
    same command ends there again. `control`: when the search's control does."""
    from edgenas.training.budget import Budget

    minutes, budget = plan.asked.budget, plan.budget
    if minutes is None or not isinstance(budget, Budget):
        return None
    before, loaded = spent_before(store), loading_before(store, started)
    seconds = seconds_for_trainings(plan, loaded, control=control)
    key = "control's end after" if control else "end after"

    def spent(answers: tuple[Trial, ...], asked: Candidate) -> str:
        end, older = store.get("budget", key, int), None if control else store.get("budget", "end", int)
        if end is None and older is None:
            if store.find(asked.key) is not None:
                return ""
            elapsed = before + time.monotonic() - started - loaded
            complete = [trial for trial in answers if trial.status == "complete"]
            pace = sum(trial.seconds for trial in complete) / max(1.0, sum(map(work, complete)))
            known = cost(asked.architecture)
            takes = 0.0 if store.study.limits.broken(known) else pace * asked.recipe.epochs * known.bytes_moved
            if elapsed + takes <= seconds:
                return ""
            end = len(answers)
            store.put("budget", key, end)
        count = _trained(answers)
        # a study of an earlier version holds how many were trained, and not how many were answered
        over = len(answers) >= end if end is not None else older is not None and count >= older
        return f"the minutes of --budget are spent after {count} trainings" if over else ""

    return spent


def _trained(answers: tuple[Trial, ...]) -> int:
    """How many of them did not break a limit."""
    return sum(trial.status != "infeasible" for trial in answers)


def warned(method: Method, images: int, tell: Tell) -> Method:
    """`method`, which trains on so many images; says once, before the first training that is too short to rank networks, that it
    is. It is obeyed."""
    from edgenas.training.budget import LEAST_STEPS
    from edgenas.training.recipes import steps_an_epoch

    told = False
    ask = next(method)
    while True:
        for candidate in () if told else ask.needed:
            recipe = candidate.recipe
            steps = recipe.epochs * steps_an_epoch(recipe, images)
            if steps < LEAST_STEPS:
                tell(
                    f"warning: {recipe.epochs} epochs of {images} images are {steps} steps: trainings under about "
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
