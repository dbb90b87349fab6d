"""`edgenas train`: the chosen network from scratch, long, over several seeds; the test set once."""

from __future__ import annotations

import math
import statistics
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import typer

from edgenas.binomial import wilson
from edgenas.cli.data import say_data
from edgenas.cli.output import emit, say
from edgenas.cli.studies import study_folder
from edgenas.errors import DataError, EdgenasError, StudyError
from edgenas.identity import digest
from edgenas.records import (
    Architecture,
    ChainArchitecture,
    Classes,
    FinalRun,
    FinalTraining,
    Recipe,
    Trial,
)
from edgenas.report.scores import at_chance, interval_of, interval_words, with_intervals

if TYPE_CHECKING:
    from edgenas.store import Store
    from edgenas.tasks import Task
    from edgenas.training.final import FinalPool, Job

BRIEF_EPOCHS = 15  # fewer that --budget leaves are trained by the recipe brief, where none was asked for
START_LR = 0.2  # going on from trained weights: a part of the recipe's learning rate, so that they are not washed out


@dataclass(frozen=True)
class Asked:
    """The command's options."""

    trial: int | None
    seeds: int
    epochs: int | None
    recipe: str | None
    budget: float | None
    final_width: Literal["matched", "macro"] | None
    data: str | None
    data_dir: str | None
    from_trained: bool
    workers: int | None
    started: float


