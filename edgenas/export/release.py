"""Trained network -> bundle: every precision built, proved, scored and timed; those that pass are written, one is chosen."""

from __future__ import annotations

import hashlib
import importlib.metadata
import platform
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edgenas import __version__
from edgenas.bundle import (
    GOLDEN,
    MODEL_FILES,
    PARITY,
    Bundle,
    CalibrationImages,
    Manifest,
    Model,
    Parity,
    Score,
    artifact_from_onnx,
    check_destination,
    golden_file,
    write_bundle,
)
from edgenas.errors import EdgenasError, ParityError
from edgenas.export.child import outputs_in_child
from edgenas.export.choice import chosen_precision, measured_latencies, predicted_latencies
from edgenas.export.faces import RAW, FaceParity, RawFaces, check_face_parity, face_parity, with_face_input
from edgenas.export.onnx import describe, onnx_from_network
from edgenas.export.parity import check_parity, parity_cases
from edgenas.export.precision import half_from_onnx, int8_from_onnx, with_uint8_input
from edgenas.hardware.measure import Timing
from edgenas.identity import canonical_json
from edgenas.preprocessing import input_from_pixels
from edgenas.records import Architecture, Artifact, HardwareProfile, Precision, Preprocessing
from edgenas.runtimes import LARGEST_BATCH
from edgenas.tasks.faces import raw_pixels

if TYPE_CHECKING:
    from torch import nn

    from edgenas.tasks import Task

PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "int8")
TIMING = Timing(seconds=1.0)
FACES = "faces.json"  # what each precision does to verification
RECORDED_SHARE, RECORDED_IMAGES = 0.2, 2  # points and images by which a score may differ from the recorded one
HALF_DROP = 0.2  # points of TAR that a recogniser may lose in float16
CALIBRATION_IMAGES, GOLDEN_IMAGES, SCORING_BATCH = 512, 8, 256


@dataclass(frozen=True)
class Trained:
    """A trained network and what is to be said of it. `score`: of the task's metric on validation, as the training noted it."""

    network: nn.Module
    architecture: Architecture
    task: Task
    profile: HardwareProfile
    data: str
    recipe: str = ""
    data_license: str = ""
    score: float | None = None


@dataclass(frozen=True)
class Wishes:
    """What the bundle is to hold. `auto` = keep every precision that passes and choose the fastest.

    `reduce_range`: INT8 weights of 7 bits.
    """

    precisions: tuple[Precision, ...] = ("fp32",)
    auto: bool = False
    uint8: bool = False
    max_drop: float = 0.5  # points
    reduce_range: bool = False
    timing: Timing = TIMING


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
    outputs: NDArray[np.float32]  # of the validation split

    @property
    def content(self) -> bytes:
        return bytes(self.model.SerializeToString(deterministic=True))


def bundle_from_trained(folder: Path, trained: Trained, wishes: Wishes) -> Bundle:
    """The bundle in `folder`, of every precision that passes; what was asked for and does not is in the manifest's `left_out`.

    ParityError, and nothing written, where FP32 does not pass (the others are judged by it) or nothing that was asked for.
    """
    check_destination(folder)
    if wishes.uint8 and trained.task.name == "faces":
        raise EdgenasError("a recogniser takes float32 RGB as face software feeds it: leave out --input uint8")
    notes: list[str] = []
    built, left_out = _build_all(trained, wishes)
    notes += [f"{precision} is left out: {reason}" for precision, reason in left_out.items() if wishes.auto]
    models = {b.precision: b for b in built}
    latencies = measured_latencies({b.precision: b.content for b in built}, wishes.timing)
    predicted = predicted_latencies(trained.profile, trained.architecture, tuple(models), notes)
    every = {p: tuple(x[p] for x in (latencies, predicted) if p in x) for p in models}
    asked = PRECISIONS if wishes.auto else tuple(p for p in wishes.precisions if p in models)
    chosen = chosen_precision(asked, predicted or latencies, notes) if wishes.auto else asked[0]
    files = {MODEL_FILES[b.precision]: b.content for b in built}
    files[GOLDEN] = golden_file({"inputs": _golden_inputs(trained, wishes), **{b.precision: b.golden for b in built}})
    files[PARITY] = canonical_json(tuple(b.parity for b in built))
    if trained.task.name == "faces":
        files[FACES] = canonical_json(tuple(_face_parity(trained, b, built[0]) for b in built))
    manifest = Manifest(
        name=bundle_name(folder),
        task="faces" if trained.task.name == "faces" else "classification",
        architecture=trained.architecture,
        fingerprint=trained.architecture.fingerprint,
        input="uint8" if wishes.uint8 else "float32",
        preprocessing=_preprocessing(trained.task),
        labels=trained.task.classes if trained.task.name == "classification" else (),
        models={p: Model(_artifact(b), (b.score,), every[p], b.calibration, b.weight_bits) for p, b in models.items()},
        chosen_precision=chosen,
        profile=trained.profile.name,
        data=trained.data,
        data_license=trained.data_license,
        recipe=trained.recipe,
        notes=tuple(notes),
        versions=versions(),
        left_out=left_out,
    )
    return write_bundle(folder, manifest, files)


def bundle_name(folder: Path) -> str:
    """The name under which the model is served."""
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", folder.absolute().name).strip("-.") or "model"


