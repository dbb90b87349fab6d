"""Faces made out of faces: what a teacher is shown beside the images that there are. It says what they are; no label is needed.

A view is one image, or two laid over each other, each turned, scaled, moved, mirrored and bent a little, in other light.
A teacher's answers to very many such views are worth more than its answers to the images alone ("function matching", Beyer et
al. 2022, arXiv 2106.05237, who mix images aggressively); of a few people they make more people.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edgenas.errors import DataError

TURN, SCALE, ASPECT, MOVE = (
    0.2,
    0.15,
    0.08,
    0.05,
)  # radians, logarithms, and a share of the side: at most, to either side
KNOTS, BEND, BENT = (
    5,
    0.035,
    0.6,
)  # an elastic grid of so many points a side; how far they move, share of the side; how often
MIXED, LEAST = 0.5, 0.3  # how often two faces are mixed; the first one's least share
CONTRAST, BRIGHTNESS = 0.35, 35.0  # logarithm, grey levels
BLOCK, PART = 64, 1024  # views that are made, and held, at a time

Floats = NDArray[np.float32]


def face_views(images: NDArray[np.uint8], count: int, seed: int = 0) -> NDArray[np.uint8]:
    """(N, S, S, C) uint8 -> (count, S, S, C) uint8; equal arguments give equal views. DataError for what are no square images."""
    return np.concatenate([images[:0], *view_parts(images, count, seed)])


def view_parts(images: NDArray[np.uint8], count: int, seed: int = 0) -> Iterator[NDArray[np.uint8]]:
    """The same views, PART at a time: a thousand faces of 112 px take 38 MB."""
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.dtype != np.uint8 or not len(images):
        raise DataError(f"views are made of square images, uint8 (N, S, S, C), not of {images.dtype} {images.shape}")
    rng = np.random.default_rng([seed, 21])
    for start in range(0, count, PART):
        sizes = [min(BLOCK, count - block) for block in range(start, min(start + PART, count), BLOCK)]
        yield np.concatenate([_block(images, size, rng) for size in sizes])


def _block(images: NDArray[np.uint8], size: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    first, second = (_bent(images, size, rng) for _ in range(2))
    share = np.where(rng.random(size) < MIXED, rng.uniform(LEAST, 1, size), 1).astype(np.float32)
    share = share[:, None, None, None]
    return _in_other_light(share * first + (1 - share) * second, rng)


def _bent(images: NDArray[np.uint8], count: int, rng: np.random.Generator) -> Floats:
    """(count, S, S, C): images drawn from all, each turned, scaled, moved, mirrored and bent; edges are repeated."""
    side = images.shape[1]
    chosen = images[rng.integers(0, len(images), count)]
    mirrored = rng.random(count) < 0.5
    chosen = np.where(mirrored[:, None, None, None], chosen[:, :, ::-1], chosen)
    y, x = _sources(side, count, rng)  # (count, S, S) each, in pixels
    y, x = np.clip(y, 0, side - 1), np.clip(x, 0, side - 1)
    top, left = np.minimum(y.astype(np.int64), side - 2), np.minimum(x.astype(np.int64), side - 2)
    down, right = (y - top)[..., None], (x - left)[..., None]
    rows = np.arange(count)[:, None, None]
    upper = chosen[rows, top, left] * (1 - right) + chosen[rows, top, left + 1] * right
    lower = chosen[rows, top + 1, left] * (1 - right) + chosen[rows, top + 1, left + 1] * right
    return np.asarray(upper * (1 - down) + lower * down, np.float32)


def _sources(side: int, count: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """(rows, columns), each (count, S, S): where every pixel of a view comes from."""

    def drawn(most: float) -> Floats:
        return rng.uniform(-most, most, (count, 1, 1)).astype(np.float32)

    angle, scale, aspect = drawn(TURN), np.exp(drawn(SCALE)), np.exp(drawn(ASPECT))
    place = np.arange(side, dtype=np.float32) - (side - 1) / 2
    y, x = place[None, :, None], place[None, None, :]
    rows = scale * (np.sin(angle) * x + np.cos(angle) * y) / aspect + side * drawn(MOVE)
    columns = scale * (np.cos(angle) * x - np.sin(angle) * y) * aspect + side * drawn(MOVE)
    bent = (rng.random((2, count, 1, 1)) < BENT).astype(np.float32)
    knots = bent * rng.uniform(-BEND * side, BEND * side, (2, count, KNOTS, KNOTS)).astype(np.float32)
    smooth = _between_knots(side)
    moved = np.einsum("sk,anko,to->anst", smooth, knots, smooth)
    middle = (side - 1) / 2
    return np.asarray(rows + moved[0] + middle, np.float32), np.asarray(columns + moved[1] + middle, np.float32)


def _between_knots(side: int) -> Floats:
    """(S, KNOTS): the weights of the two knots around every pixel, by a raised cosine, so that no fold is seen."""
    place = np.linspace(0, KNOTS - 1, side)[:, None]
    distance = np.minimum(np.abs(place - np.arange(KNOTS)), 1)
    return np.asarray((1 + np.cos(np.pi * distance)) / 2, np.float32)


def _in_other_light(views: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    each = (len(views), 1, 1, 1)
    contrast = np.exp(rng.uniform(-CONTRAST, CONTRAST, each)).astype(np.float32)
    brighter = rng.uniform(-BRIGHTNESS, BRIGHTNESS, each).astype(np.float32)
    mean = views.mean(axis=(1, 2, 3), keepdims=True)
    return np.asarray(np.clip(np.rint((views - mean) * contrast + mean + brighter), 0, 255), np.uint8)
