"""One bundle behind one inference worker: loaded, proved on its golden inputs, and then fed from a bounded queue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgenas.bundle import Bundle
from edgenas.errors import BundleError, DeviceError
from edgenas.records import Outputs, Precision
from edgenas.runtimes import Runtime, open_runtime
from edgenas.runtimes.batches import run_in_batches
from edgenas.runtimes.compare import likeness
from edgenas.serve.errors import RequestRefused

T = TypeVar("T")
Array = NDArray[Any]
WARM_UP_RUNS = 3
# Of a row's largest value, at least and at most: between them what the bundle's proof of parity needed.
GOLDEN_TOLERANCE: dict[Precision, tuple[float, float]] = {"fp32": (1e-4, 1e-4), "fp16": (5e-3, 2e-2)}
GOLDEN_COSINE = 0.99  # INT8 differs a little from processor to processor


class ServedModel:
    """Used from the event loop; everything that computes happens on its single worker thread."""

    def __init__(
        self, bundle: Bundle, precision: Precision | None, runtime: str, *, queue: int, deadline_s: float
    ) -> None:
        self.bundle = bundle
        self.precision: Precision = precision or bundle.manifest.chosen_precision
        self.path = bundle.path(self.precision)
        self.runtime_name = runtime
        self.ready = False
        self.draining = False
        self.waiting = 0
        self.queue, self.deadline_s = queue, deadline_s
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="inference")
        self._open = ExitStack()
        self._runtime: Runtime | None = None

    @property
    def name(self) -> str:
        return self.bundle.manifest.name

    async def load(self) -> None:
        """Open the runtime (building an engine where it needs one), warm up, prove the golden outputs; then `ready`."""
        await asyncio.get_running_loop().run_in_executor(self._worker, self._load)
        self.ready = True

    def _load(self) -> None:
        self._runtime = self._open.enter_context(open_runtime(self.runtime_name, self.path, self.precision))
        golden = self.bundle.golden()
        for _ in range(WARM_UP_RUNS):
            outputs = self._run(golden["inputs"])
        values = isinstance(self.bundle.manifest.architecture.head, Outputs)
        proved = self.bundle.parity[self.precision].tolerance
        check_golden(golden[self.precision], outputs, self.precision, values=values, proved=proved)

    def close(self) -> None:
        self._worker.shutdown(wait=True, cancel_futures=True)
        self._open.close()

    def check_free(self) -> None:
        """RequestRefused with 503 where the queue is full or the model not ready."""
        if not self.ready:
            raise RequestRefused(503, "the model is still loading", Retry_After="2")
        if self.waiting >= self.queue:
            raise RequestRefused(503, f"{self.queue} requests are waiting already", Retry_After="1")

    async def infer(self, inputs: Array) -> Array:
        """(N, ...) -> (N, n), waiting its turn."""
        return await self.compute(lambda: self.outputs(inputs))

    async def compute(self, work: Callable[[], T]) -> T:
        """Run `work` on the worker. RequestRefused as by `check_free`, and with 504 after the deadline."""
        self.check_free()
        deadline = time.monotonic() + self.deadline_s
        self.waiting += 1
        left = [work]  # emptied when it is given up, since it holds a request's body

        def in_time() -> T:
            todo = left[:]
            if not todo or time.monotonic() > deadline:
                raise RequestRefused(504, f"not begun within {self.deadline_s:g} s")
            return todo[0]()

        future = asyncio.get_running_loop().run_in_executor(self._worker, in_time)
        future.add_done_callback(self._done)
        try:
            return await asyncio.wait_for(asyncio.shield(future), self.deadline_s)
        except asyncio.TimeoutError:
            raise RequestRefused(504, f"no result within {self.deadline_s:g} s") from None
        finally:
            left.clear()

    def _done(self, future: asyncio.Future[Any]) -> None:
        self.waiting -= 1
        if not future.cancelled():
            future.exception()  # seen, also where nobody waits for it any more

    def outputs(self, inputs: Array) -> Array:
        """(N, ...) -> (N, n), at once: for work that `compute` hands to the worker. DeviceError where they are not finite."""
        output = self._run(inputs)
        if not np.isfinite(output).all():
            raise DeviceError(
                "the model's outputs for these inputs are not finite (they overflow): nothing to answer with"
            )
        return output

    def _run(self, inputs: Array) -> Array:
        assert self._runtime is not None
        (output,) = run_in_batches(self._runtime, inputs).values()
        return output


def check_golden(
    wanted: Array, got: Array, precision: Precision, *, values: bool = False, proved: float | None = None
) -> None:
    """Raise BundleError where this device does not compute what the bundle's maker did. `values`: see runtimes.compare.likeness.
    `proved`: the tolerance of the bundle's own proof of parity.

    Every comparison is one that NaN fails: what cannot be compared is not right.
    """
    if wanted.size == 0 or not np.isfinite(wanted).all():
        raise BundleError(
            f"golden self-test: the bundle's {precision} outputs are missing or not finite: export it again"
        )
    if got.shape != wanted.shape or not np.isfinite(got).all():
        raise BundleError(f"golden self-test: outputs of shape {got.shape} or not finite, {wanted.shape} was expected")
    if precision in GOLDEN_TOLERANCE:
        least, most = GOLDEN_TOLERANCE[precision]
        tolerance = min(most, max(least, proved or least))
        off = np.abs(got - wanted) - tolerance * (1 + np.abs(wanted).max(axis=1, keepdims=True))
        if not (off <= 0).all():
            raise BundleError(f"golden self-test: {precision} outputs are off by {np.abs(got - wanted).max():.3g}")
        return
    cosine = likeness(wanted, got, values)
    if not cosine >= GOLDEN_COSINE:
        raise BundleError(f"golden self-test: {precision} outputs have cosine {cosine:.4f} to the expected ones")
