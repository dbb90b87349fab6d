"""Non-negative least squares on relative error, hardened against outliers: what prices are fitted with."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]

FLOOR = 0.25  # of the median: below that, errors count absolutely (cells that compute nothing take almost no time)
STEPS = 3  # reweightings from squared towards absolute error


def fit_prices(quantities: Array, ms: Array, ridge: float) -> Array:
    """Prices >= 0 that minimise the relative error of `quantities @ prices`; the first column is the constant.

    The ridge is relative to one unit of every column's mean, and ten times weaker on the constant.
    """
    from scipy.optimize import nnls  # 0.3 s, and a prediction needs none

    scale = np.abs(quantities).mean(axis=0)
    scale[scale == 0] = 1.0
    columns, median = quantities / scale, float(np.median(ms))
    relative = median / np.maximum(ms, FLOOR * median)
    shrink = np.sqrt(ridge * len(ms)) * np.eye(columns.shape[1])
    shrink[0, 0] *= 0.1
    zeros, target, weights = np.zeros(columns.shape[1]), ms / median, relative.copy()
    prices = zeros
    for _ in range(STEPS):
        prices, _ = nnls(np.vstack([columns * weights[:, None], shrink]), np.concatenate([target * weights, zeros]))
        error = np.abs(columns @ prices - target) * relative
        hardened = 1 / np.sqrt(error + 0.02)
        weights = relative * hardened / hardened.mean()
    return np.asarray(prices * median / scale, dtype=np.float64)


def cross_validated_error(quantities: Array, ms: Array, ridge: float, folds: int = 10) -> float:
    """Mean relative error on rows left out in turn; the folds depend on nothing but the number of rows."""
    fold = np.random.default_rng(0).permutation(len(ms)) % min(folds, len(ms))
    predicted = np.zeros(len(ms))
    for index in range(fold.max() + 1):
        left_out = fold == index
        predicted[left_out] = quantities[left_out] @ fit_prices(quantities[~left_out], ms[~left_out], ridge)
    return float(np.mean(np.abs(predicted - ms) / np.maximum(ms, FLOOR * np.median(ms))))
