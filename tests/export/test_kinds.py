"""Bundles of tasks of another package: what they hold, and the bars that they pass, in the metric's own unit and direction."""

from __future__ import annotations

import atexit
import contextlib
import dataclasses
import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, get_args

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.bundle import Bundle, Score, read_bundle
from edgenas.errors import EdgenasError, ParityError
from edgenas.export.kinds import Built, check_drop, drop_allowed
from edgenas.export.release import KINDS, Trained, Wishes, bundle_from_trained, check_recorded
from edgenas.hardware.measure import SEARCH
from edgenas.hardware.profile import profile_from_name
from edgenas.preprocessing import input_from_pixels
from edgenas.records import ACCURACY, Metric, TaskKind
from edgenas.runtimes.onnx_session import open_session
from edgenas.serve.kinds import ROUTES
from edgenas.tasks.checks import checked_task
from tests.angle import trained_angle
from tests.trained_digits import digits, trained_digits

MAE = Metric("mae", unit="deg", better="lower", max_drop=0.5)


def trained() -> Trained:
    network, architecture, task = trained_angle()
    return Trained(network, architecture, task, profile_from_name("host-cpu"), data="lines")


@functools.cache
def angle_bundle() -> Bundle:
    folder = Path(tempfile.mkdtemp(prefix="edgenas-tests-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return bundle_from_trained(folder / "angle", trained(), Wishes(("fp32", "fp16", "int8"), timing=SEARCH))


def test_a_bundle_of_an_own_task_holds_every_precision_and_says_what_its_outputs_are() -> None:
    bundle = read_bundle(angle_bundle().folder)
    manifest = bundle.manifest
    assert (manifest.task, manifest.kind, manifest.metric, manifest.labels) == ("angle", "generic", MAE, ())
    assert set(manifest.models) == {"fp32", "fp16", "int8"}
    for precision, model in manifest.models.items():
        assert [value.name for value in onnx.load(bundle.path(precision)).graph.output] == ["outputs"]
        (score,) = model.scores
        assert (score.metric, score.n) == ("mae", 200)
        assert score.value < 5.0  # degrees; chance is 28.6


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_each_file_scores_what_its_manifest_says(precision: Any) -> None:
    bundle = angle_bundle()
    _, _, task = trained_angle()
    with open_session(bundle.path(precision)) as runtime:
        inputs = input_from_pixels(task.val.images, bundle.manifest.preprocessing)
        outputs = np.concatenate([runtime.run({"image": inputs[i : i + 50]})["outputs"] for i in range(0, 200, 50)])
    error = np.degrees(np.abs(outputs[:, 0] - task.val.labels).mean())
    assert bundle.manifest.models[precision].scores[0].value == pytest.approx(error, abs=1e-3)


def test_pixels_of_a_camera_go_into_a_generic_bundle_too(tmp_path: Path) -> None:
    wishes = Wishes(("fp32",), uint8=True, timing=SEARCH)
    bundle = bundle_from_trained(tmp_path / "camera", trained(), wishes)
    (shape,) = bundle.manifest.models["fp32"].artifact.inputs.values()
    assert shape == ("batch", 16, 16, 1)


@pytest.mark.parametrize(
    ("metric", "full", "reduced", "most", "complaint"),
    [
        (MAE, 3.0, 3.5, 0.5, ""),
        (MAE, 3.0, 3.51, 0.5, "int8 loses 0.51 deg of mae on 9 validation images (3 deg -> 3.51 deg), --max-drop is 0.5"),
        (MAE, 3.0, 1.0, 0.0, ""),  # a smaller error is no loss
        (ACCURACY, 97.0, 96.5, 0.5, ""),
        (ACCURACY, 97.0, 96.49, 0.5, "int8 loses 0.51 points of accuracy on 9 validation images (97.00 -> 96.49), --max"),
        (Metric("r2", unit=""), 0.9, 0.8, 0.05, "int8 loses 0.1 of r2 on 9 validation images (0.9 -> 0.8), --max"),
    ],
)  # fmt: skip
def test_a_precision_may_be_worse_by_so_much_in_the_metrics_own_direction(
    metric: Metric, full: float, reduced: float, most: float, complaint: str
) -> None:
    scores = [Score(metric.name, value, "validation", 9, "onnxruntime") for value in (full, reduced)]
    with contextlib.nullcontext() if not complaint else pytest.raises(ParityError) as caught:
        check_drop(metric, "int8", scores[0], scores[1], most)
    assert not complaint or complaint in str(caught.value)


@pytest.mark.parametrize(
    ("metric", "images", "asked", "allowed"),
    [
        (ACCURACY, 200, None, 0.5),  # one image of 200
        (ACCURACY, 197, None, 100 / 197),  # half a point is less than one
        (ACCURACY, 10_000, None, 0.5),
        (ACCURACY, 197, 0.2, 0.2),  # as asked
        (MAE, 9, None, 0.5),  # degrees are no share of the images
    ],
)
def test_a_file_may_lose_half_a_point_and_not_less_than_one_image(
    metric: Metric, images: int, asked: float | None, allowed: float
) -> None:
    assert drop_allowed(metric, images, asked) == pytest.approx(allowed)


@pytest.mark.parametrize(
    ("images", "changed", "taken"),
    [(10, 1, True), (10, 2, False), (64, 1, True), (64, 2, False), (100, 2, False), (300, 3, True), (300, 4, False)],
)
def test_fp16_names_the_class_of_fp32_for_99_of_100_images_or_all_but_one(
    images: int, changed: int, taken: bool
) -> None:
    """By its outputs for the validation split, though it scores no worse: all labels are of a third class."""
    wanted = np.repeat([[1.0, 0.999, 0.0]], images, axis=0).astype(np.float32)
    reduced = wanted.copy()
    reduced[:changed] = [0.999, 1.0, 0.0]
    score = Score("accuracy", 0.0, "validation", images, "onnxruntime")
    for precision in ("fp16", "int8"):  # which has no such bar
        full, built = (
            Built(name, onnx.ModelProto(), None, score, None, None, outputs[:1], outputs)  # type: ignore[arg-type]  # no parity
            for name, outputs in (("fp32", wanted), (precision, reduced))
        )
        fine = taken or precision == "int8"
        with (
            contextlib.nullcontext()
            if fine
            else pytest.raises(ParityError, match=f"for {changed} of {images} validation")
        ):
            KINDS["classification"].check(digits(), built, full, None)


def test_one_image_lost_is_no_complaint_and_two_are() -> None:
    most = drop_allowed(ACCURACY, 197, None)
    scores = [Score("accuracy", 100 * right / 197, "validation", 197, "onnxruntime") for right in (157, 156, 155)]
    check_drop(ACCURACY, "int8", scores[0], scores[1], most)
    with pytest.raises(ParityError, match=r"loses 1\.02 points of accuracy on 197 .* --max-drop is 0\.508"):
        check_drop(ACCURACY, "int8", scores[0], scores[2], most)


@pytest.mark.parametrize(("asked", "left_out"), [(None, True), (100.0, False)])
def test_the_metrics_own_bar_holds_where_no_other_is_asked_for(
    asked: float | None, left_out: bool, tmp_path: Path
) -> None:
    """A bar below zero, which no file reaches."""
    before = trained()
    strict = type("Strict", (type(before.task),), {"metric": msgspec.structs.replace(MAE, max_drop=-50.0)})
    parts: Any = before.task
    task = strict(**{field.name: getattr(parts, field.name) for field in dataclasses.fields(parts)})
    wishes = Wishes(("fp32", "fp16"), max_drop=asked, timing=SEARCH)
    bundle = bundle_from_trained(tmp_path / "out", dataclasses.replace(before, task=task), wishes)
    assert (set(bundle.manifest.left_out) == {"fp16"}) is left_out


@pytest.mark.parametrize(("now", "taken"), [(3.03, True), (2.97, True), (3.04, False), (2.96, False)])
def test_a_score_that_is_no_percentage_may_differ_from_the_recorded_one_by_a_hundredth(now: float, taken: bool) -> None:
    score = Score("mae", now, "validation", 200, "onnxruntime")
    with contextlib.nullcontext() if taken else pytest.raises(EdgenasError, match=r"3 deg were recorded"):
        check_recorded(dataclasses.replace(trained(), score=3.0), score)


def test_an_own_task_of_the_kind_classification_keeps_its_labels(tmp_path: Path) -> None:
    network, architecture, task = trained_digits()
    own = type("Numerals", (type(task),), {"name": "numerals"})
    parts: Any = task
    other = checked_task(own(**{field.name: getattr(parts, field.name) for field in dataclasses.fields(parts)}))
    own_trained = Trained(network, architecture, other, profile_from_name("host-cpu"), data="digits")
    bundle = bundle_from_trained(tmp_path / "numerals", own_trained, Wishes(timing=SEARCH))
    assert (bundle.manifest.task, bundle.kind, bundle.manifest.labels) == ("numerals", "classification", task.classes)


def test_every_kind_is_exported_and_served() -> None:
    assert set(KINDS) == set(ROUTES) == set(get_args(TaskKind))
