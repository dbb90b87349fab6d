"""Final training: the chosen network from scratch, long, over several seeds; what is trained already is not trained again."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from edgenas.engine import data
from edgenas.engine.counts import counted
from edgenas.engine.events import Listener, RunEnds, TrainingBegins, noting
from edgenas.engine.flags import flags_of_training
from edgenas.engine.heritage import heritage_in, restore_heritage
from edgenas.engine.plan import written_plan
from edgenas.engine.scores import at_chance
from edgenas.engine.threads import Seeds, with_threads_begun
from edgenas.engine.training_asked import MOST_EPOCHS, TrainingAsked
from edgenas.errors import DataError, EdgenasError, StudyError
from edgenas.identity import digest
from edgenas.records import Architecture, ChainArchitecture, Classes, FinalTraining, Outputs, Recipe, Trial
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool, SeedTraining
    from edgenas.training.teaching import TeacherAt

BRIEF_EPOCHS = 15  # fewer that a budget leaves are trained by the recipe brief, where none was asked for
GIVEN = "given"  # of the store's rows: the trial of a network that was not searched (engine/given.py), and its phase
START_LR = 0.2  # going on from trained weights: a part of the recipe's learning rate, so that they are not washed out
Tell = Callable[[str], None]
Teach: TypeAlias = "Callable[[Recipe, FinalPool], TeacherAt]"  # for a student of this recipe


def final_training(
    store: Store, asked: TrainingAsked, listener: Listener, own: Task | None = None, teach: Teach | None = None
) -> FinalTraining:
    """Train (or look up) every seed, and put the whole on record: StudyError, DataError where something is missing for it.

    `teach`: finds or trains the teacher that was asked for.
    """
    from edgenas.architectures.workload import workload_from_architecture
    from edgenas.tasks.task import with_validation_in_training
    from edgenas.training.final import FinalPool, final_runs, why_missing

    tell = noting(listener)
    trial, architecture = chosen(store, asked)
    if asked.data is not None:
        data.refuse_own_data(store, asked.data)  # before images are read
    task = task_to_train(store, asked.data, asked.data_dir, architecture, tell, own)
    if asked.data is not None:
        data.refuse_own_data(store, asked.data, task)
    for line in data.lines_of(asked.data or store.study.data, task):
        tell(line)
    if asked.from_trained:
        architecture = msgspec.structs.replace(architecture, head=task.head)
    elif isinstance(task.head, Classes | Outputs) and task.head != architecture.head:
        what = "classes" if isinstance(task.head, Classes) else "outputs"
        raise StudyError(f"{store.study.data} has {task.head.count} {what} now, other than in the search: restore it")
    if asked.all_images:
        if store.choice is None:
            raise StudyError(
                f"--all-images: {store.folder} has no choice yet, which needs the validation images: train it without"
            )
        task = with_validation_in_training(task)
    params = workload_from_architecture(architecture).params
    images = {"train": len(task.train), "val": 0 if asked.all_images else len(task.val), "test": len(task.test)}
    known = (counted(params, "parameter"), counted(asked.seeds, "seed"), counted(images["train"], "training image"))
    tell(f"trial {trial.number}: {', '.join(known)}")
    if at_chance(store.ledger(), store.study):
        tell("warning: nothing in this search was better than chance: another network would do as well as this one")
    device = written_plan(store.study).device
    with FinalPool(task, asked.workers or asked.seeds, device, asked.processes, asked.checkpoint_s) as pool:
        seeds = trainings_of(store, asked, trial, architecture, device, pool, tell, teach)
        # The study's own images have been held against those that it began with.
        of_other = data.images_sha256(task) if asked.from_trained else ""
        missing = sum(why_missing(store, seed, of_other) is not None for seed in seeds)
        seconds = expected_seconds(store, asked, missing, trial, seeds[0].recipe, pool)
        about = f", about {math.ceil(seconds / 60)} min in all" if seconds and asked.budget is None else ""
        tell(f"{counted(seeds[0].recipe.epochs, 'epoch')} each{about}")
        listener(TrainingBegins(len(seeds), task.metric, images, seconds, len(seeds) - missing))
        runs = final_runs(seeds, pool, store, lambda run: listener(RunEnds(run, task.metric, images)), tell, of_other)
    trial = as_trained(store, trial, seeds[0].recipe)
    heritage = heritage_in(store)
    key = f"{trial.candidate.key}:{asked.data}" if asked.from_trained else trial.candidate.key
    before, flags = store.get("final", key, FinalTraining), flags_of_training(asked)
    if before is not None and before.runs == runs:
        moved = msgspec.structs.replace(before, data_dir=data.absolute(asked.data_dir) or before.data_dir, flags=flags)
        if moved != before:
            store.put("final", key, moved)
        return msgspec.structs.replace(moved, images=images)  # with the seconds that it took
    final = FinalTraining(
        trial=trial.number or 0,
        architecture=architecture,
        recipe=seeds[0].recipe,
        data=asked.data or store.study.data,
        data_dir=data.absolute(asked.data_dir),
        images=images,
        metric=task.metric.name,
        classes=task.classes,
        preprocessing=task.preprocessing,
        params=params,
        runs=runs,
        seconds=time.monotonic() - asked.started,
        scored=task.metric,
        all_images=asked.all_images,
        inherited_percent=0.0 if asked.from_trained or heritage is None else heritage.share_of(architecture),
        flags=flags,
    )
    store.put("final", key, final)
    return final


def began_by(method: str) -> str:
    """The command that began a study of this method, and goes on with it."""
    return "edgenas train" if method == GIVEN else "edgenas search"


def chosen(store: Store, asked: TrainingAsked) -> tuple[Trial, Architecture]:
    """The trial to train and its architecture at the width asked for."""
    choice = store.choice
    if asked.trial is None:
        found = store.get(GIVEN, GIVEN, Trial) if choice is None else choice.trial
        if found is None:
            raise StudyError(
                f"{store.folder}: its `{began_by(store.study.method)}` is not finished: run that command again, or name a --trial"
            )
        trial = found
    else:
        by_number = {t.number: t for t in store.ledger()}
        if asked.trial not in by_number:
            raise StudyError(f"{store.folder} has no trial {asked.trial}: it has 1 to {len(by_number)}")
        trial = by_number[asked.trial]
        if trial.status != "complete":
            raise StudyError(f"trial {asked.trial} is {trial.status} ({trial.error}): choose one that was trained")
    architecture = trial.candidate.architecture
    wanted = asked.final_width or written_plan(store.study).asked.final_width
    if wanted == "macro":
        if choice is None or "width" not in choice.macro or not isinstance(architecture, ChainArchitecture):
            raise StudyError("--final-width macro: only a finished gnas or trgnas search has a macro width")
        architecture = msgspec.structs.replace(architecture, width=choice.macro["width"])
    return trial, architecture


def as_trained(store: Store, trial: Trial, recipe: Recipe) -> Trial:
    """The trial; that of a given network, which no search has trained, with the recipe by which it is trained first."""
    if store.choice is not None or trial.candidate.phase != GIVEN:
        return trial
    return msgspec.structs.replace(trial, candidate=msgspec.structs.replace(trial.candidate, recipe=recipe))


def task_to_train(
    store: Store,
    name: str | None,
    data_dir: str | None,
    architecture: Architecture,
    tell: Tell,
    own: Task | None = None,
) -> Task:
    """The study's task with all its training images, or other data at the network's own input size."""
    from edgenas.tasks import load_task

    if name is None:
        return data.whole_task(store, tell, data_dir, own)
    settings = written_plan(store.study).task
    settings = msgspec.structs.replace(settings, search_images=None, data_dir=data_dir or settings.data_dir)
    other = msgspec.structs.replace(settings, data=name, image_size=None, flip=None)
    loading = data.loading_of(store.folder, tell)
    task = load_task(other, loading)
    if task.preprocessing.input_size != architecture.image_size:
        task = load_task(msgspec.structs.replace(other, image_size=architecture.image_size), loading)
    if task.preprocessing.channels != architecture.in_channels:
        raise DataError(
            f"{name} has {task.preprocessing.channels} colour channels and the trained network takes "
            f"{architecture.in_channels}: convert the images, or search on that data"
        )
    return task


def trainings_of(
    store: Store,
    asked: TrainingAsked,
    trial: Trial,
    architecture: Architecture,
    device: str,
    pool: FinalPool,
    tell: Tell,
    teach: Teach | None,
) -> list[SeedTraining]:
    """What is to be trained, one per seed; where minutes were given, with as many epochs as fit them."""
    from edgenas.networks.regularised import refuse_unfit
    from edgenas.networks.weights import check_weights
    from edgenas.training.final import SeedTraining, why_missing
    from edgenas.training.start import Start

    task, name = pool.task, asked.recipe or "final"
    recipe = recipe_for(asked, name, task, device)
    refuse_unfit(recipe, architecture)
    teacher = None if teach is None else teach(recipe, pool)
    heritage = heritage_in(store)
    recipe = taught(recipe, teacher, task, name)
    start: list[Start | None] = [None] * asked.seeds
    if asked.from_trained:
        before = store.get("final", trial.candidate.key, FinalTraining)
        if before is None:
            raise StudyError("--from-trained: there are no trained weights yet: run `edgenas train` without it first")
        files = [(store.folder / run.weights, run.weights_sha256) for run in before.runs]
        for path, sha256 in files:
            check_weights(path, sha256)  # before a process is started
        start = [Start(before.architecture, *files[i % len(files)]) for i in range(asked.seeds)]
    elif heritage is not None:
        start = [heritage.at(store.folder)] * asked.seeds

    def training(index: int, recipe: Recipe) -> SeedTraining:
        seed = int(digest(store.study.seed, architecture.fingerprint, recipe, "final", asked.data, index)[:12], 16)
        on = (architecture, recipe, asked.data, *(("all images",) if asked.all_images else ()))
        path = store.folder / "weights" / f"{digest(*on)}-{index}.safetensors"
        return SeedTraining(architecture, recipe, seed, path, start[index], teacher, validated=not asked.all_images)

    if asked.budget is not None:
        epochs = epochs_for_budget(store, asked, training(0, recipe), pool, tell)
        if asked.recipe is None and epochs < BRIEF_EPOCHS and task.name == "classification":
            tell("so few epochs: the recipe is brief, not final")
            name = "brief"
            recipe = taught(recipe_for(asked, name, task, device), teacher, task, name)
        recipe = msgspec.structs.replace(recipe, epochs=epochs)

    def trainings(recipe: Recipe) -> list[SeedTraining]:
        return [training(index, recipe) for index in range(asked.seeds)]

    seeds = trainings(begun_recipe(store, asked, name, recipe, trainings, pool, tell))
    if heritage is not None and not asked.from_trained and any(why_missing(store, one) is not None for one in seeds):
        restore_heritage(store, heritage, task, tell)
    return seeds


def taught(recipe: Recipe, teacher: TeacherAt | None, task: Task, name: str) -> Recipe:
    """The recipe with the teacher's share of the loss and temperature, as its file, of this name, has them."""
    if teacher is None:
        return recipe
    from edgenas.training.recipes import teaching_of

    weight, temperature = teaching_of(name, task)
    return msgspec.structs.replace(recipe, teacher=teacher.sha256, teacher_weight=weight, temperature=temperature)


