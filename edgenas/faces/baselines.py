"""What a network must beat: raw pixels, and linear discriminant analysis on them (Fisherfaces, Belhumeur 1997)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.faces.images import grey
from edgenas.faces.verification import Floats, Ints

BASELINE_SIDE = 28


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, 112, 112, 3) -> (N, 784): grey, averaged to 28x28, each image with mean 0 and deviation 1 (so light matters less)."""
    values = grey(images)
    count, side = len(values), values.shape[1]
    block = side // BASELINE_SIDE
    small = values.reshape(count, BASELINE_SIDE, block, BASELINE_SIDE, block).mean(axis=(2, 4)).reshape(count, -1)
    small -= small.mean(axis=1, keepdims=True)
    return np.asarray(small / np.maximum(small.std(axis=1, keepdims=True), 1e-6), np.float32)


class Lda:
    """PCA to at most `components` dimensions, then directions that separate the training people; cosine between images."""

    def __init__(self, features: Floats, labels: Ints, components: int = 100) -> None:
        people, codes = np.unique(labels, return_inverse=True)
        if len(people) < 2 or len(features) <= len(people):
            raise DataError(f"LDA needs two people and more images than people, not {len(people)} and {len(features)}")
        values = np.asarray(features, np.float64)
        self.mean = values.mean(axis=0)
        _, _, axes = np.linalg.svd(values - self.mean, full_matrices=False)
        kept = axes[: min(components, len(features) - len(people))].T
        projected = (values - self.mean) @ kept
        centres = np.stack([projected[codes == person].mean(axis=0) for person in range(len(people))])
        within = np.cov((projected - centres[codes]).T, bias=True)
        within = np.atleast_2d(within) + 1e-3 * np.trace(np.atleast_2d(within)) / kept.shape[1] * np.eye(kept.shape[1])
        scales, basis = np.linalg.eigh(within)
        whiten = basis / np.sqrt(scales)
        _, _, directions = np.linalg.svd((centres - projected.mean(axis=0)) @ whiten, full_matrices=False)
        self.projection = kept @ whiten @ directions[: len(people) - 1].T

    def __call__(self, features: Floats) -> NDArray[np.float64]:
        return np.asarray((features - self.mean) @ self.projection)
