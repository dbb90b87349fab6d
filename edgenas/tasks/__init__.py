"""What is learned: data sets, splits, losses, metrics.

A `Task` is all that the evaluator and the final training know: arrays of pixels, a head for the network, a loss and scores.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import EdgenasError
from edgenas.records import Head, Preprocessing, Recipe, Record

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Split:
    """Images at the network's input size and their labels."""

    images: NDArray[np.uint8]  # (N, H, W, C)
    labels: NDArray[np.int64]  # (N,)

    def __len__(self) -> int:
        return len(self.labels)


class Task(Protocol):
    """Classification and faces alike, as the training sees them. Immutable once loaded."""

    @property
    def name(self) -> str:
        """classification | faces."""

    @property
    def metric(self) -> str:
        """The score that guides: "accuracy" or "tar" (percent); trials hold it as val_accuracy, val_tar."""

    @property
    def chance(self) -> float:
        """What `metric` is on the validation split without any learning, percent."""

    @property
    def head(self) -> Head:
        """What the network ends in."""

    @property
    def flip(self) -> bool:
        """May training images be mirrored?"""

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the training labels."""

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
        """For a network of `width` outputs (None: as `head` says), a module (outputs (N, D), labels (N,)) -> (mean loss,
        number of correct training predictions), both scalars on the device, no synchronisation. Its own parameters, such as
        a margin head's, are trained along and thrown away."""

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """Scores of a whole split from the network's outputs (N, D), with `metric` among them; higher `metric` is better."""

    def report(self, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        """The whole evaluation of the test split, as `edgenas train` keeps it: JSON values only."""


class TaskSettings(Record, frozen=True):
    """What decides a task's arrays, so that every worker process loads the same ones."""

    data: str  # a known name or a folder
    task: Literal["classification", "faces"] = "classification"
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
    """Of all training images those that `settings` give a search."""
    if settings.search_images is None:
        return train
    if settings.task == "faces":
        from edgenas.tasks.faces import SUBSAMPLE
    else:
        from edgenas.tasks.classification import SUBSAMPLE
    from edgenas.tasks.splits import subsample

    return subsample(train, settings.search_images, [settings.seed, SUBSAMPLE])


def as_searched(whole: Task, settings: TaskSettings) -> Task:
    """Of a task with all its training images, what a search with these settings learns from: the arrays that
    `load_task(settings)` reads, without reading them again."""
    parts: Any = whole  # a dataclass, which no protocol can say
    task: Task = replace(parts, train=searched(whole.train, settings))
    return task


def load_task(settings: TaskSettings) -> Task:
    """Read the data and split it; equal settings give equal arrays."""
    if settings.task == "classification":
        from edgenas.tasks.classification import load_classification

        return load_classification(settings)
    if settings.task == "faces":
        from edgenas.tasks.faces import load_faces

        return load_faces(settings)
    raise EdgenasError(f"task {settings.task!r} is unknown: classification or faces")
