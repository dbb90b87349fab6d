"""Trained network -> bundle: every precision built, proved, scored and timed; those that pass are written, one is chosen."""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import platform
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenas.binomial import Interval, wilson
from edgenas.bundle import (
    CARD,
    GOLDEN,
    MODEL_FILES,
    PARITY,
    Bundle,
    CalibrationImages,
    Manifest,
    Model,
    Score,
    artifact_from_onnx,
    check_destination,
    write_bundle,
)
from edgenas.bundle_contents import golden_file
from edgenas.errors import EdgenasError, ParityError
from edgenas.export.card import model_card
from edgenas.export.child import outputs_in_child
from edgenas.export.choice import chosen_precision, measured_latencies, predicted_latencies
from edgenas.export.faces import FACES
from edgenas.export.image_metadata import describe_image
from edgenas.export.kinds import CLASSIFICATION, GENERIC, Built, BundleKind
from edgenas.export.onnx import OLDEST_IR, check_versions, describe, onnx_from_network, with_fixed_batch
from edgenas.export.parity import check_parity, parity_cases
from edgenas.export.precision import half_from_onnx, int8_from_onnx, with_uint8_input
from edgenas.hardware.measure import Timing
from edgenas.identity import canonical_json
from edgenas.image_sizes import ImageSize, square_side
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Architecture, Artifact, HardwareProfile, Metric, Precision, TaskKind
from edgenas.runtimes import LARGEST_BATCH, stores_int8
from edgenas.version import __version__

if TYPE_CHECKING:
    from torch import nn

    from edgenas.tasks import Task

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
TIMING = Timing(seconds=1.0)
KINDS: dict[TaskKind, BundleKind] = {"classification": CLASSIFICATION, "faces": FACES, "generic": GENERIC}
RECORDED_SHARE, RECORDED_IMAGES = 0.2, 2  # points and images by which a score may differ from the recorded one
RECORDED_PART = 0.01  # of a score that is no percentage, by which it may
CALIBRATION_IMAGES, GOLDEN_IMAGES, SCORING_BATCH = 512, 8, 256
SCORING_SIDE, SMALLEST_BATCH, SCORED_AT_ONCE = 64, 16, 5120  # px, and images: larger ones are scored in smaller batches


@dataclass(frozen=True)
class Trained:
    """A trained network and what is to be said of it. `score`: of the task's metric on validation, as the training noted it;
    `seeds`: how many trainings it is the best of."""

    network: nn.Module
    architecture: Architecture
    task: Task
    profile: HardwareProfile
    data: str
    recipe: str = ""
    data_license: str = ""
    score: float | None = None
    notes: tuple[str, ...] = ()  # for the bundle
    seeds: int | None = None

    @property
    def kind(self) -> BundleKind:
        return KINDS[self.task.kind]


@dataclass(frozen=True)
class Wishes:
    """What the bundle is to hold. `auto` = keep every precision that passes and choose the fastest.

    `batch`: how many images every file takes at a time; None: any number. `opset`: None for the profile's; another one comes
    with the oldest IR that holds it. `reduce_range`: INT8 weights of 7 bits. `max_drop`: by how much a precision may score worse
    than FP32, in the metric's unit; None: as is usual for its kind of task.
    """

    precisions: tuple[Precision, ...] = ("fp32",)
    auto: bool = False
    uint8: bool = False
    max_drop: float | None = None
    reduce_range: bool = False
    timing: Timing = TIMING
    batch: int | None = None
    opset: int | None = None

    def __post_init__(self) -> None:
        if self.batch is not None and not 1 <= self.batch <= LARGEST_BATCH:
            raise EdgenasError(f"a batch of {self.batch} images was asked for: possible are 1 to {LARGEST_BATCH}")
        if self.opset is not None:
            check_versions(self.opset, OLDEST_IR.get(self.opset, 0))


