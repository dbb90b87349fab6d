"""TrivialAugment, wide (Mueller and Hutter 2021, arXiv 2103.10158): one operation per image, at a strength drawn evenly.

Operations and strengths are those of torchvision's TrivialAugmentWide; each image of a batch has its own. Images that drew the
same operation are changed together.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]
BINS = 31  # strengths
GEOMETRIC = ("shear_x", "shear_y", "translate_x", "translate_y", "rotate")
BLENDS = ("brightness", "color", "contrast", "sharpness")
LARGEST = {"shear_x": 0.99, "shear_y": 0.99, "translate_x": 32.0, "translate_y": 32.0, "rotate": 135.0}
BLEND = 0.99
OPERATIONS = ("identity", *GEOMETRIC, *BLENDS, "posterize", "solarize", "autocontrast", "equalize")
GREY_OPERATIONS = tuple(name for name in OPERATIONS if name != "color")  # which would leave a grey image as it is


def trivially_augmented(images: Tensor, rng: np.random.Generator) -> Tensor:
    """(B, C, H, W) uint8 -> the same, one random operation each."""
    names = OPERATIONS if images.shape[1] == 3 else GREY_OPERATIONS
    count = len(images)
    operation, level = rng.integers(len(names), size=count), rng.integers(BINS, size=count) / (BINS - 1)
    signed = np.where(rng.integers(2, size=count) == 1, -level, level)
    found = images.clone(memory_format=torch.contiguous_format)
    moved = np.flatnonzero(np.isin(operation, [names.index(name) for name in GEOMETRIC]))
    if len(moved):
        ways = [names[index] for index in operation[moved]]
        chosen = _numbers(moved, images)
        found[chosen] = moved_images(images[chosen], ways, signed[moved])
    for index, name in enumerate(names):
        rows = np.flatnonzero(operation == index)
        if name == "identity" or name in GEOMETRIC or not len(rows):
            continue
        chosen = _numbers(rows, images)
        strength = torch.from_numpy((signed if name in BLENDS else level)[rows]).to(images.device, torch.float32)
        found[chosen] = COLORS[name](images[chosen], strength)
    return found


def _numbers(rows: NDArray[np.int64], images: Tensor) -> Tensor:
    return torch.from_numpy(rows).to(images.device)


# ---------------------------------------------------------------- where pixels are


def moved_images(images: Tensor, ways: list[str], signed: Floats) -> Tensor:
    """(G, C, H, W) uint8, each sheared, translated or rotated by its share (-1..1) of the largest strength: nearest pixels, black
    where there are none."""
    height, width = images.shape[2:]
    maps = np.stack([pixel_map(way, share) for way, share in zip(ways, signed, strict=True)])  # (G, 2, 3)
    maps[:, 0] *= np.array([1.0, height / width, 2 / width])  # from pixels to affine_grid's -1..1
    maps[:, 1] *= np.array([width / height, 1.0, 2 / height])
    # A shear is about the image's upper left corner, as Pillow's is: half a side of it is a translation.
    for index, way in enumerate(ways):
        if way == "shear_x":
            maps[index, 0, 2] += maps[index, 0, 1]
        elif way == "shear_y":
            maps[index, 1, 2] += maps[index, 1, 0]
    theta = torch.from_numpy(maps).to(images.device, torch.float32)
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    return F.grid_sample(images.float(), grid, mode="nearest", align_corners=False).to(torch.uint8)


def pixel_map(way: str, share: float) -> Floats:
    """(2, 3): from a place in the new image to the one in the old that is read, in pixels from the centre."""
    amount = LARGEST[way] * share
    if way == "rotate":
        turn = np.deg2rad(amount)
        return np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0]])
    if way == "shear_x":
        return np.array([[1, amount, 0], [0, 1, 0]])
    if way == "shear_y":
        return np.array([[1.0, 0, 0], [amount, 1, 0]])
    across, down = (-int(amount), 0) if way == "translate_x" else (0, -int(amount))
    return np.array([[1.0, 0, across], [0, 1, down]])


# ---------------------------------------------------------------- what colour they are


def _blend(other: Callable[[Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
    """From `other` (strength -1) by way of the image itself (0) to beyond it (1)."""

    def blend(images: Tensor, signed: Tensor) -> Tensor:
        x = images.float()
        factor = (1 + BLEND * signed)[:, None, None, None]
        end = other(x).expand_as(x)
        return (end + factor * (x - end)).clamp_(0, 255).to(torch.uint8)

    return blend


def _grey(x: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import rgb_to_grayscale

    found: Tensor = x if x.shape[1] == 1 else rgb_to_grayscale(x).floor()
    return found


def _smooth(x: Tensor) -> Tensor:
    """A 3 x 3 mean in which the centre counts five times; the outermost pixels stay."""
    batch, channels, height, width = x.shape
    if min(height, width) <= 2:
        return x
    kernel = x.new_ones(1, 1, 3, 3)
    kernel[0, 0, 1, 1] = 5
    end = x.clone()
    inner = F.conv2d(x.reshape(batch * channels, 1, height, width), kernel / 13).round_()
    end[:, :, 1:-1, 1:-1] = inner.reshape(batch, channels, height - 2, width - 2)
    return end


def _posterized(images: Tensor, level: Tensor) -> Tensor:
    """Only the upper 8 to 2 bits."""
    bits = 8 - torch.round(6 * level).to(torch.int32)
    masks = (256 - 2 ** (8 - bits)).to(torch.uint8)
    return images & masks[:, None, None, None]


def _solarized(images: Tensor, level: Tensor) -> Tensor:
    """Inverted where not below a threshold of 255 to 0."""
    threshold = (255 * (1 - level))[:, None, None, None]
    return torch.where(images >= threshold, 255 - images, images)


def _contrasted(images: Tensor, _: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import autocontrast

    found: Tensor = autocontrast(images)
    return found


def _equalized(images: Tensor, _: Tensor) -> Tensor:
    from torchvision.transforms.v2.functional import equalize

    found: Tensor = equalize(images)
    return found


COLORS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "brightness": _blend(torch.zeros_like),
    "color": _blend(_grey),
    "contrast": _blend(lambda x: _grey(x).mean((1, 2, 3), keepdim=True)),
    "sharpness": _blend(_smooth),
    "posterize": _posterized,
    "solarize": _solarized,
    "autocontrast": _contrasted,
    "equalize": _equalized,
}
