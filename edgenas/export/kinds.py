"""What differs between the bundles of one kind of task and of another: one value per kind. That of faces is in faces.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from torch import nn

from edgenas.bundle import CalibrationImages, Parity, Score
from edgenas.errors import ParityError
from edgenas.export.parity import BARS
from edgenas.records import Architecture, Metric, Precision, Preprocessing
from edgenas.tasks import Task

Pixels = NDArray[np.uint8]  # (N, H, W, C)
Wrapped = tuple[onnx.ModelProto, nn.Module]


@dataclass(frozen=True)
class Built:
    """One precision that passed."""

    precision: Precision
    model: onnx.ModelProto
    parity: Parity
    score: Score
    calibration: CalibrationImages | None
    weight_bits: int | None
    golden: NDArray[np.float32]
    outputs: NDArray[np.float32]  # (N, n) of the validation split

    @property
    def content(self) -> bytes:
        return bytes(self.model.SerializeToString(deterministic=True))


@dataclass(frozen=True)
class BundleKind:
    """How a kind of task is exported.

    uint8: may the file take a camera's pixels? Where not, why.
    preprocessing: what stands between an image and the file.
    labels: of the file's outputs.
    sent: (N, S, S, C) at the network's size -> pixels as the file is sent them.
    shown: of validation images those that the bundle may carry, as its golden inputs.
    wrapped: file and network, with what stands before the network in the file.
    check: ParityError where a precision scores worse than FP32 by more than was asked for, in the metric's unit; None: by more
    than is usual. A classifier's must also name the same classes (see check_ranks).
    files: more files of the bundle, by name.
    """

    preprocessing: Callable[[Task], Preprocessing] = lambda task: task.preprocessing
    uint8: str = ""
    labels: Callable[[Task], tuple[str, ...]] = lambda _: ()
    sent: Callable[[Pixels], Pixels] = lambda images: images
    shown: Callable[[Pixels], Pixels] = lambda images: images
    wrapped: Callable[[onnx.ModelProto, nn.Module, Architecture], Wrapped] = lambda model, network, _: (model, network)
    check: Callable[[Task, Built, Built, float | None], None] = lambda task, built, full, asked: check_drop(
        task.metric, built.precision, full.score, built.score, drop_allowed(task.metric, full.score.n, asked)
    )
    files: Callable[[Task, Sequence[Built]], dict[str, bytes]] = lambda _task, _built: {}


def drop_allowed(metric: Metric, images: int, asked: float | None) -> float:
    """By how much a file may score worse than FP32: as asked; else by the metric's own, and where that is a share of the images
    by one of these at least. Fewer of 197 are none."""
    if asked is not None:
        return asked
    return max(metric.max_drop, 100 / images) if metric.share else metric.max_drop


def check_drop(metric: Metric, precision: Precision, full: Score, reduced: Score, max_drop: float) -> None:
    """ParityError where the reduced file's score is worse than that of FP32 by more than `max_drop`, in the metric's unit."""
    drop = metric.gain(full.value) - metric.gain(reduced.value)
    if drop <= max_drop + 1e-9:
        return
    if metric.unit == "%":
        loss, values = f"{drop:.2f} points of {metric.name}", f"{full.value:.2f} -> {reduced.value:.2f}"
    else:
        loss, values = (
            f"{metric.words(drop)} of {metric.name}",
            f"{metric.words(full.value)} -> {metric.words(reduced.value)}",
        )
    raise ParityError(
        f"{precision} loses {loss} on {full.n} validation images ({values}), --max-drop is {max_drop:.3g}: leave it out or "
        "allow more"
    )


def check_ranks(precision: Precision, full: NDArray[np.float32], reduced: NDArray[np.float32]) -> None:
    """ParityError where, by its outputs (N, classes) for the validation images, a file names another class than FP32 for more of
    them than its bar allows, and for more than one."""
    least, changed = BARS[precision].top1, int((full.argmax(axis=1) != reduced.argmax(axis=1)).sum())
    if least is not None and changed > max(1, (1 - least) * len(full)):
        raise ParityError(
            f"{precision} names another class than fp32 for {changed} of {len(full)} validation images (allowed: "
            f"{100 * (1 - least):.0f} %, or one): keep this network at a higher precision"
        )


def _check_classes(task: Task, built: Built, full: Built, asked: float | None) -> None:
    check_drop(task.metric, built.precision, full.score, built.score, drop_allowed(task.metric, full.score.n, asked))
    check_ranks(built.precision, full.outputs, built.outputs)


CLASSIFICATION = BundleKind(labels=lambda task: task.classes, check=_check_classes)
GENERIC = BundleKind()
