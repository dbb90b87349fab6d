"""The same network is traced for an export once in all tests: torch's exporter takes one and a half seconds for the smallest.

What was traced is kept in the folder of the session, by all that the exporter is given: the network with its structure and its
values, the shape, the name and the opset. It is not looked up where a test has put something else in the exporter's place.
"""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx

Trace = Callable[[Any, tuple[int, int, int], str, int], onnx.ModelProto]


def digest_of(network: Any, *how: Any) -> str:
    """Of everything that the network holds. Raises what pickle raises where it cannot be pickled."""
    import torch

    class Pickler(pickle.Pickler):
        def reducer_override(self, value: Any) -> Any:
            if isinstance(value, torch.Tensor):
                plain = value.detach().cpu().contiguous()
                return str, (
                    f"{plain.dtype} {tuple(plain.shape)} {hashlib.sha256(plain.numpy().tobytes()).hexdigest()}",
                )
            return NotImplemented

    content = io.BytesIO()
    Pickler(content).dump((network, how))
    return hashlib.sha256(content.getvalue()).hexdigest()


def traced_once(traced: Trace, folder: Path) -> Trace:
    """`traced`, which keeps what it gave in `folder`; any number of processes may do so at once."""

    def kept(network: Any, shape: tuple[int, int, int], output: str, opset: int) -> onnx.ModelProto:
        import torch

        if torch.onnx.export.__module__ != "torch.onnx":
            return traced(network, shape, output, opset)
        try:
            path = folder / digest_of(network, shape, output, opset)
        except (pickle.PicklingError, AttributeError, TypeError):
            return traced(network, shape, output, opset)
        if not path.exists():
            model = traced(network, shape, output, opset)
            part = path.with_suffix(f".{os.getpid()}")
            part.write_bytes(model.SerializeToString())
            part.replace(path)
        return onnx.load_model_from_string(path.read_bytes())

    return kept