def versions() -> dict[str, str]:
    """What the bundle was made with."""
    names = ("torch", "onnx", "numpy", "onnxconverter-common")
    import onnxruntime

    found = {name: importlib.metadata.version(name) for name in names}
    return {
        "edgenas": __version__,
        "python": platform.python_version(),
        "onnxruntime": onnxruntime.__version__,
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
        opset=profile.onnx_opset,
        ir=profile.onnx_ir,
        input_shape=(shape.channels, shape.input_size, shape.input_size),
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
            _check_drop(trained, one, built[0], wishes.max_drop)
        except ParityError as error:
            left_out[precision] = str(error)
            continue
        built.append(one)
    if not wishes.auto and set(wishes.precisions) <= set(left_out):
        raise ParityError("; ".join(left_out.values()))
    return built, left_out


def check_recorded(trained: Trained, score: Score) -> None:
    """EdgenasError where the exported FP32 file scores otherwise than the weights did when they were trained.

    Another device or library rounds otherwise, which may turn images that lie on the edge: 2, or .2 % of them.
    """
    if trained.score is None:
        return
    allowed = max(RECORDED_SHARE, 100 * RECORDED_IMAGES / score.n)
    if abs(score.value - trained.score) > allowed + 1e-9:
        raise EdgenasError(
            f"these weights give {score.value:.2f} % {score.metric} on validation, {trained.score:.2f} % were recorded when they "
            "were trained: they, or the data, are not what they were: restore them, or run `edgenas train` again"
        )


def _build(trained: Trained, wishes: Wishes, precision: Precision, plain: onnx.ModelProto) -> Built:
    task, calibration, weight_bits = trained.task, None, None
    model = plain
    if precision == "fp16":
        model = half_from_onnx(plain)
    elif precision == "int8":
        pixels = task.train.images[calibration_indices(len(task.train))]
        images = input_from_pixels(pixels, task.preprocessing)
        stored = trained.profile.runtime == "onnxruntime"
        model = int8_from_onnx(plain, images, stored=stored, reduce_range=wishes.reduce_range)
        calibration, weight_bits = CalibrationImages(len(images), "train"), 7 if wishes.reduce_range else 8
    network, preprocessing, shown = trained.network, _preprocessing(task), task.val.images[:LARGEST_BATCH]
    if task.name == "faces":
        model, network, shown = (
            with_face_input(model, trained.architecture),
            RawFaces(trained.network, trained.architecture),
            raw_pixels(shown),
        )
    elif wishes.uint8:
        model = with_uint8_input(model, preprocessing)
    describe(model, {"precision": precision})
    cases = parity_cases(preprocessing, shown, uint8=wishes.uint8)
    parity = check_parity(network, model, precision, cases, preprocessing)
    score, golden, outputs = _score(trained, wishes, model)
    return Built(precision, model, parity, score, calibration, weight_bits, golden, outputs)


def _preprocessing(task: Task) -> Preprocessing:
    """What stands between an image and the file: a recogniser takes raw aligned pixels and does the rest itself."""
    return RAW if task.name == "faces" else task.preprocessing


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
    batches = [_inputs(task, val.images[i : i + SCORING_BATCH], wishes) for i in range(0, len(val), SCORING_BATCH)]
    results = outputs_in_child(model, [_golden_inputs(trained, wishes), *batches])
    outputs = np.concatenate([result[name] for result in results[1:]])
    scores = task.scores(torch.from_numpy(outputs), torch.from_numpy(val.labels))
    score = Score(task.metric, scores[task.metric], "validation", len(val), f"onnxruntime {versions()['onnxruntime']}")
    return score, results[0][name], outputs


def _golden_inputs(trained: Trained, wishes: Wishes) -> NDArray[Any]:
    """Validation images; for faces seeded noise, since a bundle must not carry anybody's face."""
    images = trained.task.val.images[:GOLDEN_IMAGES]
    if trained.task.name == "faces":
        images = np.random.default_rng(0).integers(0, 256, (GOLDEN_IMAGES, *images.shape[1:]), dtype=np.uint8)
    return _inputs(trained.task, images, wishes)


def _inputs(task: Task, images: NDArray[np.uint8], wishes: Wishes) -> NDArray[Any]:
    if task.name == "faces":
        return input_from_pixels(raw_pixels(images), RAW)
    return images if wishes.uint8 else input_from_pixels(images, task.preprocessing)


def _face_parity(trained: Trained, built: Built, full: Built) -> FaceParity:
    far: float = getattr(trained.task, "far")  # noqa: B009  (what a face task has beyond the protocol)
    return face_parity(built.precision, full.outputs, built.outputs, trained.task.val.labels, far)


def _check_drop(trained: Trained, built: Built, full: Built, max_drop: float) -> None:
    if trained.task.name == "faces":
        allowed = min(HALF_DROP, max_drop) if built.precision == "fp16" else max_drop
        check_face_parity(_face_parity(trained, built, full), allowed)
        return
    drop = full.score.value - built.score.value
    if drop > max_drop + 1e-9:
        raise ParityError(
            f"{built.precision} loses {drop:.2f} points of {built.score.metric} on {built.score.n} validation images "
            f"({full.score.value:.2f} -> {built.score.value:.2f}), --max-drop is {max_drop:g}: leave it out or allow more"
        )


def _metadata(trained: Trained) -> dict[str, str]:
    task = trained.task
    return {
        "task": task.name,
        "classes": canonical_json(task.classes if task.name == "classification" else ()).decode(),
        "preprocessing": _preprocessing(task).canonical_json().decode(),
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
