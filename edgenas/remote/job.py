"""One measuring job, from an untrusted ONNX file to an answer, in a child process that can be killed as a whole.

`run` is the parent's side (the agent, `edgenas agent --once`); `python -m edgenas.remote.job` is the child, which alone parses
the file, under limits on memory, time and file size, and times it in workers that inherit them.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from edgenas.errors import EdgenasError
from edgenas.hardware.lock import device_lock
from edgenas.hardware.measure import MeasureError, Timing, measure
from edgenas.hardware.worker import Load
from edgenas.records import Measurement, Record
from edgenas.runtimes import runtime_spec
from edgenas.runtimes.child import child_environment, die_with

Status = Literal[
    "queued",
    "running",
    "ok",
    "unstable",
    "throttled",
    "oom",
    "unsupported_op",
    "timeout",
    "mismatch",
    "invalid",
    "busy",
    "refused",
]
SETTLED = ("queued", "running", "ok", "unsupported_op")  # of all others another moment may say something else
MAX_DEADLINE_S = 1800.0
GPU_CHOICE = ("CUDA_VISIBLE_DEVICES", "CUDA_DEVICE_ORDER", "NVIDIA_VISIBLE_DEVICES")
BUILD_S = 1200.0  # of a deadline, where an engine is built first
BUILDER = "tensorrt"  # the runtime that builds one, and the provider of ONNX Runtime that does


class Job(Record, frozen=True):
    """What is asked: which file, by its hash, how to time it, and which repetition of the same question this is."""

    sha256: str
    profile: str = ""
    timing: Timing = Timing()
    batch_size: int = 1
    repeat: int = 0
    deadline_s: float = 120.0

    def __post_init__(self) -> None:
        timing = self.timing
        sane = (
            len(self.sha256) == 64
            and set(self.sha256) <= set("0123456789abcdef")
            and len(self.profile) <= 100
            and 1 <= timing.runs <= 1_000_000
            and 0 <= timing.seconds <= MAX_DEADLINE_S
            and 1 <= timing.rounds <= 1000
            and 0 <= timing.warmup_runs <= 10_000
            and 0 <= timing.warmup_seconds <= 60
            and 1 <= self.batch_size <= 1024
            and 0 <= self.repeat <= 1000
            and 0 < self.deadline_s <= MAX_DEADLINE_S
        )
        if not sane:
            raise ValueError("a job's sha256 is 64 hex digits, and its numbers are within the bounds in docs/boards.md")

    @property
    def id(self) -> str:
        """The same question has the same id, whether it says 3 or 3.0 seconds."""
        as_read = msgspec.json.decode(self.canonical_json(), type=Job)
        return hashlib.sha256(as_read.canonical_json()).hexdigest()[:32]


def job_for(
    model: bytes, profile: str, timing: Timing, *, batch_size: int = 1, repeat: int = 0, runtime: str = ""
) -> Job:
    """The job that times `model`, with a deadline that leaves room for the reference network, for slow loading and slow runs and,
    where the runtime is known to need that, for building an engine."""
    build_s = BUILD_S if runtime == BUILDER else 0.0
    runs_s = 4 * (timing.seconds + timing.warmup_seconds) + 2 * timing.longest_s
    deadline_s = min(MAX_DEADLINE_S, build_s + 60 + runs_s)
    return Job(hashlib.sha256(model).hexdigest(), profile, timing, batch_size, repeat, deadline_s)


def runtime_of(info: Mapping[str, Any]) -> str:
    """What `job_for` must know of a board that says `info`: its runtime, or what its provider of ONNX Runtime builds engines
    with."""
    return BUILDER if info["load"]["provider"] == BUILDER else str(info["runtime"])


class Answer(Record, frozen=True):
    """What is known of a job: its status, and either a measurement or what went wrong."""

    id: str
    status: Status
    error: str = ""
    measurement: Measurement | None = None


class Bounds(Record, frozen=True):
    """What a job may take: memory of each of its processes, and the size of a model."""

    memory_mb: int = 2048
    model_mb: int = 64


class _Task(Record, frozen=True):
    job: Job
    path: str
    load: Load
    bounds: Bounds
    parent: int  # process


def run(
    path: Path,
    job: Job,
    load: Load,
    bounds: Bounds,
    cancel: threading.Event | None = None,
    begun: Callable[[], None] = lambda: None,
) -> Answer:
    """Measure the file at `path` in a child process; it, all it started and all they wrote are gone when this returns. The job's
    time begins when no one else measures on this machine, which `begun` is told."""
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(device_lock(given_up=cancel.is_set) if cancel else device_lock())
            begun()
            scratch = tempfile.TemporaryDirectory(prefix="job-", dir=path.parent, ignore_cleanup_errors=True)
            return _run(path, job, load, bounds, cancel, stack.enter_context(scratch))
        except EdgenasError as error:
            return Answer(job.id, "busy", str(error))
        except OSError as error:  # no process to be had, or no room for its files
            return Answer(job.id, "busy", f"the measuring process could not be started: {error.strerror}")


def _run(path: Path, job: Job, load: Load, bounds: Bounds, cancel: threading.Event | None, scratch: str) -> Answer:
    child = subprocess.Popen(
        [sys.executable, "-m", "edgenas.remote.job"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=scratch,
        env={**_environment(), "TMPDIR": scratch},
        start_new_session=True,
    )
    overdue = threading.Event()
    timer = threading.Timer(job.deadline_s, _expire, args=(overdue, child))
    timer.start()
    watcher = threading.Thread(target=_kill_on, args=(cancel, child), daemon=True) if cancel else None
    if watcher:
        watcher.start()
    try:
        task = _Task(job, str(path.absolute()), load, bounds, os.getpid())
        output, errors = child.communicate(msgspec.json.encode(task))
    finally:
        timer.cancel()
        _kill(child)
    if overdue.is_set():
        return Answer(job.id, "timeout", f"not done after {job.deadline_s:g} s")
    with contextlib.suppress(msgspec.DecodeError):
        return msgspec.json.decode(output, type=Answer)
    words = errors.decode(errors="replace").strip().splitlines()
    starved = child.returncode == -signal.SIGKILL or any(
        word in words[-1:] for word in ("MemoryError", "std::bad_alloc")
    )
    last = words[-1] if words else f"ended with {child.returncode}"
    return Answer(job.id, "oom" if starved or "alloc" in last else "invalid", f"the measuring process failed: {last}")


def _expire(overdue: threading.Event, child: subprocess.Popen[bytes]) -> None:
    overdue.set()
    _kill(child)


def _kill(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


def _kill_on(cancel: threading.Event, child: subprocess.Popen[bytes]) -> None:
    while child.poll() is None:
        if cancel.wait(0.1):
            _kill(child)
            return


def _environment() -> dict[str, str]:
    """Nothing that the child does not need: no tokens. Engines are kept in EDGENAS_CACHE; the GPU is the one that was chosen."""
    names = (
        "PATH",
        "HOME",
        "LANG",
        "LD_LIBRARY_PATH",
        "PYTHONPATH",
        "SYSTEMROOT",
        "ORT_DISABLE_TELEMETRY",
        "EDGENAS_CACHE",
        *GPU_CHOICE,
    )
    return child_environment({name: os.environ[name] for name in names if name in os.environ})


# ---------------------------------------------------------------- the child


def main() -> None:
    """Read a task from stdin, print its answer."""
    task = msgspec.json.decode(sys.stdin.buffer.read(), type=_Task)
    _limit(task)
    try:
        answer = _answer(task)
    except MemoryError:
        answer = Answer(task.job.id, "oom", f"needs more than {task.bounds.memory_mb} MB")
    sys.stdout.buffer.write(msgspec.json.encode(answer))


def _limit(task: _Task) -> None:
    die_with(task.parent)  # an agent that is killed takes this process along
    memory = task.bounds.memory_mb * 1_000_000
    # CUDA reserves far more address space than it uses
    on_cpu = runtime_spec(task.load.runtime).on_cpu(task.load.provider)
    kind = resource.RLIMIT_AS if on_cpu else resource.RLIMIT_DATA
    resource.setrlimit(kind, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 * task.bounds.model_mb * 1_000_000,) * 2)


def _answer(task: _Task) -> Answer:
    model = Path(task.path).read_bytes()
    if hashlib.sha256(model).hexdigest() != task.job.sha256:
        return Answer(task.job.id, "mismatch", "the model's sha256 is not the one that was announced")
    try:
        refuse_unsafe(model)
        load = msgspec.structs.replace(task.load, batch_size=task.job.batch_size)
        (measurement,) = measure([model], load, task.job.timing, task.job.profile, locked=True)
    except MeasureError as error:
        return Answer(task.job.id, msgspec.convert(error.status, Status), str(error))
    except EdgenasError as error:
        return Answer(task.job.id, "invalid", str(error))
    return Answer(task.job.id, msgspec.convert(measurement.status, Status), measurement=measurement)


def refuse_unsafe(model: bytes) -> None:
    """Raise MeasureError for what is not a whole, plain, self-contained network of known operators."""
    import onnx
    from google.protobuf.message import DecodeError

    from edgenas.runtimes.operators import OPERATORS, check_safe

    try:
        parsed = onnx.load_model_from_string(model)
    except DecodeError as error:
        raise MeasureError("invalid", f"not an ONNX file: {error}") from error
    if not parsed.graph.node:
        raise MeasureError("invalid", "not an ONNX file: it holds no network")
    foreign = sorted({f"{node.domain}.{node.op_type}".lstrip(".") for node in parsed.graph.node} - OPERATORS)
    if foreign:
        raise MeasureError("unsupported_op", f"operators that are not allowed: {', '.join(foreign[:10])}"[:500])
    check_safe(parsed, "the model")
    try:
        onnx.checker.check_model(parsed)
    except onnx.checker.ValidationError as error:
        raise MeasureError("invalid", f"refused by onnx.checker: {' '.join(str(error).split())[:500]}") from error


if __name__ == "__main__":
    main()
