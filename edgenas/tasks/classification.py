"""Image classification: data sets by name or a folder of class folders; cross-entropy; top-1 accuracy."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from edgenas.confusion import (
    METRICS,
    chance_of,
    confusion_of,
    document_of_confusion,
    macro_f1_interval,
    scores_of_confusion,
)
from edgenas.errors import DataError
from edgenas.preprocessing import pad
from edgenas.records import ACCURACY, Balance, Classes, Metric, Preprocessing, Recipe, TaskKind
from edgenas.tasks import Loading, Split, TaskSettings
from edgenas.tasks.cutting import check_splits, cut, published, resized
from edgenas.tasks.datasets import DataSet
from edgenas.tasks.facts import DataFacts, facts_of
from edgenas.tasks.mapped import Images, MappedImages, mean_and_std_of_records

COUNTED = 1024  # images at once


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
    metric: Metric = ACCURACY
    balance: Balance = "none"  # what recipes do that do not say it themselves
    cut_here: bool = False  # are the validation images a random part of the training images, and not given

    name = "classification"
    kind: ClassVar[TaskKind] = "classification"
    default_loss = "cross-entropy"

    @property
    def chance(self) -> float:
        """The most that an answer scores which does not look at the image: 1 / classes where they are balanced."""
        return chance_of(self.metric.name, np.bincount(self.val.labels, minlength=len(self.classes)))

    @property
    def head(self) -> Classes:
        return Classes(len(self.classes))

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        if width not in (None, len(self.classes)):
            raise DataError(f"a network of {width} outputs cannot learn {len(self.classes)} classes")
        if recipe.loss != "cross-entropy":
            raise DataError(f"loss {recipe.loss!r} is not for classification: cross-entropy")
        return CrossEntropy(recipe.label_smoothing, self._weights() if recipe.balance == "weights" else None)

    def _weights(self) -> Tensor:
        """(classes,): one over each class's images, 1 on the average over all training images."""
        counts = np.bincount(self.train.labels, minlength=len(self.classes))
        return torch.from_numpy(len(self.train) / ((counts > 0).sum() * np.maximum(counts, 1))).float()

    def scores(self, outputs: Tensor, labels: Tensor) -> dict[str, float]:
        """accuracy, balanced accuracy and macro-F1 (percent), and cross-entropy of logits (N, classes)."""
        counts = self._confusion(outputs, labels)
        found = {**scores_of_confusion(counts), "loss": F.cross_entropy(outputs.float(), labels).item()}
        if self.metric.name == "macro_f1":  # only there: it is drawn, which takes its time
            found["macro_f1_low"], found["macro_f1_high"] = macro_f1_interval(counts)
        return found

    def report(self, outputs: Tensor, labels: Tensor) -> dict[str, Any]:
        """The scores, the accuracy within each class (percent), and what `document_of_confusion` has."""
        hits = (outputs.argmax(1) == labels).cpu().numpy()
        truth = labels.cpu().numpy()
        per_class = {name: 100 * float(hits[truth == label].mean()) for label, name in enumerate(self.classes)}
        document = document_of_confusion(self._confusion(outputs, labels), self.classes)
        return {**document, **self.scores(outputs, labels), "per_class": per_class}

    def _confusion(self, outputs: Tensor, labels: Tensor) -> NDArray[np.int64]:
        return confusion_of(labels.cpu().numpy(), outputs.argmax(1).cpu().numpy(), len(self.classes))


class CrossEntropy(nn.Module):
    """(logits (N, classes), labels (N,)) -> (mean loss, number correct). `weights` (classes,): of each class's images."""

    weights: Tensor | None

    def __init__(self, label_smoothing: float, weights: Tensor | None = None) -> None:
        super().__init__()
        self.label_smoothing = label_smoothing
        self.register_buffer("weights", weights, persistent=False)

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        if self.weights is None:
            loss = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        else:  # torch's own weights would divide by those of the batch, and do nothing where it holds one class
            each = F.cross_entropy(logits, labels, label_smoothing=self.label_smoothing, reduction="none")
            loss = (each * self.weights[labels]).mean()
        with torch.no_grad():
            return loss, (logits.argmax(1) == labels).sum()


def load_classification(settings: TaskSettings, loading: Loading | None = None) -> Classification:
    """The task of a known data set or a folder, with all its training images; those of a folder in the cache of `loading`."""
    return classification_from_dataset(published(settings, loading or Loading()), settings)


def classification_from_dataset(dataset: DataSet, settings: TaskSettings) -> Classification:
    """Split (validation by the study's seed, a missing test split by a fixed one), pad, and measure mean and deviation."""
    if settings.metric not in METRICS:
        raise DataError(f"metric {settings.metric!r} is not for classification: {', '.join(METRICS)} are possible")
    dataset = resized(dataset, settings.image_size, settings.fit)
    check_splits(dataset, settings.data)
    (train, val, test), origin, copies = cut(dataset, settings.seed)
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
        metric=METRICS[settings.metric],
        balance=settings.balance,
        cut_here=dataset.val is None,
    )


def _padded(split: Split, padding: int) -> Split:
    return replace(split, images=pad(split.images[:], padding)) if padding else split


def mean_and_std(images: Images) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Per channel, of 0..1 pixels, six decimals, so that a manifest repeats them exactly; a constant channel keeps std 1."""
    mean, std = mean_and_std_of_records(images) if isinstance(images, MappedImages) else _mean_and_std(images)
    return tuple(round(float(m), 6) for m in mean), tuple(round(float(s), 6) if s > 1e-6 else 1.0 for s in std)


def _mean_and_std(images: NDArray[np.uint8]) -> tuple[list[float], list[float]]:
    counts = np.zeros((images.shape[-1], 256), np.int64)
    for start in range(0, len(images), COUNTED):  # NumPy counts in eight bytes a pixel
        part = images[start : start + COUNTED]
        counts += np.stack([np.bincount(part[..., c].ravel(), minlength=256) for c in range(images.shape[-1])])
    shares = counts / counts.sum(1, keepdims=True)
    values = np.arange(256) / 255
    mean = shares @ values
    std = np.sqrt(np.maximum((shares * (values - mean[:, None]) ** 2).sum(1), 0))
    return mean.tolist(), std.tolist()