def recipe_for(asked: TrainingAsked, name: str, task: Task, device: str, *, gentle: bool = False) -> Recipe:
    """The named recipe, gentler from trained weights."""
    from edgenas.training.recipes import recipe_from_name, with_free_cores

    at_once = asked.seeds if asked.processes == 1 else 1
    recipe = with_free_cores(recipe_from_name(name, task, device, asked.epochs), device, at_once)
    return msgspec.structs.replace(recipe, lr=START_LR * recipe.lr) if asked.from_trained or gentle else recipe


def begun_recipe(
    store: Store,
    asked: TrainingAsked,
    name: str,
    recipe: Recipe,
    trainings: Seeds,
    pool: FinalPool,
    tell: Tell,
    finals: str = "final",
) -> Recipe:
    """The recipe, read from the file `name`, with the threads of those of its `trainings` that are finished or begun."""
    from edgenas.training.recipes import recipe_from_name

    if pool.places[0] != "cpu":
        return recipe
    least = recipe_from_name(name, pool.task, "cpu").threads
    found = with_threads_begun(store, recipe, least, trainings, tell, finals)
    if found.threads != recipe.threads and asked.workers is None:
        pool.at_most(len(pool.places) // found.threads)
    return found


def expected_seconds(
    store: Store, asked: TrainingAsked, missing: int, trial: Trial, recipe: Recipe, pool: FinalPool
) -> float | None:
    """About what the runs that are missing take: what is left of the budget, in which all of them have room, or what the search's
    own training of this network says; None where it had none, or where the search asked no teacher."""
    from edgenas.training.work import local_devices

    if asked.budget is not None:
        waves, all_waves = -(-missing // pool.size), -(-asked.seeds // pool.size)
        return (60 * asked.budget - (time.monotonic() - asked.started)) * waves / all_waves
    if not trial.seconds or asked.teacher is not None:
        return None
    plan, images = written_plan(store.study), len(pool.task.train)
    searched = min(plan.task.search_images or images, images)
    epoch = trial.seconds / trial.candidate.recipe.epochs * images / searched
    return epoch * recipe.epochs * missing / min(pool.size, len(local_devices(plan.device)), max(1, missing))


def epochs_for_budget(
    store: Store, asked: TrainingAsked, seed: SeedTraining, pool: FinalPool, tell: Tell, *, started: bool = False
) -> int:
    """Epochs that fit the minutes, from a short throughput trial; remembered, so that an interrupted run goes on with them."""
    from edgenas.training.budget import least_epochs
    from edgenas.training.final import epochs_within, seconds_of
    from edgenas.training.recipes import steps_an_epoch

    assert asked.budget is not None
    plain = msgspec.structs.replace(seed.recipe, threads=1)  # on a machine of other cores, too
    on = () if seed.validated else ("all images",)
    key, older = (
        digest(asked.budget, asked.seeds, seed.architecture, one, asked.data, *on) for one in (plain, seed.recipe)
    )
    known = store.get("final-epochs", key, int) or store.get("final-epochs", older, int)
    if known is not None:
        return known
    per_image = pool.seconds_per_image(seed)
    left = 60 * asked.budget - (time.monotonic() - asked.started)
    waves = -(-asked.seeds // pool.size)
    epochs = min(MOST_EPOCHS, epochs_within(0.95 * left, pool.task, per_image, waves, validated=seed.validated))
    steps = steps_an_epoch(seed.recipe, len(pool.task.train))
    least = (
        1 if asked.from_trained or started else least_epochs(steps)
    )  # trained weights need not learn everything anew
    if epochs < least:
        needed = seconds_of(least, pool.task, per_image, waves, validated=seed.validated)
        more = math.ceil((needed / 0.95 - left) / 6) / 10
        raise EdgenasError(
            f"--budget has {max(0.0, left) / 60:.1f} minutes left, and {counted(asked.seeds, 'seed')} of {least} epochs "
            f"({least * steps} steps), the least that tells anything, need {more:.1f} more on this machine: allow them, "
            "or fewer --seeds"
        )
    speed, in_processes = pool.size / per_image, counted(pool.size, "process", "processes")
    tell(f"{speed:.0f} images/s in {in_processes}: {counted(epochs, 'epoch')} fit {asked.budget:g} minutes")
    store.put("final-epochs", key, epochs)
    return epochs
