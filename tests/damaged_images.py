"""Images whose pixels are sound and whose EXIF is not: Pillow opens them, and raises where their orientation is asked for."""

from __future__ import annotations

import io
import struct
import zlib

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
