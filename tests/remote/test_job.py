"""The child that measures: what it may take, and which file it measures."""

import functools
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.lock import device_lock
from edgenas.hardware.measure import Timing
from edgenas.hardware.worker import Load
from edgenas.remote.job import BUILD_S, MAX_DEADLINE_S, Answer, Bounds, Job, _environment, job_for, run
from tests.remote.models import QUICK, bomb_by_constant, honest

BOUNDS = Bounds(memory_mb=1024, model_mb=4)


def answered(folder: Path, model: bytes, job: Job) -> str:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return run(path, job, Load(""), BOUNDS).status


def test_a_model_that_needs_more_memory_than_a_job_may_take_ends_as_oom(tmp_path: Path) -> None:
    model = bomb_by_constant(side=20_000)  # 1.6 GB, which this machine has
    assert answered(tmp_path, model, job_for(model, "host-cpu", QUICK)) == "oom"


def test_the_child_knows_where_engines_are_kept_which_gpu_was_chosen_and_no_token(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("EDGENAS_CACHE", "/cache")
    monkeypatch.setenv("EDGENAS_AGENT_TOKEN", "secret")
    chosen = {"CUDA_VISIBLE_DEVICES": "1", "CUDA_DEVICE_ORDER": "PCI_BUS_ID", "NVIDIA_VISIBLE_DEVICES": "GPU-1"}
    for name, value in chosen.items():
        monkeypatch.setenv(name, value)
    found = _environment()
    assert found["EDGENAS_CACHE"] == "/cache"
    assert chosen.items() <= found.items()
    assert "secret" not in found.values()


def test_where_an_engine_is_built_first_a_job_has_time_for_it() -> None:
    plain, building = (job_for(b"", "jetson", QUICK, runtime=name).deadline_s for name in ("onnxruntime", "tensorrt"))
    assert building == plain + BUILD_S <= MAX_DEADLINE_S


@pytest.mark.parametrize(
    ("timing", "runtime", "deadline_s"),
    [
        # a minute, four times what is timed, and two minutes for a slow network
        (Timing(seconds=3, warmup_seconds=0.3), "onnxruntime", 193.2),
        (Timing(seconds=3, warmup_seconds=0.3), "tensorrt", 1393.2),  # 20 minutes more
        (Timing(seconds=30, warmup_seconds=0), "onnxruntime", 300),
        (Timing(seconds=217, warmup_seconds=0.5), "onnxruntime", 1798),
        (Timing(seconds=600, warmup_seconds=2), "onnxruntime", 1800),  # and never more than half an hour
        (Timing(seconds=600, warmup_seconds=2), "tensorrt", 1800),
    ],
)
def test_a_job_has_time_to_load_to_run_slowly_and_to_build_an_engine(
    timing: Timing, runtime: str, deadline_s: float
) -> None:
    assert job_for(b"", "p", timing, runtime=runtime).deadline_s == pytest.approx(deadline_s)


SHA256 = "0123456789abcdef" * 4
BOUNDS_OF_TIMING = [
    ("runs", (1, 1_000_000), (0, 1_000_001)),
    ("seconds", (0, 1800), (-0.1, 1800.1, float("nan"))),
    ("rounds", (1, 1000), (0, 1001)),
    ("warmup_runs", (0, 10_000), (-1, 10_001)),
    ("warmup_seconds", (0, 60), (-0.1, 60.1, float("nan"))),
]
BOUNDS_OF_A_JOB = [
    ("sha256", (SHA256,), (SHA256[:-1], SHA256 + "0", SHA256[:-1] + "g", SHA256.upper())),
    ("profile", ("", "p" * 100), ("p" * 101,)),
    ("batch_size", (1, 1024), (0, 1025)),
    ("repeat", (0, 1000), (-1, 1001)),
    ("deadline_s", (0.001, 1800), (0, 1800.1, float("nan"))),
]


@pytest.mark.parametrize(("name", "taken", "refused"), [*BOUNDS_OF_TIMING, *BOUNDS_OF_A_JOB])
def test_a_job_is_taken_up_to_its_bounds_and_refused_beyond(
    name: str, taken: tuple[Any, ...], refused: tuple[Any, ...]
) -> None:
    def job(value: Any) -> Job:
        if any(name == field for field, *_ in BOUNDS_OF_TIMING):
            return Job(SHA256, timing=Timing(**{name: value}))
        return Job(**{"sha256": SHA256, name: value})

    for value in taken:
        assert msgspec.json.decode(job(value).canonical_json(), type=Job) == job(value)
    for value in refused:
        with pytest.raises(ValueError, match=r"its numbers are within the bounds in docs/boards\.md"):
            job(value)


def test_a_file_that_is_not_the_one_announced_is_not_measured(tmp_path: Path) -> None:
    job = job_for(honest(), "host-cpu", QUICK)
    assert answered(tmp_path, honest(), job) in ("ok", "unstable", "throttled")
    assert answered(tmp_path, honest(), msgspec.structs.replace(job, sha256="0" * 64)) == "mismatch"


def test_a_job_s_time_begins_when_nobody_else_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What another measurement takes is not the model's: its child, whose deadline that is, is not there yet."""
    begun, asked = list[float](), threading.Event()

    def measures(_path: Path, job: Job, *_: object) -> Answer:
        begun.append(time.monotonic())
        with (
            pytest.raises(EdgenasError, match="another measurement has held"),
            device_lock(patience_s=0, folder=tmp_path),
        ):
            pass
        return Answer(job.id, "ok")

    def asks() -> bool:
        asked.set()
        return False

    monkeypatch.setattr("edgenas.remote.job._run", measures)
    monkeypatch.setattr("edgenas.remote.job.device_lock", lambda: device_lock(folder=tmp_path, given_up=asks))
    job, answers = job_for(b"", "p", QUICK), list[Answer]()
    waits = threading.Thread(target=lambda: answers.append(run(tmp_path / "m.onnx", job, Load(""), BOUNDS)))
    with device_lock(folder=tmp_path):
        waits.start()
        assert asked.wait(60)  # it has found the lock taken
        assert begun == []
        released = time.monotonic()
    waits.join()
    assert begun[0] >= released
    assert answers == [Answer(job.id, "ok")]


def test_a_job_that_waits_for_another_measurement_can_be_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given_up = threading.Event()
    given_up.set()
    monkeypatch.setattr("edgenas.remote.job.device_lock", functools.partial(device_lock, folder=tmp_path))
    with device_lock(folder=tmp_path):
        answer = run(tmp_path / "m.onnx", job_for(b"", "p", QUICK), Load(""), BOUNDS, given_up)
    assert answer.status == "busy"


def test_a_machine_without_room_for_a_process_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("edgenas.remote.job.subprocess.Popen", full)
    answer = run(tmp_path / "m.onnx", job_for(b"", "p", QUICK), Load(""), BOUNDS)
    assert (answer.status, answer.error) == (
        "busy",
        "the measuring process could not be started: Resource temporarily unavailable",
    )
