"""Published networks by name, built by torch only once one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgenas.hardware.predictor import Row


def zoo(name: str, input_px: tuple[int, int] | None) -> Row:
    """`torchvision:NAME` or `timm:NAME` as its kernels. EdgenasError where there is no torch, or no such network."""
    from edgenas.errors import EdgenasError

    try:
        from edgenas.networks.zoo import row_from_zoo
    except ImportError as missing:
        raise EdgenasError(
            f"{name[:80]} is built with torch, which is not installed here: give its ONNX file"
        ) from missing
    return row_from_zoo(name, input_px)
