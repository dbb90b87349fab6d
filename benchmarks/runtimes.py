"""Do other runtimes compute what an exported FP32 file computes? Three networks, each runtime against ONNX Runtime.

    python -m benchmarks.runtimes --how                             how each runtime is installed, beside this environment
    python -m benchmarks.runtimes --packages DIR                    every runtime that is in DIR, or else installed here
    python -m benchmarks.runtimes --packages DIR --only ncnn,tvm

A chain, a member of the stages with squeeze-excitation and a face recogniser, as `edgenas export --batch 1 --opset 17` writes
them (RKNN reads opset 19 at most): the largest absolute difference over 16 images, beside how far the outputs of these images lie
from each other, and whether the largest output is the same one. Each runtime runs in a process of its own.
Result: benchmarks/results/runtimes.json.
"""

from __future__ import annotations

import argparse
import functools
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import nn

from benchmarks import runtime_child
from edgenas.architectures.chain import chain
from edgenas.errors import EdgenasError
from edgenas.export.faces import RawFaces, with_face_input
from edgenas.export.onnx import OLDEST_IR, onnx_from_network, with_fixed_batch
from edgenas.networks import network_from_architecture
from edgenas.records import Architecture, Classes, Embedding, Stage, StagesArchitecture
from edgenas.runtimes.onnx_session import open_session

