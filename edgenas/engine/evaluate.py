"""An exported classifier on labelled images, through ONNX Runtime: what it is worth where it will work. No torch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgenas.bundle import Bundle
from edgenas.confusion import confusion_of, document_of_confusion
from edgenas.engine.classify import read_classifier
from edgenas.engine.verify import precisions_of
from edgenas.errors import DataError
from edgenas.preprocessing import network_input, pad
from edgenas.records import Precision
from edgenas.runtimes import LARGEST_BATCH, open_runtime
from edgenas.runtimes.batches import run_in_batches

if TYPE_CHECKING:
    from edgenas.tasks import Split
    from edgenas.tasks.datasets import DataSet

SplitName = Literal["all", "train", "val", "test"]
Tell = Callable[[str], None]


def evaluate(
    folder: Path,
    data: str,
    split: SplitName | None,
    precision: str | None,
    tell: Tell,
    *,
    data_dir: str | None = None,
    skip_damaged: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """The document of `edgenas evaluate`: for every precision the scores, each class and the confusion matrix.

    `split`: of the data; None: their own test images, or else their own validation images, or else all of them. DataError for
    images of classes that the network does not know, EdgenasError for bundles of another kind.
    """
    bundle = read_classifier(folder)
    precisions = precisions_of(bundle, precision)
    dataset = _dataset(bundle, data, data_dir, tell, skip_damaged=skip_damaged, seed=seed)
    images, name = _chosen(dataset, split, seed, data, tell)
    labels = _labels(images, dataset.classes, bundle.manifest.labels, data, tell)
    names = bundle.manifest.labels
    models = {
        one: document_of_confusion(confusion_of(labels, _predicted(bundle, one, images), len(names)), names)
        for one in precisions
    }
    return {
        "bundle": str(folder),
        "data": data,
        "split": name,
        "images": len(images),
        "metric": bundle.metric.name,
        "fit": bundle.manifest.preprocessing.fit,
        "ignored": dataset.origin.ignored,
        "models": models,
    }


def _dataset(bundle: Bundle, data: str, data_dir: str | None, tell: Tell, *, skip_damaged: bool, seed: int) -> DataSet:
    """The data at the size, with the channels and by the fit of the network."""
    from edgenas.tasks import Loading, TaskSettings
    from edgenas.tasks.cutting import published, resized

    how = bundle.manifest.preprocessing
    settings = TaskSettings(
        data, data_dir=data_dir, image_size=how.size, seed=seed, fit=how.fit, skip_damaged=skip_damaged
    )
    dataset = resized(published(settings, Loading(tell=tell), how.channels), how.size, how.fit)
    if dataset.train.images.shape[3] != how.channels:
        colours = {1: "grey", 3: "RGB"}
        raise DataError(
            f"{data} is {colours[dataset.train.images.shape[3]]} and the network takes {colours[how.channels]} images: name data "
            "of that kind"
        )
    return dataset


def _chosen(dataset: DataSet, split: SplitName | None, seed: int, data: str, tell: Tell) -> tuple[Split, str]:
    """The images to judge by, and what they are called."""
    from edgenas.tasks.cutting import check_splits, cut
    from edgenas.tasks.splits import together

    own = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    there = [held for held in own.values() if held is not None]
    if split is None and dataset.test is not None:
        split = "test"
    elif split is None and dataset.val is not None:
        split = "val"
        tell(
            f"warning: {data} has no test images, so its {len(dataset.val)} validation images ({dataset.origin.sources['val']}) "
            "are judged: a search or a training on this data has chosen by them, and the figures may flatter the network"
        )
    elif split is None:
        split = "all"
        tell(
            f"warning: all {len(dataset.train)} images of {data} are judged: if the network was trained on them, this is no "
            "test: --split test takes the fifth of them that no search and no training sees"
        )
    if split == "all":
        return together(there), "all"
    if own[split] is not None and (split != "train" or len(there) == len(own)):
        return own[split], split  # type: ignore[return-value]  # mypy does not narrow what is indexed
    check_splits(dataset, data)
    parts, origin, _ = cut(dataset, seed)
    tell(f"{split}: {origin.sources[split]}")
    return parts[("train", "val", "test").index(split)], split


def _labels(images: Split, classes: Sequence[str], known: Sequence[str], data: str, tell: Tell) -> NDArray[np.int64]:
    """(N,): the images' classes by the network's numbers. DataError where one is none of its classes."""
    if unknown := [name for name in classes if name not in known]:
        some = ", ".join(unknown[:5]) + (", .." if len(unknown) > 5 else "")
        wanted = ", ".join(known[:10]) + (", .." if len(known) > 10 else "")
        raise DataError(
            f"{data} has images of {some}, which this network does not know: its classes are {wanted}: name its class folders "
            "so, or move the others out"
        )
    if lacking := [name for name in known if name not in classes]:
        some = ", ".join(lacking[:5]) + (", .." if len(lacking) > 5 else "")
        tell(f"warning: {data} has no images of {some}: the figures are over the other {len(classes)} classes")
    places = np.array([known.index(name) for name in classes], dtype=np.int64)
    labels: NDArray[np.int64] = places[images.labels]
    return labels


def _predicted(bundle: Bundle, precision: Precision, images: Split) -> NDArray[np.int64]:
    """(N,): the class with the largest output, of the file of this precision."""
    how, uint8 = bundle.manifest.preprocessing, bundle.manifest.input == "uint8"
    found = []
    with open_runtime("onnxruntime", bundle.path(precision), precision) as runtime:
        (output,) = runtime.outputs
        for start in range(0, len(images), LARGEST_BATCH):
            pixels = pad(images.images[start : start + LARGEST_BATCH], how.padding)
            outputs = run_in_batches(runtime, network_input(pixels, how, uint8=uint8))[output]
            found.append(outputs.argmax(1))
    return np.concatenate(found).astype(np.int64)
