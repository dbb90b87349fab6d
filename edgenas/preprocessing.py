"""Image -> network input, the one implementation: training data, golden inputs and serving all come through here. No torch."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgenas.errors import EdgenasError
from edgenas.records import Preprocessing

Pixels = NDArray[np.uint8]


def pixels_from_image(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """(H, W, C) uint8 at the network's input size, from an image of any size and mode (EXIF orientation obeyed)."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in ("I;16", "I;16B", "I;16L", "I", "F"):
        raise EdgenasError(f"images need 8 bits a channel, this one has mode {upright.mode}: convert it to 8 bits")
    fitted = fit(upright.convert("L" if preprocessing.channels == 1 else "RGB"), preprocessing.size, preprocessing.fit)
    pixels = np.array(fitted, np.uint8).reshape(preprocessing.size, preprocessing.size, preprocessing.channels)
    padded: Pixels = pad(pixels[None], preprocessing.padding)[0]
    return padded


def fit(image: Image.Image, size: int, how: str) -> Image.Image:
    """Scale to a square of `size` px: "crop" keeps the proportions and cuts the centre, "stretch" does not."""
    if image.size == (size, size):
        return image
    if how == "stretch":
        return image.resize((size, size), Image.Resampling.BILINEAR)
    width, height = image.size
    scale = size / min(width, height)
    scaled = image.resize(
        (max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (scaled.width - size) // 2, (scaled.height - size) // 2
    return scaled.crop((left, top, left + size, top + size))


def pad(images: Pixels, padding: int) -> Pixels:
    """Black pixels on every side: (N, H, W, C) -> (N, H + 2p, W + 2p, C)."""
    sides = (padding, padding)
    return np.pad(images, ((0, 0), sides, sides, (0, 0))) if padding else images


def input_from_pixels(images: Pixels, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 at the network's input size -> (N, C, H, W) float32, normalised."""
    expected = (preprocessing.input_size, preprocessing.input_size, preprocessing.channels)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise EdgenasError(
            f"pixels {images.dtype} {images.shape[1:]}: this network takes uint8 (height, width, channels) {expected}"
        )
    scale, shift = scale_and_shift(preprocessing)
    return np.ascontiguousarray((images.astype(np.float32) * scale + shift).transpose(0, 3, 1, 2))


def scale_and_shift(preprocessing: Preprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalisation of 0..255 pixels as x * scale + shift, per channel (C,)."""
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)
