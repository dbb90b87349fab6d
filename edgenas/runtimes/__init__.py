"""Running exported models: ONNX Runtime, TensorRT, and what other packages add. No torch.

Every runtime is opened by its name, `with open_runtime(name, path, precision) as runtime:`, and has the face below. What is
special about one stands in its own file, in one `RuntimeSpec`; another package adds one by the entry-point group
`edgenas.runtimes` (docs/tutorials/new-runtime.md).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from numpy.typing import NDArray

from edgenas.errors import EdgenasError
from edgenas.plugins import Registry
from edgenas.records import Precision

Arrays = Mapping[str, NDArray[Any]]
LARGEST_BATCH = 64  # that files are proved with, engines are built for (unless more is asked for) and servers accept
# As ONNX Runtime, CUDA (cudaErrorMemoryAllocation), cuBLAS and cuDNN (.._ALLOC_FAILED, .._ALLOCATION_FAILED) and C++ say it.
SHORT_OF_MEMORY = (
    "out of memory",
    "failed to allocate",
    "memoryallocation",
    "alloc_failed",
    "allocation_failed",
    "bad_alloc",
)
# As ONNX Runtime, PyTorch, CUDA, cuDNN and cuBLAS say that a process has lost its GPU.
LOST = (
    "cuda failure",
    "cuda error",
    "cudnn failure",
    "cudnn_status_execution_failed",
    "cublas failure",
    "illegal address",
    "device-side",
    "launch failure",
)
# What importing a library raises whose own libraries are missing, or are of other versions.
BROKEN = (ImportError, OSError, RuntimeError, AttributeError, ValueError)
RUNTIMES = Registry(
    "runtime",
    "edgenas.runtimes",
    {
        "onnxruntime": "edgenas.runtimes.onnx:ONNXRUNTIME",
        "cuda": "edgenas.runtimes.onnx:CUDA",
        "tensorrt": "edgenas.runtimes.tensorrt:TENSORRT",
    },
)


class Port(NamedTuple):
    """One input or output: its shape, with the names of dynamic dimensions, and its numpy type."""

    shape: tuple[int | str, ...]
    dtype: str


class Runtime(Protocol):
    """A loaded model, ready to run; `settings` is everything about the runtime that a measurement must carry, with `runtime`
    and `runtime_version` among it."""

    inputs: dict[str, Port]
    outputs: dict[str, Port]
    settings: dict[str, Any]

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """One inference: outputs by name. EdgenasError for inputs that the model does not take, DeviceError where it fails."""
        ...

    def bound(self, arrays: Arrays) -> Callable[[], None]:
        """The same inference on arrays already in place: what is timed; returns when the result is there."""
        ...


def check_inputs(arrays: Arrays, ports: Mapping[str, Port]) -> None:
    """EdgenasError where these are not the inputs that a model takes: by name, type, and shape where that is fixed."""
    if set(arrays) != set(ports):
        raise EdgenasError(f"inputs {sorted(arrays)} were given; the model takes {sorted(ports)}")
    for name, array in arrays.items():
        port = ports[name]
        fits = len(port.shape) == array.ndim and all(
            isinstance(want, str) or want == have for want, have in zip(port.shape, array.shape, strict=True)
        )
        if not fits or array.dtype != port.dtype:
            shape = " x ".join(map(str, port.shape))
            raise EdgenasError(f"input {name!r} is {array.dtype} {array.shape}; the model takes {port.dtype} {shape}")


@dataclass(frozen=True)
class How:
    """How a model is to be run. `provider`: of a runtime that has several. `spinning`: may idle threads keep a core busy?
    `batch`: the largest that it is given, where it is prepared for one; `tuned`: the one that it is to be fastest at."""

    provider: str = "cpu"
    threads: int = 1
    spinning: bool = False
    batch: int = LARGEST_BATCH
    tuned: int = 1


@dataclass(frozen=True)
class RuntimeSpec:
    """What must be known of a runtime; importing it imports nothing of the runtime itself.

    open: (ONNX file, its precision, how) -> the opened runtime, for a `with` statement.
    version: of what is installed; EdgenasError, saying how to install it, where nothing is.
    providers: that `How.provider` may name; () = there is no choice.
    on_cpu: with this provider, do models compute on the CPU? Those are timed on a core of their own, under a limit of memory.
    platform: its name in the Open Inference Protocol's metadata.
    stored_int8: does it read INT8 weights that are stored as such? Where not, they are float32 behind a pair of nodes.
    """

    open: Callable[[Path, Precision, How], AbstractContextManager[Runtime]]
    version: Callable[[], str]
    providers: tuple[str, ...] = ()
    on_cpu: Callable[[str], bool] = lambda _: True
    platform: str = "onnx_onnxv1"
    stored_int8: bool = False


def runtime_spec(name: str) -> RuntimeSpec:
    """What is known of this runtime. EdgenasError where nothing is, with the names that are known."""
    spec = RUNTIMES.load(name)
    if not isinstance(spec, RuntimeSpec):
        raise EdgenasError(
            f"runtime {name!r} is {type(spec).__name__}, it must be an edgenas.runtimes.RuntimeSpec: correct its entry point"
        )
    return spec


def why_not(name: str, error: BaseException, install: str) -> str:
    """In one line why the module `name` was not imported: it is not there (`install` says what to do), or does not start."""
    if isinstance(error, ModuleNotFoundError) and error.name == name:
        return install
    return f"{name} is installed and does not start: {' '.join(str(error).split()) or type(error).__name__}"


def check_provider(name: str, provider: str) -> None:
    """EdgenasError where this runtime has no such provider."""
    possible = runtime_spec(name).providers or ("cpu",)  # the default, which says nothing where there is no choice
    if provider not in possible:
        raise EdgenasError(f"provider {provider!r} was asked for; {name} has {', '.join(possible)}")


def open_runtime(name: str, path: Path, precision: Precision, how: How = How()) -> AbstractContextManager[Runtime]:
    """The ONNX file at `path`, loaded by the runtime of this name; `precision` is that of its layers."""
    check_provider(name, how.provider)
    return runtime_spec(name).open(path, precision, how)


def is_short_of_memory(error: BaseException) -> bool:
    """Does this failure of a runtime mean that memory ran out, its own or the GPU's? (It comes back.)"""
    words = str(error).lower()
    return isinstance(error, MemoryError) or any(word in words for word in SHORT_OF_MEMORY)


def is_device_lost(error: BaseException) -> bool:
    """Does this error mean that the device itself is lost until the process starts again? (Memory that ran out comes back.)"""
    words = str(error).lower()
    return any(word in words for word in LOST) and not is_short_of_memory(error)


def stores_int8(name: str) -> bool:
    """Does the runtime of this name read INT8 weights that are stored as such? No for one that is not known here."""
    return name in RUNTIMES.names() and runtime_spec(name).stored_int8
