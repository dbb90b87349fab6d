"""TensorRT 8.6, 10.3+ and 11: engines built on the device that runs them, never shipped, never loaded without their sidecar.

Which names exist is asked of the module, not of its version. A Runtime made without a driver crashes the process, so the
driver is asked first, by ctypes, and building happens in a child process (tensorrt_build.py). Builder and parser were not run
by us on any version: only the runtime's names are checked, against tensorrt-lean.
"""

from __future__ import annotations

import ctypes
import fcntl
import hashlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.durable import replace_file
from edgenas.errors import DeviceError, EdgenasError, MissingExtraError
from edgenas.files import at_home
from edgenas.identity import digest
from edgenas.records import Precision, Record
from edgenas.runtimes import BROKEN, LARGEST_BATCH, Arrays, How, Port, Runtime, RuntimeSpec, why_not
from edgenas.runtimes.child import child_environment
from edgenas.runtimes.cuda_memory import Cuda

CACHE = "EDGENAS_CACHE"
CACHE_BYTES = 2_000_000_000  # of engines and timings; an agent builds one for every candidate
PART = ".part"  # behind the name of an engine that is being built
DRIVER = "libcuda.so.1"
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_.. in cuda.h
BUILD_S = 3600
BUILDER = 2  # raised whenever tensorrt_build.py builds otherwise: engines from before it are not loaded
ERRORS = 2  # of a build that failed: its last messages
SMALL_BOARD_MB = 8500.0  # boards sold as 8 GB and less
SMALLEST_FREE_MB = 300.0
NUMPY_TYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "UINT8": "uint8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
}  # fmt: skip  (8.6 has no INT64)
INSTALL = (
    "TensorRT is not installed: on a Jetson `apt install python3-libnvinfer` inside the JetPack container "
    "(a venv needs --system-site-packages), on a desktop `pip install tensorrt` from NVIDIA's index"
)


class Gpu(Record, frozen=True):
    """The GPU that an engine is bound to."""

    name: str
    compute_capability: str
    driver: int


class Sidecar(Record, frozen=True):
    """What an engine was built from and for; written beside it, compared before it is loaded."""

    onnx_sha256: str
    tensorrt: str
    gpu: Gpu
    precision: Precision
    batch: int
    clocks: str = ""  # timings of another power mode choose other kernels
    tuned: int = 1
    builder: int = 1
    engine_sha256: str = ""


class Engine(NamedTuple):
    """A serialized engine on disk and what it is."""

    path: Path
    sidecar: Sidecar


class BuildOrder(Record, frozen=True):
    """What the child process builds."""

    onnx: str
    engine: str
    timing_cache: str
    precision: Precision
    batch: int
    workspace_bytes: int
    tuned: int = 1


# ---------------------------------------------------------------- probing


def probe_gpu(driver: str = DRIVER) -> Gpu:
    """The first GPU, by the driver alone. EdgenasError where there is no driver or no GPU."""
    try:
        cuda = ctypes.CDLL(driver)
    except OSError:
        raise EdgenasError(
            f"TensorRT needs an NVIDIA driver and {driver} cannot be loaded: run on the device (container: --runtime nvidia)"
        ) from None
    status = cuda.cuInit(0)
    if status:
        raise EdgenasError(
            f"TensorRT needs a GPU and the driver finds none (cuInit answers {status}): check nvidia-smi or the container"
        )
    name, (major, minor, version) = ctypes.create_string_buffer(256), (ctypes.c_int() for _ in range(3))
    cuda.cuDeviceGetName(name, len(name), 0)
    cuda.cuDeviceGetAttribute(ctypes.byref(major), CAPABILITY_MAJOR, 0)
    cuda.cuDeviceGetAttribute(ctypes.byref(minor), CAPABILITY_MINOR, 0)
    cuda.cuDriverGetVersion(ctypes.byref(version))
    return Gpu(name.value.decode(), f"{major.value}.{minor.value}", version.value)


