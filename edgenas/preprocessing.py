"""Image -> network input, the one implementation: training data, golden inputs, serving and faces come through here. No torch."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from edgenas.errors import DataError, EdgenasError
from edgenas.records import Preprocessing

Pixels = NDArray[np.uint8]

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
DAMAGED = (  # what Pillow and its decoders raise on damaged files
    *(OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error),
    *(RuntimeError, LookupError, TypeError, ArithmeticError),
)
GROUND = 128  # grey under what is transparent: neither black nor white drawings vanish in it
WIDEST = 8  # times its other side: of a longer picture only the middle is scaled
ORIENTATION = 0x0112  # EXIF


def formats_here(wanted: tuple[str, ...] = FORMATS) -> tuple[str, ...]:
    """Those of the formats that this Pillow can read."""
    Image.init()
    return tuple(name for name in wanted if name in Image.OPEN)


def is_hidden(name: str) -> bool:
    """Is a file or folder of this name the system's, and none of the user's?"""
    return name.startswith(".") or name.casefold() in OF_SYSTEMS


def pixels_from_image(image: Image.Image, preprocessing: Preprocessing) -> Pixels:
    """(H, W, C) uint8 at the network's input size, from an image of any size and mode that `eight_bits` takes.

    It is turned upright by its EXIF tag, cut to its middle, made 8 bits a channel, scaled, padded, in that order: memory
    follows the network's input, not the picture. DataError for a damaged image and for modes without a rule.
    """
    size, crop = preprocessing.size, preprocessing.fit == "crop"
    try:
        whole = upright(image)
        fitted = scaled(eight_bits(middle(whole) if crop else whole, preprocessing.channels), size, preprocessing.fit)
    except DAMAGED as error:
        raise DataError(f"the image is damaged: {error}") from error
    pixels = np.array(fitted, np.uint8).reshape(size, size, preprocessing.channels)
    padded: Pixels = pad(pixels[None], preprocessing.padding)[0]
    return padded


def upright(image: Image.Image) -> Image.Image:
    """The decoded image, turned as its EXIF tag says; a second call changes nothing. Raises one of DAMAGED."""
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
    clear = image.info.get("transparency")
    if image.mode.startswith("I"):
        deep = np.asarray(image)
        image = Image.fromarray((deep >> 8).astype(np.uint8))
        if isinstance(clear, int):  # the one grey that is transparent
            image.putalpha(Image.fromarray(np.where(deep == clear, 0, 255).astype(np.uint8)))
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or clear is not None:
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
        ground = Image.new("RGBA", layer.size, (GROUND, GROUND, GROUND, 255))
        image = Image.alpha_composite(ground, layer)
    return image.convert("L" if channels == 1 else "RGB")


def middle(image: Image.Image) -> Image.Image:
    """The image, or of one that is longer than WIDEST times its short side the centre of that length (or a pixel more)."""
    width, height = image.size
    longest = WIDEST * min(width, height)
    cut_x, cut_y = max(0, width - longest) // 2, max(0, height - longest) // 2
    if not cut_x and not cut_y:
        return image
    return image.crop((cut_x, cut_y, width - cut_x, height - cut_y))


def scaled(image: Image.Image, size: int, how: str) -> Image.Image:
    """Scale to a square of `size` px: "crop" keeps the proportions and cuts the centre, "pad" keeps them and adds GROUND on both
    sides of the short one, "stretch" does not keep them."""
    if image.size == (size, size):
        return image
    if how == "pad":
        return _on_ground(image, size)
    if how == "stretch":
        thin = max(image.size) > WIDEST * min(
            image.size
        )  # averaged first: its long side would be widened before it is shortened
        return image.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=3 if thin else None)
    image = middle(image)
    width, height = image.size
    scale = size / min(width, height)
    scaled = image.resize(
        (max(size, round(width * scale)), max(size, round(height * scale))), Image.Resampling.BILINEAR
    )
    left, top = (scaled.width - size) // 2, (scaled.height - size) // 2
    return scaled.crop((left, top, left + size, top + size))


def _on_ground(image: Image.Image, size: int) -> Image.Image:
    """The whole image in the middle of a grey square."""
    scale = size / max(image.size)
    width, height = (min(size, max(1, round(side * scale))) for side in image.size)
    square = Image.new(image.mode, (size, size), GROUND if image.mode == "L" else (GROUND,) * 3)
    thin = max(image.size) > WIDEST * min(image.size)
    small = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=3 if thin else None)
    square.paste(small, ((size - width) // 2, (size - height) // 2))
    return square


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
