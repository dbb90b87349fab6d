"""What is learned: data sets, splits, losses, metrics.

A `Task` is all that the rest knows: arrays of pixels, a head for the network, a loss, scores, and the kind of bundle that it
becomes. Tasks of other packages are found by the entry-point group `edgenas.tasks` (docs/tutorials/new-task.md).
"""

from __future__ import annotations

import dataclasses
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.binomial import Validation
from edgenas.errors import DataError
from edgenas.plugins import Registry
from edgenas.records import Head, Metric, Preprocessing, Recipe, Record, TaskKind

if TYPE_CHECKING:
    from torch import Tensor, nn

# name -> factory(TaskSettings) -> Task, with all training images
TASKS = Registry(
    "task",
    "edgenas.tasks",
    {
        "classification": "edgenas.tasks.classification:load_classification",
        "faces": "edgenas.tasks.faces:load_faces",
    },
)


@dataclass(frozen=True)
class Split:
    """Images at the network's input size and their labels: numbers of classes, or one value or more to be estimated."""

    images: NDArray[np.uint8]  # (N, H, W, C)
    labels: NDArray[Any]  # (N,) int64, or (N,) or (N, k) float32

    def __len__(self) -> int:
        return len(self.labels)


class Task(Protocol):
    """What is learned, as search, training, export and reports see it. Immutable once loaded.

    A frozen dataclass whose fields are the three splits is one; it goes to worker processes by pickling.
    """

    @property
    def name(self) -> str:
        """One word: classification, faces, or that of another package's."""

    @property
    def kind(self) -> TaskKind:
        """What a bundle of this task can do: "classification" (labels, /classify), "faces" (embeddings, gallery), or "generic":
        the network's outputs as they are, by the Open Inference Protocol."""

    @property
    def metric(self) -> Metric:
        """The score that guides; `scores` give it under its name, and trials hold it as val_<name>."""

    @property
    def chance(self) -> float | None:
        """What `metric` is on the validation split without any learning; None where that has no meaning."""

    @property
    def head(self) -> Head:
        """What the network ends in."""

    @property
    def flip(self) -> bool:
        """May training images be mirrored?"""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the training labels; () where these are no classes."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How the splits' pixels were made, and how they become the network's input."""

    @property
    def train(self) -> Split: ...

    @property
    def val(self) -> Split: ...

    @property
    def test(self) -> Split: ...

    @property
    def default_loss(self) -> str:
        """The `Recipe.loss` that is meant where a recipe names none."""

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        """For a network of `width` outputs (None: as `head` says), a module (outputs (N, D), labels (N,) or (N, k)) -> (mean
        loss, number of correct training predictions, or None where nothing is right or wrong), both scalars on the device,
        without waiting for it. Its own parameters, such as a margin head's, are trained along and thrown away."""

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Scores of a whole split from the network's outputs (N, D), with `metric` among them, in its own unit and direction.
        Where its 95 % interval is known it is there as <metric>_low and <metric>_high."""

    def report(self, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        """The whole evaluation of the test split, as `edgenas train` keeps it: JSON values only."""


class TaskSettings(Record, frozen=True):
    """What decides a task's arrays, so that every worker process loads the same ones."""

    data: str  # a known name or a folder
    task: str = "classification"  # a name in TASKS
    data_dir: str | None = None
    image_size: int | None = None
    flip: bool | None = None
    seed: int = 0  # of the validation split
    search_images: int | None = None  # stratified subsample of the training split
    settings: dict[str, float] = {}


def fingerprint(*splits: Split) -> str:
    """SHA-256 of images and labels. Of training and validation: what a search learns from."""
    found = hashlib.sha256()
    for split in splits:
        found.update(np.ascontiguousarray(split.images).data)
        found.update(np.ascontiguousarray(split.labels).data)
    return found.hexdigest()


def searched(train: Split, settings: TaskSettings) -> Split:
    """Of all training images those that `settings` give a search: of every class its share, or any where there are none."""
    if settings.search_images is None:
        return train
    from edgenas.tasks.splits import search_stream, subsample

    return subsample(train, settings.search_images, [settings.seed, search_stream(settings.task)])


def as_searched(whole: Task, settings: TaskSettings) -> Task:
    """Of a task with all its training images, what a search with these settings learns from: the arrays that
    `load_task(settings)` reads, without reading them again."""
    train = searched(whole.train, settings)
    if train is whole.train:
        return whole
    parts: Any = whole  # a dataclass, which no protocol can say
    if "train" not in getattr(type(whole), "__dataclass_fields__", ()):
        raise DataError(
            f"task {whole.name!r} cannot be cut to {len(train)} search images: make it a dataclass with a field `train`, or "
            "leave out --search-images"
        )
    task: Task = dataclasses.replace(parts, train=train)
    return task


def load_task(settings: TaskSettings) -> Task:
    """Read the data and split it; equal settings give equal arrays. EdgenasError for a task that is unknown or is none."""
    from edgenas.tasks.checks import checked_task

    factory = TASKS.load(settings.task)
    whole = checked_task(factory(msgspec.structs.replace(settings, search_images=None)), settings.task)
    return as_searched(whole, settings)


def validation_of(task: Task) -> Validation | None:
    """What the task's validation split can tell; None where its metric knows no chance."""
    return None if task.chance is None else Validation(len(task.val), task.chance, task.metric)
