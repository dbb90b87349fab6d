"""What every task is: three splits, a head for the network, a loss and scores."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import EdgenasError
from edgenas.records import Head, Metric, Preprocessing, Recipe, TaskKind
from edgenas.tasks.mapped import Images, joined

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Split:
    """Images at the network's input size and their labels: numbers of classes, or one value or more to be estimated."""

    images: Images  # (N, H, W, C): an array, or rows of a file that is mapped (see edgenas/tasks/mapped.py)
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
        Where its 95 % interval is known it is there as <metric>_low and <metric>_high. One that is not finite fails its
        network."""

    def report(self, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        """The whole evaluation of the test split, as `edgenas train` keeps it: JSON values only."""


def with_validation_in_training(task: Task) -> Task:
    """The task with its validation images among those that are trained on; they stay the validation split, which is none then.
    EdgenasError for a task where that cannot be."""
    if task.kind == "faces" or not has_parts(task, "train"):
        raise EdgenasError(
            f"--all-images: the validation images of task {task.name} are no further images of what is learned: leave it out"
        )
    train, val = task.train, task.val
    whole = Split(joined(train.images, val.images), np.concatenate([train.labels, val.labels]))
    return with_parts(task, train=whole)


def has_parts(task: Task, *names: str) -> bool:
    """Can `with_parts` give the task others of these? Where it is a dataclass that has them as fields."""
    return set(names) <= set(getattr(type(task), "__dataclass_fields__", ()))


def with_parts(task: Task, **parts: Any) -> Task:
    """The same task with others of its fields: see `has_parts`."""
    held: Any = task  # a dataclass, which no protocol can say
    changed: Task = dataclasses.replace(held, **parts)
    return changed
