"""Images that are hard to read: sound pixels whose EXIF is not (Pillow opens them, and raises where their orientation is asked
for), and images of more pixels than anybody reads."""

from __future__ import annotations

import contextlib
import io
import resource
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

GARBAGE = (b"garbage", b"II*\0")  # no TIFF header; one that is cut off
PICTURE = Image.new("RGB", (64, 48), (90, 120, 30))


def png_with_exif(exif: bytes) -> bytes:
    whole = _encoded("PNG")
    chunk = b"eXIf" + exif
    end = 33  # of the signature and the header chunk
    return whole[:end] + struct.pack(">I", len(exif)) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[end:]


def jpeg_with_exif(exif: bytes) -> bytes:
    """With a density in its JFIF segment: without one, Pillow looks for it in the EXIF when it opens the file."""
    whole = _encoded("JPEG", dpi=(72, 72))
    segment = b"Exif\0\0" + exif
    (length,) = struct.unpack(">H", whole[4:6])
    return whole[: 4 + length] + b"\xff\xe1" + struct.pack(">H", 2 + len(segment)) + segment + whole[4 + length :]


def _encoded(form: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    PICTURE.save(buffer, form, **options)
    return buffer.getvalue()


IMAGES = tuple(make(exif) for make in (png_with_exif, jpeg_with_exif) for exif in GARBAGE)


# ---------------------------------------------------------------- images of many pixels

MOST_PIXELS = (17_895_697, 10)  # 2 x Pillow's MAX_IMAGE_PIXELS to the pixel
TOO_MANY_PIXELS = (17_895_698, 10)
GREY_DEEP, RGB_DEEP, BITS = (8, 0), (8, 2), (1, 0)  # depth and colour type of a PNG


def png_of_one_colour(size: tuple[int, int]) -> bytes:
    """(width, height) black pixels of one bit, whole."""
    packer = zlib.compressobj()
    row = b"\0" + bytes(-(-size[0] // 8))
    return _png(size, BITS, b"".join(packer.compress(row) for _ in range(size[1])) + packer.flush())


def png_without_pixels(size: tuple[int, int], kind: tuple[int, int] = BITS) -> bytes:
    """A header that promises (width, height) pixels."""
    return _png(size, kind, zlib.compress(b""))


def _png(size: tuple[int, int], kind: tuple[int, int], pixels: bytes) -> bytes:
    chunks = [(b"IHDR", struct.pack(">IIBBBBB", *size, *kind, 0, 0, 0)), (b"IDAT", pixels), (b"IEND", b"")]
    parts = [struct.pack(">I", len(d)) + name + d + struct.pack(">I", zlib.crc32(name + d)) for name, d in chunks]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


@contextlib.contextmanager
def only_so_much_memory_more(megabytes: int) -> Iterator[None]:
    """This process may take no more address space than it has now and so much."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + megabytes * 1_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
