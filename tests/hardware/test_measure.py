"""Timing: verdicts by hand-made samples, a fake clock, and real networks compared with each other only."""

import contextlib
import importlib.util
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import msgspec
import numpy as np
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.candidates import measuring_here, model_from_architecture
from edgenas.hardware.cost import CostModel
from edgenas.hardware.lock import device_lock
from edgenas.hardware.measure import (
    BENCH,
    MLPERF,
    SEARCH,
    MeasureError,
    Timing,
    latency_from_measurement,
    measure,
    percentiles,
    reference_ratio,
    spread,
    unstable,
)
from edgenas.hardware.profile import profile_from_name
from edgenas.hardware.worker import Load, Samples, burst, inputs_for, status_of
from edgenas.records import ChainArchitecture, Classes, Limits, Measurement, StudyRecord
from edgenas.remote.job import job_for
from edgenas.runtimes import Port
from edgenas.store import Store
from tests.cli.edgenas import ENVIRONMENT
from tests.hardware.boards import NANO, ORIN_NANO, lay_out
from tests.remote.models import endless

QUICK = Timing(runs=20, seconds=0.05, rounds=5, warmup_runs=2, warmup_seconds=0.0)
HOST = profile_from_name("host-cpu")


def small(width: int = 4, depth: int = 3) -> ChainArchitecture:
    return chain(width, depth, (0,) * depth, (3,) * depth, Classes(10), 1, 16)


def study(tmp_path: Path) -> Store:
    record = StudyRecord("gnas", "classification", "digits", ("host-cpu",), "fp32", Limits(), 0)
    return Store.create(tmp_path / "study", record)


def taken(samples: tuple[float, ...], rounds: list[float], reference: list[float]) -> Measurement:
    settings = {"provider": "cpu", "threads": 1}
    device = {"before": {"power_mode": "15W"}}
    detail = {
        "settings": settings,
        "device": device,
        "runs": len(samples),
        "round_ms": rounds,
        "reference_ms": reference,
    }
    return Measurement("p", "board", "onnxruntime 1", "fp32", 2, samples, detail=detail)


def test_percentiles_and_spread_are_what_their_names_say() -> None:
    samples = tuple(float(ms) for ms in range(1, 102))  # 1..101: median 51, quartiles 26 and 76
    measurement = taken(samples, [51.0], [1.0])
    assert percentiles(measurement) == {"median": 51.0, "p90": 91.0, "p99": 100.0}
    assert spread(samples) == pytest.approx(50 / 51)


def test_wide_samples_and_a_drifting_reference_are_unstable() -> None:
    calm = [1.0, 1.01, 0.99, 1.0]
    assert unstable(calm, [1.0] * 10) == []
    assert unstable([1.0, 1.0, 1.2, 1.2], [1.0] * 10) == ["spread 18% (IQR / median) > 5%"]
    assert unstable(calm, [1.0] * 5 + [1.04] * 5) == ["the reference network drifted +4% (more than 3%)"]
    assert unstable(calm, [1.0] * 5 + [0.96] * 5) == ["the reference network drifted -4% (more than 3%)"]
    assert unstable(calm, [1.0] * 5 + [1.0304] * 5) == ["the reference network drifted +3.04% (more than 3%)"]
    assert unstable(calm, [1.0] * 5 + [1.025] * 5) == unstable(calm, [1.0] * 5 + [0.975] * 5) == []


def test_a_burst_lasts_until_both_runs_and_seconds_are_reached() -> None:
    now = [0]

    def clock() -> int:
        return now[0]

    def once() -> None:
        now[0] += 2_000_000  # two milliseconds

    assert burst(once, 3, 0.0, 1.0, clock) == [2.0] * 3
    assert burst(once, 1, 0.009, 1.0, clock) == [2.0] * 5
    assert burst(once, 9, 0.0, 0.006, clock) == [2.0] * 3  # or there is no time for more
    assert burst(once, 9, 0.0, 0.0, clock) == [2.0]


