"""Image -> network input, the one implementation: training data, golden inputs, serving and faces come through here. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgenas.damaged import IMAGE
from edgenas.errors import DataError, EdgenasError
from edgenas.image_sizes import ImageSize, sides_of
from edgenas.records import Preprocessing

Pixels = NDArray[np.uint8]
Sides = tuple[int, int]  # (height, width); Pillow's sizes are (width, height)

# What an image file may be. Pillow is never left to choose by content: a PostScript file named x.png would start Ghostscript.
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "PPM", "AVIF")
SUFFIXES = frozenset(
    f".{name}"
    for name in (
        *("png", "apng", "jpg", "jpeg", "jpe", "jfif", "webp", "avif", "bmp", "dib", "gif", "tif", "tiff"),
        *("ppm", "pgm", "pbm", "pnm"),
    )
)
OF_SYSTEMS = frozenset({"__macosx", "thumbs.db", "desktop.ini", "@eadir", "$recycle.bin", "system volume information"})
GROUND = 128  # grey under what is transparent: neither black nor white drawings vanish in it
CLEAR = ("LA", "La", "PA", "RGBA", "RGBa")  # modes with an alpha channel
PART = 1_000_000  # pixels whose mode is changed at once
WIDEST = 8  # times as long as what it becomes: of a longer picture only the middle is scaled
ORIENTATION = 0x0112  # EXIF
MOST_SCALED = 1 / 16  # what pixels from 0 to 255 are multiplied by at most, where nothing is subtracted


def formats_here(wanted: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    """Those of the formats that this Pillow can read."""
    Image.init()
    return tuple(name for name in wanted if name in Image.OPEN)


def is_hidden(name: str) -> bool:
    """Is a file or folder of this name the system's, and none of the user's?"""
    return name.startswith(".") or name.casefold() in OF_SYSTEMS


def pixels_from_image(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """(H, W, C) uint8 at the network's input size, from an image of any size and mode that `eight_bits` takes.

    It is turned upright by its EXIF tag, cut to its middle, made 8 bits a channel, scaled, padded, in that order. Beside the
    decoded picture it takes one more of its size where that is turned, and one where its mode is another, of what is not cut off.
    DataError for a damaged image and for modes without a rule.
    """
    sides, crop = sides_of(preprocessing.size), preprocessing.fit == "crop"
    try:
        whole = upright(image)
        seen = middle(whole, sides) if crop else whole
        fitted = scaled(eight_bits(seen, preprocessing.channels), preprocessing.size, preprocessing.fit)
    except IMAGE as error:
        raise DataError(f"the image is damaged: {error}") from error
    pixels = np.array(fitted, np.uint8).reshape(*sides, preprocessing.channels)
    padded: Pixels = pad(pixels[None], preprocessing.padding)[0]
    return padded


def upright(image: Image.Image) -> Image.Image:
    """The decoded image, turned as its EXIF tag says; a second call changes nothing. Raises one of damaged.IMAGE."""
    if image.mode == "F" or (image.mode == "I" and image.format not in ("PNG", "PPM")):  # those two hold 16 bits
        raise DataError(f"images need 8 or 16 bits a channel, this one has 32 (mode {image.mode}): convert it")
    image.load()
    if image.getexif().get(ORIENTATION, 1) == 1:
        return image
    turned = ImageOps.exif_transpose(image)
    turned.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return turned


def eight_bits(image: Image.Image, channels: int) -> Image.Image:
    """Mode L or RGB. What is transparent shows GROUND; of 16-bit grey the high byte is taken, as PNG readers do with colour."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode and "transparency" not in image.info:
        return image
    if not image.mode.startswith("I") and image.mode not in CLEAR and "transparency" not in image.info:
        return image.convert(mode)
    shown = Image.new(mode, image.size)
    for part in _parts(image.size):  # the steps between take several times as much memory as both pictures
        shown.paste(_shown(image.crop(part)).convert(mode), part)
    return shown


def _shown(image: Image.Image) -> Image.Image:
    """8 bits a channel, and nothing transparent."""
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
        if isinstance(clear, int):  # the one grey that is transparent
            image.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    if image.mode in CLEAR or clear is not None:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        ground = Image.new("RGBA", layer.size, (GROUND, GROUND, GROUND, 255))
        image = Image.alpha_composite(ground, layer)
    return image


