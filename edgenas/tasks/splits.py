"""Stratified splits: each class gives its share, chosen by a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.tasks import Split

VALIDATION = 0.1
TEST = 0.2  # of data sets that come without a test split


def stratified(
    labels: NDArray[np.int64], share: float, seed: Sequence[int]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rest, taken): sorted indices; every class gives `share` of its images, at least one and never all."""
    rng = np.random.default_rng(list(seed))
    taken = []
    for label in np.unique(labels):
        members = rng.permutation(np.flatnonzero(labels == label))
        count = min(max(1, round(share * len(members))), len(members) - 1)
        taken.append(members[:count])
    chosen = np.sort(np.concatenate(taken))
    return np.setdiff1d(np.arange(len(labels)), chosen), chosen


def split_off(split: Split, share: float, seed: Sequence[int]) -> tuple[Split, Split]:
    """(rest, taken) as splits."""
    rest, taken = stratified(split.labels, share, seed)
    return Split(split.images[rest], split.labels[rest]), Split(split.images[taken], split.labels[taken])


def subsample(split: Split, count: int, seed: Sequence[int]) -> Split:
    """About `count` images with the classes' proportions kept; all of them where there are no more."""
    if count >= len(split):
        return split
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
        raise DataError(
            f"{where}: class {classes[rare]!r} has {counts[rare]} images: every class needs at least {least}"
        )
