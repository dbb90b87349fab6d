"""A Gaussian process of scores: what is expected of a network that was not trained yet, and of those that were.

    score of a run = f(features, lost epochs) + the network's own deviation + noise

f: a constant, a linear and a squared-exponential part. Every combination of the hyperparameters in `Grid` is weighed by its
evidence (Rasmussen, Williams, "Gaussian Processes for Machine Learning", 2006, equations 2.23 to 2.30), the scale following in
closed form; what is returned is the mean of all of them, so that few runs decide no hyperparameter. float64; no randomness.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, solve_triangular

Array = NDArray[np.float64]
CONSTANT = 10.0  # variance of the unknown mean, in units of the scores'; without known noise, of the process's
LIGHT = 0.01  # a combination with less of the weight of the heaviest is left out
JITTER = 1e-8
LEAST_SCALE = 1e-4  # of the scores' variance
SCALINGS = 6
DIGITS = 9  # to which what is predicted is rounded: the last digits of a product differ between processors


class Grid(NamedTuple):
    """Hyperparameters that are tried. `length`: of the squared exponential, in units of the root of the number of features;
    `linear`, `noise`, `short`: variances in units of the squared exponential's; half of `noise` is the network's own deviation.
    `short`: further noise of a run that lost all but 1 / e of its epochs. `shared`: how much of a known variance all runs have in
    common: they are judged on the same images, and are right and wrong about much the same ones. Runs on another cut of the
    images have as much in common with each other only."""

    length: tuple[float, ...] = (0.5, 0.8, 1.6)
    linear: tuple[float, ...] = (0.2, 1.0)
    noise: tuple[float, ...] = (0.01, 0.03, 0.1, 0.3)
    short: tuple[float, ...] = (0.0, 0.2, 0.8)
    shared: tuple[float, ...] = (0.0, 0.7, 0.95)


@dataclass(frozen=True)
class Runs:
    """n trainings. features: (n, d), standardised; network: (n,) which run is of which network; lost: (n,) log of (full epochs /
    epochs), 0 of a run in full; score: (n,), better the higher; floor: (n,) variance of the score that is known, 0 for none: a
    part of it moves all scores alike that were judged on the same images (Grid.shared); cut: (n,) which images these were."""

    features: Array
    network: NDArray[np.int64]
    lost: Array
    score: Array
    floor: Array
    cut: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.score)


class Expected(NamedTuple):
    """(m,) mean and standard deviation of m scores, in the score's unit."""

    mean: Array
    sd: Array


@dataclass(frozen=True)
class _Combination:
    """One combination of hyperparameters, conditioned on the runs."""

    length: float
    linear: float
    own: float
    weight: float
    constant: float  # variance of the unknown mean, in units of the process's
    scale: float  # variance of the process, in units of the standardised scores
    lower: Array  # (n, n) Cholesky factor
    alpha: Array  # (n,)


@dataclass(frozen=True)
class Surrogate:
    """What the runs say of scores on the images of cut 0. Those of new networks leave out the network's own deviation, which
    nothing is known of."""

    runs: Runs
    middle: float
    spread: float
    combinations: tuple[_Combination, ...]

    def of_new(self, features: Array) -> Expected:
        """Scores that networks of these (m, d) features are expected to have when trained in full."""
        return self._expected(features, None)

    def of_trained(self, rows: NDArray[np.int64]) -> Expected:
        """Scores of the networks of these (m,) runs, trained in full, their own deviation being part of it."""
        return self._expected(self.runs.features[rows], self.runs.network[rows])

    def _expected(self, features: Array, network: NDArray[np.int64] | None) -> Expected:
        runs = self.runs
        apart = _squared_distances(features, runs.features, np.zeros(len(features)), runs.lost)
        inner = _products(features, runs.features, np.zeros(len(features)), runs.lost)
        itself = (features**2).sum(1) / _width(features)
        same = None if network is None else (network[:, None] == runs.network[None, :]).astype(np.float64)
        first, second = np.zeros(len(features)), np.zeros(len(features))
        for one in self.combinations:
            cross = one.constant + _covariance(apart, inner, one.length, one.linear, features.shape[1])
            prior = 1.0 + one.constant + one.linear * itself
            if same is not None:
                cross, prior = cross + one.own * same, prior + one.own
            mean = cross @ one.alpha
            solved = solve_triangular(one.lower, cross.T, lower=True, check_finite=False)
            variance = one.scale * np.maximum(prior - (solved**2).sum(0), 1e-10)
            first += one.weight * mean
            second += one.weight * (variance + mean**2)
        sd = np.sqrt(np.maximum(second - first**2, 1e-12))
        mean = self.middle + self.spread * np.round(first, DIGITS)
        return Expected(mean, np.asarray(self.spread * np.round(sd, DIGITS), np.float64))


