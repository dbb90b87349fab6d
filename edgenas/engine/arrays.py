"""Images that a caller hands in as arrays: kept beside the study, so that any process can go on with it."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgenas.confusion import METRICS
from edgenas.damaged import NPZ
from edgenas.durable import replace_file
from edgenas.errors import StudyError

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from edgenas.tasks import Task, TaskSettings

FILE = "data.npz"  # in the study's folder
Arrays = tuple["ArrayLike", "ArrayLike"]  # images (N, H, W[, C]) uint8, labels (N,)


def name_of_arrays(arrays: Arrays) -> str:
    """What a study calls them: arrays- and the first 8 hex digits of their SHA-256."""
    found = hashlib.sha256()
    for part in _both(arrays):
        found.update(f"{part.dtype.str} {part.shape}".encode())
        found.update(repr(part.tolist()).encode() if part.dtype.hasobject else np.ascontiguousarray(part).data)
    return f"arrays-{found.hexdigest()[:8]}"


def _both(arrays: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    from edgenas.tasks.arrays import as_array

    return as_array(arrays[0], "images"), as_array(arrays[1], "labels")


def task_of(arrays: Arrays, settings: TaskSettings) -> Task:
    """The classification task of the arrays, whole. DataError, saying what to do, for arrays that are none."""
    from edgenas.tasks.arrays import task_from_arrays

    images, labels = arrays
    flip, size, seed = bool(settings.flip), settings.image_size, settings.seed
    task = task_from_arrays(images, labels, image_size=size, flip=flip, seed=seed, name=settings.data, fit=settings.fit)
    return dataclasses.replace(task, balance=settings.balance, metric=METRICS[settings.metric])


def keep(arrays: Arrays, folder: Path) -> None:
    """Write the arrays into the study's folder."""
    images, labels = _both(arrays)
    content = io.BytesIO()
    np.savez(content, images=images, labels=labels.astype(str) if labels.dtype.hasobject else labels)
    replace_file(folder / FILE, content.getvalue())


def kept_task(folder: Path, settings: TaskSettings) -> Task | None:
    """The whole task of the arrays in the study's folder; None where it keeps none. StudyError where they cannot be read."""
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as held:
            arrays = held["images"], held["labels"]
    except NPZ as error:
        raise StudyError(f"{path} cannot be read ({error}): restore it, or search again under another name") from error
    return task_of(arrays, settings)
