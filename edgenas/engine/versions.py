"""Which versions a study's numbers are made with."""

from __future__ import annotations

import importlib.metadata
import sys

from edgenas.version import __version__

LIBRARIES = ("torch", "torchvision", "numpy", "onnxruntime-gpu", "onnxruntime")


def version_of(name: str) -> str | None:
    """The installed version of a distribution, None where it is not there."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def versions() -> dict[str, str]:
    """edgenas, Python, and the libraries that numbers depend on."""
    installed = {name: version_of(name) for name in LIBRARIES}
    return {"edgenas": __version__, "python": sys.version.split()[0], **{n: v for n, v in installed.items() if v}}
