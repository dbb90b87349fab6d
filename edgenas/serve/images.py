"""An image from a request, decoded within limits that are checked before any pixel is."""

from __future__ import annotations

import io

from PIL import Image

from edgenas.damaged import IMAGE
from edgenas.preprocessing import formats_here, upright
from edgenas.serve.errors import RequestRefused

FORMATS = ("JPEG", "PNG", "WEBP", "BMP")
NAMES = "JPEG, PNG, WebP or BMP"
LARGEST_PIXELS = 16_000_000


def image_from_bytes(body: bytes) -> Image.Image:
    """Upright, of one of FORMATS. RequestRefused: 415 for anything else, 413 above the pixel limit, 400 for a damaged one."""
    if not body:
        raise RequestRefused(400, f"the body is empty: send a {NAMES} file")
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
