"""The child that measures: what it may take, and which file it measures."""

from pathlib import Path

import msgspec

from edgenas.hardware.worker import Load
from edgenas.remote.job import Bounds, Job, job_for, run
from tests.remote.models import QUICK, bomb_by_constant, honest

BOUNDS = Bounds(memory_mb=1024, model_mb=4)


def answered(folder: Path, model: bytes, job: Job) -> str:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return run(path, job, Load(""), BOUNDS).status


def test_a_model_that_needs_more_memory_than_a_job_may_take_ends_as_oom(tmp_path: Path) -> None:
    model = bomb_by_constant(side=20_000)  # 1.6 GB, which this machine has
    assert answered(tmp_path, model, job_for(model, "host-cpu", QUICK)) == "oom"


def test_a_file_that_is_not_the_one_announced_is_not_measured(tmp_path: Path) -> None:
    job = job_for(honest(), "host-cpu", QUICK)
    assert answered(tmp_path, honest(), job) in ("ok", "unstable", "throttled")
    assert answered(tmp_path, honest(), msgspec.structs.replace(job, sha256="0" * 64)) == "mismatch"
