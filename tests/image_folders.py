"""Folders of small pictures, for tests of what is learned from them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(number: int, side: int = 16) -> Image.Image:
    """Noise, RGB; another for every number."""
    return Image.fromarray(np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8))


def fill(root: Path, each: int = 10, classes: tuple[str, ...] = ("cat", "dog"), first: int = 0) -> Path:
    """`each` different pictures in every class folder, `root/cat/000.png` ...; the numbers of the pictures begin at `first`."""
    for place, label in enumerate(classes):
        (root / label).mkdir(parents=True, exist_ok=True)
        for index in range(each):
            picture(first + place * each + index).save(root / label / f"{index:03d}.png")
    return root
