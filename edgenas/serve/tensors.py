"""Numbers of a request and of an answer: JSON, or bytes behind it. Reading takes no more memory than the shape allows."""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.serve.errors import RequestRefused

Array = NDArray[Any]
SLICE = 1 << 16  # bytes of JSON that are decoded at once: the event loop gets its turn in between
STEP = 1 << 20  # bytes that are looked through at once
_STRUCTURE = b"[],"
_REST = bytes(set(range(256)) - set(_STRUCTURE))
_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "f": msgspec.json.Decoder(list[float]),
    "u": msgspec.json.Decoder(list[Annotated[int, msgspec.Meta(ge=0, le=255)]]),
}


def array_from_json(name: str, data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Numbers, flat in row-major order or nested exactly as the shape says; RequestRefused with 400 for anything else.

    `data` is valid JSON of any size. It is counted before anything is made of it, so that a long list of what is not
    numbers costs nothing.
    """
    size, count = math.prod(shape), count_of(data, b",") + 1
    if count != size:
        raise RequestRefused(400, f"data of {name!r} has {count} values, shape {list(shape)} {size}")
    structure = _without(data, _REST)
    if structure not in (_brackets((size,)), _brackets(shape)):
        raise RequestRefused(
            400, f"data of {name!r} is nested otherwise than shape {list(shape)}; flat lists are taken too"
        )
    decoder, array = _DECODERS[dtype.kind], np.empty(size, dtype)
    numbers, start, filled = _without(data, b"[]"), 0, 0
    while start < len(numbers):
        end = numbers.find(b",", start + SLICE)
        end = len(numbers) if end < 0 else end
        try:
            values = decoder.decode(b"[" + numbers[start:end] + b"]")
        except msgspec.MsgspecError as error:
            wanted = "whole numbers from 0 to 255" if dtype.kind == "u" else "numbers"
            raise RequestRefused(400, f"data of {name!r} is not {wanted}") from error
        with np.errstate(over="ignore"):  # found by the caller, who refuses what is not finite
            array[filled : filled + len(values)] = values
        start, filled = end + 1, filled + len(values)
    if filled != size:
        raise RequestRefused(400, f"data of {name!r} has {filled} values, shape {list(shape)} {size}")
    return array.reshape(shape)


def count_of(data: bytes, byte: bytes) -> int:
    """How often a byte is in `data`, without keeping other threads waiting for long."""
    return sum(data.count(byte, start, start + STEP) for start in range(0, len(data), STEP))


def _without(data: bytes, dropped: bytes) -> bytes:
    return b"".join(data[start : start + STEP].translate(None, dropped) for start in range(0, len(data), STEP))


def _brackets(shape: Sequence[int]) -> bytes:
    """Brackets and commas of an array of this shape."""
    return functools.reduce(lambda row, count: b"[" + b",".join([row] * count) + b"]", reversed(shape), b"")


def array_from_bytes(data: bytes, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Little-endian values in row-major order; `data` has the shape's size."""
    return np.frombuffer(data, dtype.newbyteorder("<")).astype(dtype).reshape(shape)


def classes_from_values(values: Array, count: int, labels: Sequence[str]) -> list[list[str]]:
    """The `count` largest values of every row as `value:index:label`, largest first (Triton's classification extension)."""
    rows = []
    for row in values.reshape(len(values), -1):
        order = np.argsort(-row, kind="stable")[:count]
        rows.append([f"{row[i]:f}:{i}" + (f":{labels[i]}" if labels else "") for i in order])
    return rows


def bytes_from_texts(texts: Sequence[str]) -> bytes:
    """A BYTES tensor: every element with its length, 4 bytes little-endian, in front."""
    encoded = [text.encode() for text in texts]
    return b"".join(struct.pack("<I", len(text)) + text for text in encoded)
