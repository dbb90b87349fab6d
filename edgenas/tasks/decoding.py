"""One image file: what its header says, and its pixels; or the reason why it cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import PIL
from PIL import Image, UnidentifiedImageError, features

from edgenas.damaged import IMAGE
from edgenas.errors import EdgenasError
from edgenas.preprocessing import Pixels, formats_here, pixels_from_image
from edgenas.records import Preprocessing, Record
from edgenas.tasks.layout import READ
from edgenas.version import __version__

LARGEST_PIXELS = 178_956_970  # of one image; Pillow refuses more
CODECS = ("jpg", "zlib", "libtiff", "webp", "avif")  # that a Pillow may have been built without
GREY = ("1", "L", "LA", "La", "I")  # and I;16...


class Header(Record, frozen=True, array_like=True):
    """What is known of an image without decoding it. `frames`: is there more than the first one?"""

    grey: bool
    size: tuple[int, int]
    frames: bool


class Unread(NamedTuple):
    """Why a file cannot be read. `lasting`: as long as the file and what reads it are as they are; else another try may do
    better."""

    why: str
    lasting: bool


def reader_here() -> str:
    """What reads images here. Another one may read what this one cannot."""
    built = features.modules.keys() | features.codecs.keys()
    codecs = (name for name in CODECS if name in built and features.check(name))
    return f"EdgeNAS {__version__}, Pillow {PIL.__version__}: {' '.join((*formats_here(), *codecs))}"


def header_of(path: Path) -> Header | Unread:
    """The header, or the reason why there is none."""
    try:
        with Image.open(path, formats=formats_here()) as image:
            if image.width * image.height > LARGEST_PIXELS:
                raise Image.DecompressionBombError
            grey = image.mode in GREY or image.mode.startswith("I;16")
            frames = image.format != "MPO" and bool(getattr(image, "is_animated", False))  # MPO: a phone's preview
            return Header(grey, image.size, frames)
    except (EdgenasError, MemoryError, *IMAGE) as error:
        return _unread(error, path)


def pixels_of(path: Path, how: Preprocessing) -> Pixels | Unread:
    """(H, W, C), or the reason why there are none."""
    try:
        with Image.open(path, formats=formats_here()) as image:
            return pixels_from_image(image, how)
    except (EdgenasError, MemoryError, *IMAGE) as error:
        return _unread(error, path)


def _unread(error: BaseException, path: Path) -> Unread:
    """The reason, without the file's name."""
    if isinstance(error, Image.DecompressionBombError):
        return Unread(
            f"more than {LARGEST_PIXELS // 1_000_000} million pixels are too many: scale it down", lasting=True
        )
    if isinstance(error, MemoryError):
        return Unread("there is not enough memory for it: scale it down", lasting=False)
    if isinstance(error, UnidentifiedImageError):
        return Unread(f"no {READ} file" if path.stat().st_size else "the file is empty", lasting=True)
    if isinstance(error, OSError) and error.strerror:  # the system's: permissions, a disk that fails
        return Unread(error.strerror, lasting=False)
    return Unread(str(error) or type(error).__name__, lasting=True)
