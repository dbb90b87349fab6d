"""A teacher's outputs as a file: of any model, written by `Study.save_outputs`, or of a recogniser, which is run here, once.

The file is an .npz. outputs (N, D): of the N training images in their order; labels (N,), and sha256 of images and labels:
it proves that order. images (M, H, W, C), image_outputs (M, D): further images, without labels. test_outputs (T, D),
test_sha256: of the test images; no training sees them, the reports show what the teacher itself reaches there.
"""

from __future__ import annotations

import io
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from edgenas.damaged import NPZ
from edgenas.durable import replace_file
from edgenas.errors import DataError
from edgenas.image_sizes import square_side
from edgenas.records import Embedding

if TYPE_CHECKING:
    from edgenas.engine.references import Tell
    from edgenas.faces.pixels import Pixels
    from edgenas.store import Store
    from edgenas.tasks import Split, Task

VIEWS_EACH, MOST_VIEWS = 30, 12_000  # of faces, where nothing else was asked for
SAVED = "save them with `edgenas.open_study(STUDY).save_outputs(FILE, outputs)`"

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class TeacherOutputs:
    """What the file holds, checked against the task. `further`: images and outputs, or None; `test`: (T, D), or None."""

    outputs: Floats
    further: tuple[NDArray[np.uint8], Floats] | None = None
    test: Floats | None = None


def read_outputs(path: Path, content: bytes, task: Task) -> TeacherOutputs:
    """DataError, in one line, for what is no such file, or is of other images than the task's."""
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
            outputs, labels = held["outputs"], held["labels"]
    except NPZ as error:
        raise DataError(f"{path} is no file of outputs ({error}): {SAVED}") from error
    count = len(task.train)
    _check(path, "outputs", outputs, count, f"each of the {count} training images")
    _check_order(path, labels, held.get("sha256"), task)
    further, test = None, None
    if "images" in held:
        images, theirs = held["images"], held.get("image_outputs", np.zeros(0))
        _check_images(path, images, task)
        _check(
            path, "image_outputs", theirs, len(images), f"each of the {len(images)} further images", outputs.shape[1]
        )
        further = (images, theirs)
    if "test_outputs" in held:
        test = held["test_outputs"]
        _check(
            path, "test_outputs", test, len(task.test), f"each of the {len(task.test)} test images", outputs.shape[1]
        )
        if str(held.get("test_sha256", "")) != sha256_of(task.test):
            raise DataError(f"{path}: test_outputs are not of this study's test images: {SAVED}")
    return TeacherOutputs(outputs, further, test)


def written(held: TeacherOutputs, task: Task) -> bytes:
    """The content of the file."""
    arrays: dict[str, NDArray[Any]] = {
        "outputs": np.asarray(held.outputs),
        "labels": task.train.labels,
        "sha256": np.array(sha256_of(task.train)),
    }
    if held.further is not None:
        arrays |= {"images": held.further[0], "image_outputs": np.asarray(held.further[1])}
    if held.test is not None:
        arrays |= {"test_outputs": np.asarray(held.test), "test_sha256": np.array(sha256_of(task.test))}
    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own flags
    return content.getvalue()


def save_outputs(path: Path, task: Task, held: TeacherOutputs) -> None:
    """Write the file; further faces of 112 px are brought to the network's size. DataError for what does not fit the task."""
    from edgenas.faces.images import SIDE
    from edgenas.tasks.faces import network_pixels, raw_pixels

    if held.further is not None and isinstance(task.head, Embedding) and held.further[0].shape[1:3] == (SIDE, SIDE):
        preprocessing = task.preprocessing
        seen = network_pixels(raw_pixels(held.further[0]), square_side(preprocessing.size), preprocessing.channels)
        held = TeacherOutputs(held.outputs, (seen, held.further[1]), held.test)
    content = written(held, task)
    read_outputs(path, content, task)
    try:
        replace_file(path, content)
    except OSError as error:
        raise DataError(f"{path} cannot be written: {error.strerror}") from error


def sha256_of(split: Split) -> str:
    """Of images and labels."""
    from edgenas.tasks import fingerprint

    return fingerprint(split)


