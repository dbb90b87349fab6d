"""A data set's splits as they are learned and judged: its own, or cut from its training images; at one size. No torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenas.errors import DataError
from edgenas.image_sizes import ImageSize, sides_of, size_asked
from edgenas.preprocessing import scaled
from edgenas.records import Fit
from edgenas.tasks import Loading, Split, TaskSettings
from edgenas.tasks.datasets import NAMES, DataSet, folder_of_data, load_dataset, tell_folder_beside
from edgenas.tasks.facts import SPLITS, Origin, copies_of
from edgenas.tasks.folder import load_folder
from edgenas.tasks.splits import TEST, VALIDATION, check_labels, part, stratified

SPLIT_VALIDATION, SPLIT_TEST = 1, 2  # separate random streams from one seed


def published(settings: TaskSettings, loading: Loading, channels: int | None = None) -> DataSet:
    """A known name is a data set, whatever is called so here; otherwise an existing folder, whose images get so many `channels`,
    or those that they have."""
    folder = folder_of_data(settings.data, "classification")
    if folder is not None:
        if settings.image_size is not None:
            size_asked(settings.image_size)
        return load_folder(folder, settings, loading, channels)
    if settings.data not in NAMES and Path(settings.data).is_file():
        raise DataError(f"data {settings.data!r} is a file: unpack it, and name the folder with the class folders")
    tell_folder_beside(settings.data, "classification", settings.data_dir, loading.tell)
    return load_dataset(settings.data, settings.data_dir)


def resized(dataset: DataSet, size: ImageSize | None, fit: Fit) -> DataSet:
    """Another image size than the data set's own, by scaling every image; then nothing is padded."""
    if size is None or size == dataset.size:
        return dataset
    sides = sides_of(size_asked(size))

    def all_scaled(split: Split) -> Split:
        images = np.empty((len(split), *sides, split.images.shape[3]), np.uint8)
        for row, image in enumerate(split.images):
            images[row] = np.asarray(
                scaled(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), size, fit)
            ).reshape(images.shape[1:])
        return Split(images, split.labels)

    val, test = (None if split is None else all_scaled(split) for split in (dataset.val, dataset.test))
    return dataset._replace(train=all_scaled(dataset.train), val=val, test=test, size=size, padding=0)


def check_splits(dataset: DataSet, where: str) -> None:
    """Raise DataError for labels that are wrong, or too few images of a class for the splits that are still to be cut."""
    least = 1 + (dataset.val is None) + (dataset.test is None)
    check_labels(dataset.train, dataset.classes, where, least)
    for name, split in (("validation", dataset.val), ("test", dataset.test)):
        if split is not None:
            check_labels(split, dataset.classes, f"{where} ({name})", least=1)


def cut(dataset: DataSet, seed: int) -> tuple[tuple[Split, Split, Split], Origin, list[NDArray[np.int64]]]:
    """The data set's own validation and test images; where it has none, cut from the training images, copies together.
    With where each came from, and the numbers of `copies_of`."""
    given = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    splits = {kind: split for kind, split in given.items() if split is not None}
    copies = dict(zip(splits, copies_of(list(splits.values())), strict=True))
    sources, whole = dict(dataset.origin.sources), dataset.origin.sources["train"]
    for kind, share, stream, words in (
        ("test", TEST, [0, SPLIT_TEST], "always the same"),
        ("val", VALIDATION, [seed, SPLIT_VALIDATION], f"chosen by seed {seed}"),
    ):
        if kind not in splits:
            rest, taken = stratified(
                splits["train"].labels, share, stream, copies["train"] if dataset.together else None
            )
            splits[kind], splits["train"] = part(splits["train"], taken), part(splits["train"], rest)
            copies[kind], copies["train"] = copies["train"][taken], copies["train"][rest]
            sources[kind] = f"{100 * share:.0f} % of {whole}, {words}"
            whole = "what is left after the test images" if kind == "test" else whole
    parts = (splits["train"], splits["val"], splits["test"])
    return parts, dataset.origin._replace(sources=sources), [copies[kind] for kind in SPLITS]
