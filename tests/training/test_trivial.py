"""TrivialAugment's operations are torchvision's, and each image draws its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torchvision.transforms.v2 import TrivialAugmentWide
from torchvision.transforms.v2 import functional as F

from edgenas.training.trivial import (
    BINS,
    COLORS,
    GEOMETRIC,
    GREY_OPERATIONS,
    LARGEST,
    OPERATIONS,
    moved_images,
    trivially_augmented,
)

THEIRS = TrivialAugmentWide()
NAMES = {
    "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX", "translate_y": "TranslateY", "rotate": "Rotate",
    "brightness": "Brightness", "color": "Color", "contrast": "Contrast", "sharpness": "Sharpness", "posterize": "Posterize",
    "solarize": "Solarize", "autocontrast": "AutoContrast", "equalize": "Equalize",
}  # fmt: skip


def pictures(count: int = 1, channels: int = 3, sides: tuple[int, int] = (20, 28)) -> torch.Tensor:
    return torch.randint(
        20, 230, (count, channels, *sides), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)
    )


def theirs(image: torch.Tensor, name: str, magnitude: float) -> torch.Tensor:
    found: torch.Tensor = THEIRS._apply_image_or_video_transform(
        image, NAMES[name], magnitude, interpolation=THEIRS.interpolation, fill=THEIRS._fill
    )
    return found


def test_the_operations_are_those_of_the_wide_space() -> None:
    assert {NAMES.get(name, "Identity") for name in OPERATIONS} == set(THEIRS._AUGMENTATION_SPACE)
    assert THEIRS.num_magnitude_bins == BINS


@pytest.mark.parametrize("name", GEOMETRIC)
@pytest.mark.parametrize("share", [-1.0, -0.4, 1 / 30, 0.3, 1.0])
def test_pixels_are_moved_as_torchvision_moves_them(name: str, share: float) -> None:
    strengths = THEIRS._AUGMENTATION_SPACE[NAMES[name]][0](BINS, 20, 28)
    assert float(strengths[-1]) == pytest.approx(LARGEST[name])
    image = pictures()
    found = moved_images(image, [name], np.array([share]))[0]
    wrong = found != theirs(image[0], name, LARGEST[name] * share)
    assert wrong.float().mean() < 0.01  # a pixel between two may go either way


@pytest.mark.parametrize("name", ["brightness", "color", "contrast", "sharpness"])
@pytest.mark.parametrize("share", [-1.0, -0.3, 0.5, 1.0])
@pytest.mark.parametrize("channels", [1, 3])
def test_colours_are_blended_as_torchvision_blends_them(name: str, share: float, channels: int) -> None:
    image = pictures(channels=channels)
    found = COLORS[name](image, torch.tensor([share]))[0]
    assert (found.int() - theirs(image[0], name, 0.99 * share).int()).abs().max() <= 1


@pytest.mark.parametrize("bin_", [0, 7, 15, 22, 30])
def test_bits_thresholds_and_histograms_are_torchvisions(bin_: int) -> None:
    image, level = pictures(), torch.tensor([bin_ / (BINS - 1)])
    for name in ("posterize", "solarize", "autocontrast", "equalize"):
        strengths = THEIRS._AUGMENTATION_SPACE[NAMES[name]][0](BINS, 20, 28)
        magnitude = 0.0 if strengths is None else float(strengths[bin_])
        assert torch.equal(COLORS[name](image, level)[0], theirs(image[0], name, magnitude))


def test_every_image_draws_an_operation_and_a_strength_of_its_own() -> None:
    images = pictures().expand(1400, -1, -1, -1).contiguous()
    found = trivially_augmented(images, np.random.default_rng(0))
    assert found.shape == images.shape
    assert found.dtype == torch.uint8
    different = {image.numpy().tobytes() for image in found}
    assert len(different) > 300  # 14 operations, most at 31 strengths of two signs
    # The identity, and strengths that change nothing: 1 operation in 14 at least.
    same = (found == images).flatten(1).all(1).float().mean().item()
    assert 1 / 14 - 0.02 < same < 0.2


def test_a_batch_is_changed_image_by_image_whatever_is_beside_it() -> None:
    """Two operations of the same draw on different neighbours."""
    images = pictures(64)
    alone = trivially_augmented(images, np.random.default_rng(5))
    other = images.clone()
    other[1:] = 255 - other[1:]
    assert torch.equal(trivially_augmented(other, np.random.default_rng(5))[0], alone[0])


def test_grey_images_are_spared_the_operation_that_would_leave_them_as_they_are() -> None:
    assert set(OPERATIONS) - set(GREY_OPERATIONS) == {"color"}
    grey = pictures(channels=1)
    assert torch.equal(F.adjust_saturation(grey, 1.5), grey)
    images = grey.expand(1300, -1, -1, -1).contiguous()
    same = (trivially_augmented(images, np.random.default_rng(0)) == images).flatten(1).all(1).float().mean().item()
    assert 1 / 13 - 0.02 < same < 0.15  # with `color` among them it would be above 2 / 14
    assert same < 2 / 14


def test_images_of_two_pixels_are_not_sharpened_but_not_refused_either() -> None:
    tiny = pictures(8, sides=(2, 2))
    assert trivially_augmented(tiny, np.random.default_rng(0)).shape == tiny.shape
    assert torch.equal(COLORS["sharpness"](tiny, torch.ones(8)), tiny)
