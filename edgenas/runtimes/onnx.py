"""ONNX Runtime: what must be known of it before it is imported. Its sessions are in onnx_session.py."""

from __future__ import annotations

import dataclasses
from contextlib import AbstractContextManager
from pathlib import Path
from types import ModuleType

from edgenas.errors import MissingExtraError, pip_line
from edgenas.records import Precision
from edgenas.runtimes import BROKEN, How, Runtime, RuntimeSpec, why_not

INSTALL = f"ONNX Runtime is not installed: {pip_line('cpu', 'cuda')} (cuda: with an NVIDIA GPU)"


def onnxruntime_module() -> ModuleType:
    """The installed `onnxruntime`. MissingExtraError where there is none, an empty folder that a removal left, or one that does
    not start."""
    try:
        import onnxruntime
    except BROKEN as error:
        raise MissingExtraError(why_not("onnxruntime", error, INSTALL)) from error
    if not hasattr(onnxruntime, "InferenceSession"):
        raise MissingExtraError(f"`onnxruntime` is an empty folder, left by a removal. {INSTALL}")
    module: ModuleType = onnxruntime
    return module


def _open(path: Path, _: Precision, how: How) -> AbstractContextManager[Runtime]:
    onnxruntime_module()
    from edgenas.runtimes.onnx_session import open_session

    return open_session(path, provider=how.provider, threads=how.threads, spinning=how.spinning)


def _open_on_cuda(path: Path, precision: Precision, how: How) -> AbstractContextManager[Runtime]:
    return _open(path, precision, dataclasses.replace(how, provider="cuda"))


def _version() -> str:
    return str(onnxruntime_module().__version__)


ONNXRUNTIME = RuntimeSpec(
    open=_open,
    version=_version,
    providers=("cpu", "cuda", "tensorrt"),
    on_cpu=lambda provider: provider == "cpu",
    stored_int8=True,
)
CUDA = dataclasses.replace(ONNXRUNTIME, open=_open_on_cuda, providers=(), on_cpu=lambda _: False)
