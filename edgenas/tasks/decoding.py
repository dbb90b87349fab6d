"""One image file: what its header says, and its pixels; or the reason why it cannot be read."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import PIL
from PIL import Image, UnidentifiedImageError, features

from edgenas.damaged import GIT_LFS, IMAGE, POINTER
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


NO_MEMORY = Unread("there is not enough memory for it: scale it down", lasting=False)
Found = TypeVar("Found")


def reader_here() -> str:
    """What reads images here. Another one may read what this one cannot."""
    built = features.modules.keys() | features.codecs.keys()
    codecs = (name for name in CODECS if name in built and features.check(name))
    return f"EdgeNAS {__version__}, Pillow {PIL.__version__}: {' '.join((*formats_here(), *codecs))}"


def header_of(path: Path) -> Header | Unread:
    """The header, or the reason why there is none."""
    return _of_image(path, _header)


def pixels_of(path: Path, how: Preprocessing) -> Pixels | Unread:
    """(H, W, C), or the reason why there are none."""
    return _of_image(path, lambda image: pixels_from_image(image, how))


def _header(image: Image.Image) -> Header:
    if image.width * image.height > LARGEST_PIXELS:
        raise Image.DecompressionBombError
    grey = image.mode in GREY or image.mode.startswith("I;16")
    frames = image.format != "MPO" and bool(getattr(image, "is_animated", False))  # MPO: a phone's preview
    return Header(grey, image.size, frames)


def _of_image(path: Path, read: Callable[[Image.Image], Found]) -> Found | Unread:
    """What `read` finds in the image, or why it finds nothing. Only bytes that lie in memory are called damaged: a drive may
    fail for a moment, and some decoders (libtiff) do not say that it did."""
    try:
        # Not opened by name: Pillow would map it, and what fails in a map kills the process.
        with path.open("rb") as file, contextlib.suppress(EdgenasError, *IMAGE):
            return _opened(file, read)
        content = path.read_bytes()
    except OSError as error:
        return Unread(error.strerror or str(error), lasting=False)
    except MemoryError:
        return NO_MEMORY
    try:
        return _opened(io.BytesIO(content), read)
    except MemoryError:
        return NO_MEMORY
    except Image.DecompressionBombError:
        why = f"more than {LARGEST_PIXELS // 1_000_000} million pixels are too many: scale it down"
    except UnidentifiedImageError:
        why = f"no {READ} file" if content else "the file is empty"
        why = POINTER if content.startswith(GIT_LFS) else why
    except (EdgenasError, *IMAGE) as error:
        why = str(error) or type(error).__name__
    return Unread(why, lasting=True)


def _opened(file: BinaryIO, read: Callable[[Image.Image], Found]) -> Found:
    with Image.open(file, formats=formats_here()) as image:
        return read(image)
