"""A recogniser file, ours or another's: aligned faces in, embeddings out."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import onnx.numpy_helper
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgenas.errors import EdgenasError
from edgenas.faces.images import SIDE, resized
from edgenas.faces.pixels import RAW, USUAL, Pixels
from edgenas.image_sizes import MOST_SIDE
from edgenas.preprocessing import largest_taken
from edgenas.runtimes import How, Runtime, open_runtime

BATCH = 64
FIRST_NODES = 8  # that InsightFace's rule looks at


class Recogniser:
    """(N, 112, 112, 3) uint8 -> (N, D) float32, not normalised to length one. `pixels`: what it is fed."""

    def __init__(self, runtime: Runtime, pixels: Pixels, side: int, fixed_batch: int | None) -> None:
        self._runtime, self.pixels, self._side, self._batch = runtime, pixels, side, fixed_batch or BATCH
        self._fixed = fixed_batch is not None

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [self._run(images[start : start + self._batch]) for start in range(0, len(images), self._batch)]
        return np.concatenate(parts)

    def mirrored(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self(np.ascontiguousarray(images[:, :, ::-1]))

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        if self._side != images.shape[1]:
            images = np.stack([resized(image, self._side) for image in images])
        if self._fixed and count < self._batch:
            images = np.concatenate([images, np.zeros((self._batch - count, *images.shape[1:]), np.uint8)])
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)  # (N, H, W, 3) -> (N, 3, H, W)
        if self.pixels != RAW:
            mean, std = (np.array(part, np.float32)[:, None, None] for part in (self.pixels.mean, self.pixels.std))
            pixels = (pixels - mean) / std
        (name,) = self._runtime.inputs
        (output,) = self._runtime.run({name: np.ascontiguousarray(pixels)}).values()
        return np.asarray(output[:count], np.float32)


@contextmanager
def open_recogniser(
    path: Path, threads: int = 1, pixels: Pixels | None = None, *, any_side: bool = False
) -> Iterator[Recogniser]:
    """A recogniser from an ONNX file that takes (N, 3, 112, 112) RGB; with `any_side`, another square, to which faces are
    scaled. Where `pixels` are not said, its first operators say whether it normalises by itself, or InsightFace's published rule:
    nodes named Sub.. and Mul.. among the first eight."""
    try:
        graph = onnx.load_model(path, load_external_data=False).graph
    except DecodeError as error:
        raise EdgenasError(f"{path} is no ONNX file: give a bundle's folder or a recogniser as ONNX") from error
    except OSError as error:
        raise EdgenasError(f"{path} cannot be read: {error.strerror}") from error
    with open_runtime("onnxruntime", path, "fp32", How(threads=threads)) as runtime:
        ports = [*runtime.inputs.values(), *runtime.outputs.values()]
        side = _side(ports[0].shape, any_side) if len(ports) == 2 and len(ports[1].shape) == 2 else None
        if side is None or ports[0].dtype != "float32":
            found = ", ".join(f"{port.dtype} {port.shape}" for port in ports)
            wanted = "S, S" if any_side else f"{SIDE}, {SIDE}"
            raise EdgenasError(f"{path} is no recogniser (float32 (N, 3, {wanted}) -> (N, D)): it has {found}")
        batch = ports[0].shape[0]
        fixed = batch if isinstance(batch, int) and batch > 0 else None
        yield Recogniser(runtime, pixels or _pixels_of(graph), side, fixed)


def _pixels_of(graph: onnx.GraphProto) -> Pixels:
    """What a recogniser takes whose user does not say it."""
    taken = _largest_taken(graph)
    if taken is not None:
        return Pixels((0.0,), (255.0 / taken,))
    names = [node.name for node in graph.node[:FIRST_NODES]]
    raw = all(any(name.startswith(starts) for name in names) for starts in (("Sub", "_minus"), ("Mul", "_mul")))
    return RAW if raw else USUAL


def _largest_taken(graph: onnx.GraphProto) -> int | None:
    """Of a file whose first operators normalise each channel by constants, the largest pixel that it takes. What follows, such
    as the weights of a grey conversion, makes none of it."""
    stored = {tensor.name: tensor for tensor in graph.initializer}
    stored |= {node.output[0]: one.t for node in graph.node for one in node.attribute if one.name == "value"}
    here = next((value.name for value in graph.input if value.name not in stored), "")
    largest = None
    scale: NDArray[np.floating] = np.ones(3, np.float32)
    shift: NDArray[np.floating] = np.zeros(3, np.float32)
    for _ in range(FIRST_NODES):
        readers = [node for node in graph.node if here in node.input]
        constant = _per_channel(stored.get(readers[0].input[1])) if _is_arithmetic(readers, here) else None
        if constant is None:
            break
        (node,) = readers
        if node.op_type in ("Sub", "Add"):
            shift = shift + (constant if node.op_type == "Add" else -constant)
        else:
            factor = constant if node.op_type == "Mul" else 1 / constant
            scale, shift = scale * factor, shift * factor
        here, largest = node.output[0], largest_taken(scale, shift) or largest
    return largest


def _is_arithmetic(readers: list[onnx.NodeProto], here: str) -> bool:
    one = readers[0] if len(readers) == 1 else None
    return one is not None and one.op_type in ("Sub", "Add", "Mul", "Div") and list(one.input[:1]) == [here]


def _per_channel(tensor: onnx.TensorProto | None) -> NDArray[np.float32] | None:
    """(3,) of a constant that is one number, or one for each channel; None for any other."""
    if tensor is None or math.prod(tensor.dims) not in (1, 3) or tensor.data_location == onnx.TensorProto.EXTERNAL:
        return None
    values = onnx.numpy_helper.to_array(tensor).astype(np.float32).reshape(-1)
    return np.broadcast_to(values, 3) if values.all() else None


def _side(shape: tuple[int | str, ...], any_side: bool) -> int | None:
    """Of the square that a recogniser takes, None where it takes none; free sides are those of an aligned face."""
    if len(shape) != 4 or shape[1] != 3:
        return None
    sides = tuple(SIDE if any_side and isinstance(side, str) else side for side in shape[2:])
    if sides == (SIDE, SIDE):
        return SIDE
    square = sides[0] == sides[1] and isinstance(sides[0], int) and 0 < sides[0] <= MOST_SIDE
    return int(sides[0]) if any_side and square else None
