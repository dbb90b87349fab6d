"""What a server offers, by the kind of its bundle: a task of another package is served by the protocol alone."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from edgenas.runtimes.child import child_environment
from tests.angle import angle
from tests.digits_bundle import digits_bundle
from tests.export.test_kinds import angle_bundle
from tests.serve.running import Running, serving


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    with serving(angle_bundle().folder) as running:
        yield running


def test_the_outputs_of_an_own_task_are_served_as_they_are(server: Running) -> None:
    """The server needs nothing of the task's package."""
    task = angle()
    status, about = server.json("GET", "/v2/models/angle")
    assert status == 200
    assert about["outputs"] == [{"name": "outputs", "datatype": "FP32", "shape": [-1, 1]}]
    pixels = task.test.images[:8].astype(np.float32).transpose(0, 3, 1, 2) / 255
    inputs = (pixels - 0.25) / 0.25
    tensor = {"name": "image", "shape": [8, 1, 16, 16], "datatype": "FP32", "data": inputs.ravel().tolist()}
    status, answer = server.json("POST", "/v2/models/angle/infer", json.dumps({"inputs": [tensor]}).encode())
    assert status == 200
    found = np.degrees(np.array(answer["outputs"][0]["data"]))
    assert np.abs(found - np.degrees(task.test.labels[:8])).mean() < 5.0
    assert not math.isclose(found[0], found[1])


@pytest.mark.parametrize("path", ["/classify", "/embed", "/verify", "/enroll", "/identify", "/people"])
def test_what_only_other_kinds_can_do_is_not_there(server: Running, path: str) -> None:
    assert server.ask("POST", path, b"x")[0] == 404


@pytest.mark.parametrize(
    ("bundle", "what"), [(angle_bundle, "angle is of task 'angle'"), (digits_bundle, "digits is a classifier")]
)
def test_options_for_faces_are_refused_for_every_other_kind(bundle, what, tmp_path) -> None:
    options = ["--threshold", "0.5", "--port", "0"]
    command = [sys.executable, "-m", "edgenas", "serve", str(bundle().folder), *options]
    done = subprocess.run(command, env=child_environment(), cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert f"{what}: leave out the options for faces" in done.stderr
