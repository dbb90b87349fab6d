"""An image from a request, decoded within limits that are checked before any pixel is."""

from __future__ import annotations

import io

from PIL import Image

from edgenas.preprocessing import DAMAGED, upright
from edgenas.serve.errors import RequestRefused

FORMATS = ("JPEG", "PNG")
LARGEST_PIXELS = 16_000_000


def image_from_bytes(body: bytes) -> Image.Image:
    """A decoded, upright JPEG or PNG. RequestRefused: 415 for anything else, 413 above the pixel limit, 400 for a damaged one."""
    if not body:
        raise RequestRefused(400, "the body is empty: send a JPEG or PNG file as it is")
    try:
        image = Image.open(io.BytesIO(body), formats=FORMATS)
    except Image.DecompressionBombError as error:
        raise RequestRefused(
            413, f"the image has too many pixels, {LARGEST_PIXELS / 1e6:.0f} million are allowed"
        ) from error
    except DAMAGED as error:
        raise RequestRefused(415, "the body is no JPEG or PNG file: send one as it is") from error
    if image.width * image.height > LARGEST_PIXELS:
        raise RequestRefused(
            413, f"the image has {image.width} x {image.height} pixels, {LARGEST_PIXELS / 1e6:.0f} million are allowed"
        )
    try:
        return upright(image)
    except DAMAGED as error:
        raise RequestRefused(400, f"the image is damaged: {error}") from error
