"""The one place where inference is timed.

Every model runs in a process of its own (worker.py). Rounds of all models and of a small reference network take turns, so
that whatever disturbs the machine disturbs them alike; the reference says whether it did. Raw samples are kept.
"""

from __future__ import annotations

import functools
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError

from edgenas.architectures.chain import chain
from edgenas.architectures.onnx_weights import precision_of_model
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.device import ROOT, PowerMeter, energy_mj, probe, throttled, throttling
from edgenas.hardware.lock import device_lock
from edgenas.hardware.worker import Burst, Load, Loaded, Refusal, Samples
from edgenas.ranges import beside
from edgenas.records import BYTES, Classes, Latency, Measurement, Precision, Record
from edgenas.runtimes import runtime_spec
from edgenas.runtimes.child import child_environment
from edgenas.runtimes.graph import onnx_from_workload

T = TypeVar("T")
MAX_SPREAD = 0.05  # IQR / median
SPREAD_TO_DEVIATION = 1.349  # of a normal distribution: its interquartile range over its standard deviation
MAX_DRIFT = 0.03  # of the reference network, second half of the rounds against the first
LONGEST_S = 60.0  # of a model's runs: those of a slow one are fewer
LOOK_S = 0.25  # between two looks at what slows the device down
FEWEST_ROUNDS = 5  # for a median and a drift

Say = Callable[[str], None]  # tells the person at the terminal


def no_one(_message: str) -> None:
    """A `Say` that shows nothing."""


class Timing(Record, frozen=True):
    """At least `runs` runs and `seconds` seconds of every model, in `rounds` rounds, after a warm-up; of a slow model the runs
    that `longest_s` have room for."""

    runs: int = 200
    seconds: float = 3.0
    rounds: int = 100
    warmup_runs: int = 10
    warmup_seconds: float = 0.3

    @property
    def longest_s(self) -> float:
        """Seconds after which a model is not run again, if it was in five rounds; a tenth of that ends its warm-up."""
        return max(LONGEST_S, 2 * self.seconds)


BENCH = Timing()
MLPERF = Timing(runs=1024, seconds=600.0, rounds=200, warmup_seconds=2.0)  # MLPerf's single stream; its figure is p90
# Many small networks, compared by their ratios to the reference: 40 rounds of 10 ms repeat within 1.4 % (median of 14 chain
# networks, 2-core VM with busy neighbours, where plain medians repeat within 16 % and 6 rounds of 50 ms within 5.4 %).
SEARCH = Timing(runs=80, seconds=0.4, rounds=40, warmup_runs=5, warmup_seconds=0.05)


