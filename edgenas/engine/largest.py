"""`--teacher largest`: a large network of the space that a study searched, trained first, by its student's recipe."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from edgenas.architectures.workload import workload_from_architecture
from edgenas.engine.data import images_sha256
from edgenas.engine.events import Listener, RunEnds, noting
from edgenas.engine.final import GIVEN, begun_recipe
from edgenas.engine.plan import refuse_missing_object, space_in
from edgenas.engine.taught import Teacher, width_of
from edgenas.engine.training_asked import TrainingAsked
from edgenas.errors import StudyError
from edgenas.identity import digest
from edgenas.records import Recipe
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.architectures.named_spaces import SpaceForData
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool, SeedTraining

LARGEST = "largest"


def largest_teacher(
    store: Store, asked: TrainingAsked, pool: FinalPool, recipe: Recipe, listener: Listener, space: SpaceForData | None
) -> Teacher:
    """It is trained from scratch, one seed, on the images of `pool`; what is trained already is not trained again. `space`: see
    `largest_seed`."""
    from edgenas.training.final import final_runs

    tell, file, task = noting(listener), asked.recipe or "final", pool.task

    def trainings(recipe: Recipe) -> list[SeedTraining]:
        return [largest_seed(store, asked, recipe, task, space)]

    recipe = begun_recipe(store, asked, file, recipe, trainings, pool, tell)
    (item,) = trainings(recipe)
    params = workload_from_architecture(item.architecture).params
    tell(f"teacher: the space's largest network, {params:,} parameters, {recipe.epochs} epochs")
    images = {"train": len(task.train), "val": 0 if asked.all_images else len(task.val), "test": len(task.test)}
    of_other = "" if asked.data is None else images_sha256(task)
    (run,) = final_runs([item], pool, store, lambda run: listener(RunEnds(run, task.metric, images)), tell, of_other)
    network = item.architecture
    return Teacher(LARGEST, run.weights, run.weights_sha256, width_of(network), network, task.preprocessing)


def largest_seed(
    store: Store, asked: TrainingAsked, recipe: Recipe, task: Task, space: SpaceForData | None = None
) -> SeedTraining:
    """The training of the large network of the study's space on `task`, which its student is trained on: with another head where
    that is other data. `space`: of a study that was begun with an object for it, that object. StudyError where that is missing,
    and where nothing was searched."""
    from edgenas.training.final import SeedTraining

    study = store.study
    if study.method == GIVEN:
        raise StudyError(f"--teacher largest is of a searched space, and {store.folder} was not searched: leave it out")
    if space is None:
        refuse_missing_object(study, "space")
    architecture = space_in(study, space).reference()
    seed = int(digest(study.seed, architecture.fingerprint, recipe, "teacher")[:12], 16)
    on = ("all images",) if asked.all_images else ()
    if asked.data is not None:
        architecture, on = msgspec.structs.replace(architecture, head=task.head), (asked.data,)
    path = store.folder / "weights" / f"{digest(architecture, recipe, 'teacher', *on)}.safetensors"
    return SeedTraining(architecture, recipe, seed, path, validated=not asked.all_images)