def _parts(size: Sides) -> Iterator[tuple[int, int, int, int]]:
    """(left, top, right, bottom) of strips across the longer side of an image of (width, height), each of about PART pixels."""
    width, height = size
    step = max(1, PART // min(size))
    for start in range(0, max(size), step):
        end = min(start + step, max(size))
        yield (0, start, width, end) if height >= width else (start, 0, end, height)


def middle(image: Image.Image, sides: Sides) -> Image.Image:
    """The image, or of one that is more than WIDEST times as long or as high as its other side asks for, beside `sides`, the
    centre of that length (or a pixel more)."""
    cut_x, cut_y = (max(0, have - most) // 2 for have, most in zip(image.size, _longest(image, sides), strict=True))
    if not cut_x and not cut_y:
        return image
    return image.crop((cut_x, cut_y, image.width - cut_x, image.height - cut_y))


def _longest(image: Image.Image, sides: Sides) -> tuple[int, int]:
    """(width, height) up to which the image is not much longer, or not much higher, than `sides` are."""
    height, width = sides
    return -(-WIDEST * image.height * width // height), -(-WIDEST * image.width * height // width)


def scaled(image: Image.Image, size: ImageSize, how: str) -> Image.Image:
    """Scale to this size: "crop" keeps the proportions and cuts the centre, "pad" keeps them and adds GROUND on both sides of
    what is too short, "stretch" does not keep them."""
    height, width = sides = sides_of(size)
    if image.size == (width, height):
        return image
    if how == "pad":
        scale = min(width / image.width, height / image.height)
        small = _resized(
            image, (min(width, round(image.width * scale)), min(height, round(image.height * scale))), sides
        )
        ground = Image.new(image.mode, (width, height), GROUND if image.mode == "L" else (GROUND,) * 3)
        ground.paste(small, ((width - small.width) // 2, (height - small.height) // 2))
        return ground
    if how == "stretch":
        return _resized(image, (width, height), sides)
    image = middle(image, sides)
    scale = max(width / image.width, height / image.height)
    covering = (max(width, round(image.width * scale)), max(height, round(image.height * scale)))
    large = image.resize(covering, Image.Resampling.BILINEAR)
    left, top = (large.width - width) // 2, (large.height - height) // 2
    return large.crop((left, top, left + width, top + height))


def _resized(image: Image.Image, size: tuple[int, int], sides: Sides) -> Image.Image:
    """The whole image at (width, height), a pixel at least. A thin one is averaged first: its long side would be widened before
    it is shortened."""
    thin = any(have > most for have, most in zip(image.size, _longest(image, sides), strict=True))
    wanted = (max(1, size[0]), max(1, size[1]))
    return image.resize(wanted, Image.Resampling.BILINEAR, reducing_gap=3 if thin else None)


def pad(images: Pixels, padding: int) -> Pixels:
    """Black pixels on every side: (N, H, W, C) -> (N, H + 2p, W + 2p, C)."""
    sides = (padding, padding)
    return np.pad(images, ((0, 0), sides, sides, (0, 0))) if padding else images


def input_from_pixels(images: Pixels, preprocessing: Preprocessing) -> NDArray[np.float32]:
    """(N, H, W, C) uint8 at the network's input size -> (N, C, H, W) float32, normalised."""
    expected = (*preprocessing.input_sides, preprocessing.channels)
    if images.dtype != np.uint8 or images.shape[1:] != expected:
        raise EdgenasError(
            f"pixels {images.dtype} {images.shape[1:]}: this network takes uint8 (height, width, channels) {expected}"
        )
    scale, shift = scale_and_shift(preprocessing)
    return np.ascontiguousarray((images.astype(np.float32) * scale + shift).transpose(0, 3, 1, 2))


def network_input(images: Pixels, preprocessing: Preprocessing, *, uint8: bool) -> NDArray[Any]:
    """(N, H, W, C) uint8 -> what a file takes: the pixels as they are where it normalises itself, else `input_from_pixels`."""
    return images if uint8 else input_from_pixels(images, preprocessing)


def scale_and_shift(preprocessing: Preprocessing) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Normalisation of 0..255 pixels as x * scale + shift, per channel (C,)."""
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def largest_taken(scale: NDArray[np.float32], shift: NDArray[np.float32]) -> int | None:
    """Of a network that begins with x * scale + shift, per channel (C,): are its pixels up to 255, or up to 1? Told by the pixel
    that becomes 0, their mean, and where that is 0 itself, by the scale. None where it is no normalisation of either."""
    scale, shift = scale.astype(np.float64), shift.astype(np.float64)
    if scale.min() <= 0:
        return None
    mean = -shift / scale
    largest = (1 if mean.max() <= 1 else 255) if mean.any() else (1 if scale.min() > 1 else 255)
    usual = scale.min() >= 1 if largest == 1 else scale.max() <= (1 if mean.any() else MOST_SCALED)
    return largest if usual and mean.min() >= 0 and mean.max() <= 255 else None
