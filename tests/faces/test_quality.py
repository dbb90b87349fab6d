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


# ---------------------------------------------------------------- both sides of every bar


def verdict(image: Rgb, *faces: Face) -> str:
    """The reason of the refusal; "" for a face that is taken. Without `faces` the image is the face."""
    try:
        face_from_image(image, sees(*faces) if faces else None, RULES)
    except QualityError as error:
        return error.reason
    return ""


def turned_away(yaw: float) -> Face:
    """Its nose lies off the middle between the eyes by so many eye distances."""
    eyes = TEMPLATE[1] - TEMPLATE[0]
    return face_at(100, 100, nose=float(yaw * (eyes @ eyes) / eyes[0]))


EYES_PX = float(np.linalg.norm(TEMPLATE[1] - TEMPLATE[0]))


@pytest.mark.parametrize(
    ("face", "refused"),
    [
        (face_at(100, 100, score=0.59), "no_face"),
        (face_at(100, 100, score=0.6), ""),
        (face_at(100, 100, scale=19.9 / EYES_PX), "face_too_small"),
        (face_at(100, 100, scale=20.1 / EYES_PX), ""),
        (face_at(100, 100, degrees=39), ""),
        (face_at(100, 100, degrees=41), "face_turned"),
        (face_at(100, 100, degrees=-39), ""),
        (face_at(100, 100, degrees=-41), "face_turned"),
        (turned_away(0.44), ""),
        (turned_away(0.46), "face_turned"),
        (turned_away(-0.44), ""),
        (turned_away(-0.46), "face_turned"),
        (face_at(17, 100), "face_cut_off"),  # the left eye is at x = -.7, then at .3
        (face_at(18, 100), ""),
        (face_at(182, 100), ""),  # the right eye at 199.5, then 200.5, of 200 columns
        (face_at(183, 100), "face_cut_off"),
        (face_at(100, 4), "face_cut_off"),  # the right eye at y = -.5, then at .5
        (face_at(100, 5), ""),
        (face_at(100, 163), ""),  # the left corner of the mouth at 199.4, then 200.4, of 200 rows
        (face_at(100, 164), "face_cut_off"),
    ],
)
def test_a_face_is_taken_up_to_the_bars_of_its_pose_and_refused_beyond(face: Face, refused: str) -> None:
    assert verdict(textured(), face) == refused


@pytest.mark.parametrize(
    ("shape", "refused"), [((39, 40), "face_too_small"), ((40, 39), "face_too_small"), ((40, 40), "")]
)
def test_an_image_that_is_a_face_has_forty_pixels_a_side(shape: tuple[int, int], refused: str) -> None:
    assert verdict(textured(40)[: shape[0], : shape[1]]) == refused


@pytest.mark.parametrize(
    ("low", "high", "width", "refused"),
    [
        (14, 45, 1, "too_dark"),  # mean 29.5, then 30.5
        (16, 45, 1, ""),
        (212, 247, 1, ""),  # mean 229.5, then 230.5
        (214, 247, 1, "too_bright"),
        (116, 139, 1, "low_contrast"),  # deviation 11.5, then 12.5
        (116, 141, 1, ""),
        (87, 169, 56, "blurred"),  # one step: its height over 55 is the sharpness, 1.49, then 1.51
        (86, 169, 56, ""),
    ],
)
def test_a_face_is_taken_up_to_the_bars_of_its_light_and_refused_beyond(
    low: int, high: int, width: int, refused: str
) -> None:
    """Grey stripes, `width` columns wide."""
    columns = np.where(np.arange(112) // width % 2, high, low).astype(np.uint8)
    assert verdict(np.broadcast_to(columns[None, :, None], (112, 112, 3))) == refused
