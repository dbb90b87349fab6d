"""Is this a face worth embedding? Every refusal has a name."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np

from edgenas.errors import EdgenasError
from edgenas.faces.alignment import align
from edgenas.faces.detectors import Detector, Face
from edgenas.faces.images import SIDE, Rgb, grey, resized
from edgenas.records import Record

SeveralFaces = Literal["refuse", "largest", "most-central"]


class QualityRules(Record, frozen=True):
    """Bounds of the gate; brightness, contrast and sharpness are of the aligned 112x112 face in grey levels 0..255."""

    min_eyes_px: float = 20.0  # between the eyes, in the original image
    min_side_px: int = 40  # of an image that is a face already
    min_score: float = 0.6  # of the detector
    min_brightness: float = 30.0
    max_brightness: float = 230.0
    min_contrast: float = 12.0  # standard deviation
    min_sharpness: float = 1.5  # mean absolute Laplacian
    max_roll_deg: float = 40.0
    max_yaw: float = 0.45  # nose to the middle between the eyes, in eye distances
    several_faces: SeveralFaces = "refuse"


def quality_rules(several_faces: str) -> QualityRules:
    """The default bounds with a policy for several faces, by name."""
    for policy in get_args(SeveralFaces):
        if policy == several_faces:
            return QualityRules(several_faces=policy)
    raise EdgenasError(f"several faces: {several_faces!r} is unknown; possible: {', '.join(get_args(SeveralFaces))}")


class QualityError(EdgenasError):
    """An image that is refused, with a `reason` for programs and a line for people."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason


def face_from_image(image: Rgb, detector: Detector | None, rules: QualityRules) -> Rgb:
    """(112, 112, 3): the one face in `image`, aligned; without a detector the image itself is taken as the face.

    Raises QualityError with the first reason of: no_face, several_faces, face_too_small, face_cut_off, face_turned,
    too_dark, too_bright, low_contrast, blurred.
    """
    if detector is None:
        if min(image.shape[:2]) < rules.min_side_px:
            raise QualityError(
                "face_too_small",
                f"the image is {image.shape[1]}x{image.shape[0]}, need {rules.min_side_px} pixels a side",
            )
        aligned = resized(image)
    else:
        face = chosen_face(image, detector(image), rules)
        check_pose(image, face, rules)
        aligned = align(image, face.points)
    check_light(aligned, rules)
    return aligned


def chosen_face(image: Rgb, faces: tuple[Face, ...], rules: QualityRules) -> Face:
    """The face that the policy for several faces picks."""
    sure = [face for face in faces if face.score >= rules.min_score]
    if not sure:
        raise QualityError("no_face", "no face was found: look into the camera")
    if len(sure) == 1:
        return sure[0]
    if rules.several_faces == "refuse":
        raise QualityError("several_faces", f"{len(sure)} faces were found: one person at a time")
    if rules.several_faces == "largest":
        return max(sure, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
    middle = np.array([image.shape[1], image.shape[0]]) / 2
    return min(sure, key=lambda face: float(np.linalg.norm(np.asarray(face.points).mean(axis=0) - middle)))


def check_pose(image: Rgb, face: Face, rules: QualityRules) -> None:
    """Raise QualityError where the face is too small, cut off, upside down or turned away."""
    points = np.asarray(face.points, np.float64)
    eyes = points[1] - points[0]
    distance = float(np.linalg.norm(eyes))
    if distance < rules.min_eyes_px:
        raise QualityError(
            "face_too_small", f"{distance:.0f} pixels between the eyes, need {rules.min_eyes_px:g}: come closer"
        )
    height, width = image.shape[:2]
    if (points < 0).any() or (points[:, 0] >= width).any() or (points[:, 1] >= height).any():
        raise QualityError("face_cut_off", "eyes, nose or mouth lie outside the image")
    down = points[3:].mean(axis=0) - points[:2].mean(axis=0)  # eyes to mouth
    # Where a detector's eyes and mouth corners are sorted from left to right, an upside-down face has no roll.
    if eyes[0] * down[1] - eyes[1] * down[0] <= 0:
        raise QualityError("face_turned", "the face is upside down: turn the camera or the image")
    roll = abs(float(np.degrees(np.arctan2(eyes[1], eyes[0]))))
    yaw = abs(float((points[2] - (points[0] + points[1]) / 2) @ eyes)) / distance**2
    if roll > rules.max_roll_deg or yaw > rules.max_yaw:
        raise QualityError("face_turned", f"rolled {roll:.0f} degrees, turned {yaw:.2f}: look straight into the camera")


def check_light(aligned: Rgb, rules: QualityRules) -> None:
    """Raise QualityError where an aligned face is too dark, too bright, flat or blurred."""
    luma = grey(aligned)
    brightness, contrast = float(luma.mean()), float(luma.std())
    if brightness < rules.min_brightness:
        raise QualityError("too_dark", f"mean brightness {brightness:.0f} of 255, need {rules.min_brightness:g}")
    if brightness > rules.max_brightness:
        raise QualityError("too_bright", f"mean brightness {brightness:.0f} of 255, at most {rules.max_brightness:g}")
    if contrast < rules.min_contrast:
        raise QualityError(
            "low_contrast", f"standard deviation {contrast:.1f}, need {rules.min_contrast:g}: not a face?"
        )
    inner = luma[1 : SIDE - 1, 1 : SIDE - 1]
    around = luma[:-2, 1:-1] + luma[2:, 1:-1] + luma[1:-1, :-2] + luma[1:-1, 2:]
    sharpness = float(np.abs(around - 4 * inner).mean())
    if sharpness < rules.min_sharpness:
        raise QualityError("blurred", f"sharpness {sharpness:.2f}, need {rules.min_sharpness:g}: hold still")
