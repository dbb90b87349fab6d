"""Nothing is sent to anybody: ONNX Runtime's telemetry leaves files where it is on, and leaves none in our processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.remote.models import honest

ROOT = Path(__file__).parents[1]
PLAIN = "import sys, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])"
SESSION = """
import sys
from edgenas.runtimes.onnx_session import open_session
with open_session(sys.argv[1]):
    pass
"""
JOB = """
import os, sys
from pathlib import Path
from edgenas.hardware.measure import Load
from edgenas.remote.job import Bounds, job_for, run
from tests.remote.models import QUICK
path = Path(sys.argv[1])
os.environ["HOME"] = os.environ["TMPDIR"] = sys.argv[2]  # of the child alone
answer = run(path, job_for(path.read_bytes(), "host-cpu", QUICK), Load(""), Bounds(2048, 64))
assert answer.status in ("ok", "unstable", "throttled"), answer
"""
BENCH = """
import sys
from pathlib import Path
from edgenas.hardware.measure import Load, measure
from tests.remote.models import QUICK
(measurement,) = measure([Path(sys.argv[1]).read_bytes()], Load(""), QUICK, "host-cpu")
"""


def traces(code: str, tmp_path: Path, **more: str) -> list[str]:
    """What the program leaves in an empty HOME and TMPDIR: the telemetry's own files, if it has any."""
    model = tmp_path / "model.onnx"
    model.write_bytes(honest())
    folders = {name: tmp_path / name for name in ("HOME", "TMPDIR", "CHILD")}
    for folder in folders.values():
        folder.mkdir()
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        **{k: str(v) for k, v in folders.items()},
        **more,
    }
    done = subprocess.run(
        [sys.executable, "-c", code, str(model), str(folders["CHILD"])],
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return sorted(
        f"{folder.name}/{path.name}"
        for folder in folders.values()
        for path in folder.rglob("*")
        if path.name in ("deviceid", "onnxruntime.db", ".ses")
    )


def test_a_plain_session_leaves_the_files_that_these_tests_look_for(tmp_path: Path) -> None:
    if not traces(PLAIN, tmp_path):
        pytest.skip("this ONNX Runtime has no telemetry")


@pytest.mark.parametrize("code", [SESSION, JOB, BENCH], ids=["session", "a job of the agent", "bench's worker"])
def test_none_of_our_processes_leaves_any(code: str, tmp_path: Path) -> None:
    assert traces(code, tmp_path) == []


def test_who_wants_it_may_have_it_in_the_agents_children_too(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    if not traces(PLAIN, tmp_path / "plain"):
        pytest.skip("this ONNX Runtime has no telemetry")
    assert "CHILD/deviceid" in traces(JOB, tmp_path, ORT_DISABLE_TELEMETRY="0")


@pytest.mark.parametrize("file", ["Dockerfile", "deploy/Dockerfile"])
def test_the_images_switch_it_off(file: str) -> None:
    environment = [line for line in (ROOT / file).read_text().splitlines() if line.startswith("ENV ")]
    assert any("ORT_DISABLE_TELEMETRY=1" in line for line in environment)
