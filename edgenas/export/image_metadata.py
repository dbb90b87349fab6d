"""What ONNX's own documents have a file say of the images it takes (MetadataProps.md, TypeDenotation.md, DimensionDenotation.md).

The standard knows four ranges of pixels. Programs that bind pictures by themselves take 0..255 where none is said, so an
input of another range is not called an image: its own `edgenas.preprocessing` says what it is.
"""

from __future__ import annotations

import numpy as np
import onnx

from edgenas.preprocessing import scale_and_shift
from edgenas.records import Preprocessing

PIXELS = {1: "Gray8", 3: "Rgb8"}
RANGES = {(0.0, 255.0): "NominalRange_0_255", (0.0, 1.0): "Normalized_0_1", (-1.0, 1.0): "Normalized_1_1"}
BATCH, CHANNEL, SIDE = "DATA_BATCH", "DATA_CHANNEL", "DATA_FEATURE"
TOLERANCE = 1e-6


def nominal_range(preprocessing: Preprocessing, *, uint8: bool) -> str | None:
    """The standard's name for the values that the file is fed; None where it has none."""
    if uint8:
        return RANGES[0.0, 255.0]
    scale, shift = scale_and_shift(preprocessing)
    for (low, high), name in RANGES.items():
        near_low, near_high = np.abs(shift - low), np.abs(255 * scale + shift - high)
        if max(near_low.max(), near_high.max()) <= TOLERANCE * max(1.0, high):
            return name
    return None


def describe_image(model: onnx.ModelProto, preprocessing: Preprocessing, *, uint8: bool) -> None:
    """Say in the model what its input's sides are and, where the standard can say it, what its pixels are."""
    given, made = model.graph.input[0].type, model.graph.output[0].type
    order = (BATCH, SIDE, SIDE, CHANNEL) if uint8 else (BATCH, CHANNEL, SIDE, SIDE)
    for side, meaning in zip(given.tensor_type.shape.dim, order, strict=True):
        side.denotation = meaning
    made.tensor_type.shape.dim[0].denotation = BATCH
    if (pixels := nominal_range(preprocessing, uint8=uint8)) is None:
        return
    given.denotation = "IMAGE"
    said = {
        "Image.BitmapPixelFormat": PIXELS[preprocessing.channels],
        "Image.ColorSpaceGamma": "SRGB",  # as image files are: nothing here makes values linear
        "Image.NominalPixelRange": pixels,
    }
    for key, value in said.items():
        model.metadata_props.add(key=key, value=value)
