"""Augmentation of photographs, a batch at a time and each image in its own way: crops of any size, colours, TrivialAugment.

Images are (B, C, H, W) uint8. What is drawn comes from a NumPy generator on the host, so that a GPU is never waited for.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from edgenas.records import Recipe
from edgenas.training.trivial import trivially_augmented

Floats = NDArray[np.float64]
TRIES = 10  # boxes that are drawn for an image, as torchvision's RandomResizedCrop draws them
LUMA = (0.2989, 0.587, 0.114)  # torchvision's grey


def changes(recipe: Recipe) -> bool:
    """Does the recipe do anything that `changed` is for?"""
    return recipe.trivial_augment or any(recipe.color)


def changed(images: Tensor, recipe: Recipe, rng: np.random.Generator) -> Tensor:
    """Images with the recipe's colours and TrivialAugment, (B, C, H, W) uint8 -> the same."""
    if any(recipe.color):
        images = jittered(images, color_factors(rng, len(images), recipe.color))
    return trivially_augmented(images, rng) if recipe.trivial_augment else images


# ---------------------------------------------------------------- crops


def drawn_boxes(rng: np.random.Generator, count: int, sides: tuple[int, int], recipe: Recipe) -> Floats:
    """(B, 4): top, left, height and width in pixels of a random crop of each of B images of `sides` (height, width).

    As torchvision draws them: of ten boxes of random area and log-uniform ratio the first that fits; else the largest one in
    the centre whose ratio is allowed. A rectangle's boxes have these ratios beside its own: they are scaled to its shape again.
    """
    assert recipe.random_resized_crop is not None
    height, width = sides
    low, high = (width / height * ratio for ratio in recipe.crop_ratio)
    area = height * width * rng.uniform(*recipe.random_resized_crop, (TRIES, count))
    ratio = np.exp(rng.uniform(math.log(low), math.log(high), (TRIES, count)))
    across, down = np.round(np.sqrt(area * ratio)), np.round(np.sqrt(area / ratio))
    fits = (across > 0) & (across <= width) & (down > 0) & (down <= height)
    first, found, each = fits.argmax(0), fits.any(0), np.arange(count)
    centre_width = width if width <= height * high else round(height * high)
    centre_height = height if width >= height * low else round(width / low)
    w, h = np.where(found, across[first, each], centre_width), np.where(found, down[first, each], centre_height)
    places = rng.random((2, count))
    top = np.where(found, np.floor(places[0] * (height - h + 1)), (height - h) // 2)
    left = np.where(found, np.floor(places[1] * (width - w + 1)), (width - w) // 2)
    return np.stack((top, left, h, w), 1)


def resized(images: Tensor, boxes: Tensor, mirrored: Tensor | None) -> Tensor:
    """The boxes (B, 4) of images (B, C, H, W) uint8, each scaled to the whole side (bilinear) and mirrored where `mirrored` (B,)
    says so. A box is never larger than its image, so nothing is lost by leaving out antialiasing."""
    height, width = images.shape[2:]
    top, left, down, across = boxes.to(images.device, torch.float32).T  # (B,) each
    y, x = _places(top, down, height), _places(left, across, width)  # (B, H), (B, W)
    if mirrored is not None:
        x = torch.where(mirrored[:, None], x.flip(1), x)
    shape = (len(images), height, width)
    grid = torch.stack((x[:, None, :].expand(shape), y[:, :, None].expand(shape)), 3)  # (B, H, W, 2)
    return F.grid_sample(images.float(), grid, mode="bilinear", align_corners=False).round_().to(torch.uint8)


def _places(start: Tensor, length: Tensor, side: int) -> Tensor:
    """(B, side): where in -1..1 of its image each pixel of a scaled crop is read; never beyond the crop's own outer pixels."""
    inside = (torch.arange(side, device=start.device) + 0.5) * (length[:, None] / side) - 0.5
    pixel = start[:, None] + inside.clamp(min=0).minimum(length[:, None] - 1)
    return (2 * pixel + 1) / side - 1


# ---------------------------------------------------------------- colours


def color_factors(rng: np.random.Generator, count: int, color: tuple[float, float, float, float]) -> Floats:
    """(B, 4): factors of brightness, contrast and saturation from 1 - c to 1 + c, and turns of the hue from -c to c."""
    drawn: Floats = rng.uniform(-1, 1, (count, 4)) * np.asarray(color)
    drawn[:, :3] += 1
    return drawn


def jittered(images: Tensor, factors: Floats) -> Tensor:
    """Brightness, contrast, saturation and hue of (B, C, H, W) uint8 images, in this order, each by its image's factor (B, 4).

    torchvision's ColorJitter changes the order from image to image, which a batch cannot; what it does is the same. Of grey
    images (C = 1) only brightness and contrast.
    """
    found: Any = torch.from_numpy(factors).to(images.device, torch.float32)[:, :, None, None, None]  # (B, 4, 1, 1, 1)
    x = (images.float() * found[:, 0]).clamp_(0, 255)
    if (factors[:, 1] != 1).any():
        x = blended(x, grey(x).mean((1, 2, 3), keepdim=True), found[:, 1])
    if images.shape[1] == 3:
        if (factors[:, 2] != 1).any():
            x = blended(x, grey(x), found[:, 2])
        if factors[:, 3].any():
            x = _turned(x, found[:, 3, 0])
    made: Tensor = x.round_().to(torch.uint8)
    return made


def blended(x: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """factor x + (1 - factor) other, within 0..255."""
    return torch.lerp(other.expand_as(x), x, factor.expand_as(x)).clamp_(0, 255)


def grey(x: Tensor) -> Tensor:
    """(B, C, H, W) -> (B, 1, H, W)."""
    if x.shape[1] == 1:
        return x
    found: Tensor = (x * x.new_tensor(LUMA)[:, None, None]).sum(1, keepdim=True)
    return found


def _turned(x: Tensor, turn: Tensor) -> Tensor:
    """(B, 3, H, W) of 0..255 with the hue turned by `turn` (B, 1, 1), of which 1 is all the way round."""
    value, least = x.amax(1), x.amin(1)  # (B, H, W)
    chroma = value - least
    red, green, blue = x.unbind(1)
    safe = chroma.clamp(min=1e-6)
    sixths = torch.where(
        value == red,
        (green - blue) / safe,
        torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
    )
    hue = (sixths / 6 + turn) % 1
    # Smith 1978, as one formula for each channel: v - c max(0, min(k, 4 - k, 1)), k = (n + 6 h) mod 6
    channels = []
    for n in (5, 3, 1):
        k = (n + 6 * hue) % 6
        channels.append(value - chroma * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