RESULT = Path(__file__).parent / "results" / "runtimes.json"
IMAGES, SECONDS, OPSET = 16, 600, 17
RKNN_NEEDS = (
    'rknn-toolkit2 ruamel.yaml fast-histogram tqdm psutil "setuptools<80" "scipy<1.14" numpy==1.26.4 onnx==1.18.0 '
    "protobuf==4.25.4 onnxruntime==1.20.1 opencv-python-headless==4.10.0.84"
)
INSTALL = {
    "openvino": "openvino",
    "opencv": "opencv-python-headless",
    "ncnn": "--no-deps ncnn pnnx",
    "litert": "onnx2tf",
    "rknn": f"--no-deps {RKNN_NEEDS}",
    "mnn": "--no-deps MNN",
    "tvm": "apache-tvm",
}
MODULES = {
    "openvino": "openvino", "opencv": "cv2", "ncnn": "ncnn", "litert": "onnx2tf", "rknn": "rknn", "mnn": "MNN", "tvm": "tvm",
}  # fmt: skip
NETWORKS: dict[str, Architecture] = {
    "chain": chain(16, 8, (0, 1, 0, 1, 0, 0, 1, 0), (3, 3, 5, 3, 3, 5, 3, 3), Classes(10), 3, 64),
    "stages": StagesArchitecture(
        (
            Stage("separable", 16, 1, 5, 1), Stage("residual", 24, 1, 3, 2),
            Stage("fused", 24, 1, 3, 1, expansion=2, squeeze=True),
            Stage("mbconv", 32, 2, 5, 2, expansion=3, squeeze=True),
        ),
        Classes(10), 3, 64, stem_width=16, stem_stride=2, head_width=64, activation="relu6",
    ),
    "faces": chain(16, 6, (0, 1, 0, 0, 1, 0), (3, 3, 5, 3, 3, 3), Embedding(128, "average"), 3, 112),
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One runtime on one network. `spread`: the largest difference between two images' outputs, which `max_abs` is to be held
    against; `largest`: on how many of the images the largest output is the same one as in ONNX Runtime."""

    network: str
    runtime: str
    version: str
    max_abs: float
    spread: float
    scale: float  # the largest output
    largest: int
    images: int


def install_line(runtime: str, folder: str = "DIR") -> str:
    """How a runtime gets to where this benchmark looks for it, without touching the environment of EdgeNAS."""
    return f"pip install --target {folder}/{runtime} {INSTALL[runtime]}"


def packages_of(runtime: str, folder: Path | None) -> str | None:
    """Where the runtime's packages lie: its folder in `folder`, "" for this environment, None where it is not installed."""
    if folder is not None and (folder / runtime).is_dir():
        return str((folder / runtime).resolve())
    return "" if importlib.util.find_spec(MODULES[runtime]) else None


@functools.cache
def exported(name: str, opset: int = OPSET) -> tuple[bytes, np.ndarray]:
    """The file of one image at a time, and IMAGES inputs of the kind that it takes, (N, C, H, W)."""
    architecture = NETWORKS[name]
    network = _in_use(network_from_architecture, architecture)
    model = onnx_from_network(network, architecture, opset=opset, ir=OLDEST_IR[opset])
    if isinstance(architecture.head, Embedding):
        model = with_face_input(model, architecture)
    pixels = _pixels(architecture)
    return with_fixed_batch(model, 1).SerializeToString(), pixels.numpy()


def _pixels(architecture: Architecture) -> torch.Tensor:
    """Smooth coloured images: 0..255 for recognisers, about -1..1 for classifiers."""
    side, generator = architecture.image_size, torch.Generator().manual_seed(1)
    coarse = torch.rand(IMAGES, 3, 7, 7, generator=generator)
    images = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear", align_corners=False)
    return (255 * images).round() if isinstance(architecture.head, Embedding) else 2 * images - 1


def _in_use(build, architecture: Architecture) -> nn.Module:
    """A network with seeded weights whose norms know images like these, as training leaves them: outputs follow the image."""
    torch.manual_seed(0)
    network = build(architecture)
    for norm in (m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = 0.5
    fed = RawFaces(network, architecture) if isinstance(architecture.head, Embedding) else network
    with torch.no_grad():
        for _ in range(8):
            fed.train()(_pixels(architecture))
    return network.eval()


def by_onnxruntime(content: bytes, inputs: np.ndarray) -> np.ndarray:
    """(N, C, H, W) -> (N, n), one image at a time."""
    with open_session(content) as session:
        (given,) = session.inputs
        return np.concatenate([next(iter(session.run({given: image[None]}).values())) for image in inputs])


def compared(runtime: str, name: str, packages: str, opset: int = OPSET) -> Row:
    """The runtime on the network, in a process that finds its packages first; EdgenasError with its last words."""
    content, inputs = exported(name, opset)
    wanted = by_onnxruntime(content, inputs)
    with tempfile.TemporaryDirectory(prefix="edgenas-") as folder:
        place = Path(folder)
        (place / "model.onnx").write_bytes(content)
        graph = onnx.load_model_from_string(content).graph
        (place / "names.txt").write_text(f"{graph.input[0].name} {graph.output[0].name}")
        np.save(place / "inputs.npy", inputs)
        shutil.copy(runtime_child.__file__, place / "runtime_child.py")
        command = [sys.executable, "runtime_child.py", runtime, "model.onnx", "inputs.npy", "outputs.npy"]
        environment = {**os.environ, "PYTHONPATH": packages, "TF_CPP_MIN_LOG_LEVEL": "3"}
        done = subprocess.run(
            command, cwd=place, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        if done.returncode:
            raise EdgenasError(f"{runtime} on {name}: {(done.stderr.strip().splitlines() or ['it crashed'])[-1]}")
        found = np.load(place / "outputs.npy")
    version = done.stdout.strip().splitlines()[-1].removeprefix("version ")
    return row_of(name, runtime, version, wanted, found)


def row_of(name: str, runtime: str, version: str, wanted: np.ndarray, found: np.ndarray) -> Row:
    """(N, n) by ONNX Runtime and by the other; EdgenasError where they are not of one shape and finite."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        raise EdgenasError(
            f"{runtime} on {name}: outputs {found.shape}, {wanted.shape} was expected, all of them finite"
        )
    off, spread = np.abs(found - wanted).max(), np.abs(wanted[:, None] - wanted[None]).max()
    same = int((found.argmax(1) == wanted.argmax(1)).sum())
    return Row(name, runtime, version, float(off), float(spread), float(np.abs(wanted).max()), same, len(wanted))


def main() -> None:
    """Print the table, write the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, metavar="DIR", help="where the runtimes lie, one folder each")
    parser.add_argument("--only", default=",".join(INSTALL), help="of these runtimes, with commas")
    parser.add_argument("--opset", type=int, default=OPSET)
    parser.add_argument("--how", action="store_true", help="print how each is installed, and do nothing else")
    parser.add_argument("--out", type=Path, default=RESULT)
    asked = parser.parse_args()
    if unknown := [name for name in asked.only.split(",") if name not in INSTALL]:
        sys.exit(f"no runtime {unknown[0]!r} is known here; possible: {', '.join(INSTALL)}")
    if asked.how:
        print("\n".join(install_line(name) for name in INSTALL))
        return
    rows, failed = [], {}
    for runtime in asked.only.split(","):
        packages = packages_of(runtime, asked.packages)
        if packages is None:
            failed[runtime] = f"not installed: {install_line(runtime, str(asked.packages or 'DIR'))}"
            print(f"{runtime}: {failed[runtime]}")
            continue
        for name in NETWORKS:
            try:
                rows.append(compared(runtime, name, packages, asked.opset))
            except EdgenasError as error:
                failed[f"{runtime} {name}"] = str(error)
                print(error)
                continue
            row = rows[-1]
            print(
                f"{runtime:<9} {row.version:<28} {name:<7} max abs {row.max_abs:.2g} (images differ by {row.spread:.2g}), "
                f"the same largest output on {row.largest} of {row.images}"
            )
    versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "torch": torch.__version__}
    document = {"opset": asked.opset, "versions": versions, "rows": [asdict(row) for row in rows], "failed": failed}
    asked.out.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
