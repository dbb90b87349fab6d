"""NSE as the engine runs it: what the settings decide for an evolving space, and the search that runs what is decided."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec

from edgenas.architectures.branch_spaces import LARGE_IMAGES, is_published, published_space, staged_space
from edgenas.architectures.multibranch import MultiBranchSpace
from edgenas.architectures.space import Space
from edgenas.architectures.subspace import Round, SupernetRules, union
from edgenas.engine.folders import study_folder
from edgenas.errors import EdgenasError, StudyError
from edgenas.image_sizes import square_side
from edgenas.methods import CostOf, Method
from edgenas.methods.nse import Start, first_plan, nse, rounds_of
from edgenas.methods.nse_rules import NseRules, refuse_impossible_space
from edgenas.methods.settings import SearchSettings
from edgenas.methods.spec import Fitted, MethodSpec, Minutes, Planning, Search, with_values
from edgenas.records import Limits, Recipe, Record
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task

R = TypeVar("R", bound=Record)
LEAST_STEPS = 400  # weight steps of a round


class NsePreset(Record, frozen=True):
    """The space's size and the schedule that suits it. Every number can be set under [rules]."""

    pool: Literal[19, 27, 72]
    channels: int  # of the stem; they double with every halving of the image
    cells: int  # per stage
    stem_stride: int
    tail_channels: int
    rules: NseRules
    supernet_epochs: int  # per round
    fitness_lr: float
    calibration_batches: int


PRESETS = {
    "tiny": NsePreset(
        19,
        channels=8,
        cells=2,
        stem_stride=2,
        tail_channels=128,
        rules=NseRules(networks=60, cheap_networks=12, finals=4, channel_step=4),
        supernet_epochs=5,
        fitness_lr=0.05,
        calibration_batches=8,
    ),
    "t": NsePreset(
        27,
        channels=16,
        cells=3,
        stem_stride=1,
        tail_channels=256,
        rules=NseRules(networks=200, cheap_networks=30, finals=8, channel_step=4),
        supernet_epochs=10,
        fitness_lr=0.02,
        calibration_batches=20,
    ),
    "m": NsePreset(
        27,
        channels=32,
        cells=3,
        stem_stride=1,
        tail_channels=512,
        rules=NseRules(networks=500, cheap_networks=50, finals=8, channel_step=8),
        supernet_epochs=30,
        fitness_lr=0.01,
        calibration_batches=50,
    ),
}
PUBLISHED = NsePreset(27, 16, 3, 2, 1024, NseRules(), 100, 0.005, 50)
SHAPE_RULES = ("channels", "cells", "stem_stride", "tail_channels")


class NsePlan(Record, frozen=True):
    """What an NSE search is decided by: the method's rules, how its supernets are trained, what an earlier study leaves to it."""

    rules: NseRules
    supernet: SupernetRules
    start: Start | None = None


