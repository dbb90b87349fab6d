"""What a confusion matrix says: accuracy, balanced accuracy, macro-F1 and each class's figures, with their 95 % intervals.

Everything is percent, but for counts. A matrix is (K, K) of counts, true classes in rows, predicted ones in columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.binomial import Interval, wilson
from edgenas.records import ACCURACY, Metric, Record

Counts = NDArray[np.int64]
Sums = NDArray[np.int64] | NDArray[np.float64]

BALANCED_ACCURACY, MACRO_F1 = Metric("balanced_accuracy"), Metric("macro_f1")
METRICS = {metric.name: metric for metric in (ACCURACY, BALANCED_ACCURACY, MACRO_F1)}
DRAWS = 1000  # of the bootstrap
AT_ONCE = 1_000_000  # cells of the matrix times draws of it: 8 MB


class OfClass(Record, frozen=True):
    """One class. `recall`: of its images, those that are called so; `precision`: of those called so, its images, None where no
    image is; `f1`: 2 hits / (images + called so). None where a class has no images."""

    name: str
    images: int
    recall: float | None
    recall_interval: Interval | None
    precision: float | None
    f1: float | None


def confusion_of(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> Counts:
    """(N,), (N,) -> (K, K)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def accuracy(counts: Counts) -> float:
    """The share of the images that are right."""
    return 100 * float(np.trace(counts)) / float(counts.sum())


def balanced_accuracy(counts: Counts) -> float:
    """The mean recall of the classes that have images."""
    images = counts.sum(1)
    return 100 * float((np.diag(counts)[images > 0] / images[images > 0]).mean())


def macro_f1(counts: Counts) -> float:
    """The mean F1 of the classes that have images; 0 for one without a hit."""
    hits, images, called = np.diag(counts)[None], counts.sum(1)[None], counts.sum(0)[None]
    return float(_macro_f1(hits, images, called)[0])


def balanced_accuracy_interval(counts: Counts) -> Interval:
    """From the classes' Wilson intervals, as if their errors were independent, which they are (MOVER; Zou & Donner 2008)."""
    rows = [(100 * hits / images, wilson(100 * hits / images, int(images))) for hits, images in _with_images(counts)]
    middle = balanced_accuracy(counts)
    below = math.sqrt(sum((share - low) ** 2 for share, (low, _) in rows)) / len(rows)
    above = math.sqrt(sum((high - share) ** 2 for share, (_, high) in rows)) / len(rows)
    return max(0.0, middle - below), min(100.0, middle + above)


def macro_f1_interval(counts: Counts, seed: int = 0) -> Interval:
    """The middle 95 % over a bootstrap of the images. Where all are right, or none is, every draw is the same: there macro-F1 and
    balanced accuracy are one figure, whose interval it is."""
    total, hits = int(counts.sum()), int(np.trace(counts))
    if hits in (0, total):
        return balanced_accuracy_interval(counts)
    rng, drawn = np.random.default_rng(seed), []
    rows, columns = np.nonzero(counts)
    cells, right = counts[rows, columns], rows == columns
    block = max(1, AT_ONCE // len(cells))
    for start in range(0, DRAWS, block):
        draws = rng.multinomial(total, cells / total, size=min(block, DRAWS - start))  # (B, cells)
        sums = (
            _sums(draws[:, right], rows[right], len(counts)),
            *(_sums(draws, of, len(counts)) for of in (rows, columns)),
        )
        drawn.append(_macro_f1(*sums))
    low, high = np.percentile(np.concatenate(drawn), (2.5, 97.5))
    figure = macro_f1(counts)  # draws lie lower where classes have few images: their mean is over those that were drawn
    return min(float(low), figure), max(float(high), figure)


def of_classes(counts: Counts, names: Sequence[str]) -> list[OfClass]:
    """In the order of the names."""
    found = []
    for label, name in enumerate(names):
        hits, images, called = (int(n) for n in (counts[label, label], counts[label].sum(), counts[:, label].sum()))
        recall = 100 * hits / images if images else None
        precision = 100 * hits / called if called else None
        f1 = 200 * hits / (images + called) if images else None
        interval = None if recall is None else wilson(recall, images)
        found.append(OfClass(name, images, recall, interval, precision, f1))
    return found


def scores_of_confusion(counts: Counts) -> dict[str, float]:
    """The three metrics; the interval of balanced accuracy as <metric>_low and <metric>_high."""
    low, high = balanced_accuracy_interval(counts)
    return {
        "accuracy": accuracy(counts),
        "balanced_accuracy": balanced_accuracy(counts),
        "balanced_accuracy_low": low,
        "balanced_accuracy_high": high,
        "macro_f1": macro_f1(counts),
    }


def document_of_confusion(counts: Counts, names: Sequence[str]) -> dict[str, Any]:
    """All figures with their intervals, each class, and the matrix: JSON values."""
    import msgspec

    return {
        "accuracy": accuracy(counts),
        "accuracy_interval": list(wilson(accuracy(counts), int(counts.sum()))),
        "balanced_accuracy": balanced_accuracy(counts),
        "balanced_accuracy_interval": list(balanced_accuracy_interval(counts)),
        "macro_f1": macro_f1(counts),
        "macro_f1_interval": list(macro_f1_interval(counts)),
        "classes": msgspec.to_builtins(of_classes(counts, names)),
        "confusion": counts.tolist(),
    }


def chance_of(metric: str, counts: NDArray[np.int64]) -> float:
    """The most that an answer scores which does not look at the image, from the images of each class (K,): always the most
    frequent class, and of macro-F1 guessing each class as often as it comes.

    That guess has an expected recall and precision of every class's share, so its F1 is the share, and their mean 1 / classes. No
    other way to guess has more: the sum of 2 p q / (p + q) over the classes is concave in the shares q that are answered, and
    largest at q = p.
    """
    if metric == MACRO_F1.name:
        return 100 / int((counts > 0).sum())
    matrix = np.zeros((len(counts), len(counts)), dtype=np.int64)
    matrix[:, int(counts.argmax())] = counts
    return {"accuracy": accuracy, "balanced_accuracy": balanced_accuracy}[metric](matrix)


def _macro_f1(hits: Sums, images: Sums, called: Sums) -> NDArray[np.float64]:
    """Of B matrices, from the sums of their classes, (B, K) each -> (B,)."""
    there = images > 0
    f1 = 200 * hits / np.maximum(images + called, 1)
    return np.asarray((f1 * there).sum(1) / there.sum(1))


def _sums(draws: Counts, of: NDArray[np.int64], classes: int) -> Sums:
    """(B, cells) of classes `of` (cells,) -> (B, K)."""
    return np.stack([np.bincount(of, weights=each, minlength=classes) for each in draws])


def _with_images(counts: Counts) -> list[tuple[int, int]]:
    """(hits, images) of every class that has images."""
    return [(int(counts[k, k]), int(row.sum())) for k, row in enumerate(counts) if row.sum()]
