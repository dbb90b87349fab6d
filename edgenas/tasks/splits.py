"""Stratified splits: each class gives its share, chosen by a seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.tasks.mapped import MappedImages, gathered
from edgenas.tasks.task import Split

VALIDATION = 0.1
TEST = 0.2  # of data sets that come without a test split
# The random stream of the images that a search takes; beside the streams of a task's own splits, from the same seed.
SEARCH_STREAMS = {"faces": 13}
OTHER_STREAM = 3


def stratified(
    labels: NDArray[np.int64],
    share: float,
    seed: Sequence[int],
    copies: NDArray[np.int64] | None = None,
    total: int | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, taken): sorted indices; every class gives `share` of its images, at least one and never all.

    `copies` numbers the images, equal ones alike: they stay together, so that nothing is judged on what it learned. Only
    where all images of a class are equal they are parted. Where labels are no classes, any images are taken. `total`: so many in
    all, where every class can give one and keep one.
    """
    rng = np.random.default_rng(list(seed))
    if labels.ndim > 1 or not np.issubdtype(labels.dtype, np.integer):
        order, count = rng.permutation(len(labels)), round(share * len(labels))
        return np.sort(order[count:]), np.sort(order[:count])
    chosen = np.zeros(len(labels), dtype=bool)
    decided: dict[int, bool] = {}  # copies -> taken? An image under two labels goes where its first label sent it
    names, sizes = np.unique(labels, return_counts=True)
    for label, count in zip(names, _shares(sizes, share, total), strict=True):
        members = rng.permutation(np.flatnonzero(labels == label))
        mine = np.arange(len(members)) < count
        if copies is not None:
            together = _together(copies[members], count, decided)
            mine = mine if together.all() or not together.any() else together
        chosen[members[mine]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _shares(sizes: NDArray[np.int64], share: float, total: int | None) -> NDArray[np.int64]:
    """(K,): how many images to take of classes of these sizes: their rounded shares. Where these do not add up to `total`, the
    classes that rounding took farthest from their share give one back, or give one more."""
    wanted = share * sizes
    counts: NDArray[np.int64] = np.clip(np.rint(wanted), 1, sizes - 1).astype(np.int64)
    while total is not None and counts.sum() != total:
        step = 1 if counts.sum() < total else -1
        able = counts < sizes - 1 if step == 1 else counts > 1
        if not able.any():
            break
        counts[np.where(able, step * (wanted - counts), -np.inf).argmax()] += step
    return counts


def _together(copies: NDArray[np.int64], count: int, decided: dict[int, bool]) -> NDArray[np.bool_]:
    """Which of these (N,) images to take, about `count`, copies together; what is chosen is noted in `decided`."""
    sizes = Counter(copies.tolist())  # in the order of `copies`, which is a random one
    free = [copy for copy in sizes if copy not in decided]
    taken = {copy for copy in sizes if decided.get(copy)}
    missing = count - sum(sizes[copy] for copy in taken)
    for copy in free:
        if sizes[copy] <= missing:
            taken.add(copy)
            missing -= sizes[copy]
    if not taken and len(sizes) > 1 and free:
        taken = {min(free, key=lambda copy: sizes[copy])}
    if len(sizes) > 1:
        decided.update({copy: copy in taken for copy in free})
    return np.isin(copies, list(taken))


def part(split: Split, rows: NDArray[np.int64]) -> Split:
    """These images."""
    return Split(gathered(split.images, rows), split.labels[rows])


def together(splits: Sequence[Split]) -> Split:
    """All images of splits of one kind: arrays, or rows of one file."""
    labels = np.concatenate([split.labels for split in splits])
    first = splits[0].images
    if isinstance(first, MappedImages):
        rows = [split.images.rows for split in splits if isinstance(split.images, MappedImages)]
        return Split(first.at(np.concatenate(rows)), labels)
    return Split(np.concatenate([split.images[:] for split in splits]), labels)


def search_stream(task: str) -> int:
    """The stream of a task's search images."""
    return SEARCH_STREAMS.get(task, OTHER_STREAM)


def subsample(split: Split, count: int, seed: Sequence[int], *, exact: bool = True) -> Split:
    """`count` images with the classes' proportions kept, fewer where every class is to keep one; any images where labels are no
    classes; all of them where there are no more. Not `exact`: each class is rounded alone, so that it may be a few more or less.
    """
    if count >= len(split):
        return split
    if split.labels.ndim > 1 or not np.issubdtype(split.labels.dtype, np.integer):
        return part(split, np.sort(np.random.default_rng(list(seed)).permutation(len(split))[:count]))
    classes = len(np.unique(split.labels))
    if count < 2 * classes:
        raise DataError(f"{count} search images for {classes} classes: ask for at least {2 * classes}")
    return part(split, stratified(split.labels, count / len(split), seed, total=count if exact else None)[1])


def check_labels(split: Split, classes: Sequence[str], where: str, least: int = 3) -> None:
    """At least two classes, and enough images of each to have one for training, validation and test."""
    if len(classes) < 2:
        raise DataError(f"{where} has one class ({', '.join(classes)}): classification needs at least 2")
    low, high = int(split.labels.min()), int(split.labels.max())
    if low < 0 or high >= len(classes):
        raise DataError(f"{where} has labels {low}..{high} but {len(classes)} classes: its labels are wrong")
    counts = np.bincount(split.labels, minlength=len(classes))
    rare = int(counts.argmin())
    if counts[rare] < least:
        count = f"{counts[rare]} image" + "s" * int(counts[rare] != 1)
        raise DataError(f"{where}: class {classes[rare]!r} has {count}: every class needs at least {least}")
