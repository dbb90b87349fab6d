"""What a network must beat: raw pixels, and linear discriminant analysis on them (Fisherfaces, Belhumeur 1997)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError
from edgenas.faces.images import grey
from edgenas.faces.verification import Floats, Ints

BASELINE_SIDE = 28
BLOCK = 1024  # images at a time: all of a large set as 64-bit numbers would not fit
LEAST_WITHIN = 1e-12  # variance within people, of all: below it nothing says how images of somebody differ


def pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, S, S, C), grey (C = 1) or RGB, S a multiple of 28 -> (N, 784): grey, averaged to 28x28, each image with mean 0 and
    deviation 1 (so light matters less)."""
    return np.concatenate([_pixels(part) for part in _blocks(images)])


def _pixels(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    values = images[..., 0].astype(np.float32) if images.shape[-1] == 1 else grey(images)
    count, side = len(values), values.shape[1]
    block = side // BASELINE_SIDE
    small = values.reshape(count, BASELINE_SIDE, block, BASELINE_SIDE, block).mean(axis=(2, 4)).reshape(count, -1)
    small -= small.mean(axis=1, keepdims=True)
    return np.asarray(small / np.maximum(small.std(axis=1, keepdims=True), 1e-6), np.float32)


def _blocks(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    return (values[start : start + BLOCK] for start in range(0, len(values), BLOCK))


class Lda:
    """PCA to at most `components` dimensions, then directions that separate the training people; cosine between images."""

    def __init__(self, features: Floats, labels: Ints, components: int = 100) -> None:
        """Raises DataError where people or images are too few, or no two images of somebody differ."""
        people, codes = np.unique(labels, return_inverse=True)
        if len(people) < 2 or len(features) <= len(people):
            raise DataError(f"LDA needs two people and more images than people, not {len(people)} and {len(features)}")
        self.mean = features.mean(axis=0, dtype=np.float64)
        # Principal axes are those of the scatter (F, F), which is small however many images there are.
        centred = (part - self.mean for part in _blocks(features))
        scatter = sum((part.T @ part for part in centred), start=np.zeros((len(self.mean),) * 2))
        axes = np.linalg.eigh(scatter)[1][:, ::-1]  # the widest first
        self.projection = kept = axes[:, : min(components, len(features) - len(people))]
        projected = self(features)
        centres = np.stack([projected[codes == person].mean(axis=0) for person in range(len(people))])
        within = np.atleast_2d(np.cov((projected - centres[codes]).T, bias=True))
        if not np.trace(within) > LEAST_WITHIN * np.trace(scatter) / len(features):
            raise DataError("LDA needs images of one person that differ: here they are copies")
        within = within + 1e-3 * np.trace(within) / kept.shape[1] * np.eye(kept.shape[1])
        scales, basis = np.linalg.eigh(within)
        whiten = basis / np.sqrt(scales)
        _, _, directions = np.linalg.svd((centres - projected.mean(axis=0)) @ whiten, full_matrices=False)
        self.projection = kept @ whiten @ directions[: len(people) - 1].T

    def __call__(self, features: Floats) -> NDArray[np.float64]:
        return np.concatenate([(part - self.mean) @ self.projection for part in _blocks(features)])
