"""The process that a model is timed in: one model, one process, so that no model sees another's threads or memory.

`python -m edgenas.hardware.worker PARENT`, which dies with the process of that number, is spoken to in lines of JSON: first a
`Load`, answered by a `Loaded`; then any number of `Burst`s, each answered by a `Samples`. A `Refusal` in place of either says
what went wrong. It ends with its input.
"""

from __future__ import annotations

import gc
import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from edgenas.errors import EdgenasError
from edgenas.records import Precision, Record
from edgenas.runtimes import LARGEST_BATCH, How, Port, Runtime, is_short_of_memory, open_runtime
from edgenas.runtimes.child import die_with

KEPT_PER_BURST = 20_000  # raw samples that travel back; of more, evenly spaced ones
T = TypeVar("T")


class Load(Record, frozen=True):
    """Which model to open, and how."""

    model: str
    runtime: str = "onnxruntime"  # a name in edgenas.runtimes.RUNTIMES
    provider: str = "cpu"  # of onnxruntime
    threads: int = 1
    spinning: bool = False
    batch_size: int = 1
    core: int | None = None  # stay on this one
    precision: Precision = "fp32"  # of the model itself, which an engine is built for


class Loaded(Record, frozen=True, tag="loaded"):
    """The settings that the runtime really runs with."""

    settings: dict[str, Any]


class Burst(Record, frozen=True):
    """Run at least `runs` times and at least `seconds`; fewer times, but once, where `most_seconds` are over."""

    runs: int
    seconds: float
    most_seconds: float


class Samples(Record, frozen=True, tag="samples"):
    """Milliseconds of single runs, and how many runs there were."""

    ms: tuple[float, ...]
    runs: int


class Refusal(Record, frozen=True, tag="refusal"):
    """What went wrong: oom, unsupported_op, invalid."""

    status: str
    error: str


def burst(
    once: Callable[[], None],
    runs: int,
    seconds: float,
    most_seconds: float,
    clock: Callable[[], int] = time.perf_counter_ns,
) -> list[float]:
    """Milliseconds of each of >= `runs` runs that take >= `seconds` together, or of those that `most_seconds` have room for; the
    collector of garbage waits."""
    samples: list[int] = []
    gc.collect()
    gc.disable()
    try:
        begun = clock()
        end, latest = begun + int(seconds * 1e9), begun + int(most_seconds * 1e9)
        while True:
            before = clock()
            once()
            after = clock()
            samples.append(after - before)
            if after >= latest or (after >= end and len(samples) >= runs):
                return [nanoseconds / 1e6 for nanoseconds in samples]
    finally:
        gc.enable()


def inputs_for(ports: dict[str, Port], batch_size: int) -> dict[str, NDArray[Any]]:
    """Seeded arrays for every input; the first dimension may be dynamic, and is the batch then."""
    rng = np.random.default_rng(0)
    arrays: dict[str, NDArray[Any]] = {}
    for name, port in ports.items():
        sides = [batch_size if i == 0 and isinstance(side, str) else side for i, side in enumerate(port.shape)]
        shape = tuple(side for side in sides if isinstance(side, int))
        if len(shape) < len(sides):
            raise EdgenasError(
                f"input {name!r} has shape {port.shape}: only its first dimension, the batch, may be dynamic"
            )
        if shape and shape[0] != batch_size:
            raise EdgenasError(f"input {name!r} has a fixed batch of {shape[0]}; {batch_size} was asked for")
        if port.dtype.startswith("float"):
            arrays[name] = rng.standard_normal(shape).astype(port.dtype)
        elif port.dtype == "uint8":
            arrays[name] = rng.integers(0, 256, shape).astype(np.uint8)
        else:
            raise EdgenasError(f"input {name!r} is {port.dtype}; images are float or uint8")
    return arrays


def _opened(load: Load) -> AbstractContextManager[Runtime]:
    how = How(load.provider, load.threads, load.spinning, max(LARGEST_BATCH, load.batch_size), load.batch_size)
    return open_runtime(load.runtime, Path(load.model), load.precision, how)


def status_of(error: BaseException) -> str:
    """Which of the statuses a failure to load or run belongs to."""
    if is_short_of_memory(error):
        return "oom"
    message = str(error).lower()
    if any(
        word in message for word in ("not implemented", "not_implemented", "no op registered", "is not a registered")
    ):
        return "unsupported_op"
    return "invalid"


def main() -> None:
    """Speak the protocol above on stdin and stdout."""
    die_with(int(sys.argv[1]))
    try:
        load = _read(Load)
        if load.core is not None:
            os.sched_setaffinity(0, {load.core})
        with _opened(load) as runtime:
            once = runtime.bound(inputs_for(runtime.inputs, load.batch_size))
            _write(Loaded({**runtime.settings, "core": load.core}))
            for line in sys.stdin.buffer:
                request = msgspec.json.decode(line, type=Burst)
                samples = burst(once, request.runs, request.seconds, request.most_seconds)
                step = -(-len(samples) // KEPT_PER_BURST)
                _write(Samples(tuple(round(ms, 6) for ms in samples[::step]), len(samples)))
    except (EdgenasError, MemoryError) as error:
        _write(Refusal(status_of(error), " ".join(str(error).split()) or type(error).__name__))


def _read(record: type[T]) -> T:
    return msgspec.json.decode(sys.stdin.buffer.readline(), type=record)


def _write(record: Record) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(record) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
