"""A runtime of another package, by its name, behind every door: server, measurement, board."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgenas.hardware.measure import Timing, measure
from edgenas.hardware.worker import Load
from edgenas.remote.job import job_for
from edgenas.runtimes.child import child_environment
from tests.digits_bundle import digits_bundle
from tests.reference_runtime import reference_package, with_reference_runtime
from tests.serve.running import Running, serving

SHORT = Timing(runs=4, seconds=0.0, rounds=2, warmup_runs=1, warmup_seconds=0.0)


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    options = ("--runtime", "reference", "--precision", "fp32")
    with serving(digits_bundle().folder, *options, path=reference_package()) as running:
        yield running


def test_a_bundle_is_served_by_it_and_proved_on_its_golden_inputs(server: Running) -> None:
    bundle = digits_bundle()
    golden = bundle.golden()
    inputs = golden["inputs"][:2]
    tensor = {"name": "image", "shape": list(inputs.shape), "datatype": "FP32", "data": inputs.ravel().tolist()}
    status, answer = server.json("POST", "/v2/models/digits/infer", json.dumps({"inputs": [tensor]}).encode())
    assert status == 200
    np.testing.assert_allclose(answer["outputs"][0]["data"], golden["fp32"][:2].ravel(), atol=1e-3)
    assert "(fp32, reference)" in server.text()
    assert server.json("GET", "/v2/models/digits")[1]["platform"] == "onnx_onnxv1"


def plugged(*command: str, cwd: Path, stdin: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    environment = child_environment()
    environment["PYTHONPATH"] += f"{os.pathsep}{reference_package()}"
    command = (sys.executable, "-m", "edgenas", *command)
    return subprocess.run(command, env=environment, cwd=cwd, input=stdin, capture_output=True, check=False)


def test_a_model_is_timed_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(with_reference_runtime()))  # of the process that it is timed in
    content = digits_bundle().path("fp32").read_bytes()
    (found,) = measure([content], Load("", runtime="reference"), SHORT, "host-reference")
    assert found.runtime.startswith("reference ")
    assert found.detail["settings"]["runtime"] == "reference"
    assert len(found.samples_ms) == 4


def test_a_board_measures_with_it_and_says_so(tmp_path: Path) -> None:
    done = plugged("agent", "--info", "--runtime", "reference", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    about = json.loads(done.stdout)
    assert (about["runtime"], about["load"]["runtime"]) == ("reference", "reference")
    content = digits_bundle().path("fp32").read_bytes()
    job = job_for(content, "a board", SHORT)
    sent = job.canonical_json() + b"\n" + content
    done = plugged("agent", "--once", "--runtime", "reference", cwd=tmp_path, stdin=sent)
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert answer["status"] in ("ok", "unstable"), answer
    assert answer["measurement"]["runtime"].startswith("reference ")


@pytest.mark.parametrize(
    "command",
    [
        ("bench", "model.onnx", "--runtime", "referense"),
        ("agent", "--info", "--runtime", "referense"),
        ("serve", "digits", "--runtime", "referense"),
    ],
    ids=lambda command: command[0],
)
def test_a_name_that_nobody_has_is_refused_with_those_that_are_there(command: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(digits_bundle().path("fp32").read_bytes())
    (tmp_path / "digits").symlink_to(digits_bundle().folder)
    done = plugged(*command, cwd=tmp_path)
    assert done.returncode == 1
    line = "runtime 'referense' is unknown; possible: onnxruntime, cuda, tensorrt, reference;"
    assert line in done.stderr.decode()


def test_bench_times_with_it_and_a_board_is_not_told_what_to_measure_with(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(digits_bundle().path("fp32").read_bytes())
    done = plugged("bench", "model.onnx", "--target", "http://127.0.0.1:1", "--runtime", "reference", cwd=tmp_path)
    assert done.returncode == 1
    assert b"--runtime reference is for host-cpu" in done.stderr
    done = plugged("bench", "model.onnx", "--runtime", "reference", "--provider", "cuda", cwd=tmp_path)
    assert done.returncode == 1
    assert b"provider 'cuda' was asked for; reference has cpu" in done.stderr


@pytest.mark.slow
def test_bench_reports_it(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(digits_bundle().path("fp32").read_bytes())
    done = plugged("bench", "model.onnx", "--runtime", "reference", "--json", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["runtime"].startswith("reference ")
    assert document["profile"] == "host-reference"
