"""Any number of images through a file that may have been made for exactly so many."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.runtimes import LARGEST_BATCH, Runtime

Array = NDArray[Any]


def fixed_batch(runtime: Runtime) -> int | None:
    """How many images the model takes at a time, if not any number."""
    first = next(iter(runtime.inputs.values())).shape[0]
    return first if isinstance(first, int) else None


def run_in_batches(runtime: Runtime, inputs: Array, largest: int = LARGEST_BATCH) -> dict[str, Array]:
    """Outputs by name, (N, ...), for the inputs (N, ...) of a one-input model; N > 0.

    A file of a fixed batch is fed that many at a time, and the last part is filled up with its last image, whose other results
    are dropped; any other is fed `largest` at most.
    """
    (name,) = runtime.inputs
    fixed = fixed_batch(runtime)
    step = fixed or largest
    parts = []
    for first in range(0, len(inputs), step):
        part = inputs[first : first + step]
        count = len(part)
        if fixed is not None and count < fixed:
            part = np.concatenate([part, np.repeat(part[-1:], fixed - count, axis=0)])
        parts.append({output: values[:count] for output, values in runtime.run({name: part}).items()})
    return {output: np.concatenate([part[output] for part in parts]) for output in parts[0]}