def train(
    study: str | None = typer.Argument(None, help="A study's folder or name. Default: the newest."),
    trial: int | None = typer.Option(None, help="Train this trial. Default: the search's choice."),
    seeds: int = typer.Option(3, min=1, help="Trainings with different seeds."),
    epochs: int | None = typer.Option(None, min=1, help="Default: the recipe's."),
    recipe: str | None = typer.Option(
        None,
        help="final, brief, fast, paper or a recipe's TOML file. Default: final; brief where --budget leaves few epochs.",
    ),
    budget: float | None = typer.Option(None, help="Minutes: chooses the epochs that fit, on this machine."),
    final_width: str | None = typer.Option(
        None, help="matched or macro. Default: what the search was told, or matched."
    ),
    data: str | None = typer.Option(None, help="Other data, with --from-trained."),
    data_dir: str | None = typer.Option(None, help="Where named data sets lie (also: EDGENAS_DATA)."),
    from_trained: bool = typer.Option(False, "--from-trained", help="Go on from the trained weights, on --data."),
    workers: int | None = typer.Option(None, min=1, help="Processes. Default: one per seed, two a core at most."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON document."),
) -> None:
    """Train the chosen network from scratch over several seeds and read the test set once.

    Runs that are finished are kept: the same command goes on after an interruption.

    Example: edgenas train --seeds 3 --budget 5
    """
    if final_width not in (None, "matched", "macro"):
        raise EdgenasError(f"--final-width {final_width}: matched or macro")
    if epochs is not None and budget is not None:
        raise EdgenasError("--epochs and --budget both say how long: give one of them")
    if (data is not None) != from_trained:
        raise EdgenasError("--data and --from-trained belong together: other data, starting from the trained weights")
    width: Any = final_width
    asked = Asked(trial, seeds, epochs, recipe, budget, width, data, data_dir, from_trained, workers, time.monotonic())
    from edgenas.cli.progress import interruptible
    from edgenas.cli.sessions import begin_session
    from edgenas.store import Store

    folder = study_folder(study)
    with interruptible(), Store.write(folder) as store:
        begin_session(store, "train")
        final = final_training(store, asked)
    emit(document(folder, final), as_json=as_json, text=text(folder, final))


def final_training(store: Store, asked: Asked) -> FinalTraining:
    """Train (or look up) every seed, and put the whole on record."""
    from edgenas.architectures.workload import workload_from_architecture
    from edgenas.cli.progress import RunsView
    from edgenas.training.final import FinalPool, final_runs

    trial, architecture = chosen(store, asked)
    task = whole_task(store, asked.data, asked.data_dir, architecture)
    say_data(asked.data or store.study.data, task)
    if asked.from_trained:
        architecture = msgspec.structs.replace(architecture, head=task.head)
    elif isinstance(task.head, Classes) and task.head != architecture.head:
        raise StudyError(f"{store.study.data} has {task.head.count} classes now, other than in the search: restore it")
    params = workload_from_architecture(architecture).params
    images = {"train": len(task.train), "val": len(task.val), "test": len(task.test)}
    say(f"trial {trial.number}: {params} parameters, {asked.seeds} seeds, {images['train']} training images")
    if at_chance(store.ledger(), store.study):
        say("warning: nothing in this search was better than chance: another network would do as well as this one")
    device = store.study.settings.get("device", "cpu")
    with FinalPool(asked.workers or asked.seeds, device) as pool:
        jobs = jobs_for(store, asked, trial, architecture, task, device, pool)
        say(f"{jobs[0].recipe.epochs} epochs each")
        with RunsView(len(jobs)) as view:
            runs = final_runs(jobs, pool, store, lambda run: view.show(run_line(run, task.metric.name, images)))
    key = f"{trial.candidate.key}:{asked.data}" if asked.from_trained else trial.candidate.key
    before = store.get("final", key, FinalTraining)
    if before is not None and before.runs == runs:
        return msgspec.structs.replace(before, images=images)  # with the seconds that it took
    final = FinalTraining(
        trial=trial.number or 0,
        architecture=architecture,
        recipe=jobs[0].recipe,
        data=asked.data or store.study.data,
        data_dir=asked.data_dir,
        images=images,
        metric=task.metric.name,
        classes=task.classes,
        preprocessing=task.preprocessing,
        params=params,
        runs=runs,
        seconds=time.monotonic() - asked.started,
    )
    store.put("final", key, final)
    return final


def chosen(store: Store, asked: Asked) -> tuple[Trial, Architecture]:
    """The trial to train and its architecture at the width asked for."""
    choice = store.choice
    if asked.trial is None:
        if choice is None:
            raise StudyError(f"{store.folder}: the search is not finished: run its command again, or name a --trial")
        trial = choice.trial
    else:
        by_number = {t.number: t for t in store.ledger()}
        if asked.trial not in by_number:
            raise StudyError(f"{store.folder} has no trial {asked.trial}: it has 1 to {len(by_number)}")
        trial = by_number[asked.trial]
        if trial.status != "complete":
            raise StudyError(f"trial {asked.trial} is {trial.status} ({trial.error}): choose one that was trained")
    architecture = trial.candidate.architecture
    wanted = asked.final_width or store.study.settings.get("asked", {}).get("final_width", "matched")
    if wanted == "macro":
        if choice is None or "width" not in choice.macro or not isinstance(architecture, ChainArchitecture):
            raise StudyError("--final-width macro: only a finished gnas or trgnas search has a macro width")
        architecture = msgspec.structs.replace(architecture, width=choice.macro["width"])
    return trial, architecture


def whole_task(store: Store, data: str | None, data_dir: str | None, architecture: Architecture) -> Task:
    """The study's task with all its training images, or other data at the network's own input size."""
    from edgenas.cli import study_data
    from edgenas.tasks import TaskSettings, load_task

    if data is None:
        return study_data.whole_task(store, data_dir)
    settings = msgspec.convert(store.study.settings["task"], type=TaskSettings)
    settings = msgspec.structs.replace(settings, search_images=None, data_dir=data_dir or settings.data_dir)
    other = msgspec.structs.replace(settings, data=data, image_size=None, flip=None)
    task = load_task(other)
    if task.preprocessing.input_size != architecture.image_size:
        task = load_task(msgspec.structs.replace(other, image_size=architecture.image_size))
    if task.preprocessing.channels != architecture.in_channels:
        raise DataError(
            f"{data} has {task.preprocessing.channels} colour channels and the trained network takes "
            f"{architecture.in_channels}: convert the images, or search on that data"
        )
    return task


def jobs_for(
    store: Store, asked: Asked, trial: Trial, architecture: Architecture, task: Task, device: str, pool: FinalPool
) -> list[Job]:
    """One job per seed; where minutes were given, with as many epochs as fit them."""
    from edgenas.networks.weights import check_weights
    from edgenas.training.final import Job

    recipe = recipe_for(asked, asked.recipe or "final", task, device)
    start: list[tuple[Architecture, Path, str] | None] = [None] * asked.seeds
    if asked.from_trained:
        before = store.get("final", trial.candidate.key, FinalTraining)
        if before is None:
            raise StudyError("--from-trained: there are no trained weights yet: run `edgenas train` without it first")
        files = [(store.folder / run.weights, run.weights_sha256) for run in before.runs]
        for path, sha256 in files:
            check_weights(path, sha256)  # before a process is started
        start = [(before.architecture, *files[i % len(files)]) for i in range(asked.seeds)]

    def job(index: int) -> Job:
        seed = int(digest(store.study.seed, architecture.fingerprint, recipe, "final", asked.data, index)[:12], 16)
        name = f"{digest(architecture, recipe, asked.data)}-{index}.safetensors"
        return Job(task, architecture, recipe, seed, store.folder / "weights" / name, start[index])

    if asked.budget is not None:
        epochs = epochs_for_budget(store, asked, job(0), pool)
        if asked.recipe is None and epochs < BRIEF_EPOCHS and task.name == "classification":
            say("so few epochs: the recipe is brief, not final")
            recipe = recipe_for(asked, "brief", task, device)
        recipe = msgspec.structs.replace(recipe, epochs=epochs)
    return [job(index) for index in range(asked.seeds)]


def recipe_for(asked: Asked, name: str, task: Task, device: str) -> Recipe:
    """The named recipe, gentler from trained weights."""
    from edgenas.training.recipes import recipe_from_name, with_free_cores

    recipe = with_free_cores(recipe_from_name(name, task, device, asked.epochs), device, asked.seeds)
    return msgspec.structs.replace(recipe, lr=START_LR * recipe.lr) if asked.from_trained else recipe


def epochs_for_budget(store: Store, asked: Asked, job: Job, pool: FinalPool) -> int:
    """Epochs that fit the minutes, from a short throughput trial; remembered, so that an interrupted run goes on with them."""
    from edgenas.training.budget import least_epochs
    from edgenas.training.final import epochs_within, seconds_of
    from edgenas.training.recipes import steps_an_epoch

    assert asked.budget is not None
    key = digest(asked.budget, asked.seeds, job.architecture, job.recipe, asked.data)
    known = store.get("final-epochs", key, int)
    if known is not None:
        return known
    per_image = pool.seconds_per_image(job)
    left = 60 * asked.budget - (time.monotonic() - asked.started)
    waves = -(-asked.seeds // pool.size)
    epochs = epochs_within(0.95 * left, job, per_image, waves)
    steps = steps_an_epoch(job.recipe, len(job.task.train))
    least = 1 if asked.from_trained else least_epochs(steps)  # trained weights need not learn everything anew
    if epochs < least:
        more = math.ceil((seconds_of(least, job, per_image, waves) / 0.95 - left) / 6) / 10
        raise EdgenasError(
            f"--budget has {max(0.0, left) / 60:.1f} minutes left, and {asked.seeds} seeds of {least} epochs ({least * steps} "
            f"steps), the least that tells anything, need {more:.1f} more on this machine: allow them, or fewer --seeds"
        )
    speed = pool.size / per_image
    say(f"{speed:.0f} images/s in {pool.size} processes: {epochs} epochs fit {asked.budget:g} minutes")
    store.put("final-epochs", key, epochs)
    return epochs


def run_line(run: FinalRun, metric: str, images: dict[str, int]) -> str:
    """The scores of one seed with their 95 % intervals, over so many images of each split."""

    def words(scores: dict[str, float], split: str) -> str:
        interval = wilson(scores[metric], images[split]) if metric == "accuracy" else interval_of(scores, metric, None)
        return f"{scores[metric]:.2f} %{interval_words(interval)}"

    return (
        f"seed {run.seed}: test {metric} {words(run.test, 'test')}, validation {words(run.val, 'val')}; "
        f"best epoch on validation: {run.best_epoch}, test {words(run.best_test, 'test')}; {run.seconds:.0f} s"
    )


def document(folder: Path, final: FinalTraining) -> dict[str, Any]:
    """As cli.md has it."""
    metric = final.metric
    each = [run.test[metric] for run in final.runs]
    shared: dict[str, Any] = {
        "study": str(folder),
        "trial": final.trial,
        "params": final.params,
        "epochs": final.recipe.epochs,
        "seeds": len(final.runs),
        f"val_{metric}": statistics.fmean(run.val[metric] for run in final.runs),
        "best_epoch": {
            "epochs": [run.best_epoch for run in final.runs],
            f"val_{metric}": statistics.fmean(run.best_val[metric] for run in final.runs),
            f"test_{metric}": statistics.fmean(run.best_test[metric] for run in final.runs),
        },
        "data": final.data,
        "seconds": final.seconds,
        f"test_{metric}": spread(each),
    }
    mirrored = [run.mirrored[metric] for run in final.runs if run.mirrored]
    if mirrored:
        shared[f"test_{metric}_mirrored"] = spread(mirrored)
    if metric != "accuracy":
        shared["test"] = final.runs[0].report
    shared["best_epoch"] = with_intervals(shared["best_epoch"], final.images)
    return with_intervals(shared, final.images)


def spread(values: list[float]) -> dict[str, Any]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.fmean(values), "std": deviation, "each": values}


def text(folder: Path, final: FinalTraining) -> str:
    """For people."""
    result = document(folder, final)
    test = result[f"test_{final.metric}"]
    interval = result.get(f"test_{final.metric}_interval")
    known = (
        "" if interval is None else f"; 95 % interval over {final.images['test']} test images{interval_words(interval)}"
    )
    return (
        f"{folder}: trial {final.trial}, {final.params} parameters, {final.recipe.epochs} epochs\n"
        f"test {final.metric} {test['mean']:.2f} +- {test['std']:.2f} % over {len(final.runs)} seeds (last epoch){known}"
    )
