"""How a recogniser's input is made from pixels, as its user says it."""

from __future__ import annotations

import math

from edgenas.errors import EdgenasError
from edgenas.records import Record


class Pixels(Record, frozen=True):
    """(p - mean) / std of pixels p from 0 to 255; one number for all channels, or three."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


RAW, USUAL = Pixels((0.0,), (1.0,)), Pixels((127.5,), (127.5,))


def pixels_from_text(mean: str | None, std: str | None, of: str = "--teacher") -> Pixels | None:
    """Of --teacher-mean and --teacher-std, such as 127.5 or 123.7,116.3,103.5; None where neither is said."""
    if mean is None and std is None:
        return None
    if mean is None or std is None:
        raise EdgenasError(f"{of}-mean and {of}-std belong together, as in {of}-mean 127.5 {of}-std 128")
    pixels = Pixels(_numbers(f"{of}-mean", mean), _numbers(f"{of}-std", std))
    if min(pixels.std) <= 0:
        raise EdgenasError(f"{of}-std {std}: pixels from 0 to 255 are divided by it, so it is above 0")
    return pixels


def _numbers(flag: str, text: str) -> tuple[float, ...]:
    try:
        found = tuple(float(part) for part in text.split(","))
    except ValueError:
        found = ()
    if len(found) not in (1, 3) or not all(map(math.isfinite, found)):
        raise EdgenasError(f"{flag} {text}: one number for all channels, or three with commas, as in 123.7,116.3,103.5")
    return found


def numbers_text(numbers: float | tuple[float, ...] | None) -> str | None:
    """As a flag has them."""
    if numbers is None:
        return None
    return ",".join(str(number) for number in (numbers if isinstance(numbers, tuple) else (numbers,)))
