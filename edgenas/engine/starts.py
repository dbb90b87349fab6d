"""`--start`: a network that was trained elsewhere, fine-tuned under a study's task, for as long as its user says."""

from __future__ import annotations

import functools
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.costing import Costing
from edgenas.engine.data import lines_of, whole_task
from edgenas.engine.events import Listener, noting
from edgenas.engine.final import begun_recipe, epochs_for_budget, recipe_for
from edgenas.engine.plan import written_plan
from edgenas.engine.references import (
    START_FINAL,
    Reference,
    add_references,
    final_runs_of,
    seed_of,
    seeds_of,
    with_its_weights,
    with_preprocessing,
)
from edgenas.engine.training_asked import TrainingAsked
from edgenas.errors import EdgenasError, StudyError
from edgenas.records import FinalTraining
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.tasks import Task

FINAL = START_FINAL  # of the store's rows, key = what the network was asked for by


def train_start(store: Store, asked: TrainingAsked, listener: Listener, own: Task | None = None) -> FinalTraining:
    """Fine-tune the network of `asked.start` on the study's images, over seeds; the test set is read once. What is trained
    already is not trained again. StudyError, EdgenasError where it cannot be read or fitted."""
    from edgenas.networks.public import DOWNLOAD, LIBRARIES
    from edgenas.networks.regularised import refuse_unfit
    from edgenas.training.final import FinalPool

    name = asked.start
    assert name is not None
    refuse_beside(name, {"--trial": asked.trial, "--final-width": asked.final_width, "--data": asked.data})
    if asked.teacher is not None:
        raise EdgenasError(
            f"--teacher {asked.teacher} teaches a network that was searched: leave it out, or leave out --start {name}"
        )
    if name.startswith(LIBRARIES) and "=" not in name and name not in store.all(FINAL, FinalTraining):
        raise EdgenasError(f"--start needs trained weights: {name}=FILE.pth, or {name}={DOWNLOAD}")
    if asked.start_pixels is not None and not name.lower().endswith(".onnx"):
        raise EdgenasError(f"--start-mean and --start-std are for FILE.onnx, not for {name}: leave them out")
    tell = noting(listener)
    task = whole_task(store, tell, asked.data_dir, own)
    for line in lines_of(store.study.data, task):
        tell(line)
    with Costing(store, tell) as cost:
        add_references(store, (name,), task, cost, asked.start_pixels)
    reference = store.get("reference", name, Reference)
    assert reference is not None
    fitted, device = with_preprocessing(task, reference.preprocessing), written_plan(store.study).device
    with FinalPool(fitted, asked.workers or asked.seeds, device, asked.processes, asked.checkpoint_s) as pool:
        file = asked.recipe or "final"
        recipe = recipe_for(asked, file, fitted, device, gentle=reference.keeps_head)
        refuse_unfit(recipe, reference.architecture)
        if asked.budget is not None:
            epochs = epochs_for_budget(store, asked, seed_of(store, reference, recipe, 0), pool, tell, started=True)
            recipe = msgspec.structs.replace(recipe, epochs=epochs)
        trainings = functools.partial(seeds_of, store, reference, asked.seeds)
        recipe = begun_recipe(store, asked, file, recipe, trainings, pool, tell, FINAL)
        reference = with_its_weights(store, reference, recipe, asked.seeds, task, tell)
        tell(f"{name}: {recipe.epochs} epochs each")
        return final_runs_of(store, reference, recipe, asked.seeds, pool, listener, (FINAL, asked.started))


def refuse_beside(name: str, flags: Mapping[str, object]) -> None:
    """Raise EdgenasError for a flag that was given (is not None) beside a start, and is about another network."""
    for flag, value in flags.items():
        if value is not None:
            raise EdgenasError(
                f"{flag} is about a network that was searched, --start {name} is another: give one of them"
            )


def start_of(store: Store, name: str) -> FinalTraining:
    """The final training of a start. StudyError, with those that there are, where it has none."""
    known = store.all(FINAL, FinalTraining)
    if name not in known:
        hint = f" (trained: {', '.join(known)})" if known else ""
        raise StudyError(
            f"{store.folder} has no trained {name}{hint}: run `edgenas train {shlex.quote(str(store.folder))} --start "
            f"{shlex.quote(name)}` first"
        )
    return known[name]
