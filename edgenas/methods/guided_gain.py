"""How much training a network is expected to bring: by the area under the front of (cost, score), where costs are known exactly.

    gain(network) = integral of E[max(0, score - best(t))] over t, from the network's cost to the limit
                    + weight * E[max(0, score - best(limit))]

best(t): the best expected score of what costs at most t. That is the expected hypervolume improvement (Emmerich, Giannakoglou,
Naujoks 2006), which takes this simple form because only the score is uncertain; inside it is the expected improvement of Jones,
Schonlau, Welch 1998 (equation 15). The second term is for the one network that is chosen in the end.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

from edgenas.methods.guided_model import Array, Expected

DIGITS = (
    9  # to which a gain is rounded, in units of the largest: the last digits of a product differ between processors
)


@dataclass(frozen=True)
class Front:
    """What is known. along: (n,) costs on the axis; mean: (n,) expected scores; bottom, top: the part of the axis that counts."""

    along: Array
    mean: Array
    bottom: float
    top: float

    def steps(self) -> tuple[Array, Array, Array]:
        """(n + 1,) left ends, right ends and best scores of the front's steps; before its first the worst score there is."""
        order = np.argsort(self.along, kind="stable")
        along = np.clip(self.along[order], self.bottom, self.top)
        left, right = np.concatenate([[self.bottom], along]), np.concatenate([along, [self.top]])
        return left, right, np.concatenate([[self.mean.min()], np.maximum.accumulate(self.mean[order])])


def gains(along: Array, expected: Expected, front: Front, weight: float) -> Array:
    """(m,): of m networks, in units of the largest gain; 0 to 1."""
    left, right, best = front.steps()
    improvement = expected_improvement(expected, best)
    wide = np.maximum(0.0, right[None, :] - np.maximum(left[None, :], along[:, None]))  # (m, n + 1)
    area = (wide * improvement).sum(1) / max(front.top - front.bottom, 1e-9)
    gain = area + weight * improvement[:, -1]
    return np.asarray(np.round(gain / max(float(gain.max()), 1e-300), DIGITS))


def expected_improvement(expected: Expected, best: Array) -> Array:
    """(m, k): by how much m uncertain scores are expected to exceed each of k levels; 0 where they do not."""
    apart = expected.mean[:, None] - best[None, :]
    z = apart / expected.sd[:, None]
    density = np.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return np.asarray(np.maximum(0.0, apart * ndtr(z) + expected.sd[:, None] * density))


def undominated(along: Array, mean: Array) -> NDArray[np.bool_]:
    """(n,): is there none that costs no more and is expected to score better, or the same for less?"""
    cheaper = (along[:, None] < along[None, :]) | ((along[:, None] == along[None, :]) & (mean[:, None] > mean[None, :]))
    return np.asarray(~(cheaper & (mean[:, None] >= mean[None, :])).any(0))