def bundle_from_trained(folder: Path, trained: Trained, wishes: Wishes) -> Bundle:
    """The bundle in `folder`, of every precision that passes; what was asked for and does not is in the manifest's `left_out`.

    ParityError, and nothing written, where FP32 does not pass (the others are judged by it) or nothing that was asked for.
    """
    check_destination(folder)
    kind, task = trained.kind, trained.task
    if wishes.uint8 and kind.uint8:
        raise EdgenasError(kind.uint8)
    notes = list(trained.notes)
    built, left_out = _build_all(trained, wishes)
    notes += [f"{precision} is left out: {reason}" for precision, reason in left_out.items() if wishes.auto]
    models = {b.precision: b for b in built}
    batch = wishes.batch or 1
    latencies = measured_latencies({b.precision: b.content for b in built}, wishes.timing, batch)
    predicted = predicted_latencies(trained.profile, trained.architecture, tuple(models), notes, batch)
    every = {p: tuple(x[p] for x in (latencies, predicted) if p in x) for p in models}
    asked = PRECISIONS if wishes.auto else tuple(p for p in wishes.precisions if p in models)
    chosen = chosen_precision(asked, predicted or latencies, notes) if wishes.auto else asked[0]
    files = {MODEL_FILES[b.precision]: b.content for b in built}
    files[GOLDEN] = golden_file({"inputs": _golden_inputs(trained, wishes), **{b.precision: b.golden for b in built}})
    files[PARITY] = canonical_json(tuple(b.parity for b in built))
    files |= kind.files(task, built)
    manifest = Manifest(
        name=bundle_name(folder),
        task=task.name,
        kind=task.kind,
        metric=task.metric,
        architecture=trained.architecture,
        fingerprint=trained.architecture.fingerprint,
        input="uint8" if wishes.uint8 else "float32",
        preprocessing=kind.preprocessing(task),
        labels=kind.labels(task),
        models={p: Model(_artifact(b), (b.score,), every[p], b.calibration, b.weight_bits) for p, b in models.items()},
        chosen_precision=chosen,
        profile=trained.profile.name,
        data=trained.data,
        data_license=trained.data_license,
        recipe=trained.recipe,
        notes=tuple(notes),
        versions=exporting_versions(),
        left_out=left_out,
        batch=wishes.batch,
    )
    card = model_card(manifest, task, built, trained.seeds, datetime.datetime.now(datetime.timezone.utc).date())
    return write_bundle(folder, manifest, {**files, CARD: card.encode()})


def bundle_name(folder: Path) -> str:
    """The name under which the model is served."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.absolute().name).strip("-.") or "model"


def exporting_versions() -> dict[str, str]:
    """What the bundle was made with."""
    names = ("torch", "onnx", "numpy", "onnxconverter-common")
    from edgenas.runtimes.onnx import onnxruntime_module

    found = {name: importlib.metadata.version(name) for name in names}
    return {
        "edgenas": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime_module().__version__,
        **found,
    }


# ---------------------------------------------------------------- building


def _build_all(trained: Trained, wishes: Wishes) -> tuple[list[Built], dict[Precision, str]]:
    """FP32 always, since the others are judged by it, and then what was asked for; with the reasons of those that do not pass."""
    profile = trained.profile
    shape = trained.task.preprocessing
    plain = onnx_from_network(
        trained.network,
        trained.architecture,
        opset=wishes.opset or profile.onnx_opset,
        ir=profile.onnx_ir if wishes.opset in (None, profile.onnx_opset) else OLDEST_IR[wishes.opset],
        input_shape=(shape.channels, *shape.input_sides),
        metadata=_metadata(trained),
    )
    built = [_build(trained, wishes, "fp32", plain)]
    check_recorded(trained, built[0].score)
    left_out: dict[Precision, str] = {}
    for precision in PRECISIONS[1:]:
        if not wishes.auto and precision not in wishes.precisions:
            continue
        try:
            one = _build(trained, wishes, precision, plain)
            trained.kind.check(trained.task, one, built[0], wishes.max_drop)
        except ParityError as error:
            left_out[precision] = str(error)
            continue
        built.append(one)
    if not wishes.auto and set(wishes.precisions) <= set(left_out):
        raise ParityError("; ".join(left_out.values()))
    return built, left_out


def check_recorded(trained: Trained, score: Score) -> None:
    """EdgenasError where the exported FP32 file scores otherwise than the weights did when they were trained.

    Another device or library rounds otherwise, which may turn images that lie on the edge: 2, or .2 % of them; or change a
    score that is no percentage by a hundredth.
    """
    if trained.score is None:
        return
    metric = trained.task.metric
    if abs(score.value - trained.score) > _rounding(metric, trained.score, score.n) + 1e-9:
        raise EdgenasError(
            f"these weights give {metric.words(score.value)} {metric.name} on validation, {metric.words(trained.score)} were "
            "recorded when they were trained: they, or the data, are not what they were: restore them, or remove the file of "
            "weights and run the `edgenas train` that made it again"
        )


def _rounding(metric: Metric, value: float, images: int) -> float:
    """How far a score over so many images may move by rounding, in the metric's unit."""
    if metric.unit == "%":
        return max(RECORDED_SHARE, 100 * RECORDED_IMAGES / images)
    return RECORDED_PART * abs(value)