def _check(path: Path, name: str, outputs: NDArray[Any], count: int, rows: str, width: int | None = None) -> None:
    right = outputs.ndim == 2 and len(outputs) == count and outputs.dtype.kind == "f"
    if not right or (width is not None and outputs.shape[1] != width):
        many = "floats is" if width is None else f"{width} floats is"
        raise DataError(f"{path}: {name} are {outputs.dtype} {outputs.shape}: one row of {many} needed for {rows}")
    if not np.isfinite(outputs).all():
        raise DataError(f"{path}: {name} are not all finite numbers")


def _check_order(path: Path, labels: NDArray[Any], sha256: NDArray[Any] | None, task: Task) -> None:
    """Labels alone do not tell: of a folder they come class by class, whichever images a seed has put there."""
    if labels.shape != task.train.labels.shape or not np.array_equal(labels, task.train.labels):
        raise DataError(f"{path}: labels are not those of the training images in their order: {SAVED}")
    if sha256 is None:
        raise DataError(
            f"{path} has no sha256 of the training images, and labels alone do not say which images they are: {SAVED}"
        )
    if str(sha256) != sha256_of(task.train):
        raise DataError(
            f"{path}: its outputs are of other training images than this study's (another --seed?): {SAVED}"
        )


def _check_images(path: Path, images: NDArray[Any], task: Task) -> None:
    shape = tuple(task.train.images.shape[1:])
    if images.dtype != np.uint8 or images.ndim != 4 or not len(images) or tuple(images.shape[1:]) != shape:
        raise DataError(
            f"{path}: images are {images.dtype} {images.shape}: further images are uint8 (M, {', '.join(map(str, shape))}), as "
            "the network takes them"
        )


# ---------------------------------------------------------------- of a recogniser


@dataclass(frozen=True)
class FaceImagesAt:
    """Training and test images at the size of an aligned face, (N, 112, 112, 3), in the order of the task's."""

    train: NDArray[np.uint8]
    test: NDArray[np.uint8]


def faces_at(store: Store, task: Task, tell: Tell, data_dir: str | None, *, own: bool) -> FaceImagesAt:
    """The study's faces, larger than its networks take them, where they are. `own`: they are an object's, which has one size."""
    from edgenas.engine.data import task_at
    from edgenas.faces.images import SIDE
    from edgenas.tasks.faces import raw_pixels

    large = task if own else task_at(store, task, SIDE, tell, data_dir)
    return FaceImagesAt(raw_pixels(large.train.images[:]), raw_pixels(large.test.images[:]))


def outputs_of_recogniser(
    path: Path, faces: FaceImagesAt, task: Task, pixels: Pixels | None, views: int | None, threads: int, tell: Tell
) -> TeacherOutputs:
    """A recogniser's embeddings of the training images, of so many views of them, and of the test images. EdgenasError for a file
    that is none."""
    from edgenas.faces.recogniser import open_recogniser
    from edgenas.faces.views import view_parts
    from edgenas.tasks.faces import network_pixels

    count = min(VIEWS_EACH * len(faces.train), MOST_VIEWS) if views is None else views
    started = time.monotonic()
    with open_recogniser(path, threads, pixels, any_side=True) as recognise:
        outputs = recognise(faces.train)
        each = (time.monotonic() - started) / len(faces.train)
        tell(
            f"teacher {path.name}: {len(outputs)} training images and {count} views of them, about "
            f"{each * (count + len(faces.test)):.0f} s"
        )
        test = recognise(faces.test)
        if not count:
            return TeacherOutputs(outputs, None, test)
        size, channels = square_side(task.preprocessing.size), task.preprocessing.channels
        parts = [(network_pixels(views, size, channels), recognise(views)) for views in view_parts(faces.train, count)]
        seen, said = (np.concatenate(each) for each in zip(*parts, strict=True))
        return TeacherOutputs(outputs, (seen, said), test)


def anchor_of(held: TeacherOutputs, task: Task) -> dict[str, float] | None:
    """The task's scores of the teacher itself on the test images, where its outputs for them are known."""
    import torch

    if held.test is None or not isinstance(task.head, Embedding):
        return None
    return task.scores(torch.from_numpy(np.asarray(held.test, np.float32)), torch.from_numpy(task.test.labels))