class MeasureError(EdgenasError):
    """A model that could not be measured; `status` says which way, in the words of Measurement."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status = status


def measure(
    models: Sequence[bytes],
    load: Load,
    timing: Timing,
    profile: str,
    *,
    root: Path = ROOT,
    say: Say = no_one,
    locked: bool = False,
) -> list[Measurement]:
    """One measurement per ONNX model, all taken in turns, each at the precision of its own layers. `locked`: whoever asks holds
    the device lock already.

    Raises MeasureError for a model that does not load or run.
    """
    load = msgspec.structs.replace(load, core=common_core(load))
    lock = nullcontext() if locked else device_lock(say)
    with lock, tempfile.TemporaryDirectory() as folder, ExitStack() as stack, PowerMeter(root) as meter:
        before = probe(root)
        timers: list[_Timer] = []
        for index, model in enumerate([*models, reference_model()]):
            timers.append(_Timer(model, load, Path(folder) / f"{index}.onnx"))
            stack.callback(timers[-1].close)
        for timer in timers:  # whose processes have begun side by side
            timer.open()
        for timer in timers:
            longest_s = max(timing.warmup_seconds, timing.longest_s / 10)
            timer.burst(timing.warmup_runs, timing.warmup_seconds, longest_s)
        between: set[str] = set()
        measured = meter if len(models) == 1 else None
        timed = _rounds(timers, timing, measured, lambda: between.update(throttling(root)))
        after = probe(root)
    shared = {
        "device": {"before": _plain(before), "after": _plain(after)},
        "reference_ms": [_median(round_.ms) for round_ in timed[-1]],
    }
    slowed = throttled(before, after, between)
    return [
        _measurement(rounds, timers[index], shared, slowed, profile, before.model, timing, meter.mean_mw)
        for index, rounds in enumerate(timed[:-1])
    ]


def common_core(load: Load) -> int | None:
    """Where all single-threaded models of a measurement run: on cores of their own, other work would slow one and not the
    other. None where threads are to spread, or where the system cannot pin."""
    on_cpu = runtime_spec(load.runtime).on_cpu(load.provider)
    if load.threads > 1 or not on_cpu or not hasattr(os, "sched_getaffinity"):
        return None
    return max(os.sched_getaffinity(0))


def _rounds(
    timers: Sequence[_Timer], timing: Timing, meter: PowerMeter | None, look: Callable[[], None]
) -> list[list[Samples]]:
    """Per timer its samples, round by round; each round begins with another timer. The last round is the one in which a model's
    time is over. Between rounds the device is looked at, four times a second at most."""
    runs, seconds = -(-timing.runs // timing.rounds), timing.seconds / timing.rounds
    most_seconds = timing.longest_s / timing.rounds
    timed: list[list[Samples]] = [[] for _ in timers]
    spent_s = [0.0 for _ in timers]
    reference, looked = len(timers) - 1, time.monotonic()
    for number in range(timing.rounds):
        for place in range(len(timers)):
            index = (number + place) % len(timers)
            if meter and index != reference:
                meter.on()
            # the reference need only be good enough to see a drift
            share = 0.5 if index == reference else 1.0
            begun = time.monotonic()
            timed[index].append(timers[index].burst(max(1, round(runs * share)), seconds * share, most_seconds))
            spent_s[index] += time.monotonic() - begun
            if meter:
                meter.off()
        if time.monotonic() - looked >= LOOK_S:
            look()
            looked = time.monotonic()
        if max(spent_s) >= timing.longest_s and number + 1 >= FEWEST_ROUNDS:
            break
    return timed


def _measurement(
    rounds: list[Samples],
    timer: _Timer,
    shared: dict[str, Any],
    slowed: tuple[str, ...],
    profile: str,
    host: str,
    timing: Timing,
    mean_mw: float | None,
) -> Measurement:
    samples = tuple(ms for part in rounds for ms in part.ms)
    reasons = unstable(samples, shared["reference_ms"])
    runs, settings = sum(part.runs for part in rounds), timer.settings
    few = [f"{runs} runs, not {timing.runs}: each takes {_median(samples) / 1e3:.2g} s"] if runs < timing.runs else []
    detail = {
        "settings": settings,
        "sha256": timer.sha256,
        "batch_size": timer.load.batch_size,
        "runs": runs,
        "round_ms": [_median(part.ms) for part in rounds],
        "timing": _plain(timing),
        "warnings": [*reasons, *(f"throttled: {reason}" for reason in slowed), *few],
        **shared,
    }
    if mean_mw is not None:
        detail |= {"power_mw": mean_mw, "energy_mj": energy_mj(mean_mw, _median(samples))}
    return Measurement(
        profile=profile,
        host=host,
        runtime=f"{settings['runtime']} {settings['runtime_version']}",
        precision=timer.load.precision,
        warmup=timing.warmup_runs,
        samples_ms=samples,
        stable=not reasons and not slowed,
        status="throttled" if slowed else "unstable" if reasons else "ok",
        detail=detail,
    )


def unstable(samples_ms: Sequence[float], reference_ms: Sequence[float]) -> list[str]:
    """Reasons not to trust samples: their own spread, and the drift of the reference's medians, round by round."""
    reasons = []
    if (wide := spread(samples_ms)) > MAX_SPREAD:
        reasons.append(f"spread {beside(100 * wide, 100 * MAX_SPREAD, 2)}% (IQR / median) > {MAX_SPREAD:.0%}")
    half = len(reference_ms) // 2
    if half:
        drift = _median(reference_ms[half:]) / _median(reference_ms[:half]) - 1
        if abs(drift) > MAX_DRIFT:
            size = beside(100 * abs(drift), 100 * MAX_DRIFT, 2)
            reasons.append(
                f"the reference network drifted {'+' if drift > 0 else '-'}{size}% (more than {MAX_DRIFT:.0%})"
            )
    return reasons


def spread(samples_ms: Sequence[float]) -> float:
    """Interquartile range over median."""
    low, median, high = np.percentile(samples_ms, [25, 50, 75])
    return float((high - low) / median)


def percentiles(measurement: Measurement) -> dict[str, float]:
    """median, p90 and p99 in ms."""
    values = np.percentile(measurement.samples_ms, [50, 90, 99])
    return {name: round(float(value), 6) for name, value in zip(("median", "p90", "p99"), values, strict=True)}


def reference_ratio(measurement: Measurement) -> float:
    """Time over the reference network's, the median of what the rounds say: what disturbs a round disturbs both alike."""
    rounds = np.divide(measurement.detail["round_ms"], measurement.detail["reference_ms"])
    return float(np.median(rounds))


