"""How alike two runs of one network are: its outputs here and there, in this precision and in that."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def cosines(a: Array, b: Array) -> NDArray[np.float32]:
    """(N, n), (N, n) -> (N,): cosine of each row of `a` with the same row of `b`; two zero rows agree."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    lengths = np.linalg.norm(x, axis=1) * np.linalg.norm(y, axis=1)
    both_zero = ~x.any(1) & ~y.any(1)
    cosine: NDArray[np.float32] = np.where(both_zero, 1.0, (x * y).sum(1) / np.maximum(lengths, 1e-30)).astype(
        np.float32
    )
    return cosine


def likeness(want: Array, have: Array, values: bool) -> float:
    """One figure, at most 1, for outputs (N, n): the mean cosine of their rows.

    `values`: every output is a quantity of its own, such as an angle, and a row may be one number, whose cosine says nothing.
    Then each output is taken about the mean of its wanted values, in units of their deviation, and the cosine is that of all
    images together: an offset of 14 % of a deviation, or noise as large, makes it .99.
    """
    if not values:
        return float(cosines(want, have).mean())
    wanted, had = want.astype(np.float64), have.astype(np.float64)
    middle, deviation = wanted.mean(axis=0), wanted.std(axis=0)
    unit = np.where(deviation > 0, deviation, 1.0)
    rows = [((array - middle) / unit).reshape(1, -1) for array in (wanted, had)]
    return float(cosines(rows[0], rows[1])[0])