def fitted(runs: Runs, grid: Grid = Grid()) -> Surrogate:  # a record
    """The surrogate of one run or more."""
    middle = float(np.median(runs.score))
    spread = max(float(runs.score.std()), float(np.sqrt(runs.floor.mean()))) or 1.0
    score, floor = (runs.score - middle) / spread, runs.floor / spread**2
    apart = _squared_distances(runs.features, runs.features, runs.lost, runs.lost)
    inner = _products(runs.features, runs.features, runs.lost, runs.lost)
    same = (runs.network[:, None] == runs.network[None, :]).astype(np.float64)
    moved = _moved(runs.cut, floor)
    short = grid.short if runs.lost.any() else (0.0,)
    shared = grid.shared if floor.any() else (0.0,)
    tried = []
    for length, linear in itertools.product(grid.length, grid.linear):
        known = _covariance(apart, inner, length, linear, runs.features.shape[1])
        for noise, lost, common in itertools.product(grid.noise, short, shared):
            own = noise / 2
            covariance = known + own * same + np.diag(lost * runs.lost + JITTER)
            tried.append(
                (length, linear, own, *_conditioned(covariance, own, (1 - common) * floor, common * moved, score))
            )
    best = max(evidence for *_, evidence in tried)
    heavy = [one for one in tried if one[-1] >= best + np.log(LIGHT)]
    total = sum(float(np.exp(one[-1] - best)) for one in heavy)
    combinations = tuple(
        _Combination(length, linear, own, float(np.exp(evidence - best)) / total, constant, scale, lower, alpha)
        for length, linear, own, constant, scale, lower, alpha, evidence in heavy
    )
    return Surrogate(runs, middle, spread, combinations)


def _moved(cut: NDArray[np.int64], floor: Array) -> Array:
    """(n, n) covariance of how far the images of each run's cut move its score from one on cut 0, whose own luck is a part of the
    unknown mean: two cuts differ by the luck of both, and all others by that of cut 0."""
    root = np.sqrt(floor) * (cut > 0)
    return np.asarray(np.outer(root, root) * (1.0 + (cut[:, None] == cut[None, :])))


def _conditioned(
    covariance: Array, noise: float, floor: Array, moved: Array, score: Array
) -> tuple[float, float, Array, Array, float]:
    """Variance of the unknown mean, scale, Cholesky factor, weights, and log evidence at that scale. The noise is never less than
    the floor, which is absolute as what other images moved is: the scale follows in closed form from both in its units, and they
    again from the scale."""
    n, scale = len(score), 1.0
    for _ in range(SCALINGS if floor.any() else 1):
        constant = CONSTANT / scale
        known = covariance + constant + moved / scale + np.diag(np.maximum(noise, floor / scale))
        lower: Array = np.linalg.cholesky(known).astype(np.float64)
        alpha = cho_solve((lower, True), score, check_finite=False)
        squares = float(score @ alpha)
        before, scale = scale, max(squares / n, LEAST_SCALE)
    scale = before if floor.any() else scale
    evidence = -0.5 * (n * float(np.log(scale)) + squares / scale) - float(np.log(np.diag(lower)).sum())
    return constant, scale, lower, alpha, evidence


def _covariance(apart: Array, inner: Array, length: float, linear: float, width: int) -> Array:
    return np.asarray(np.exp(-apart / (2 * length**2 * max(1, width))) + linear * inner)


def _squared_distances(a: Array, b: Array, lost_a: Array, lost_b: Array) -> Array:
    """(m, n); the lost epochs count as much as all features together."""
    apart = (a**2).sum(1)[:, None] + (b**2).sum(1)[None, :] - 2 * a @ b.T
    return np.asarray(np.maximum(apart, 0.0) + _width(a) * (lost_a[:, None] - lost_b[None, :]) ** 2)


def _products(a: Array, b: Array, lost_a: Array, lost_b: Array) -> Array:
    return np.asarray((a @ b.T) / _width(a) + lost_a[:, None] * lost_b[None, :])


def _width(features: Array) -> int:
    return max(1, int(features.shape[1]))
