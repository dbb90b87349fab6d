"""Classification of images that are arrays already: what a notebook hands in, held against what can be learned from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.image_sizes import LEAST_SIDE, MOST_PIXELS, ImageSize, size_from_sides
from edgenas.records import Fit
from edgenas.tasks import Split, TaskSettings
from edgenas.tasks.classification import Classification, classification_from_dataset
from edgenas.tasks.datasets import DataSet
from edgenas.tasks.facts import Origin


def task_from_arrays(
    images: Any,
    labels: Any,
    *,
    test: tuple[Any, Any] | None = None,
    classes: Sequence[str] | None = None,
    image_size: ImageSize | None = None,
    flip: bool = False,
    seed: int = 0,
    name: str = "arrays",
    fit: Fit = "crop",
) -> Classification:
    """A classification task of `images` (N, H, W) or (N, H, W, C) uint8, C = 1 or 3, and `labels` (N,), whole numbers or names.

    Validation images are cut from them by `seed`, test images (unless `test` has some) always the same way; equal images stay
    together. `classes` names the labels 0, 1, ..; without it they are called as they are. Images are squares, or `image_size`
    says how large they become, by `fit`. `name` stands in messages and reports. DataError, saying what to do, for anything
    else.
    """
    known = _names(as_array(labels, f"{name}: labels"), classes, name)
    given = classes is not None
    train = _split(images, labels, known, given, image_size, name)
    held = None if test is None else _split(*_pair(test, name), known, given, image_size, f"{name} (test)")
    if held is not None and held.images.shape[1:] != train.images.shape[1:]:
        raise DataError(
            f"{name}: test images are {held.images.shape[1:]} (H, W, C), training ones {train.images.shape[1:]}: make them alike"
        )
    size = size_from_sides(*train.images.shape[1:3])
    sources = {"train": "the arrays", **({} if held is None else {"test": "the test arrays"})}
    dataset = DataSet(train, held, known, size, padding=0, flip=flip, together=True, origin=Origin(sources))
    return classification_from_dataset(dataset, TaskSettings(name, image_size=image_size, seed=seed, fit=fit))


def as_array(values: Any, name: str) -> NDArray[Any]:
    """The array of what a caller hands in. DataError for what is none: images of several sizes, rows of different lengths, or a
    tensor that is not on the CPU or has a gradient."""
    try:
        return np.asarray(values)
    except (RuntimeError, TypeError, ValueError) as error:
        each = values if isinstance(values, list | tuple) else ()
        sizes = {one.shape for one in each if isinstance(one, np.ndarray)}
        if len(sizes) > 1:
            some = ", ".join(map(str, sorted(sizes)[:3]))
            raise DataError(f"{name} are of several sizes ({some}): bring them to one before") from error
        raise DataError(f"{name} cannot be read as an array: {error}") from error


def _pair(test: Any, name: str) -> tuple[Any, Any]:
    if not isinstance(test, tuple | list) or len(test) != 2:
        raise DataError(f"{name}: test is {type(test).__name__}: give a pair (images, labels)")
    return test[0], test[1]


def _split(
    images: Any, labels: Any, classes: tuple[str, ...], given: bool, image_size: ImageSize | None, name: str
) -> Split:
    images, labels = as_array(images, f"{name}: images"), as_array(labels, f"{name}: labels")
    pixels, numbers = _pixels(images, image_size, name), _numbers(labels, classes, given, name)
    if len(pixels) != len(numbers):
        raise DataError(f"{name}: {len(pixels)} images and {len(numbers)} labels: give one label for each image")
    return Split(pixels, numbers)


def _pixels(images: NDArray[Any], image_size: ImageSize | None, name: str) -> NDArray[np.uint8]:
    """(N, H, W) or (N, H, W, C) -> (N, H, W, C)."""
    shape = images.shape
    if images.dtype != np.uint8:
        raise DataError(
            f"{name}: images are {images.dtype}{_found(images)}, uint8 from 0 to 255 is needed{_remedy(images)}"
        )
    if images.ndim == 3:
        images = images[..., None]
    if images.ndim != 4 or images.shape[-1] not in (1, 3):
        first = len(shape) == 4 and shape[1] in (1, 3)
        hint = "channels come last: give images.transpose(0, 2, 3, 1)" if first else "make them grey or RGB"
        raise DataError(f"{name}: images are {shape}, (N, H, W) or (N, H, W, C) with 1 or 3 channels is needed: {hint}")
    if not len(images):
        raise DataError(f"{name} has no images: give at least 3 of each class")
    height, width = images.shape[1:3]
    least, most = LEAST_SIDE, math.isqrt(MOST_PIXELS)
    if image_size is None and (height != width or not least <= height <= most):
        raise DataError(
            f"{name}: images are {height}x{width} px (height x width), squares of {least} to {most} px are needed: give "
            "image_size, one number or (height, width), and they are scaled"
        )
    return np.ascontiguousarray(images)


def _found(images: NDArray[Any]) -> str:
    """The range of other numbers than uint8, as far as they have one."""
    if not np.issubdtype(images.dtype, np.number) or np.issubdtype(images.dtype, np.complexfloating) or not images.size:
        return ""
    if not np.isfinite(images).all():
        return " with NaN or infinity"
    return f" from {images.min():.4g} to {images.max():.4g}"


def _remedy(images: NDArray[Any]) -> str:
    if not np.issubdtype(images.dtype, np.number) or not images.size or not np.isfinite(images).all():
        return ""
    low, high = images.min(), images.max()
    if np.issubdtype(images.dtype, np.floating) and low >= 0 and high <= 1:
        return ": give (255 * images).round().astype(np.uint8)"
    return ": give images.astype(np.uint8)" if low >= 0 and high <= 255 else ""


def _names(labels: NDArray[Any], classes: Sequence[str] | None, name: str) -> tuple[str, ...]:
    """What the classes are called."""
    if classes is not None:
        if isinstance(classes, str) or not all(isinstance(each, str) for each in classes):
            raise DataError(f"{name}: classes are names: give a list of str, one for each label")
        if len(set(classes)) < len(classes):
            raise DataError(f"{name}: two classes have one name: give each its own")
        return tuple(classes)
    return tuple(str(each) for each in np.unique(_one_kind(labels, name)))


def _numbers(labels: NDArray[Any], classes: tuple[str, ...], given: bool, name: str) -> NDArray[np.int64]:
    """(N,) numbers of classes. Where the classes were `given`, whole numbers are these already; else they are names, too."""
    labels = _one_kind(labels, name)
    if given and labels.dtype == np.int64:
        low, high = int(labels.min(initial=0)), int(labels.max(initial=0))
        if low < 0 or high >= len(classes):
            raise DataError(
                f"{name}: labels are {low} to {high} and there are {len(classes)} classes: name every class"
            )
        return labels
    places = {each: place for place, each in enumerate(classes)}
    unknown = sorted({str(each) for each in np.unique(labels)} - set(places))
    if unknown:
        some = ", ".join(classes[:5]) + (", .." if len(classes) > 5 else "")
        raise DataError(f"{name}: label {unknown[0]!r} is none of the classes ({some}): name every class")
    return np.array([places[str(each)] for each in labels], dtype=np.int64)


def _one_kind(labels: NDArray[Any], name: str) -> NDArray[Any]:
    """(N,) of int64 or str."""
    if labels.ndim != 1:
        raise DataError(f"{name}: labels are {labels.shape}, (N,) is needed: one number or name for each image")
    if labels.dtype.kind in "iu":
        return labels.astype(np.int64)
    if labels.dtype.kind in "UT" or (labels.dtype.kind == "O" and all(isinstance(each, str) for each in labels)):
        return labels.astype(str)
    raise DataError(
        f"{name}: labels are {labels.dtype}: classes are whole numbers or names; to estimate values, write a Task of your own "
        "(docs/tutorials/new-task.md)"
    )
