"""What a final training reached on the test set, and whether that is better than chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenas.binomial import Interval, Validation
from edgenas.confusion import METRICS, chance_of
from edgenas.engine.scores import best_run, metric_of
from edgenas.engine.verdict import interval_of_runs
from edgenas.records import FinalTraining


def interval_on_test(final: FinalTraining) -> Interval | None:
    """The 95 % interval of the mean over the test set alone: of a share over its images, else as the runs' own intervals have it.
    What another seed changes is not in it. None where it is not known."""
    metric, counts = metric_of(final), confusion_in(final)
    images = final.images.get("test") or (None if counts is None else int(counts.sum()))
    return interval_of_runs([run.test for run in final.runs], metric, images)


def confusion_in(final: FinalTraining) -> NDArray[np.int64] | None:
    """(K, K): true classes in rows, what the network that is exported called them in columns; None where it was not kept."""
    matrix = best_run(final).report.get("confusion")
    return None if matrix is None else np.asarray(matrix, np.int64)


def chance_on_test(final: FinalTraining, validation: Validation | None) -> float | None:
    """What the metric is there without any learning, in its unit: by the test images' classes, else as on validation; None where
    neither is known."""
    metric, counts = metric_of(final), confusion_in(final)
    if counts is not None and metric.name in METRICS:
        return chance_of(metric.name, counts.sum(1))
    return None if validation is None else validation.chance


def is_better_than_chance(final: FinalTraining, validation: Validation | None) -> bool:
    """Does the whole interval on the test set say so?"""
    interval, chance, gain = interval_on_test(final), chance_on_test(final, validation), metric_of(final).gain
    return interval is not None and chance is not None and min(map(gain, interval)) > gain(chance)
