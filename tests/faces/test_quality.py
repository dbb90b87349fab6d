import numpy as np
import pytest

from edgenas.faces.alignment import TEMPLATE
from edgenas.faces.detectors import Detector, Face
from edgenas.faces.images import Rgb
from edgenas.faces.quality import QualityError, QualityRules, face_from_image

RULES = QualityRules()


def textured(side: int = 200, low: int = 60, high: int = 200) -> Rgb:
    """Blocks of random grey: bright, contrasty and sharp enough."""
    blocks = np.random.default_rng(0).integers(low, high, (side // 8, side // 8), dtype=np.uint8)
    return np.repeat(np.kron(blocks, np.ones((8, 8), np.uint8))[..., None], 3, axis=2)


def face_at(
    x: float, y: float, scale: float = 1.0, degrees: float = 0.0, nose: float = 0.0, score: float = 0.9
) -> Face:
    angle = np.radians(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = (TEMPLATE - 56 + [[0, 0], [0, 0], [nose, 0], [0, 0], [0, 0]]) @ turn.T * scale + [x, y]
    half = 50 * scale
    return Face((x - half, y - half, x + half, y + half), tuple(map(tuple, points.tolist())), score)


def sees(*faces: Face) -> Detector:
    """A detector that finds what it is told to."""
    return lambda image: tuple(faces)  # noqa: ARG005


def reason(image: Rgb, *faces: Face, rules: QualityRules = RULES) -> str:
    with pytest.raises(QualityError) as caught:
        face_from_image(image, sees(*faces), rules)
    assert "\n" not in str(caught.value)
    return caught.value.reason


def test_one_good_face_is_aligned_to_the_template() -> None:
    aligned = face_from_image(textured(), sees(face_at(100, 100)), RULES)
    assert np.array_equal(aligned, textured()[44:156, 44:156])


def test_every_refusal_has_its_name() -> None:
    image = textured()
    assert reason(image) == "no_face"
    assert reason(image, face_at(100, 100, score=0.3)) == "no_face"
    assert reason(image, face_at(60, 60), face_at(140, 140)) == "several_faces"
    assert reason(image, face_at(100, 100, scale=0.4)) == "face_too_small"
    assert reason(image, face_at(10, 100)) == "face_cut_off"
    assert reason(image, face_at(100, 100, degrees=60)) == "face_turned"
    assert reason(image, face_at(100, 100, nose=25)) == "face_turned"
    assert reason(image // 12, face_at(100, 100)) == "too_dark"
    assert reason(np.full_like(image, 250), face_at(100, 100)) == "too_bright"
    assert reason(np.full_like(image, 128), face_at(100, 100)) == "low_contrast"
    smooth = np.repeat(np.linspace(40, 200, 200, dtype=np.uint8)[None, :, None], 200, 0).repeat(3, 2)
    assert reason(smooth, face_at(100, 100)) == "blurred"


def test_an_upside_down_face_is_refused_however_its_eyes_are_named() -> None:
    turned = face_at(100, 100, degrees=180)
    assert reason(textured(), turned) == "face_turned"
    left, right, nose, mouth_left, mouth_right = turned.points
    by_place = Face(turned.box, (right, left, nose, mouth_right, mouth_left), turned.score)
    with pytest.raises(QualityError, match="face_turned: the face is upside down: turn the camera or the image"):
        face_from_image(textured(), sees(by_place), RULES)


def test_the_policy_for_several_faces_is_explicit() -> None:
    image = textured()
    faces = (face_at(100, 100, 0.8), face_at(70, 70, 1.0))
    largest = face_from_image(image, sees(*faces), QualityRules(several_faces="largest"))
    central = face_from_image(image, sees(*faces), QualityRules(several_faces="most-central"))
    assert np.array_equal(largest, image[14:126, 14:126])
    assert not np.array_equal(largest, central)


def test_without_a_detector_the_image_is_the_face() -> None:
    assert face_from_image(textured(112), None, RULES).shape == (112, 112, 3)
    with pytest.raises(QualityError, match="face_too_small: the image is 16x16"):
        face_from_image(textured(16), None, RULES)
    with pytest.raises(QualityError, match="low_contrast"):
        face_from_image(np.full((112, 112, 3), 90, np.uint8), None, RULES)