def test_a_candidate_is_given_as_it_would_have_run_when_the_study_began() -> None:
    """The machine became twice as slow: the reference took .4 instead of .2, the candidate 2 instead of 1."""
    measurement = taken((2.0, 2.0, 2.0, 2.4), [2.0, 2.0, 3.0], [0.4, 0.4, 0.6])
    assert reference_ratio(measurement) == pytest.approx(5.0)
    latency = latency_from_measurement(measurement, baseline_ms=0.2)
    assert (latency.ms, latency.origin, latency.n) == (pytest.approx(1.0), "measured", 4)
    assert "x0.5000 by the reference network" in latency.detail
    assert "power mode 15W" in latency.detail
    assert latency_from_measurement(measurement).ms == 2.0


@pytest.mark.usefixtures("cold")
def test_a_network_with_more_work_takes_longer_in_one_run() -> None:
    slim, wide = measure(
        [model_from_architecture(a, HOST) for a in (small(4), small(24, 8))], Load(""), QUICK, "host-cpu"
    )
    assert np.median(slim.samples_ms) < np.median(wide.samples_ms)
    assert len(slim.samples_ms) == slim.detail["runs"] >= 20
    assert len(slim.detail["reference_ms"]) == len(slim.detail["round_ms"]) == 5
    assert slim.detail["settings"]["threads"] == 1
    assert slim.status in ("ok", "unstable", "throttled")


def test_energy_comes_from_the_board_s_own_sensors(tmp_path: Path) -> None:
    long = msgspec.structs.replace(QUICK, seconds=0.5)  # the sensors are read in a thread
    (measurement,) = measure(
        [model_from_architecture(small(), HOST)], Load(""), long, "jetson-nano-4gb", root=lay_out(tmp_path, NANO)
    )
    latency = latency_from_measurement(measurement)
    assert measurement.detail["power_mw"] == pytest.approx(3112)
    assert latency.energy_mj == pytest.approx(3.112 * latency.ms, rel=1e-4)
    assert measurement.detail["device"]["after"]["power_mode"] == "5W"


class Timed:
    """In the place of a process that times: every run takes `ms`, in turn."""

    ms: tuple[float, ...] = ()
    sha256 = ""
    settings = {"runtime": "onnxruntime", "runtime_version": "1"}

    def __init__(self, model: bytes, load: Load, path: Path) -> None:
        self.load = load

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def burst(self, runs: int, seconds: float, most_seconds: float) -> Samples:
        return Samples(self.ms, len(self.ms))


def test_all_processes_begin_before_one_loads_its_model_and_all_end_where_one_cannot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done: list[str] = []

    class Failing(Timed):
        def __init__(self, model: bytes, load: Load, path: Path) -> None:
            done.append("begun")

        def open(self) -> None:
            done.append("loads")
            raise MeasureError("invalid", "no model")

        def close(self) -> None:
            done.append("ended")

    monkeypatch.setattr("edgenas.hardware.measure._Timer", Failing)
    with pytest.raises(MeasureError, match="no model"):
        measure([b"a", b"b"], Load(""), QUICK, "host", locked=True)
    assert done == ["begun"] * 3 + ["loads"] + ["ended"] * 3


CALM, WIDE = (1.0, 1.0, 1.0, 1.0), (1.0, 1.0, 1.2, 1.2)


@pytest.mark.parametrize(
    ("cooling", "ms", "status"),
    [("2", CALM, "throttled"), ("0", CALM, "ok"), ("2", WIDE, "throttled"), ("0", WIDE, "unstable")],
)
def test_a_board_that_was_slowed_down_measures_as_throttled_and_not_as_stable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cooling: str, ms: tuple[float, ...], status: str
) -> None:
    monkeypatch.setattr(Timed, "ms", ms)
    monkeypatch.setattr("edgenas.hardware.measure._Timer", Timed)
    board = lay_out(tmp_path, {**ORIN_NANO, "sys/class/thermal/cooling_device0/cur_state": f"{cooling}\n"})
    (measurement,) = measure([b"a model"], Load(""), QUICK, "jetson", root=board, locked=True)
    wide = ["spread 18% (IQR / median) > 5%"] if ms == WIDE else []
    slowed = ["throttled: cooling: cpufreq-cpu0"] if cooling == "2" else []
    assert measurement.detail["warnings"] == [*wide, *slowed]
    assert (measurement.status, measurement.stable) == (status, status == "ok")


class Slow(Timed):
    """A model whose runs take `run_s` seconds by a clock of its own."""

    run_s, now_s = 0.0, 0.0

    def burst(self, runs: int, seconds: float, most_seconds: float) -> Samples:
        def once() -> None:
            Slow.now_s += self.run_s

        ms = burst(once, runs, seconds, most_seconds, lambda: round(Slow.now_s * 1e9))
        return Samples(tuple(ms), len(ms))