def tensorrt_module() -> Any:
    """The installed `tensorrt`. MissingExtraError where it is missing, does not start, or is only an empty namespace left by a
    stubs package."""
    try:
        import tensorrt
    except BROKEN as error:
        raise MissingExtraError(why_not("tensorrt", error, INSTALL)) from error
    if not hasattr(tensorrt, "Runtime"):
        raise MissingExtraError(f"`tensorrt` is an empty namespace (a stubs package?): remove it. {INSTALL}")
    return tensorrt


def free_memory_mb(meminfo: Path = Path("/proc/meminfo")) -> tuple[float, float]:
    """(available, total) of the system's memory, which boards share with the GPU."""
    values = {
        line.split(":")[0]: float(line.split()[1]) / 1e3 for line in meminfo.read_text().splitlines() if ":" in line
    }
    return values["MemAvailable"], values["MemTotal"]


def workspace_bytes(available_mb: float, total_mb: float) -> int:
    """A quarter of what is free on boards of 8 GB or less, else half, at most 4 GB. EdgenasError where building cannot work."""
    if available_mb < SMALLEST_FREE_MB:
        raise EdgenasError(
            f"{int(available_mb)} MB of memory are free, building an engine needs {SMALLEST_FREE_MB:.0f}: "
            "stop other programs or add swap"
        )
    share = 0.25 if total_mb <= SMALL_BOARD_MB else 0.5
    return int(min(share * available_mb, 4000) * 1e6)


# ---------------------------------------------------------------- engines


def engine_from_onnx(
    onnx: Path, precision: Precision, *, folder: Path | None = None, batch: int = LARGEST_BATCH, tuned: int = 1
) -> Engine:
    """The engine of this file for this GPU, from the cache where its sidecar fits exactly, else built now (minutes), when others
    that build in this cache are done. `batch`: the largest that it takes, where the file leaves that open, and `tuned`: the one
    that its kernels are chosen for."""
    trt, gpu = tensorrt_module(), probe_gpu()
    content = onnx.read_bytes()
    sha256 = hashlib.sha256(content).hexdigest()
    wanted = Sidecar(sha256, trt.__version__, gpu, precision, batch, power_mode(), tuned, BUILDER)
    cache = folder or cache_folder()
    path = cache / f"{digest(wanted)}.engine"
    if (engine := cached_engine(path, wanted)) is not None:
        return engine
    timing_cache = cache / f"{digest(trt.__version__, gpu, wanted.clocks, BUILDER)}.timing"
    with _alone(cache):
        if (engine := cached_engine(path, wanted)) is not None:  # built by whom this one waited for
            return engine
        workspace = workspace_bytes(*free_memory_mb())
        order = BuildOrder(str(onnx), f"{path}{PART}", str(timing_cache), precision, batch, workspace, tuned)
        build_in_child(order)
        built = Path(order.engine)
        sidecar = msgspec.structs.replace(wanted, engine_sha256=hashlib.sha256(built.read_bytes()).hexdigest())
        built.replace(path)
        replace_file(path.with_suffix(".json"), sidecar.canonical_json())
        trim(cache, keep=path)
    return Engine(path, sidecar)


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """One builder at a time: two would time their kernels beside each other, and write the same files."""
    try:
        file = (cache / "lock").open("w")
    except OSError as error:
        raise EdgenasError(f"the engine cache {cache} cannot be written to: {error.strerror}") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def trim(cache: Path, *, keep: Path, most: int = CACHE_BYTES) -> None:
    """Remove what was used longest ago, engines with their sidecars, until all of it takes `most` bytes. `keep` stays."""
    files = [(file.stat(), file) for file in cache.iterdir() if file.suffix in (".engine", ".timing", PART)]
    size = sum(state.st_size for state, _ in files)
    for state, file in sorted(files, key=lambda one: one[0].st_mtime_ns):
        if size > most and file != keep:
            file.unlink(missing_ok=True)
            if file.suffix == ".engine":
                file.with_suffix(".json").unlink(missing_ok=True)
            size -= state.st_size


