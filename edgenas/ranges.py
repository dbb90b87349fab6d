"""The ranges of numbers that come in from outside, in architectures, profiles, recipes and project files.

Wide enough for everything that exists, narrow enough that nonsense is refused where it is read, with its place in the file.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from edgenas.errors import EdgenasError

Channels = Annotated[int, Meta(ge=1, le=65_536)]
WidthOrNone = Annotated[int, Meta(ge=0, le=65_536)]  # channels of a layer that may be left out
Expansion = Annotated[int, Meta(ge=1, le=64)]  # of a block's inner width
Side = Annotated[int, Meta(ge=1, le=16_384)]  # pixels
Window = Annotated[int, Meta(ge=1, le=99)]  # side of a kernel
Stride = Annotated[int, Meta(ge=1, le=8)]
Depth = Annotated[int, Meta(ge=1, le=1_000)]  # layers or cells
ClassCount = Annotated[int, Meta(ge=1, le=10_000_000)]

Epochs = Annotated[int, Meta(ge=1, le=100_000)]
Operations = Annotated[int, Meta(ge=1, le=100)]
Networks = Annotated[int, Meta(ge=1, le=1_000_000)]
Tries = Annotated[int, Meta(ge=0, le=1_000_000)]
Threads = Annotated[int, Meta(ge=1, le=4_096)]
BatchSize = Annotated[int, Meta(ge=1, le=1_048_576)]
Points = Annotated[float, Meta(ge=-100, le=100)]  # percentage points
Percent = Annotated[float, Meta(ge=0, le=100)]
Share = Annotated[float, Meta(ge=0, le=1)]

MOST_SEED = 2**32 - 1
Seed = Annotated[int, Meta(ge=0, le=MOST_SEED)]

Milliseconds = Annotated[float, Meta(gt=0, le=1e9)]
Megabytes = Annotated[float, Meta(gt=0, le=1e9)]
Tera = Annotated[float, Meta(ge=1e-6, le=1e6)]  # operations per second
GigabytesPerSecond = Annotated[float, Meta(ge=1e-3, le=1e6)]
Microseconds = Annotated[float, Meta(gt=0, le=1e6)]
Watts = Annotated[float, Meta(gt=0, le=1e5)]
Millijoules = Annotated[float, Meta(gt=0, le=1e12)]
Factor = Annotated[float, Meta(gt=0, le=1e4)]
Error = Annotated[float, Meta(ge=0, le=1e9)]  # relative
Correlation = Annotated[float, Meta(ge=-1.000001, le=1.000001)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Price = Annotated[float, Meta(ge=0, le=1e6)]  # ms per launch, multiplication or byte
Weight = Annotated[float, Meta(ge=-10, le=10)]  # of a fitted correction
AnyPrice = Annotated[float, Meta(ge=-1e6, le=1e6)]  # of a fit whose prices may lie below zero
Amount = Annotated[float, Meta(ge=0, le=1e18)]  # of launches, multiplications, bytes


def beside(value: float, bar: float, digits: int = 4) -> str:
    """`value` with so many significant digits, or as many more as it takes to be on its side of `bar`: 4.00004, not 4, where
    it is more than 4."""
    for count in range(digits, 18):
        text = f"{value:.{count}g}"
        if (float(text) > bar) == (value > bar) and (float(text) < bar) == (value < bar):
            return text
    return repr(value)


def check_seed(seed: int) -> None:
    """EdgenasError for a number that seeds nothing."""
    if not 0 <= seed <= MOST_SEED:
        raise EdgenasError(f"seed {seed} was asked for: possible are 0 to {MOST_SEED}")