def _build(trained: Trained, wishes: Wishes, precision: Precision, plain: onnx.ModelProto) -> Built:
    task, calibration, weight_bits = trained.task, None, None
    model = plain
    if precision == "fp16":
        model = half_from_onnx(plain)
    elif precision == "int8":
        pixels = task.train.images[calibration_indices(len(task.train))]
        inputs = input_from_pixels(pixels, task.preprocessing)
        stored = stores_int8(trained.profile.runtime)
        model = int8_from_onnx(plain, inputs, stored=stored, reduce_range=wishes.reduce_range)
        calibration, weight_bits = CalibrationImages(len(inputs), "train"), 7 if wishes.reduce_range else 8
    kind = trained.kind
    preprocessing, images = kind.preprocessing(task), kind.sent(task.val.images[:LARGEST_BATCH])
    model, network = kind.wrapped(model, trained.network, trained.architecture)
    if wishes.uint8:
        model = with_uint8_input(model, preprocessing)
    if wishes.batch is not None:
        model = with_fixed_batch(model, wishes.batch)
    describe(model, {"precision": precision})
    describe_image(model, preprocessing, uint8=wishes.uint8)
    cases = parity_cases(preprocessing, images, uint8=wishes.uint8)
    parity = check_parity(network, model, precision, cases, preprocessing)
    score, golden, outputs = _score(trained, wishes, model)
    return Built(precision, model, parity, score, calibration, weight_bits, golden, outputs)


def calibration_indices(count: int) -> NDArray[np.int64]:
    """Which training images the INT8 scales are taken from: 512 at random, or all."""
    return np.sort(np.random.default_rng(0).permutation(count)[:CALIBRATION_IMAGES])


def _score(
    trained: Trained, wishes: Wishes, model: onnx.ModelProto
) -> tuple[Score, NDArray[np.float32], NDArray[np.float32]]:
    """The task's metric on the whole validation split, golden outputs and those of the split, all through ONNX Runtime."""
    import torch

    task, val = trained.task, trained.task.val
    name = model.graph.output[0].name
    golden, collected = _golden_inputs(trained, wishes), []
    for first, last in _parts(len(val), task.preprocessing.input_size):
        batch = max(SMALLEST_BATCH, SCORING_BATCH // _times_larger(task.preprocessing.input_size))
        batches = [_inputs(trained, val.images[i : min(i + batch, last)], wishes) for i in range(first, last, batch)]
        collected.append(outputs_in_child(model, [golden, *batches]))
    outputs = np.concatenate([result[name] for results in collected for result in results[1:]])
    scores = task.scores(torch.from_numpy(outputs), torch.from_numpy(val.labels))
    metric = task.metric
    runtime = f"onnxruntime {exporting_versions()['onnxruntime']}"
    score = Score(
        metric.name, scores[metric.name], "validation", len(val), runtime, _interval(metric, scores, len(val))
    )
    return score, collected[0][0][name], outputs


def _interval(metric: Metric, scores: Mapping[str, float], images: int) -> Interval | None:
    """Of the metric's value among a task's scores: its own, or of a share of the images the binomial one."""
    low, high = scores.get(f"{metric.name}_low"), scores.get(f"{metric.name}_high")
    if low is not None and high is not None:
        return low, high
    return wilson(scores[metric.name], images) if metric.share else None


def _times_larger(size: ImageSize) -> int:
    """How many times the pixels of an image up to SCORING_SIDE px."""
    return max(1, square_side(size) // SCORING_SIDE) ** 2


def _parts(images: int, size: ImageSize) -> Iterator[tuple[int, int]]:
    """(first, one after the last) of as many images as one child gets: all of a small split, some 250 MB of a large one."""
    part = max(SCORING_BATCH, SCORED_AT_ONCE // _times_larger(size))
    yield from ((first, min(first + part, images)) for first in range(0, images, part))


def _golden_inputs(trained: Trained, wishes: Wishes) -> NDArray[Any]:
    """The images that prove the bundle wherever it is loaded, as the file takes them."""
    return _inputs(trained, trained.kind.shown(trained.task.val.images[:GOLDEN_IMAGES]), wishes)


def _inputs(trained: Trained, images: NDArray[np.uint8], wishes: Wishes) -> NDArray[Any]:
    """(N, H, W, C) at the network's size -> what the file takes."""
    sent = trained.kind.sent(images)
    return sent if wishes.uint8 else input_from_pixels(sent, trained.kind.preprocessing(trained.task))


def _metadata(trained: Trained) -> dict[str, str]:
    task = trained.task
    return {
        "task": task.name,
        "classes": canonical_json(trained.kind.labels(task)).decode(),
        "preprocessing": trained.kind.preprocessing(task).canonical_json().decode(),
        "profile": trained.profile.name,
        "recipe": trained.recipe,
    }


def _artifact(built: Built) -> Artifact:
    content = built.content
    blank = Artifact(
        path=MODEL_FILES[built.precision],
        format="onnx",
        precision=built.precision,
        sha256=hashlib.sha256(content).hexdigest(),
        size_mb=len(content) / 1e6,
        opset=0,
        inputs={},
        outputs={},
    )
    return artifact_from_onnx(built.model, blank)
