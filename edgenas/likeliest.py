"""What a classifier's outputs say about one image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

TOP = 5


class Likely(TypedDict):
    """A class that an image may be of."""

    label: str
    index: int
    probability: float


def likeliest(logits: NDArray[Any], labels: Sequence[str], top: int = TOP) -> list[Likely]:
    """The `top` likeliest classes of (n,) logits, the likeliest first; of equals the one with the lower number."""
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    order = np.argsort(-shares, kind="stable")[:top]
    return [{"label": labels[i], "index": int(i), "probability": float(shares[i])} for i in order]
