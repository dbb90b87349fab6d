"""Running exported models: ONNX Runtime, TensorRT. No torch.

Every runtime is opened with `with open_runtime(...) as runtime:` and has the face below.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

Arrays = Mapping[str, NDArray[Any]]
LARGEST_BATCH = 64  # that files are proved with, engines are built for and servers accept


class Port(NamedTuple):
    """One input or output: its shape, with the names of dynamic dimensions, and its numpy type."""

    shape: tuple[int | str, ...]
    dtype: str


class Runtime(Protocol):
    """A loaded model, ready to run; `settings` is everything about the runtime that a measurement must carry."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    settings: dict[str, Any]

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """One inference: outputs by name."""
        ...

    def bound(self, arrays: Arrays) -> Callable[[], None]:
        """The same inference on arrays already in place: what is timed; returns when the result is there."""
        ...
