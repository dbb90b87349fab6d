"""One small picture of every kind that people have, as files that the server takes."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def encoded(image: Image.Image, form: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def kinds(seed: int = 0) -> dict[str, bytes]:
    """Name with suffix -> file."""
    rng = np.random.default_rng(seed)
    colour = Image.fromarray(rng.integers(0, 256, (20, 30, 3), dtype=np.uint8))
    alpha = Image.fromarray(rng.integers(0, 256, (20, 30), dtype=np.uint8))
    grey, deep = colour.convert("L"), Image.fromarray(rng.integers(0, 65536, (20, 30), dtype=np.uint16))
    cut, grey_cut = colour.copy(), grey.copy()
    cut.putalpha(alpha)
    grey_cut.putalpha(alpha)
    palette = colour.quantize(16)
    return {
        "rgb.png": encoded(colour),
        "grey.png": encoded(grey),
        "bit.png": encoded(grey.convert("1")),
        "rgba.png": encoded(cut),
        "grey-alpha.png": encoded(grey_cut),
        "palette.png": encoded(palette),
        "palette-one-clear.png": encoded(palette, transparency=3),
        "palette-alpha.png": encoded(palette, transparency=bytes(range(0, 160, 10))),
        "rgb-one-clear.png": encoded(colour, transparency=colour.getpixel((4, 4))),
        "grey-one-clear.png": encoded(grey, transparency=grey.getpixel((4, 4))),
        "16-bit.png": encoded(deep),
        "16-bit-one-clear.png": encoded(deep, transparency=deep.getpixel((4, 4))),
        "wide.png": encoded(colour.resize((300, 7))),
        "rgb.jpg": encoded(colour, "JPEG"),
        "grey.jpg": encoded(grey, "JPEG"),
        "cmyk.jpg": encoded(colour.convert("CMYK"), "JPEG"),
        **{f"turned-{n}.jpg": encoded(colour, "JPEG", exif=turned(n)) for n in range(2, 9)},
        "turned-6.png": encoded(colour, exif=turned(6)),
        "rgb.webp": encoded(colour, "WEBP"),
        "rgba.webp": encoded(cut, "WEBP", lossless=True),
        "turned-6.webp": encoded(colour, "WEBP", exif=turned(6)),
        "rgb.bmp": encoded(colour, "BMP"),
        "grey.bmp": encoded(grey, "BMP"),
    }
