import cv2
import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.faces.alignment import TEMPLATE, align, similarity_from_points, warp


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.radians(degrees)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return scale * points @ rotation.T + np.array(shift)


def test_a_similarity_that_was_applied_to_the_template_is_undone_exactly() -> None:
    points = turned(TEMPLATE, 23.0, 1.7, (40.0, -8.0))
    matrix = similarity_from_points(points)
    assert np.allclose(points @ matrix[:, :2].T + matrix[:, 2], TEMPLATE)


def test_the_transform_is_the_least_squares_one_that_opencv_finds_without_outliers() -> None:
    rng = np.random.default_rng(0)
    points = turned(TEMPLATE, -12.0, 2.5, (100.0, 60.0)) + rng.normal(0, 3, (5, 2))
    matrix = similarity_from_points(points)
    error = ((points @ matrix[:, :2].T + matrix[:, 2] - TEMPLATE) ** 2).sum()
    for _ in range(200):  # no small change of the four parameters does better
        a, b, x, y = rng.normal(0, [1e-3, 1e-3, 0.05, 0.05])
        other = matrix + np.array([[a, -b, x], [b, a, y]])
        assert ((points @ other[:, :2].T + other[:, 2] - TEMPLATE) ** 2).sum() > error


def test_mirrored_points_never_give_a_mirror_image() -> None:
    matrix = similarity_from_points(TEMPLATE * [-1, 1])
    assert np.linalg.det(matrix[:, :2]) > 0


def test_warping_is_that_of_opencv_within_its_fixed_point_rounding() -> None:
    rng = np.random.default_rng(1)
    image = cv2.GaussianBlur(rng.integers(0, 256, (240, 200, 3), dtype=np.uint8), (5, 5), 2)
    matrix = similarity_from_points(turned(TEMPLATE, 15.0, 1.3, (20.0, 30.0)))
    ours = warp(image, matrix, 112).astype(int)
    theirs = cv2.warpAffine(image, matrix, (112, 112), borderValue=0.0).astype(int)
    assert np.abs(ours - theirs).max() <= 4
    assert np.abs(ours - theirs).mean() < 0.5


def test_points_of_the_template_leave_an_aligned_face_as_it_is() -> None:
    image = np.random.default_rng(2).integers(0, 256, (112, 112, 3), dtype=np.uint8)
    assert np.array_equal(align(image, TEMPLATE), image)


@pytest.mark.parametrize("points", [np.zeros((5, 2)), np.zeros((4, 2)), np.full((5, 2), np.nan)])
def test_points_that_define_no_face_are_refused(points: np.ndarray) -> None:
    with pytest.raises(DataError, match="alignment needs five"):
        similarity_from_points(points)
