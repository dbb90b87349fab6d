"""What is told of a data set before it is learned: counts, where each split came from, what was left out, what repeats."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.image_sizes import ImageSize
from edgenas.records import Preprocessing, Record
from edgenas.tasks import Split
from edgenas.tasks.mapped import Images, MappedImages

SPLITS = ("train", "val", "test")


class Origin(NamedTuple):
    """Where a data set's splits came from, before any is cut by us."""

    sources: dict[str, str]  # train, and val and test where it has its own
    ignored: dict[str, int] = {}  # reason -> files
    warnings: tuple[str, ...] = ()


class DataFacts(Record, frozen=True):
    """The document of `edgenas data`: images used per class and split, at which size, and what is odd about them.

    `duplicates` counts images that repeat another, as the network sees them: `within` one split, `across_splits` one of an
    earlier split (train, val, test), `in_training` one of the training images (a part of those), `two_labels` one of another
    class.
    """

    classes: dict[str, int]
    splits: dict[str, int]
    sources: dict[str, str]
    image_size: ImageSize
    channels: int
    fit: str
    ignored: dict[str, int]
    duplicates: dict[str, int]
    warnings: tuple[str, ...]


def copies_of(splits: Sequence[Split]) -> list[NDArray[np.int64]]:
    """For every split (N,): the same number for images with the same pixels, by their BLAKE2."""
    known: dict[bytes, int] = {}
    return [
        np.array([known.setdefault(digest, len(known)) for digest in _digests(split.images)], dtype=np.int64)
        for split in splits
    ]


def _digests(images: Images) -> Iterator[bytes]:
    if isinstance(images, MappedImages):
        yield from images.digests
    else:
        yield from (hashlib.blake2b(image.data, digest_size=16).digest() for image in images)


def count_duplicates(copies: Sequence[NDArray[np.int64]], labels: Sequence[NDArray[np.int64]]) -> dict[str, int]:
    """Of train, val and test, from `copies_of` and the labels; see `DataFacts`."""
    groups, classes = np.concatenate(copies), np.concatenate(labels)
    numbers = np.repeat(np.arange(len(copies)), [len(split) for split in copies])  # of the split
    first_split = np.full(groups.max() + 1, len(copies))
    np.minimum.at(first_split, groups, numbers)
    first_class = np.zeros(groups.max() + 1, dtype=np.int64)
    first_class[groups[::-1]] = classes[::-1]  # what is written last stays: the first
    in_split = len(np.unique(groups * len(copies) + numbers))
    return {
        "within": len(groups) - in_split,
        "across_splits": int((numbers > first_split[groups]).sum()),
        "in_training": int(((numbers > 0) & (first_split[groups] == 0)).sum()),
        "two_labels": int((classes != first_class[groups]).sum()),
    }


def facts_of(
    where: str,
    classes: Sequence[str],
    origin: Origin,
    preprocessing: Preprocessing,
    splits: Sequence[Split],
    copies: Sequence[NDArray[np.int64]],
) -> DataFacts:
    """Of train, val and test as they are used. DataError where all images are equal."""
    labels = [split.labels for split in splits]
    counts = np.bincount(np.concatenate(labels), minlength=len(classes))
    total = int(counts.sum())
    duplicates = count_duplicates(copies, labels)
    if len(np.unique(np.concatenate(copies))) == 1:
        hint = "".join(f" ({warning})" for warning in origin.warnings)
        raise DataError(
            f"{where}: all {total} images have the same pixels, so there is nothing to learn{hint}: look at them"
        )
    return DataFacts(
        classes={name: int(count) for name, count in zip(classes, counts, strict=True)},
        splits={kind: len(split) for kind, split in zip(SPLITS, splits, strict=True)},
        sources={kind: origin.sources[kind] for kind in SPLITS},
        image_size=preprocessing.size,
        channels=preprocessing.channels,
        fit=preprocessing.fit,
        ignored=dict(origin.ignored),
        duplicates=duplicates,
        warnings=(*origin.warnings, *leaks(duplicates)),
    )


def leaks(duplicates: dict[str, int]) -> Iterator[str]:
    """Warnings of what `count_duplicates` has found."""
    learned = duplicates["in_training"]
    if learned:
        which = "image is a training image" if learned == 1 else "images are training images"
        yield f"{learned} validation or test {which}, too: scores will look better than they are"
    if count := duplicates["across_splits"] - learned:
        which = "image is a validation image" if count == 1 else "images are validation images"
        yield f"{count} test {which}, too, by which networks are chosen: scores will look better than they are"
    if count := duplicates["two_labels"]:
        which = "image is" if count == 1 else "images are"
        yield f"{count} {which} there under two labels: no network can tell these apart"
