"""ONNX Runtime, on the provider that was asked for; what a GPU provider has no kernel for runs on the CPU, by its own choice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as state

from edgenas.errors import DeviceError, EdgenasError
from edgenas.runtimes import Arrays, Port, check_inputs
from edgenas.runtimes.int8 import ENTRIES, arithmetic_of

PROVIDERS: dict[str, str] = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
# TensorRT's provider has no option for it (microsoft/onnxruntime issue 26029); NVIDIA's libraries read it once in a process.
WITHOUT_TF32 = {"NVIDIA_TF32_OVERRIDE": "0"}
_DTYPES = {
    "tensor(float)": "float32", "tensor(float16)": "float16", "tensor(double)": "float64", "tensor(bool)": "bool",
    "tensor(uint8)": "uint8", "tensor(int8)": "int8", "tensor(int32)": "int32", "tensor(int64)": "int64",
}  # fmt: skip
_FAILURES = (
    state.Fail, state.InvalidArgument, state.NoSuchFile, state.NoModel, state.EngineError, state.RuntimeException,
    state.InvalidProtobuf, state.NotImplemented, state.InvalidGraph, state.EPFail, ValueError, RuntimeError,
)  # fmt: skip


class OnnxRuntime:
    """A model in an ONNX Runtime session."""

    def __init__(self, session: ort.InferenceSession, settings: dict[str, Any]) -> None:
        self._session = session
        self.settings = settings
        self.inputs = {port.name: _port(port) for port in session.get_inputs()}
        self.outputs = {port.name: _port(port) for port in session.get_outputs()}

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        check_inputs(arrays, self.inputs)
        with _one_line("running the model"):
            values = self._session.run(list(self.outputs), dict(arrays))
        return dict(zip(self.outputs, values, strict=True))

    def bound(self, arrays: Arrays) -> Callable[[], None]:
        """Arrays are copied to the device once, outputs stay there: host-device copies are not part of what is timed."""
        check_inputs(arrays, self.inputs)
        device = "cpu" if self.settings["provider"] == "cpu" else "cuda"
        binding = self._session.io_binding()
        for name, array in arrays.items():
            binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(np.ascontiguousarray(array), device, 0))
        for name in self.outputs:
            binding.bind_output(name, device)
        session = self._session

        def once() -> None:
            session.run_with_iobinding(binding)
            if device == "cuda":
                binding.synchronize_outputs()

        with _one_line("running the model"):
            once()
        return once


@contextmanager
def open_session(
    model: str | Path | bytes, *, provider: str = "cpu", threads: int = 1, spinning: bool = False
) -> Iterator[OnnxRuntime]:
    """A session on `provider`, sequential, with a fixed number of threads; EdgenasError where it cannot be had.

    Spinning is off unless asked for: idle threads that burn a core disturb whatever runs beside them. INT8 sums are exact, in the
    fastest way that this processor has; `settings["int8"]` says which (see runtimes/int8.py). TF32 is off; for the provider
    tensorrt that is a variable of this process.
    """
    _check_provider(provider)
    if provider == "tensorrt":
        os.environ.update(WITHOUT_TF32)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.log_severity_level = 4  # what goes wrong is raised, once, below
    options.add_session_config_entry("session.intra_op.allow_spinning", "1" if spinning else "0")
    arithmetic = arithmetic_of(model)
    for key, value in ENTRIES[arithmetic].items() if arithmetic else ():
        options.add_session_config_entry(key, value)
    source = model if isinstance(model, bytes) else str(model)
    with _one_line("loading the model" if isinstance(model, bytes) else f"loading {model}"):
        session = ort.InferenceSession(source, options, providers=wanted_providers(provider), enable_fallback=0)
    # ONNX Runtime only logs that a provider did not come up, and then runs on the CPU.
    if session.get_providers()[0] != PROVIDERS[provider]:
        raise EdgenasError(f"provider {provider!r} did not start on this machine: check its driver, or ask for 'cpu'")
    session.disable_fallback()
    settings = settings_of(provider, threads, spinning)
    if arithmetic and provider == "cpu":
        settings["int8"] = arithmetic
    yield OnnxRuntime(session, settings)


def settings_of(provider: str, threads: int, spinning: bool) -> dict[str, Any]:
    """How a session runs. `fallback`: where single operators go that the provider has no kernel for; of the CPU none does."""
    settings = {
        "runtime": "onnxruntime",
        "runtime_version": ort.__version__,
        "provider": provider,
        "threads": threads,
        "execution": "sequential",
        "spinning": spinning,
    }
    return settings if provider == "cpu" else {**settings, "fallback": "cpu"}


def wanted_providers(provider: str) -> list[tuple[str, dict[str, str]]]:
    """What the session is asked for, with options: the provider, and the CPU for what it does not know."""
    # ONNX Runtime rounds to TF32 on CUDA by default (and with TensorRT: WITHOUT_TF32); the golden self-test and the parity gate
    # hold what FP32 computes.
    options = {"use_tf32": "0"} if provider == "cuda" else {}
    wanted = [(PROVIDERS[provider], options)]
    return wanted if provider == "cpu" else [*wanted, (PROVIDERS["cpu"], {})]


def _check_provider(provider: str) -> None:
    possible = [name for name, full in PROVIDERS.items() if full in ort.get_available_providers()]
    if provider not in possible:
        raise EdgenasError(
            f"provider {provider!r} is not in this onnxruntime {ort.__version__}; possible: {', '.join(possible)}"
        )


def _port(port: Any) -> Port:
    shape = tuple(side if isinstance(side, int) else str(side or "?") for side in port.shape)
    return Port(shape, _DTYPES.get(port.type, port.type))


@contextmanager
def _one_line(doing: str) -> Iterator[None]:
    try:
        yield
    except _FAILURES as error:
        raise DeviceError(
            f"{doing} with onnxruntime {ort.__version__} failed: {' '.join(str(error).split())}"
        ) from error
