"""Five landmarks -> the upright 112x112 face that recognisers are trained on (ArcFace's template and similarity transform)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from edgenas.errors import DataError
from edgenas.faces.images import SIDE, Rgb

# (x, y) of both eyes, the nose tip and both mouth corners in a 112x112 face, image-left first (InsightFace, `arcface_dst`).
TEMPLATE: NDArray[np.float64] = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity_from_points(points: ArrayLike, side: int = SIDE) -> NDArray[np.float64]:
    """(2, 3) matrix that takes the five (x, y) `points` to the template: rotation, uniform scale and shift of least squared
    error (Umeyama 1991, eq. 34-43)."""
    source = np.asarray(points, np.float64)
    if source.shape != (5, 2) or not np.isfinite(source).all():
        raise DataError(f"alignment needs five finite (x, y) points, not {source.shape}: eyes, nose tip, mouth corners")
    target = TEMPLATE * (side / SIDE)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    a, b = source - source_mean, target - target_mean
    spread = (a**2).sum() / 5
    if spread < 1e-9:
        raise DataError("alignment needs five distinct points; these coincide")
    u, sigma, vt = np.linalg.svd(b.T @ a / 5)
    sign = np.array([1.0, np.sign(np.linalg.det(u @ vt))])  # never a mirror image
    rotation = (u * sign) @ vt
    scale = (sigma * sign).sum() / spread
    return np.column_stack([scale * rotation, target_mean - scale * rotation @ source_mean])


def align(image: Rgb, points: ArrayLike, side: int = SIDE) -> Rgb:
    """The face in `image` (H, W, 3) at (side, side, 3), by its five points; outside the image is black."""
    return warp(image, similarity_from_points(points, side), side)


def warp(image: Rgb, matrix: NDArray[np.float64], side: int) -> Rgb:
    """Bilinear sampling of `image` under the forward transform `matrix`, as `cv2.warpAffine` does it (border 0)."""
    linear, shift = matrix[:, :2], matrix[:, 2]
    ys, xs = np.mgrid[0:side, 0:side]
    # (side * side, 2): where every output pixel comes from
    source = (np.stack([xs.ravel(), ys.ravel()], axis=1) - shift) @ np.linalg.inv(linear).T
    corner = np.floor(source).astype(np.int64)
    fraction = source - corner
    height, width = image.shape[:2]
    total = np.zeros((side * side, 3))
    for dy in (0, 1):
        for dx in (0, 1):
            x, y = corner[:, 0] + dx, corner[:, 1] + dy
            weight = np.abs(1 - dx - fraction[:, 0]) * np.abs(1 - dy - fraction[:, 1])
            inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
            total[inside] += weight[inside, None] * image[y[inside], x[inside]]
    return np.rint(total).astype(np.uint8).reshape(side, side, 3)
