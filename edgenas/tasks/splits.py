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
    labels: NDArray[np.int64], share: float, seed: Sequence[int], copies: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, taken): sorted indices; every class gives `share` of its images, at least one and never all.

    `copies` numbers the images, equal ones alike: they stay together, so that nothing is judged on what it learned. Only
    where all images of a class are equal they are parted. Where labels are no classes, any images are taken.
    """
    rng = np.random.default_rng(list(seed))
    if labels.ndim > 1 or not np.issubdtype(labels.dtype, np.integer):
        order, count = rng.permutation(len(labels)), round(share * len(labels))
        return np.sort(order[count:]), np.sort(order[:count])
    chosen = np.zeros(len(labels), dtype=bool)
    decided: dict[int, bool] = {}  # copies -> taken? An image under two labels goes where its first label sent it
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        mine = np.arange(len(members)) < count
        if copies is not None:
            together = _together(copies[members], count, decided)
            mine = mine if together.all() or not together.any() else together
        chosen[members[mine]] = True
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


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


def split_off(split: Split, share: float, seed: Sequence[int]) -> tuple[Split, Split]:
    """(rest, taken) as splits."""
    rest, taken = stratified(split.labels, share, seed)
    return part(split, rest), part(split, taken)


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


def subsample(split: Split, count: int, seed: Sequence[int]) -> Split:
    """About `count` images with the classes' proportions kept; exactly as many where labels are no classes; all of them where
    there are no more."""
    if count >= len(split):
        return split
    if split.labels.ndim > 1 or not np.issubdtype(split.labels.dtype, np.integer):
        return part(split, np.sort(np.random.default_rng(list(seed)).permutation(len(split))[:count]))
    classes = len(np.unique(split.labels))
    if count < 2 * classes:
        raise DataError(f"{count} search images for {classes} classes: ask for at least {2 * classes}")
    return split_off(split, count / len(split), seed)[1]


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
