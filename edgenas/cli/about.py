"""`edgenas --version`: this version and what it runs with."""

from __future__ import annotations

import sys

from edgenas.engine.versions import version_of
from edgenas.errors import pip_line
from edgenas.version import __version__

CORE = ("torch", "torchvision", "onnx", "onnxruntime-gpu", "onnxruntime", "numpy")
EXTRAS = {
    "baselines": "optuna",
    "ray": "ray",
    "serve": "starlette",
    "faces": "opencv-python-headless",
    "report": "plotly",
    "tensorrt": "tensorrt",
}


def installed() -> str:
    """edgenas, Python, the libraries that numbers depend on, and each extra: its version, or how to get it."""
    found = [(name, version_of(name)) for name in CORE]
    lines = [f"edgenas {__version__}", f"python {sys.version.split()[0]}"]
    lines += [f"{name} {version}" for name, version in found if version]
    for extra, name in EXTRAS.items():
        version = version_of(name)
        lines.append(f"[{extra}] {name} {version}" if version else f"[{extra}] not installed: {pip_line(extra)}")
    return "\n".join(lines)
