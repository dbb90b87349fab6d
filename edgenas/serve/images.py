"""An image from a request, decoded within limits that are checked before any pixel is."""

from __future__ import annotations

import io
import re
import struct

from PIL import Image

from edgenas.damaged import IMAGE
from edgenas.preprocessing import formats_here, upright
from edgenas.serve.errors import RequestRefused

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
NAMES = "JPEG, PNG, WebP or BMP"
LARGEST_PIXELS = 16_000_000
MOST_SCANS = 64  # of a JPEG: each walks over all pixels, however short it is. Progressive encoders write about ten
MOST_PARTS = 65_536  # segments of a JPEG and bytes between them, chunks of a PNG: Pillow reads them one by one
MOST_EXIF = 16  # segments of Exif, of 64 kB each, that Pillow joins one by one
MOST_PROFILES = 1  # of colour, in a PNG, as its standard says: each is unpacked, to a megabyte
_SEGMENT = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")  # a marker with a length behind it, or the end of the image
_SCAN, _END, _APP1 = b"\xda", b"\xd9", b"\xe1"


def image_from_bytes(body: bytes) -> Image.Image:
    """Upright, of one of FORMATS. RequestRefused: 415 for anything else, 413 above the pixel limit, 400 for a damaged one."""
    if not body:
        raise RequestRefused(400, f"the body is empty: send a {NAMES} file")
    _refuse_endless(body)
    try:
        image = Image.open(io.BytesIO(body), formats=formats_here(FORMATS))
    except Image.DecompressionBombError as error:
        raise RequestRefused(
            413, f"the image has too many pixels, {LARGEST_PIXELS / 1e6:.0f} million are allowed"
        ) from error
    except IMAGE as error:
        raise RequestRefused(415, f"the body is no {NAMES} file: send one") from error
    if image.width * image.height > LARGEST_PIXELS:
        raise RequestRefused(
            413, f"the image has {image.width} x {image.height} pixels, {LARGEST_PIXELS / 1e6:.0f} million are allowed"
        )
    in_runs = bool(image.tile) and image.tile[0][0] == "bmp_rle"
    if in_runs:  # Pillow unpacks them in Python, one by one: seconds for a hostile file
        raise RequestRefused(
            415, "the body is a BMP with run-length compression, which is not read: send it uncompressed"
        )
    try:
        return upright(image)
    except IMAGE as error:
        raise RequestRefused(400, f"the image is damaged: {error}") from error


def _refuse_endless(body: bytes) -> None:
    """RequestRefused with 413 where a few bytes would hold the worker up for long: each of a file's parts costs time."""
    if body.startswith(b"\xff\xd8"):
        counts = _counts_of_jpeg(body)
    elif body.startswith(b"\x89PNG"):
        counts = _counts_of_png(body)
    else:
        return
    for what, (count, most) in counts.items():
        if count > most:
            raise RequestRefused(413, f"the image has more than {most} {what}: save it again with another program")


def _counts_of_jpeg(body: bytes) -> dict[str, tuple[int, int]]:
    """What libjpeg and Pillow find, and how much of it may be; counting ends where that is exceeded."""
    scans = parts = exif = 0
    position = 2
    while scans <= MOST_SCANS and parts <= MOST_PARTS and exif <= MOST_EXIF and position < len(body):
        found = _SEGMENT.search(body, position)
        start = found.end() if found else len(body)
        # up to the first scan Pillow looks at every byte between two segments
        parts += 1 if scans else start - position
        if found is None or (found[1] == _END and scans):
            break
        scans += found[1] == _SCAN
        exif += found[1] == _APP1 and body[start + 2 : start + 6] == b"Exif"
        position = start + (0 if found[1] == _END else max(2, int.from_bytes(body[start : start + 2], "big")))
    return {"scans": (scans, MOST_SCANS), "parts": (parts, MOST_PARTS), "segments of Exif": (exif, MOST_EXIF)}


def _counts_of_png(body: bytes) -> dict[str, tuple[int, int]]:
    """The same for what Pillow finds in a PNG."""
    parts = profiles = 0
    position = 8
    while parts <= MOST_PARTS and position + 8 <= len(body):
        size, name = struct.unpack_from(">I4s", body, position)
        parts += 1
        profiles += name == b"iCCP"
        position += 12 + size
    return {"parts": (parts, MOST_PARTS), "colour profiles": (profiles, MOST_PROFILES)}
