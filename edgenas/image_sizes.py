"""How large images are: the side of a square in pixels, or (height, width) of a rectangle. Every size has one spelling.

In records and JSON a square is a number, a rectangle a list: 64, [64, 320]. In words and on the command line: 64, 64x320.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, TypeAlias

from msgspec import Meta

from edgenas.errors import DataError, EdgenasError
from edgenas.ranges import Side

# (height, width). Not tuple[Side, Side]: beside a number with bounds, msgspec 0.22 takes these bounds for pointers when garbage
# is collected, and the process is gone.
_TwoSides: TypeAlias = Annotated[tuple[Side, ...], Meta(min_length=2, max_length=2)]
ImageSize: TypeAlias = Side | _TwoSides
AnySize: TypeAlias = (
    int | Annotated[tuple[int, ...], Meta(min_length=2, max_length=2)]
)  # one that is still to be checked
LEAST_SIDE, MOST_SIDE, MOST_PIXELS = 8, 2048, 512 * 512  # of a network's input
POSSIBLE = f"sides of {LEAST_SIDE} to {MOST_SIDE} px and as many pixels as 512x512 at most are possible"


def sides_of(size: AnySize) -> tuple[int, int]:
    """(height, width). Raises EdgenasError for two equal sides, the second spelling of a square."""
    if isinstance(size, int):
        return size, size
    height, width = size
    if height == width:
        raise EdgenasError(f"image size [{height}, {width}]: a square is written as one number, {height}")
    return height, width


def size_from_sides(height: int, width: int) -> ImageSize:
    """The one spelling of this size."""
    return height if height == width else (height, width)


def size_in_words(size: ImageSize) -> str:
    """64, or 64x320 for a height of 64 and a width of 320."""
    return str(size) if isinstance(size, int) else "x".join(map(str, size))


def square_side(size: ImageSize) -> int:
    """Side of the square of as many pixels, rounded down: what is a rule of squares takes a rectangle for that one."""
    return size if isinstance(size, int) else math.isqrt(size[0] * size[1])


def sides_from_text(text: str) -> tuple[int, int] | None:
    """(height, width) of 64 or 64x320; None for any other text."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(re.fullmatch(r"0*[1-9][0-9]{0,4}", side, re.ASCII) for side in sides):
        return None
    return int(sides[0]), int(sides[-1])


def sides_asked(value: object) -> tuple[int, int]:
    """(height, width) that a flag (64, 64x320), a file or a caller (64, (64, 320)) asks for. DataError for what is no size."""
    sides: object = value
    if isinstance(value, str):
        sides = sides_from_text(value)
    elif isinstance(value, int):
        sides = (value, value)
    if not isinstance(sides, tuple | list) or len(sides) != 2 or not all(type(side) is int for side in sides):
        raise DataError(
            f"image size {str(value)[:80]!r}: write 64 for a square of 64 px, or 64x320 for a height of 64 and a width of 320"
        )
    return sides[0], sides[1]


def size_asked(value: object) -> ImageSize:
    """The size of a network's input that is asked for. DataError, in one line, also for what is too small or too large to be
    learned from."""
    height, width = sides_asked(value)
    size = size_from_sides(height, width)
    if min(height, width) < LEAST_SIDE or max(height, width) > MOST_SIDE or height * width > MOST_PIXELS:
        raise DataError(f"image size {size_in_words(size)}: {POSSIBLE}")
    return size
