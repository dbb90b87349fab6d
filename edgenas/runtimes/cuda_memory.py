"""Memory of the GPU, for runtimes that leave it to their caller."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from numpy.typing import NDArray

from edgenas.errors import DeviceError, MissingExtraError, pip_line


class Cuda:
    """Memory, copies and a stream by cuda-python; every call is checked."""

    def __init__(self) -> None:
        try:
            from cuda.bindings import runtime
        except ImportError as error:
            raise MissingExtraError(f"running engines needs cuda-python: {pip_line('tensorrt')}") from error
        self._rt: Any = runtime

    def _done(self, answer: tuple[Any, ...]) -> Any:
        if int(answer[0]):
            raise DeviceError(f"CUDA failure {int(answer[0])} ({answer[0].name}): restart the program")
        return answer[1] if len(answer) > 1 else None

    def stream(self, stack: ExitStack) -> int:
        stream = self._done(self._rt.cudaStreamCreate())
        stack.callback(self._rt.cudaStreamDestroy, stream)
        return int(stream)

    def allocate(self, size: int) -> int:
        return int(self._done(self._rt.cudaMalloc(size)))

    def free(self, address: int) -> None:
        self._done(self._rt.cudaFree(address))

    def to_device(self, address: int, array: NDArray[Any], stream: int) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._done(self._rt.cudaMemcpyAsync(address, array.ctypes.data, array.nbytes, kind, stream))

    def to_host(self, array: NDArray[Any], address: int, stream: int) -> None:
        kind = self._rt.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._done(self._rt.cudaMemcpyAsync(array.ctypes.data, address, array.nbytes, kind, stream))

    def wait(self, stream: int) -> None:
        self._done(self._rt.cudaStreamSynchronize(stream))