def latency_from_measurement(measurement: Measurement, baseline_ms: float | None = None) -> Latency:
    """The median, as one number of a trial.

    With `baseline_ms`, the reference network's time at the start of a study, it is the time as it would have been then: so
    candidates measured hours (or boards) apart can be compared. The raw samples stay as they were.
    """
    ms = percentiles(measurement)
    median = ms["median"] if baseline_ms is None else baseline_ms * reference_ratio(measurement)
    correction = median / ms["median"]
    energy = measurement.detail.get("energy_mj")
    return Latency(
        ms=median,
        origin="measured",
        profile=measurement.profile,
        p90_ms=ms["p90"] * correction,
        n=measurement.detail["runs"],
        spread=spread(measurement.samples_ms),
        energy_mj=None if energy is None else energy * correction,
        precision=_known(measurement.precision),
        stable=measurement.stable,
        detail=_how(measurement) + ("" if baseline_ms is None else f", x{correction:.4f} by the reference network"),
    )


def _known(precision: str) -> Precision | None:
    return cast("Precision", precision) if precision in BYTES else None


def _how(measurement: Measurement) -> str:
    settings, mode = measurement.detail["settings"], measurement.detail["device"]["before"]["power_mode"]
    runtime = f"{measurement.runtime} {settings.get('provider', '')}".rstrip()  # not every runtime has providers
    return (
        f"{measurement.host}: {runtime}, {settings.get('threads', 1)} thread(s), "
        f"{measurement.precision}{_int8(settings)}{_batch(measurement)}, {measurement.status}"
        + (f", power mode {mode}" if mode else "")
    )


def _batch(measurement: Measurement) -> str:
    images = measurement.detail.get("batch_size", 1)
    return "" if images == 1 else f", {images} images a run"


def _int8(settings: dict[str, Any]) -> str:
    return f" ({settings['int8']} sums)" if "int8" in settings else ""


@functools.cache
def reference_model() -> bytes:
    """The same small chain everywhere and always: 7 layers of width 16, both operations, both kernels, 32 px, opset 13."""
    architecture = chain(16, 7, (0, 1, 0, 1, 0, 1, 0), (3, 3, 5, 3, 3, 5, 3), Classes(10))
    return bytes(onnx_from_workload(workload_from_architecture(architecture), None, 13, 7).SerializeToString())


class _Timer:
    """A worker process for one model; it runs from the first moment, until `close`."""

    def __init__(self, model: bytes, load: Load, path: Path) -> None:
        path.write_bytes(model)
        self.sha256 = hashlib.sha256(model).hexdigest()
        self.load = msgspec.structs.replace(load, model=str(path), precision=_precision(model))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 (closed with the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgenas.hardware.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            env=child_environment(),
        )

    def open(self) -> None:
        """Have the process load the model. Raises MeasureError where it cannot."""
        self.settings = self._ask(self.load, Loaded).settings

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()
        self._errors.close()

    def burst(self, runs: int, seconds: float, most_seconds: float) -> Samples:
        return self._ask(Burst(runs, seconds, most_seconds), Samples)

    def _ask(self, request: Record, answer: type[T]) -> T:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(msgspec.json.encode(request) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass  # its last words, if any, are below
        line = self._process.stdout.readline()
        if not line:
            raise self._death()
        reply = msgspec.json.decode(line, type=Loaded | Samples | Refusal)
        if isinstance(reply, Refusal):
            raise MeasureError(reply.status, reply.error)
        assert isinstance(reply, answer)
        return reply

    def _death(self) -> MeasureError:
        code = self._process.wait()
        self._errors.seek(0)
        words = self._errors.read()[-4000:].decode(errors="replace").strip().splitlines()
        last = words[-1] if words else "no message"
        starved = code == -9 or any(word in " ".join(words) for word in ("bad_alloc", "MemoryError", "allocate"))
        status = "oom" if starved else "invalid"
        return MeasureError(status, f"the measuring process ended with {code}: {last}")


def _precision(model: bytes) -> Precision:
    """Of the layers of a model; one that cannot be read is refused by the runtime, in its own words."""
    try:
        return precision_of_model(onnx.load_model_from_string(model))
    except DecodeError:
        return "fp32"


def _plain(record: Record) -> dict[str, Any]:
    """As it will be read back from JSON."""
    return dict(msgspec.json.decode(msgspec.json.encode(record)))


def _median(values: Sequence[float]) -> float:
    return float(np.median(values))
