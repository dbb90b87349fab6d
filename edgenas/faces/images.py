"""Encoded bytes -> (H, W, 3) uint8 RGB, within limits; and any image -> the recogniser's side and channels."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgenas.damaged import IMAGE
from edgenas.errors import DataError
from edgenas.preprocessing import SUFFIXES, eight_bits, formats_here, is_hidden, scaled, upright

Rgb = NDArray[np.uint8]

SIDE = 112  # of an aligned face, the field's convention
MAX_BYTES = 16 * 1024 * 1024
MAX_PIXELS = 40_000_000


def image_from_bytes(
    data: bytes, what: str = "the image", max_bytes: int = MAX_BYTES, max_pixels: int = MAX_PIXELS
) -> Rgb:
    """(H, W, 3) RGB of a JPEG, PNG, ...: turned upright by its EXIF tag, grey and palette expanded, alpha over grey."""
    if len(data) > max_bytes:
        raise DataError(f"{what} has {len(data)} bytes; at most {max_bytes} are read: send a smaller image")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns where the limit below refuses
            with Image.open(io.BytesIO(data), formats=formats_here()) as image:
                width, height = image.size
                if width * height > max_pixels:
                    raise DataError(f"it has {width}x{height} pixels; at most {max_pixels} are decoded: scale it down")
                return rgb_from_image(image)
    except DataError as error:
        raise DataError(f"{what}: {error}") from error
    except (MemoryError, *IMAGE) as error:
        raise DataError(f"{what} cannot be decoded ({type(error).__name__}): send a whole JPEG or PNG") from error


def rgb_from_image(image: Image.Image) -> Rgb:
    """(H, W, 3) RGB: upright, at 8 bits, alpha over the ground that classification has, too."""
    return np.asarray(eight_bits(upright(image), 3))


def image_files(folder: Path) -> list[Path]:
    """Those right in a folder, sorted; not what a system left there."""
    found = (file for file in folder.iterdir() if file.suffix.lower() in SUFFIXES and not is_hidden(file.name))
    return sorted(file for file in found if file.is_file())


def folders_in(root: Path) -> list[Path]:
    """One for each person, sorted; not what a system left there."""
    return sorted(path for path in root.iterdir() if path.is_dir() and not is_hidden(path.name))


def image_from_file(path: Path) -> Rgb:
    """(H, W, 3) RGB of an image file."""
    try:
        content = path.read_bytes()
    except OSError as error:  # of a drive that fails it has no name
        raise DataError(f"{path} cannot be read: {error.strerror}") from error
    return image_from_bytes(content, str(path))


def rgb_from_array(image: NDArray[np.uint8]) -> Rgb:
    """(H, W), (H, W, 1) or (H, W, 3) uint8 -> (H, W, 3)."""
    if image.ndim == 2:
        image = image[..., None]
    return np.ascontiguousarray(np.broadcast_to(image, (*image.shape[:2], 3)))


def resized(image: Rgb, side: int = SIDE) -> Rgb:
    """The whole image at side x side, bilinear with anti-aliasing; what is already that size is returned as it is."""
    if image.shape[:2] == (side, side):
        return image
    return np.asarray(scaled(Image.fromarray(image), side, "stretch"))


def grey(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(..., 3) RGB -> (...) luma by ITU-R BT.601, the weights that the exported graph and OpenCV use."""
    return images.astype(np.float32) @ LUMA


LUMA = np.array([0.299, 0.587, 0.114], np.float32)
