"""The child that measures: what it may take, and which file it measures."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.hardware.measure import Timing
from edgenas.hardware.worker import Load
from edgenas.remote.job import BUILD_S, MAX_DEADLINE_S, Bounds, Job, _environment, job_for, run
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
        (Timing(seconds=3, warmup_seconds=0.3), "onnxruntime", 73.2),  # a minute, and four times what is timed
        (Timing(seconds=3, warmup_seconds=0.3), "tensorrt", 1273.2),  # 20 minutes more
        (Timing(seconds=434, warmup_seconds=0.5), "onnxruntime", 1798),
        (Timing(seconds=600, warmup_seconds=2), "onnxruntime", 1800),  # and never more than half an hour
        (Timing(seconds=600, warmup_seconds=2), "tensorrt", 1800),
    ],
)
def test_a_job_has_a_minute_four_times_its_seconds_and_twenty_minutes_where_an_engine_is_built(
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
