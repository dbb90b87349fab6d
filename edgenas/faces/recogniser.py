"""A recogniser file, ours or another's: aligned faces in, embeddings out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from edgenas.errors import EdgenasError
from edgenas.faces.images import SIDE
from edgenas.runtimes import How, Runtime, open_runtime

BATCH = 64


class Recogniser:
    """(N, 112, 112, 3) uint8 -> (N, D) float32, not normalised to length one."""

    def __init__(self, runtime: Runtime, raw: bool, fixed_batch: int | None) -> None:
        self._runtime, self._raw, self._batch = runtime, raw, fixed_batch or BATCH
        self._fixed = fixed_batch is not None

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [self._run(images[start : start + self._batch]) for start in range(0, len(images), self._batch)]
        return np.concatenate(parts)

    def mirrored(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self(np.ascontiguousarray(images[:, :, ::-1]))

    def _run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        count = len(images)
        if self._fixed and count < self._batch:
            images = np.concatenate([images, np.zeros((self._batch - count, *images.shape[1:]), np.uint8)])
        pixels = images.transpose(0, 3, 1, 2).astype(np.float32)  # (N, H, W, 3) -> (N, 3, H, W)
        if not self._raw:
            pixels = (pixels - 127.5) / 127.5
        (name,) = self._runtime.inputs
        (output,) = self._runtime.run({name: np.ascontiguousarray(pixels)}).values()
        return np.asarray(output[:count], np.float32)


@contextmanager
def open_recogniser(path: Path, threads: int = 1) -> Iterator[Recogniser]:
    """A recogniser from an ONNX file that takes (N, 3, 112, 112) RGB. Whether it normalises by itself is decided by
    InsightFace's published rule: nodes named Sub.. and Mul.. among the first eight."""
    try:
        names = [node.name for node in onnx.load_model(path, load_external_data=False).graph.node[:8]]
    except DecodeError as error:
        raise EdgenasError(f"{path} is no ONNX file: give a bundle's folder or a recogniser as ONNX") from error
    raw = all(any(name.startswith(starts) for name in names) for starts in (("Sub", "_minus"), ("Mul", "_mul")))
    with open_runtime("onnxruntime", path, "fp32", How(threads=threads)) as runtime:
        ports = [*runtime.inputs.values(), *runtime.outputs.values()]
        fits = len(ports) == 2 and ports[0].shape[1:] == (3, SIDE, SIDE) and len(ports[1].shape) == 2
        if not fits or ports[0].dtype != "float32":
            found = ", ".join(f"{port.dtype} {port.shape}" for port in ports)
            raise EdgenasError(f"{path} is no recogniser (float32 (N, 3, {SIDE}, {SIDE}) -> (N, D)): it has {found}")
        batch = ports[0].shape[0]
        yield Recogniser(runtime, raw, batch if isinstance(batch, int) and batch > 0 else None)
