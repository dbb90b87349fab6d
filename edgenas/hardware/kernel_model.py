"""Latency of any network: physical prices per launch, MAC and byte, fitted from the datasheet towards measurements.

Maximum a posteriori in the logarithms of the prices: soft-L1 loss on the log ratio, log-normal priors from the datasheet. With
enough rows, what the physics leaves over is learned too, by a Gaussian process in random Fourier features, so that a
profile holds fitted numbers only.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from edgenas.hardware.kernels import COLUMN, PRICES, SURCHARGES, Tiles, quantities
from edgenas.hardware.least_squares import Array
from edgenas.ranges import Amount, Count, Factor, Price, Weight
from edgenas.records import Precision, Record, Workload

NOISE = 0.05  # log error of a good prediction
SPREAD = {  # standard deviation of a log price around the datasheet's
    "base": 2.0, "launch": 1.0, "dense": 0.25, "winograd": 0.25, "pointwise": 0.25, "first": 2.5, "depthwise3": 2.5,
    "linear": 1.5, "read": 0.4, "write": 0.4, "weights": 0.5,
}  # fmt: skip
OTHER_SPREAD = 0.8
TIES = (
    ("read", "write", 0.3),
    ("read", "weights", 0.5),
)  # prices per byte, about equal: the deviation of their log ratio
RESIDUAL_ROWS = 40  # below that the residual costs more than it brings
FOURIER = 512
CLIP = 0.4  # residuals beyond that are outliers


class Residual(Record, frozen=True):
    """Log correction: a linear function of random Fourier features (frequencies drawn from `seed` at `length`)."""

    length: Factor
    seed: Count
    weights: tuple[Weight, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != FOURIER:
            raise ValueError(f"a residual has {FOURIER} weights, not {len(self.weights)}")


class KernelModel(Record, frozen=True):
    """Prices in ms by name, the calibrated range of every quantity, and what physics leaves over.

    Fitted by earlier versions, it has no surcharges: they cost nothing then, and none is beyond its range.
    """

    prices: dict[str, Price]
    largest: dict[str, Amount]  # of any calibrated network, by price
    residual: Residual | None = None

    def __post_init__(self) -> None:
        known = set(self.prices)
        if known != set(self.largest) or known not in (set(PRICES), set(PRICES) - set(SURCHARGES)):
            raise ValueError(f"prices and largest need exactly {', '.join(PRICES)}")

    @property
    def vector(self) -> Array:
        """The prices in the order of PRICES."""
        return np.array([self.prices.get(name, 0.0) for name in PRICES])

    def predict(self, loads: Sequence[Array]) -> Array:
        """Milliseconds of each network, given its kernels' quantities."""
        prices = self.vector
        ms = np.array([load.sum(axis=0) for load in loads]) @ prices
        if self.residual is None:
            return np.asarray(ms)
        waves = _fourier(_traits(loads, prices), self.residual.length, self.residual.seed)
        return np.asarray(ms * np.exp(waves @ np.array(self.residual.weights)))

    def extrapolates(self, load: Array) -> bool:
        """Does the network hold more of something than any calibrated one, or something that none had?"""
        found = dict(zip(PRICES, load.sum(axis=0).tolist(), strict=True))
        return any(found[name] > 1.25 * most for name, most in self.largest.items())


def loads_of(workloads: Sequence[Workload], tiles: Tiles, precision: Precision) -> list[Array]:
    """The quantities of every network's kernels."""
    return [quantities(workload, tiles, precision) for workload in workloads]


def fit_kernels(
    loads: Sequence[Array],
    ms: Array,
    prior: dict[str, float],
    *,
    known_device: bool,
    seed: int,
    noise: Array | None = None,
) -> KernelModel:
    """Prices from `prior` (ms, by name) towards the measurements; `known_device` = the prior is of this very device.

    `noise`: relative standard deviation of each measurement, beside which the model's own error stands; None = 0.
    """
    totals = np.array([load.sum(axis=0) for load in loads])
    centre = np.log([prior[name] for name in PRICES])
    spread = np.array([SPREAD.get(name, OTHER_SPREAD) for name in PRICES])
    if not known_device:  # a nominal device: keep the proportions, take the level from the measurements
        centre += np.median(np.log(ms) - np.log(totals @ np.exp(centre)))
        spread = np.hypot(spread, 1.0)
    trust = np.hypot(NOISE, np.zeros(len(ms)) if noise is None else noise)
    prices = np.exp(_most_probable(totals, np.log(ms), centre, spread, trust))
    largest = dict(zip(PRICES, totals.max(axis=0).tolist(), strict=True))
    residual = _fit_residual(loads, prices, ms, seed) if len(ms) >= RESIDUAL_ROWS else None
    return KernelModel(dict(zip(PRICES, prices.tolist(), strict=True)), largest, residual)