def cache_folder() -> Path:
    """$EDGENAS_CACHE/engines or ~/.cache/edgenas/engines: loading an engine runs native code, so EdgenasError where others may
    write there."""
    folder = at_home(os.environ.get(CACHE) or "~/.cache/edgenas") / "engines"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise EdgenasError(
            f"the engine cache {folder} cannot be made: {error.strerror}; set {CACHE} to a writable folder"
        ) from error
    state = folder.stat()
    if state.st_uid != os.geteuid():
        raise EdgenasError(
            f"the engine cache {folder} belongs to user {state.st_uid}, who could put native code there: set {CACHE} to a folder "
            "of your own"
        )
    if state.st_mode & 0o022:
        raise EdgenasError(
            f"others may write to the engine cache {folder}, which holds native code: chmod go-w {folder}"
        )
    return folder


def cached_engine(path: Path, wanted: Sidecar) -> Engine | None:
    """The engine at `path` if its sidecar says that it is the one wanted and its bytes are the ones built; None otherwise."""
    try:
        sidecar = msgspec.json.decode(path.with_suffix(".json").read_bytes(), type=Sidecar)
        content = path.read_bytes()
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    same = msgspec.structs.replace(sidecar, engine_sha256="") == wanted
    if not same or hashlib.sha256(content).hexdigest() != sidecar.engine_sha256:
        return None
    with suppress(OSError):  # in a folder that is only read
        os.utime(path)  # used now
    return Engine(path, sidecar)


def build_in_child(order: BuildOrder) -> None:
    """Build in a process of its own; EdgenasError in one line where it fails or is killed for its memory."""
    command = [
        sys.executable,
        "-m",
        "edgenas.runtimes.tensorrt_build",
        order.canonical_json().decode(),
        str(os.getpid()),
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_S, check=False, env=child_environment()
        )
    except subprocess.TimeoutExpired:
        raise EdgenasError(
            f"building the engine took longer than {BUILD_S} s: check the device's clocks and load"
        ) from None
    if done.returncode == -signal.SIGKILL:
        raise EdgenasError(
            "building the engine was killed, most likely for want of memory: stop other programs or add swap"
        )
    if done.returncode:
        *before, last = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        errors = [line.strip() for line in before if "[E]" in line][-ERRORS:]  # as TensorRT's logger marks them
        raise EdgenasError("; ".join([f"building the engine failed: {last}", *errors]))


def power_mode() -> str:
    """The Jetson's power mode, "" elsewhere: kernels are chosen by timing them."""
    try:
        return Path("/var/lib/nvpmodel/status").read_text().strip()
    except OSError:
        return ""


# ---------------------------------------------------------------- running


@contextmanager
def open_engine(
    onnx: Path, precision: Precision, *, folder: Path | None = None, batch: int = LARGEST_BATCH, tuned: int = 1
) -> Iterator[EngineRuntime]:
    """The file's engine, ready to run; built first where the cache has none that fits."""
    engine = engine_from_onnx(onnx, precision, folder=folder, batch=batch, tuned=tuned)
    with ExitStack() as stack:
        yield EngineRuntime(engine, stack)