def decide_evolution(planning: Planning) -> tuple[MultiBranchSpace, NsePlan]:
    """Space, rules and supernet training for these settings, as written into the study."""
    from edgenas.training.supernet_training import supernet_rows

    settings, task, name = planning.settings, planning.task, planning.preset
    if task.kind == "faces":
        raise EdgenasError(
            "--method nse scores with other images of the people it trained on, which says nothing of faces: use gnas or trgnas"
        )
    size = task.preprocessing.input_size
    if name not in PRESETS:
        raise EdgenasError(f"preset {name} is not one of nse: choose {', '.join(PRESETS)}")
    preset = PUBLISHED if square_side(size) >= LARGE_IMAGES and name != "tiny" else PRESETS[name]
    pool = settings.pool or preset.pool
    supernet = SupernetRules(
        _supernet_recipe(task, planning.device, preset.supernet_epochs),
        preset.fitness_lr,
        calibration_batches=preset.calibration_batches,
    )
    values = _rules_asked(settings, supernet)
    rules = preset.rules
    if preset is PUBLISHED:
        _refuse_shape(values)
        rules = msgspec.structs.replace(rules, operations=6 if pool == 19 else 5)
    epochs = int(values.get("supernet_epochs", _epochs_for(task, supernet, preset.supernet_epochs)))
    supernet = msgspec.structs.replace(supernet, recipe=msgspec.structs.replace(supernet.recipe, epochs=epochs))
    rules = _changed(rules, values)
    if settings.rounds is not None:
        rules = msgspec.structs.replace(rules, rounds=settings.rounds)
    if settings.control == "random":
        rules = msgspec.structs.replace(rules, control=rules.finals)
    shape = _changed(preset, values)
    if preset is PUBLISHED:
        space = published_space(pool, task.head, task.preprocessing.channels, size)
    else:
        sizes = (shape.cells, shape.channels, shape.stem_stride, shape.tail_channels)
        space = staged_space(pool, *sizes, task.head, task.preprocessing.channels, size)
    start = start_from(settings.from_study, space) if settings.from_study else None
    supernet = _changed(supernet, values)
    supernet_rows(task.train.labels, supernet.held_out, settings.seed)  # before a round begins, not in its worker
    return space, NsePlan(rules, supernet, start)


def _supernet_recipe(task: Task, device: str, epochs: int) -> Recipe:
    """All cores train the supernet: nothing else runs meanwhile."""
    from edgenas.training.recipes import recipe_from_name, with_free_cores

    return with_free_cores(recipe_from_name("supernet", task, device, epochs), device)


