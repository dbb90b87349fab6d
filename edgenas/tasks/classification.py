"""Image classification: data sets by name or a folder of class folders; cross-entropy; top-1 accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from edgenas.errors import DataError
from edgenas.preprocessing import pad, scaled
from edgenas.records import ACCURACY, Classes, Fit, Preprocessing, Recipe, TaskKind
from edgenas.tasks import Loading, Split, TaskSettings
from edgenas.tasks.datasets import NAMES, DataSet, load_dataset
from edgenas.tasks.facts import SPLITS, DataFacts, Origin, copies_of, facts_of
from edgenas.tasks.folder import load_folder
from edgenas.tasks.mapped import Images, MappedImages, mean_and_std_of_records
from edgenas.tasks.splits import TEST, VALIDATION, check_labels, part, stratified

SPLIT_VALIDATION, SPLIT_TEST = 1, 2  # separate random streams from one seed


@dataclass(frozen=True)
class Classification:
    """A loaded classification task."""

    train: Split
    val: Split
    test: Split
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    flip: bool
    facts: DataFacts  # of all images, before any subsample

    name = "classification"
    kind: ClassVar[TaskKind] = "classification"
    metric = ACCURACY
    default_loss = "cross-entropy"

    @property
    def chance(self) -> float:
        """What always answering the most frequent class scores: 1 / classes where they are balanced."""
        return 100 * float(np.bincount(self.val.labels).max()) / len(self.val)

    @property
    def head(self) -> Classes:
        return Classes(len(self.classes))

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        if width not in (None, len(self.classes)):
            raise DataError(f"a network of {width} outputs cannot learn {len(self.classes)} classes")
        if recipe.loss != "cross-entropy":
            raise DataError(f"loss {recipe.loss!r} is not for classification: cross-entropy")
        return CrossEntropy(recipe.label_smoothing)

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """accuracy (percent) and cross-entropy of logits (N, classes)."""
        correct = (outputs.argmax(1) == labels).sum().item()
        return {"accuracy": 100 * correct / len(labels), "loss": F.cross_entropy(outputs.float(), labels).item()}

    def report(self, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        """accuracy, loss and the accuracy within each class (percent)."""
        hits = (outputs.argmax(1) == labels).cpu().numpy()
        truth = labels.cpu().numpy()
        per_class = {name: 100 * float(hits[truth == label].mean()) for label, name in enumerate(self.classes)}
        return {**self.scores(outputs, labels), "per_class": per_class}


class CrossEntropy(nn.Module):
    """(logits (N, classes), labels (N,)) -> (mean loss, number correct)."""

    def __init__(self, label_smoothing: float) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        with torch.no_grad():
            return loss, (logits.argmax(1) == labels).sum()


def load_classification(settings: TaskSettings, loading: Loading | None = None) -> Classification:
    """The task of a known data set or a folder, with all its training images; those of a folder in the cache of `loading`."""
    return classification_from_dataset(_published(settings, loading or Loading()), settings)


def classification_from_dataset(dataset: DataSet, settings: TaskSettings) -> Classification:
    """Split (validation by the study's seed, a missing test split by a fixed one), pad, and measure mean and deviation."""
    dataset = _resized(dataset, settings.image_size, settings.fit)
    _check(dataset, settings.data)
    (train, val, test), origin, copies = _split(dataset, settings.seed)
    mean, std = mean_and_std(train.images)
    preprocessing = Preprocessing(train.images.shape[-1], dataset.size, mean, std, dataset.padding, settings.fit)
    facts = facts_of(settings.data, dataset.classes, origin, preprocessing, (train, val, test), copies)
    padded = [_padded(split, dataset.padding) for split in (train, val, test)]
    return Classification(
        train=padded[0],
        val=padded[1],
        test=padded[2],
        classes=dataset.classes,
        preprocessing=preprocessing,
        flip=dataset.flip if settings.flip is None else settings.flip,
        facts=facts,
    )


def _padded(split: Split, padding: int) -> Split:
    return replace(split, images=pad(split.images[:], padding)) if padding else split


def _check(dataset: DataSet, where: str) -> None:
    """Raise DataError for labels that are wrong, or too few images of a class for the splits that are still to be cut."""
    least = 1 + (dataset.val is None) + (dataset.test is None)
    check_labels(dataset.train, dataset.classes, where, least)
    for name, split in (("validation", dataset.val), ("test", dataset.test)):
        if split is not None:
            check_labels(split, dataset.classes, f"{where} ({name})", least=1)


def _split(dataset: DataSet, seed: int) -> tuple[tuple[Split, Split, Split], Origin, list[NDArray[np.int64]]]:
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
            whole = f"the rest of {whole}" if kind == "test" else whole
    parts = (splits["train"], splits["val"], splits["test"])
    return parts, dataset.origin._replace(sources=sources), [copies[kind] for kind in SPLITS]


def _published(settings: TaskSettings, loading: Loading) -> DataSet:
    """A known name is a data set; otherwise an existing folder."""
    folder = Path(settings.data)
    if settings.data not in NAMES and folder.is_dir():
        _check_size(settings.image_size)
        return load_folder(folder, settings, loading)
    if folder.is_file():
        raise DataError(f"data {settings.data!r} is a file: unpack it, and name the folder with the class folders")
    return load_dataset(settings.data, settings.data_dir)


def _check_size(size: int | None) -> None:
    if size is not None and not 8 <= size <= 512:
        raise DataError(f"image size {size} px: 8 to 512 are possible")


def _resized(dataset: DataSet, size: int | None, fit: Fit) -> DataSet:
    """Another image size than the data set's own, by scaling every image; then nothing is padded."""
    if size is None or size == dataset.size:
        return dataset
    _check_size(size)

    def all_scaled(split: Split) -> Split:
        images = np.empty((len(split), size, size, split.images.shape[3]), np.uint8)
        for row, image in enumerate(split.images):
            images[row] = np.asarray(
                scaled(Image.fromarray(image.squeeze(-1) if image.shape[-1] == 1 else image), size, fit)
            ).reshape(images.shape[1:])
        return Split(images, split.labels)

    val, test = (None if split is None else all_scaled(split) for split in (dataset.val, dataset.test))
    return dataset._replace(train=all_scaled(dataset.train), val=val, test=test, size=size, padding=0)


def mean_and_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, of 0..1 pixels, six decimals, so that a manifest repeats them exactly; a constant channel keeps std 1."""
    mean, std = mean_and_std_of_records(images) if isinstance(images, MappedImages) else _mean_and_std(images)
    return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) if s > 1e-6 else 1.0 for s in std)


def _mean_and_std(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    counts = np.stack([np.bincount(images[..., c].ravel(), minlength=256) for c in range(images.shape[-1])])  # (C, 256)
    shares = counts / counts.sum(1, keepdims=True)
    values = np.arange(256) / 255
    mean = shares @ values
    std = np.sqrt(np.maximum((shares * (values - mean[:, None]) ** 2).sum(1), 0))
    return mean.tolist(), std.tolist()
