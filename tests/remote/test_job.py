"""The child that measures: what it may take, and which file it measures."""

from pathlib import Path

import msgspec
import pytest

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


def test_a_file_that_is_not_the_one_announced_is_not_measured(tmp_path: Path) -> None:
    job = job_for(honest(), "host-cpu", QUICK)
    assert answered(tmp_path, honest(), job) in ("ok", "unstable", "throttled")
    assert answered(tmp_path, honest(), msgspec.structs.replace(job, sha256="0" * 64)) == "mismatch"