class EngineRuntime:
    """An engine on the GPU, by the part of the API that 8.6, 10 and 11 share."""

    def __init__(self, engine: Engine, stack: ExitStack) -> None:
        trt = tensorrt_module()
        self._cuda = Cuda()
        self._runtime = trt.Runtime(trt.Logger(trt.Logger.WARNING))
        self._engine = self._runtime.deserialize_cuda_engine(engine.path.read_bytes())
        if self._engine is None:
            raise EdgenasError(f"TensorRT {trt.__version__} does not load {engine.path}: remove it, it is built again")
        self._context = self._engine.create_execution_context()
        if self._context is None:
            raise EdgenasError(
                f"the GPU is out of memory for what {engine.path} computes in between: stop other programs, or give it a smaller "
                "batch"
            )
        self._stream = self._cuda.stream(stack)
        self._buffers: dict[str, tuple[int, int]] = {}  # name -> (address, bytes)
        stack.callback(self._free)
        names = [self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors)]
        ports = {name: self._port(trt, name) for name in names}
        is_input = {name: self._engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT for name in names}
        self.inputs = {name: ports[name] for name in names if is_input[name]}
        self.outputs = {name: ports[name] for name in names if not is_input[name]}
        self.settings = {
            "runtime": "tensorrt",
            "runtime_version": trt.__version__,
            "provider": "tensorrt",
            "precision": engine.sidecar.precision,
            "gpu": engine.sidecar.gpu.name,
            "cuda_graph": False,
        }

    def run(self, arrays: Arrays) -> dict[str, NDArray[Any]]:
        self._put(arrays)
        self._execute()
        results = {}
        for name, port in self.outputs.items():
            result = np.empty(tuple(self._context.get_tensor_shape(name)), port.dtype)
            self._cuda.to_host(result, self._buffers[name][0], self._stream)
            results[name] = result
        self._cuda.wait(self._stream)
        return results

    def bound(self, arrays: Arrays) -> Callable[[], None]:
        """Inputs are on the GPU, outputs stay there: what trtexec calls GPU compute time, and the launch."""
        self._put(arrays)

        def once() -> None:
            self._execute()
            self._cuda.wait(self._stream)

        once()
        return once

    def _put(self, arrays: Arrays) -> None:
        """Copy the inputs over and make room for the outputs."""
        if set(arrays) != set(self.inputs):
            raise EdgenasError(f"inputs {sorted(arrays)} were given; the engine takes {sorted(self.inputs)}")
        for name, array in arrays.items():
            if array.dtype != self.inputs[name].dtype or not self._context.set_input_shape(name, array.shape):
                raise EdgenasError(
                    f"input {name!r} is {array.dtype} {array.shape}; the engine takes {self.inputs[name]}"
                )
            plain = np.ascontiguousarray(array)
            self._cuda.to_device(self._room(name, plain.nbytes), plain, self._stream)
            self._cuda.wait(self._stream)  # `plain` may be a copy that goes away
        for name, port in self.outputs.items():
            shape = tuple(self._context.get_tensor_shape(name))
            self._room(name, int(np.prod(shape)) * np.dtype(port.dtype).itemsize)

    def _room(self, name: str, size: int) -> int:
        address, have = self._buffers.get(name, (0, 0))
        if have < size:
            if have:
                del self._buffers[name]
                self._cuda.free(address)
            address = self._cuda.allocate(size)
            self._buffers[name] = (address, size)
        self._context.set_tensor_address(name, address)
        return address

    def _free(self) -> None:
        while self._buffers:
            self._cuda.free(self._buffers.popitem()[1][0])

    def _execute(self) -> None:
        if not self._context.execute_async_v3(self._stream):
            raise DeviceError("CUDA failure: TensorRT did not run the engine")

    def _port(self, trt: Any, name: str) -> Port:
        kind = self._engine.get_tensor_dtype(name)
        types = [plain for word, plain in NUMPY_TYPES.items() if getattr(trt.DataType, word, None) == kind]
        if not types:
            raise EdgenasError(
                f"{name!r} of this engine is {kind}, which NumPy has not: keep such numbers inside of the model"
            )
        shape = tuple("batch" if side < 0 else side for side in self._engine.get_tensor_shape(name))
        return Port(shape, types[0])


def _open(path: Path, precision: Precision, how: How) -> AbstractContextManager[Runtime]:
    return open_engine(path, precision, batch=how.batch, tuned=how.tuned)


TENSORRT = RuntimeSpec(
    open=_open,
    version=lambda: str(tensorrt_module().__version__),
    on_cpu=lambda _: False,
    platform="tensorrt_plan",
)