def slow_timers(monkeypatch: pytest.MonkeyPatch, timer: type[Slow], run_s: float) -> None:
    """Everything is timed by that clock, and nothing is collected in between."""
    monkeypatch.setattr(Slow, "run_s", run_s)
    monkeypatch.setattr(Slow, "now_s", 0.0)
    monkeypatch.setattr("edgenas.hardware.measure._Timer", timer)
    monkeypatch.setattr("edgenas.hardware.measure.reference_model", lambda: b"as slow")
    monkeypatch.setattr("edgenas.hardware.measure.time", SimpleNamespace(monotonic=lambda: Slow.now_s))
    monkeypatch.setattr("edgenas.hardware.worker.gc", MagicMock())


@pytest.mark.parametrize(
    ("timing", "run_s", "runs"),
    [
        (BENCH, 0.3, 200),  # as many as were asked for in a minute
        (BENCH, 0.4, 200 * 3 // 4),
        (BENCH, 5.0, 12),
        (BENCH, 20.0, 5),  # and five in any case
        (SEARCH, 0.5, 80),
        (SEARCH, 2.0, 30),
        (MLPERF, 1.1, 1092),  # twice the 600 seconds that were asked for
        (MLPERF, 2.0, 600),
    ],
)
def test_a_slow_model_is_run_as_often_as_its_time_allows_and_says_so(
    timing: Timing, run_s: float, runs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow_timers(monkeypatch, Slow, run_s)
    (measurement,) = measure([b"a model"], Load(""), timing, "p", root=tmp_path, locked=True)
    assert measurement.detail["runs"] == len(measurement.samples_ms) == runs
    fewer = [f"{runs} runs, not {timing.runs}: each takes {run_s:.2g} s"] if runs < timing.runs else []
    assert (measurement.detail["warnings"], measurement.status) == (fewer, "ok")
    # it runs once when it is loaded; half of the time is the reference's, which is as slow here
    assert run_s + Slow.now_s / 2 < job_for(b"", "p", timing).deadline_s - 30


@pytest.mark.parametrize(
    ("warmup_s", "run_s", "runs"),
    [(0.3, 0.1, 10), (10.0, 0.1, 100), (0.3, 4.0, 2), (0.3, 9.0, 1)],  # a slow model's warm-up ends after six seconds
)
def test_a_warm_up_takes_what_was_asked_for_and_of_a_slow_model_less(
    warmup_s: float, run_s: float, runs: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    warmed: list[int] = []

    class Warmed(Slow):
        def burst(self, runs: int, seconds: float, most_seconds: float) -> Samples:
            found = super().burst(runs, seconds, most_seconds)
            warmed.append(found.runs)
            return found

    slow_timers(monkeypatch, Warmed, run_s)
    measure(
        [b"a model"], Load(""), msgspec.structs.replace(BENCH, warmup_seconds=warmup_s), "p", root=tmp_path, locked=True
    )
    assert warmed[0] == pytest.approx(runs, abs=runs // 50)  # of the clock's steps


@pytest.mark.parametrize(("hot_s", "status"), [((0.3, 2.0), "throttled"), ((0.26, 0.4), "ok"), ((100.0, 101.0), "ok")])
def test_a_board_that_was_slowed_down_between_the_first_and_the_last_moment_measures_as_throttled(
    hot_s: tuple[float, float], status: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked at four times a second."""
    state = lay_out(tmp_path, ORIN_NANO) / "sys/class/thermal/cooling_device0/cur_state"
    state.write_text("0\n")

    class Heats(Slow):
        def burst(self, runs: int, seconds: float, most_seconds: float) -> Samples:
            found = super().burst(runs, seconds, most_seconds)
            state.write_text(f"{int(hot_s[0] <= Slow.now_s < hot_s[1])}\n")
            return found

    slow_timers(monkeypatch, Heats, 0.01)
    (measurement,) = measure([b"a model"], Load(""), BENCH, "jetson", root=tmp_path, locked=True)
    assert measurement.status == status
    assert measurement.detail["warnings"] == (["throttled: cooling: cpufreq-cpu0"] if status == "throttled" else [])


def test_a_broken_model_says_so_in_one_line() -> None:
    with pytest.raises(MeasureError, match="loading") as caught:
        measure([b"no model"], Load(""), QUICK, "host-cpu")
    assert caught.value.status == "invalid"
    assert "\n" not in str(caught.value)


def test_tensorrt_is_asked_for_and_its_absence_is_said() -> None:
    if importlib.util.find_spec("tensorrt") is not None:
        pytest.skip("TensorRT is installed here")
    with pytest.raises(MeasureError, match=r"TensorRT|libcuda"):
        measure([model_from_architecture(small(), HOST)], Load("", runtime="tensorrt"), QUICK, "jetson-nano-4gb")


def test_inputs_are_seeded_and_only_the_batch_is_free() -> None:
    arrays = inputs_for({"image": Port(("batch", 1, 8, 8), "float32")}, 2)
    assert arrays["image"].shape == (2, 1, 8, 8)
    assert np.array_equal(arrays["image"], inputs_for({"image": Port((2, 1, 8, 8), "float32")}, 2)["image"])
    with pytest.raises(EdgenasError, match="only its first dimension"):
        inputs_for({"image": Port(("batch", 3, "h", "w"), "float32")}, 1)
    with pytest.raises(EdgenasError, match="fixed batch of 4; 1 was asked for"):
        inputs_for({"image": Port((4, 3, 8, 8), "float32")}, 1)


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("std::bad_alloc", "oom"),
        ("Failed to allocate memory for requested buffer of size 99", "oom"),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", "oom"),
        ("CUDA failure 2 (cudaErrorMemoryAllocation): restart the program", "oom"),
        ("NOT_IMPLEMENTED: Could not find an implementation for Foo(1)", "unsupported_op"),
        ("Load model failed: Protobuf parsing failed", "invalid"),
    ],
)
def test_failures_have_a_status(message: str, status: str) -> None:
    assert status_of(EdgenasError(message)) == status


def test_one_measurement_at_a_time_on_a_machine() -> None:
    with device_lock(), pytest.raises(EdgenasError, match="another measurement has held"), device_lock(patience_s=0.0):
        pass


def workers_of(pid: int) -> list[str]:
    """The processes that time something for process `pid`."""
    wanted = f"edgenas.hardware.worker\0{pid}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if wanted in path.read_bytes():
                found.append(path.parent.name)
    return found


def test_no_process_outlives_a_bench_that_was_killed(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(endless())
    command = [sys.executable, "-m", "edgenas", "bench", "model.onnx", "--target", "host-cpu"]
    bench = subprocess.Popen(command, cwd=tmp_path, env=ENVIRONMENT, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not workers_of(bench.pid):
        assert time.monotonic() < deadline
        assert bench.poll() is None
        time.sleep(0.05)
    time.sleep(1.0)  # it loads, or runs for ever: the end of its input it would not see
    assert workers_of(bench.pid)
    bench.kill()
    bench.wait()
    deadline = time.monotonic() + 60
    while workers_of(bench.pid):  # the kernel ends them when it comes to them
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_search_on_this_machine_measures_once_and_resumes_with_the_same_numbers(tmp_path: Path) -> None:
    with study(tmp_path) as store:
        hook = measuring_here(store, HOST, timing=QUICK)
        first = CostModel([HOST], "fp32", Limits(), measure=hook)(small())
        assert first.latencies["host-cpu"].origin == "measured"
        assert set(store.all("measurement", Measurement)) == {
            "reference host-cpu",
            f"{small().fingerprint} host-cpu fp32",
        }
    with Store.write(tmp_path / "study") as store:
        again = CostModel([HOST], "fp32", Limits(), measure=measuring_here(store, HOST, timing=QUICK))(small())
    assert again == first


def test_measuring_at_another_precision_is_refused(tmp_path: Path) -> None:
    with study(tmp_path) as store, pytest.raises(EdgenasError, match="as fp32, not int8"):
        measuring_here(store, HOST, "int8")


def test_measurements_survive_the_way_to_json_and_back() -> None:
    (measurement,) = measure([model_from_architecture(small(), HOST)], Load(""), QUICK, "host-cpu")
    assert msgspec.json.decode(msgspec.json.encode(measurement), type=Measurement) == measurement
    assert workload_from_architecture(small()).macs > 0