def _most_probable(totals: Array, log_ms: Array, centre: Array, spread: Array, noise: Array) -> Array:
    """Log prices of the highest posterior density; `noise`: log error to be expected of every row."""
    ties = np.zeros((len(TIES), len(PRICES)))
    for row, (one, other, deviation) in zip(ties, TIES, strict=True):
        row[COLUMN[one]], row[COLUMN[other]] = 1 / deviation, -1 / deviation

    def misfit(theta: Array) -> Array:
        error = (np.log(totals @ np.exp(theta)) - log_ms) / noise
        return np.concatenate([_soft(error), (theta - centre) / spread, ties @ theta])

    def slope(theta: Array) -> Array:
        parts = totals * np.exp(theta)
        ms = parts.sum(axis=1)
        gain = _soft_slope((np.log(ms) - log_ms) / noise)
        return np.vstack([parts * (gain / ms / noise)[:, None], np.diag(1 / spread), ties])

    from scipy.optimize import least_squares  # 0.3 s, and a prediction needs none

    return np.asarray(least_squares(misfit, centre, jac=slope, max_nfev=200).x)


def _soft(error: Array) -> Array:
    """Signed square root of twice the soft-L1 loss, for a solver that squares."""
    return np.asarray(np.sign(error) * np.sqrt(2 * (np.sqrt(1 + error**2) - 1)))


def _soft_slope(error: Array) -> Array:
    small = np.abs(error) < 1e-6
    safe = np.where(small, 1.0, error)
    return np.where(small, 1.0, np.abs(safe) / np.sqrt(1 + safe**2) / np.abs(_soft(safe)))


# ---------------------------------------------------------------- the residual


def _traits(loads: Sequence[Array], prices: Array) -> Array:
    """What the residual may depend on: each price's share of the time, and how that time is spread over the kernels."""
    rows = []
    for load in loads:
        times = load * prices
        kernels = times.sum(axis=1)
        total = kernels.sum()
        written = np.maximum(load[:, COLUMN["write"]], 1)
        read = np.maximum(load[:, COLUMN["read"]], 1)
        macs = np.maximum(load[:, len(("base", "launch")) : COLUMN["read"]].sum(axis=1), 1)
        weights = np.maximum(load[:, COLUMN["weights"]], 1)
        scales = [np.log(written), np.log(read), np.log(macs / written), np.log(weights)]
        shares = 4 * times.sum(axis=0)[: -len(SURCHARGES)] / total  # surcharges came later: stored residuals know none
        rows.append([*shares, *(kernels @ scale / total for scale in scales), np.log(total)])
    return np.array(rows)


def _fourier(traits: Array, length: float, seed: int) -> Array:
    """Random features of the squared exponential kernel (Rahimi and Recht, 2007)."""
    rng = np.random.default_rng(seed)
    phases = traits @ rng.standard_normal((traits.shape[1], FOURIER // 2)) / length
    return np.asarray(np.hstack([np.cos(phases), np.sin(phases)]) * np.sqrt(2 / FOURIER))


def _fit_residual(loads: Sequence[Array], prices: Array, ms: Array, seed: int) -> Residual:
    """Bayesian linear regression on the features; length, amplitude and noise by marginal likelihood."""
    traits = _traits(loads, prices)
    left = np.clip(np.log(ms) - np.log(np.array([load.sum(axis=0) for load in loads]) @ prices), -CLIP, CLIP)
    best, chosen = -np.inf, Residual(1.0, seed, (0.0,) * FOURIER)
    for length in (0.5, 1.0, 2.0, 4.0):
        waves = _fourier(traits, length, seed)
        gram = waves.T @ waves
        for amplitude in (0.03, 0.05, 0.08, 0.12):
            for noise in (0.02, 0.03, 0.045):
                ridge = (noise / amplitude) ** 2
                factor = cho_factor(gram + ridge * np.eye(FOURIER))
                weights = cho_solve(factor, waves.T @ left)
                squares = float(left @ (left - waves @ weights)) / noise**2
                logdet = 2 * np.log(np.diag(factor[0])).sum() - FOURIER * np.log(ridge) + 2 * len(left) * np.log(noise)
                likelihood = -0.5 * (squares + logdet)
                if likelihood > best:
                    best, chosen = likelihood, Residual(length, seed, tuple(weights.tolist()))
    return chosen
