"""Is this object a task? What another package or a notebook hands in is held against the protocol before anything is trained."""

from __future__ import annotations

import re
from typing import Any, get_args

import numpy as np

from edgenas.errors import EdgenasError
from edgenas.records import Classes, Embedding, Head, Metric, Preprocessing, TaskKind
from edgenas.tasks.mapped import MappedImages
from edgenas.tasks.task import Split, Task

MEMBERS: dict[str, tuple[type, ...]] = {
    "name": (str,),
    "kind": (str,),
    "metric": (Metric,),
    "chance": (float, int, type(None)),
    "head": get_args(Head),
    "flip": (bool,),
    "classes": (tuple,),
    "preprocessing": (Preprocessing,),
    "default_loss": (str,),
    "train": (Split,),
    "val": (Split,),
    "test": (Split,),
}
METHODS = ("loss", "scores", "report")


def checked_task(task: Any, name: str | None = None) -> Task:
    """`task`, which is one. EdgenasError, saying what is missing or wrong, otherwise. `name`: that it is registered under."""
    called = name or getattr(task, "name", None) or type(task).__name__
    for member, kinds in MEMBERS.items():
        if not hasattr(task, member):
            raise EdgenasError(f"task {called!r} has no `{member}`: see edgenas.tasks.Task for what a task has")
        if not isinstance(value := getattr(task, member), kinds):
            wanted = " or ".join("None" if kind is type(None) else kind.__name__ for kind in kinds)
            raise EdgenasError(f"task {called!r}: `{member}` is {type(value).__name__}, it must be {wanted}")
    for method in METHODS:
        if not callable(getattr(task, method, None)):
            raise EdgenasError(f"task {called!r} has no method `{method}`: see edgenas.tasks.Task for what a task has")
    if problem := _problem(task, name):
        raise EdgenasError(f"task {called!r}: {problem}")
    checked: Task = task
    return checked


def _problem(task: Task, name: str | None) -> str:
    """What does not fit together, or ""."""
    if not re.fullmatch(r"[A-Za-z0-9_.-]{1,64}", task.name):
        return f"its name {task.name[:64]!r} is not 1 to 64 letters, digits, '.', '_' and '-'"
    if name is not None and task.name != name:
        return f"it calls itself {task.name!r}: give it the name that it is registered under"
    if task.kind not in get_args(TaskKind):
        return f"its kind is {task.kind!r}, possible are {', '.join(get_args(TaskKind))}"
    if not re.fullmatch(r"[a-z][a-z0-9_]{0,39}", task.metric.name):
        return f"its metric is called {task.metric.name[:40]!r}: small letters, digits and _ are possible, such as mae"
    if not all(isinstance(each, str) for each in task.classes):
        return "its classes are not names: give a tuple of str, or ()"
    head: Head = task.head
    if task.kind == "classification" and (not isinstance(head, Classes) or head.count != len(task.classes)):
        return f"its kind is classification, so its head must be Classes({len(task.classes)}), one for every name in `classes`"
    if task.kind == "faces" and not isinstance(head, Embedding):
        return "its kind is faces, so its head must be an Embedding"
    if task.kind == "faces" and not 0 < getattr(task, "far", 0) < 1:
        return "its kind is faces, so it must have the FAR that it is judged at as `far`, above 0 and below 1"
    for part in ("train", "val", "test"):
        if problem := _split_problem(getattr(task, part), task.preprocessing, head):
            return f"{part}: {problem}"
    return ""


def _split_problem(split: Split, preprocessing: Preprocessing, head: Head) -> str:
    images, labels = split.images, split.labels
    wanted = (*preprocessing.input_sides, preprocessing.channels)
    if preprocessing.channels not in (1, 3):
        return f"its images have {preprocessing.channels} channels, 1 and 3 are possible"
    if not isinstance(images, np.ndarray | MappedImages) or images.dtype != np.uint8 or images.ndim != 4:
        return f"images are {_kind(images)}, they must be uint8 (N, H, W, C)"
    if images.shape[1:] != wanted:
        return f"images are {images.shape[1:]} (H, W, C), the preprocessing says {wanted}"
    if not len(images):
        return "it has no images"
    if not isinstance(labels, np.ndarray) or len(labels) != len(images) or labels.ndim not in (1, 2):
        return f"labels are {_kind(labels)} for {len(images)} images: one for each is needed, (N,) or (N, k)"
    if labels.dtype not in (np.int64, np.float32):
        return f"labels are {labels.dtype}, they must be int64 (numbers of classes) or float32 (values)"
    if not np.isfinite(labels).all():
        return "labels hold NaN or infinity"
    if isinstance(head, Classes) and (
        labels.ndim != 1 or labels.dtype != np.int64 or not 0 <= labels.min() <= labels.max() < head.count
    ):
        return f"labels must be numbers of classes, int64 (N,) from 0 to {head.count - 1}"
    return ""


def _kind(array: Any) -> str:
    return f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray | MappedImages) else type(array).__name__
