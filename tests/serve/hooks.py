"""Liveness checks that fail in ways of their own: with them a test reaches into a server through its command line.

The first pixel's red of the picture chooses what happens.
"""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np

from edgenas.errors import DataError, DeviceError

UNFORESEEN, BROKEN, STARVED, LOST, SLOW, FULL, DEAD = 10, 20, 30, 40, 50, 60, 70
SECRET = "Ada Lovelace of 12 Example Street"


def check(image: np.ndarray) -> bool:
    what = int(image[0, 0, 0])
    if what == UNFORESEEN:
        raise ZeroDivisionError(SECRET)
    if what == BROKEN:
        raise DataError("this picture cannot be used")
    if what == STARVED:
        raise DeviceError("running the model failed: CUDA failure 2: out of memory")
    if what == FULL:
        raise MemoryError
    if what == LOST:
        raise DeviceError("running the model failed: CUDA failure 700: an illegal memory access was encountered")
    if what == SLOW:
        Path("begun").touch()
        while not Path("go").exists():
            time.sleep(0.01)
    return what != DEAD
