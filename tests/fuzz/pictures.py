"""Pictures as files: whole ones of every kind, those that were found to do harm, and those that are nearly whole."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from hypothesis.strategies import SearchStrategy
from PIL import Image

from tests.damaged_images import IMAGES as ODD_EXIF
from tests.fuzz.mutation import mutations, png_with_right_sums
from tests.picture_kinds import encoded, kinds

_NOISE = np.random.default_rng(5).integers(0, 256, (24, 32, 3), dtype=np.uint8)
PNG = encoded(Image.fromarray(_NOISE))


def png(width: int, height: int, *, depth: int = 8, colour: int = 0, data: bytes = b"", chunks: bytes = b"") -> bytes:
    """A PNG that says so of itself, whatever is in it."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return png_with_right_sums(
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + chunks + _chunk(b"IDAT", data) + _chunk(b"IEND", b"")
    )


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def _empty(width: int, height: int) -> bytes:
    return zlib.compress((b"\0" + bytes(width)) * height, 9)


def found_before() -> tuple[bytes, ...]:
    """Thin ones, bombs, odd EXIF, odd modes, formats that are programs."""
    deep = Image.fromarray(np.linspace(0, 65535, 1024).reshape(32, 32).astype(np.uint16))
    floating = encoded(Image.fromarray(_NOISE[..., 0].astype(np.float32)), "TIFF")
    text_bomb = _chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(70_000_000), 9))
    profile_bomb = _chunk(b"iCCP", b"p\0\0" + zlib.compress(bytes(70_000_000), 9))
    return (
        PNG, *kinds().values(), *ODD_EXIF, encoded(deep), floating,
        png(30_000, 1, data=_empty(30_000, 1)), png(1, 30_000, data=_empty(1, 30_000)), png(16_000_000, 1,
            data=_empty(16_000_000, 1)),
        png(30_000, 30_000), png(2**31 - 1, 2**31 - 1), png(0, 0), png(8, 8, depth=3), png(8, 8, colour=9),
        png(8, 8, data=_empty(8, 8), chunks=text_bomb), png(8, 8, data=_empty(8, 8), chunks=profile_bomb),
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"", PNG[:50],
        *(encoded(Image.fromarray(_NOISE), form) for form in ("GIF", "WEBP", "BMP", "PPM")),
    )  # fmt: skip


def pictures() -> SearchStrategy[bytes]:
    """Mutated, in half of the PNGs with checksums that fit what they say now."""
    colour = Image.fromarray(_NOISE)
    pngs = (PNG, encoded(colour.quantize(16)), encoded(colour.convert("LA")), encoded(colour.convert("1")))
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "maker"
    others = (
        encoded(colour, "JPEG", exif=exif, progressive=True), encoded(colour.convert("CMYK"), "JPEG"), encoded(colour, "WEBP"),
        encoded(colour.convert("P"), "GIF"), encoded(colour, "BMP"), encoded(colour, "TIFF", compression="tiff_lzw"),
        encoded(colour, "TIFF"), encoded(colour, "PPM"),
    )  # fmt: skip
    apng = io.BytesIO()
    colour.save(apng, "PNG", save_all=True, append_images=[colour.rotate(90)])
    pngs = (*pngs, apng.getvalue())
    return mutations(*pngs).map(png_with_right_sums) | mutations(*pngs, *others)
