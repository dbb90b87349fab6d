"""Views of faces: many, different, reproducible, and made of nothing but the images that they are made of."""

import numpy as np
import pytest

from edgenas.errors import DataError
from edgenas.faces.views import face_views, view_parts


def pictures(count: int = 3, side: int = 112, channels: int = 1) -> np.ndarray:
    """Smooth, so that a small turn changes little."""
    x = np.linspace(0, 3, side)
    waves = [np.sin(x[:, None] + k) + np.cos((k + 1) * x[None, :]) for k in range(count)]
    grey = np.stack([60 + 30 * (wave + 2) / 2 for wave in waves])[..., None]
    return np.broadcast_to(grey, (*grey.shape[:3], channels)).astype(np.uint8)


def test_equal_arguments_give_equal_views_and_other_seeds_others() -> None:
    images = pictures()
    first, again, other = (face_views(images, 70, seed) for seed in (1, 1, 2))
    assert first.shape == (70, 112, 112, 1)
    assert first.dtype == np.uint8
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert len({view.tobytes() for view in first}) == 70
    assert np.array_equal(face_views(images, 64, 1), first[:64])  # block by block
    parts = list(view_parts(images, 1100, 1))
    assert [len(part) for part in parts] == [1024, 76]
    assert np.array_equal(np.concatenate(parts)[:64], first[:64])
    assert np.array_equal(np.concatenate(parts), face_views(images, 1100, 1))
    assert face_views(images, 0).shape == (0, *images.shape[1:])


def test_a_view_of_an_even_picture_is_even_and_only_its_light_changes() -> None:
    """Turned, bent, mixed with itself: what is the same everywhere stays so, up to the edges."""
    views = face_views(np.full((2, 56, 56, 3), 100, np.uint8), 40).astype(int)
    assert (views.max(axis=(1, 2, 3)) - views.min(axis=(1, 2, 3))).max() <= 1
    light = views.mean(axis=(1, 2, 3))
    assert light.std() > 5
    assert np.abs(light - 100).max() <= 35.5


def test_views_stay_near_their_picture_and_some_are_two_pictures_mixed() -> None:
    """Of a dark and a bright picture: some views are as dark or bright as one of them, some between."""
    images = np.stack([np.full((56, 56, 1), level, np.uint8) for level in (60, 190)])
    images[:, 20:36, 20:36] += 15
    means = face_views(images, 300).mean(axis=(1, 2, 3))
    between = np.mean((means > 100) & (means < 150))
    assert 0.05 < between < 0.45  # a quarter of the views mixes the two, in shares of which some leave the middle
    assert np.mean(means < 100) > 0.2
    assert np.mean(means > 150) > 0.2


def test_what_are_no_square_images_is_refused() -> None:
    for wrong in (np.zeros((2, 8, 9, 1), np.uint8), np.zeros((2, 8, 8, 1)), np.zeros((0, 8, 8, 1), np.uint8)):
        with pytest.raises(DataError, match="views are made of square images"):
            face_views(wrong, 3)
