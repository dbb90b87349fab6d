"""What is known of a network without training, in a few numbers: for `Space.features`."""

from __future__ import annotations

import math
from collections.abc import Iterable

from edgenas.records import Kernel, Workload

WINDOWS = ("conv", "depthwise", "maxpool", "avgpool")


def receptive_field(workload: Workload) -> int:
    """Pixels of the input, along one side, that one pixel of the last map before the head depends on."""
    fields: dict[int, tuple[int, int]] = {-1: (1, 1)}  # (pixels, pixels from one to the next)
    widest = 1
    for index, kernel in enumerate(workload.kernels):
        pixels, step = max(fields[source] for source in kernel.inputs)
        if kernel.kind in WINDOWS:
            pixels += (max(kernel.kernel) - 1) * kernel.dilation[0] * step
            step *= max(kernel.stride)
            widest = max(widest, pixels)
        fields[index] = pixels, step
    return widest


def shares(amounts: Iterable[tuple[object, float]], of: Iterable[object]) -> list[float]:
    """The share of each of `of` in the sum of all amounts, 0 where there is none."""
    pairs = list(amounts)
    total = math.fsum(amount for _, amount in pairs) or 1.0
    return [math.fsum(amount for name, amount in pairs if name == one) / total for one in of]


def weighted_mean(pairs: Iterable[tuple[float, float]]) -> float:
    """The mean of (value, weight) pairs; 0 where all weights are."""
    held = list(pairs)
    total = math.fsum(weight for _, weight in held)
    return math.fsum(value * weight for value, weight in held) / total if total else 0.0


def macs_of(kernels: Iterable[Kernel]) -> int:
    """Of some kernels of a workload."""
    return sum(kernel.macs for kernel in kernels)
