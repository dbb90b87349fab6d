"""What stands before the first layer of a chain or the first cell where images are larger than these work on.

`wide`: as many convolutions of stride 2 as bring the image down, all of the width that the network begins with, and then its own
first convolution. They are not searched, and from 64 px on they are most of the network. `growing`: as many convolutions of
stride 2, whose widths double up to that width (C / 2, C, 2 C where the network begins with 2 C), and nothing after them: a dense
one on the image, then separable ones.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from edgenas.architectures.tracer import Tracer

Stem: TypeAlias = Literal["wide", "growing"]
NARROWEST = 8  # channels of a growing stem, where the network begins with as many


def stem_widths(channels: int, reductions: int) -> tuple[int, ...]:
    """Output channels of each convolution of a growing stem that ends with `channels`."""
    least = min(NARROWEST, channels)
    return tuple(max(least, -(-channels // 2**left)) for left in reversed(range(reductions)))


def growing_stem(trace: Tracer, channels: int, reductions: int, activation: str = "relu") -> int:
    """The last kernel of a growing stem, (C, H, W) -> (channels, H / 2^reductions, W / 2^reductions), rounded up.

    `activation`: of the last convolution; all others have a ReLU."""
    here = -1
    for place, width in enumerate(stem_widths(channels, reductions)):
        last = activation if place == reductions - 1 else "relu"
        if place == 0:
            here = trace.conv(here, width, 3, stride=2, norm=True, activation=last)
        else:
            source = trace.shape(here)[0]
            here = trace.conv(here, source, 3, stride=2, groups=source)
            here = trace.conv(here, width, 1, norm=True, activation=last)
    return here