def _epochs_for(task: Task, supernet: SupernetRules, preset: int) -> int:
    """The preset's epochs; more where the data are few, since shared weights need steps before they can rank anything."""
    steps = max(1, int(len(task.train) * (1 - supernet.held_out)) // supernet.recipe.batch_size)
    return max(preset, -(-LEAST_STEPS // steps))


def start_from(name: str, space: MultiBranchSpace) -> Start:
    """What a finished NSE study leaves to a search on `space`. Raises StudyError where their operations or cells differ."""
    folder = study_folder(name)
    with Store.read(folder) as store:
        rounds = list(store.all("round", Round).values())
        finished = store.choice is not None
    if not rounds or not finished:
        raise StudyError(f"{folder} holds no finished nse search: finish it first, or leave --from out")
    there, last = rounds[-1].plan.space, rounds[-1]
    if there.pool != space.pool and (there.pool, space.pool) != (27, 72):
        raise StudyError(
            f"{folder} has the pool of {there.pool}, this search that of {space.pool}: --from goes from 27 to 72, or stays"
        )
    if there.kinds != space.kinds:
        raise StudyError(
            f"{folder} has cells {there.kinds}, this search {space.kinds}: choose the same preset and image size"
        )
    tried = union([played.plan.subspace for played in rounds], len(space.kinds))
    return Start(last.kept, tried, last.survivors)


def evolution_within_budget(minutes: Minutes) -> Fitted:
    """The rounds, epochs and images that fit the seconds that are left on this machine."""
    from edgenas.tasks import as_searched
    from edgenas.training.nse_budget import fit_nse_budget, measure_speeds
    from edgenas.training.recipes import recipe_from_name, steps_an_epoch

    settings, task, space, plan = minutes.settings, minutes.whole, minutes.space, minutes.rules
    assert isinstance(space, MultiBranchSpace)
    assert isinstance(plan, NsePlan)
    rules, supernet, device = plan.rules, plan.supernet, minutes.device
    first = first_plan(space, rules, minutes.cost, minutes.limits, settings.seed, plan.start)
    speeds = measure_speeds(first, task, supernet, minutes.training.recipe, device)

    def steps(images: int) -> int:
        return steps_an_epoch(recipe_from_name(settings.recipe, task, device, images=images), images)

    budget = fit_nse_budget(
        minutes.left(),
        speeds,
        rounds_of(space, rules),
        rules.networks + rules.cheap_networks,
        rules.finals + rules.control,
        task,
        supernet,
        functools.cache(steps),
        minutes.workers,
        is_published(space),
    )
    minutes.tell(
        f"budget {settings.budget:g} min: {budget.search_images or len(task.train)} images, {budget.rounds} rounds of "
        f"{budget.supernet_epochs} epochs, {budget.final_epochs} epochs for each of {budget.finals} final networks, about "
        f"{budget.predicted_seconds:.0f} s (supernet {budget.images_per_second['supernet']:.0f} images/s)"
    )
    wanted = msgspec.structs.replace(minutes.task, search_images=budget.search_images)
    fewer = as_searched(task, wanted)
    recipe = recipe_from_name(settings.recipe, fewer, device, budget.final_epochs)
    of_supernet = _supernet_recipe(fewer, device, budget.supernet_epochs)
    planned = NsePlan(
        msgspec.structs.replace(rules, rounds=budget.rounds, **_shared(rules, budget.finals)),
        msgspec.structs.replace(supernet, recipe=of_supernet),
        plan.start,
    )
    return Fitted(wanted, msgspec.structs.replace(minutes.training, recipe=recipe), planned, budget)


def _shared(rules: NseRules, networks: int) -> dict[str, int]:
    """So many networks trained from scratch, the control's share as it was."""
    control = networks * rules.control // max(1, rules.finals + rules.control)
    return {"finals": networks - control, "control": control}


def _made(search: Search) -> Method:
    """The search, with the supernets that it trains. All finals are trained for the same epochs."""
    from edgenas.training.nse import NseSupernets

    plan, training, lab = search.rules_as(NsePlan), search.training, search.lab
    assert lab is not None
    return nse(
        search.space_as(MultiBranchSpace),
        plan.rules,
        NseSupernets(plan.supernet, lab.store, search.seed, lab.results, lab.tell, lab.processes),
        msgspec.structs.replace(training.recipe, epochs=max(1, round(training.recipe.epochs * training.epoch_scale))),
        search.cost,
        search.limits,
        search.seed,
        search.objective,
        plan.start,
        search.metric,
    )


def _check(space: Space, cost: CostOf, limits: Limits, draws: int) -> None:
    del draws
    assert isinstance(space, MultiBranchSpace)
    refuse_impossible_space(space, cost, limits)


def _rules_asked(settings: SearchSettings, supernet: Record) -> dict[str, float]:
    of_supernet = ("supernet_epochs", *(name for name in supernet.__struct_fields__ if name != "recipe"))
    known = (*NseRules.__struct_fields__, *of_supernet, *SHAPE_RULES)
    unknown = sorted(set(settings.rules) - set(known))
    if unknown:
        raise EdgenasError(f"[rules] {', '.join(unknown)}: method nse has no such rule; it has {', '.join(known)}")
    numbers = {name: value for name, value in settings.rules.items() if not isinstance(value, tuple)}
    if len(numbers) < len(settings.rules):
        raise EdgenasError("[rules]: every rule of nse is one number")
    return numbers


def _refuse_shape(values: dict[str, float]) -> None:
    """Raise EdgenasError for a rule of the cells where they are the published ones."""
    if fixed := [name for name in SHAPE_RULES if name in values]:
        raise EdgenasError(
            f"[rules] {', '.join(fixed)}: images of {LARGE_IMAGES} px and more are searched in the published cells, which are "
            "fixed: leave it out, or take --preset tiny, whose cells can be set"
        )


def _changed(record: R, values: dict[str, float]) -> R:
    """The record with those of the values that are its fields."""
    return with_values(record, {name: value for name, value in values.items() if name in record.__struct_fields__})


NSE = MethodSpec(
    "nse",
    "a space that evolves, its networks scored with shared weights (NSE)",
    _made,
    NsePlan,
    spaces=(),
    heeds=("pool", "rounds", "from_study"),
    check=_check,
    plan=decide_evolution,
    fit=evolution_within_budget,
    control="own",
    together=True,
)
