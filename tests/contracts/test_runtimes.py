"""What every runtime must do, whatever runs the model: ONNX Runtime, and one of another package. TensorRT where it is."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Classes
from edgenas.runtimes import RUNTIMES, Runtime, check_provider, open_runtime, runtime_spec, stores_int8
from edgenas.runtimes.child import child_environment
from edgenas.runtimes.graph import onnx_from_workload
from tests.packages import install
from tests.reference_runtime import with_reference_runtime

with_reference_runtime()
NAMES = ("onnxruntime", "reference", "cuda", "tensorrt")
NEEDS_GPU = ("cuda", "tensorrt")
MODEL = onnx_from_workload(
    workload_from_architecture(chain(4, 3, (0, 1, 0), (3, 3, 3), Classes(10), 1, 8)), None
).SerializeToString()


def images(count: int) -> dict[str, Any]:
    return {"image": np.random.default_rng(count).standard_normal((count, 1, 8, 8)).astype(np.float32)}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("runtimes") / "model.onnx"
    file.write_bytes(MODEL)
    return file


@pytest.fixture(scope="module", params=NAMES)
def opened(request: pytest.FixtureRequest, path: Path) -> Iterator[Runtime]:
    try:
        with open_runtime(request.param, path, "fp32") as runtime:
            yield runtime
    except EdgenasError as error:
        if request.param not in NEEDS_GPU:
            raise
        pytest.skip(str(error))


def test_it_says_what_the_model_takes_and_gives(opened: Runtime) -> None:
    (given,), (made,) = opened.inputs.items(), opened.outputs.items()
    assert given[0] == "image"
    assert (isinstance(given[1].shape[0], str), given[1].shape[1:], given[1].dtype) == (True, (1, 8, 8), "float32")
    assert made[0] == "logits"
    assert (isinstance(made[1].shape[0], str), made[1].shape[1:], made[1].dtype) == (True, (10,), "float32")


@pytest.mark.parametrize("count", [1, 3, 64])
def test_it_computes_what_onnx_runtime_computes(opened: Runtime, path: Path, count: int) -> None:
    with open_runtime("onnxruntime", path, "fp32") as judge:
        wanted = judge.run(images(count))["logits"]
    got = opened.run(images(count))["logits"]
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_timed_can_be_run_again_and_again(opened: Runtime) -> None:
    once = opened.bound(images(2))
    for _ in range(3):
        once()


def test_its_settings_say_which_runtime_it_is_and_are_plain(opened: Runtime) -> None:
    assert {"runtime", "runtime_version"} <= set(opened.settings)
    assert json.loads(json.dumps(opened.settings)) == opened.settings


@pytest.mark.parametrize(
    "arrays",
    [
        {"picture": np.ones((1, 1, 8, 8), np.float32)},
        {},
        {"image": np.ones((1, 1, 8, 8), np.float64)},
        {"image": np.ones((1, 1, 8, 9), np.float32)},
        {"image": np.ones((1, 8, 8), np.float32)},
    ],
    ids=["name", "none", "type", "size", "dimensions"],
)
def test_inputs_that_the_model_does_not_take_are_one_line(opened: Runtime, arrays: dict[str, Any]) -> None:
    for use in (opened.run, opened.bound):
        with pytest.raises(EdgenasError) as caught:
            use(arrays)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["onnxruntime", "reference"])
def test_a_file_that_is_no_model_is_one_line(name: str, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\xff no model")
    with pytest.raises(EdgenasError) as caught, open_runtime(name, tmp_path / "model.onnx", "fp32"):
        pass
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["onnxruntime", "reference"])
def test_its_version_is_a_word(name: str) -> None:
    assert runtime_spec(name).version().split() == [runtime_spec(name).version()]


def test_what_is_known_of_a_runtime_imports_none() -> None:
    code = (
        "import sys; from edgenas.runtimes import RUNTIMES, runtime_spec, stores_int8\n"
        "specs = [runtime_spec(name) for name in RUNTIMES.built_in]; stores_int8('tflite')\n"
        "sys.exit(any(name in sys.modules for name in ('onnxruntime', 'tensorrt', 'torch')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=child_environment(), check=False)
    assert done.returncode == 0


def test_a_runtime_has_the_providers_that_it_names_and_no_others() -> None:
    check_provider("onnxruntime", "cuda")
    check_provider("reference", "cpu")  # the default
    with pytest.raises(EdgenasError, match="provider 'tpu' was asked for; onnxruntime has cpu, cuda, tensorrt"):
        check_provider("onnxruntime", "tpu")
    with pytest.raises(EdgenasError, match="provider 'cuda' was asked for; reference has cpu"):
        check_provider("reference", "cuda")
    with pytest.raises(
        EdgenasError, match="runtime 'tflite' is unknown; possible: onnxruntime, cuda, tensorrt, reference"
    ):
        check_provider("tflite", "cpu")


def test_only_a_runtime_that_says_so_is_given_stored_int8_weights() -> None:
    assert [name for name in (*NAMES, "tflite") if stores_int8(name)] == ["onnxruntime", "cuda"]


def test_an_entry_point_that_is_no_specification_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = {"edgenas.runtimes": {"half-done": "half_done:open_model"}}
    monkeypatch.syspath_prepend(install(tmp_path, "half-done", "half_done", "def open_model(): ...", points))
    assert "half-done" in RUNTIMES.names()
    with pytest.raises(
        EdgenasError, match=r"runtime 'half-done' is function, it must be an edgenas.runtimes.RuntimeSpec"
    ):
        runtime_spec("half-done")
