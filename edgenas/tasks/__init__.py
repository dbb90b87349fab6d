"""What is learned: data sets, splits, losses, metrics.

A `Task` is all that the rest knows: arrays of pixels, a head for the network, a loss, scores, and the kind of bundle that it
becomes. Tasks of other packages are found by the entry-point group `edgenas.tasks` (docs/tutorials/new-task.md).
"""

from __future__ import annotations

import hashlib
import inspect

import msgspec
import numpy as np

from edgenas.binomial import Validation
from edgenas.errors import DataError
from edgenas.image_sizes import ImageSize
from edgenas.plugins import Registry
from edgenas.records import Balance, Fit, Record
from edgenas.tasks.cache import Loading
from edgenas.tasks.checks import checked_task
from edgenas.tasks.mapped import MappedImages
from edgenas.tasks.splits import search_stream, subsample
from edgenas.tasks.task import Split, Task, has_parts, with_parts

__all__ = [
    "TASKS",
    "Loading",
    "Split",
    "Task",
    "TaskSettings",
    "as_searched",
    "fingerprint",
    "fingerprint_of_digests",
    "load_task",
    "searched",
    "validation_of",
]

HASHED = 1024  # images at a time

# name -> factory(TaskSettings) -> Task, with all training images; or factory(TaskSettings, loading: Loading), for tasks that
# keep decoded images in the cache
TASKS = Registry(
    "task",
    "edgenas.tasks",
    {
        "classification": "edgenas.tasks.classification:load_classification",
        "faces": "edgenas.tasks.faces:load_faces",
    },
)


class TaskSettings(Record, frozen=True):
    """What decides a task's arrays, so that every worker process loads the same ones."""

    data: str  # a known name or a folder
    task: str = "classification"  # a name in TASKS
    data_dir: str | None = None
    image_size: ImageSize | None = None
    flip: bool | None = None
    seed: int = 0  # of the validation split
    search_images: int | None = None  # stratified subsample of the training split
    settings: dict[str, float] = {}
    fit: Fit = "crop"  # how images of another shape become it
    skip_damaged: bool = False  # leave out files that cannot be read, rather than refuse them
    balance: Balance = "none"  # of classes, in training
    metric: str = "accuracy"  # that guides, where the task has several
    exact: bool = False  # so many search_images as were asked for; before, every class was rounded alone


def fingerprint(*splits: Split) -> str:
    """SHA-256 of images and labels. Of training and validation: what a search learns from."""
    found = hashlib.sha256()
    for split in splits:
        for start in range(0, len(split), HASHED):
            found.update(np.ascontiguousarray(split.images[start : start + HASHED]).data)
        found.update(np.ascontiguousarray(split.labels).data)
    return found.hexdigest()


def fingerprint_of_digests(*splits: Split) -> str | None:
    """SHA-256 of the images' own hashes and the labels, where all images are mapped, so that these are known; else None."""
    found = hashlib.sha256()
    for split in splits:
        if not isinstance(split.images, MappedImages):
            return None
        found.update(b"".join(split.images.digests))
        found.update(np.ascontiguousarray(split.labels).data)
    return found.hexdigest()


def searched(train: Split, settings: TaskSettings) -> Split:
    """Of all training images those that `settings` give a search: of every class its share, or any where there are none."""
    if settings.search_images is None:
        return train
    seed = [settings.seed, search_stream(settings.task)]
    return subsample(train, settings.search_images, seed, exact=settings.exact)


def as_searched(whole: Task, settings: TaskSettings) -> Task:
    """Of a task with all its training images, what a search with these settings learns from: the arrays that
    `load_task(settings)` reads, without reading them again."""
    train = searched(whole.train, settings)
    if train is whole.train:
        return whole
    if not has_parts(whole, "train"):
        raise DataError(
            f"task {whole.name!r} cannot be cut to {len(train)} search images: make it a dataclass with a field `train`, or "
            "leave out --search-images"
        )
    return with_parts(whole, train=train)


def load_task(settings: TaskSettings, loading: Loading | None = None) -> Task:
    """Read the data and split it; equal settings give equal arrays. EdgenasError for a task that is unknown or is none.

    `loading`: where decoded images are kept, and who is told how far that is; without it studies/.images or EDGENAS_CACHE.
    """
    factory = TASKS.load(settings.task)
    wanted = msgspec.structs.replace(settings, search_images=None)
    told = {"loading": loading or Loading()} if "loading" in inspect.signature(factory).parameters else {}
    return as_searched(checked_task(factory(wanted, **told), settings.task), settings)


def validation_of(task: Task) -> Validation | None:
    """What the task's validation split can tell; None where its metric knows no chance."""
    return None if task.chance is None else Validation(len(task.val), task.chance, task.metric)
