"""ONNX Runtime does what was asked or says why not."""

import os
from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Classes
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.onnx_session import open_session, settings_of, wanted_providers

MODEL = onnx_from_workload(
    workload_from_architecture(chain(4, 3, (0, 1, 0), (3, 3, 3), Classes(10), 1, 8)), None
).SerializeToString()
X = {"image": np.ones((2, 1, 8, 8), np.float32)}


def test_a_model_runs_from_bytes_and_from_a_file_with_the_same_result(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(MODEL)
    with open_session(MODEL) as one, open_session(path) as two:
        assert one.inputs["image"] == (("batch", 1, 8, 8), "float32")
        assert one.outputs["logits"].shape == ("batch", 10)
        np.testing.assert_array_equal(one.run(X)["logits"], two.run(X)["logits"])
        one.bound(X)()


def test_settings_say_how_it_runs() -> None:
    with open_session(MODEL, threads=2, spinning=True) as runtime:
        assert runtime.settings == {
            "runtime": "onnxruntime", "runtime_version": ort.__version__, "provider": "cpu", "threads": 2,
            "execution": "sequential", "spinning": True,
        }  # fmt: skip


def test_a_provider_that_does_not_come_up_is_an_error_and_never_the_cpu() -> None:
    """Here neither CUDA nor its driver is there; where they are, the session must say so itself."""
    try:
        with open_session(MODEL, provider="cuda") as runtime:
            came_up = runtime.settings["provider"]
    except EdgenasError as error:
        came_up = str(error)
    assert "cuda" in came_up.lower()


def test_a_session_on_a_gpu_says_where_operators_without_a_kernel_go() -> None:
    for provider in ("cuda", "tensorrt"):
        assert wanted_providers(provider)[1:] == [("CPUExecutionProvider", {})]
        assert settings_of(provider, 1, False)["fallback"] == "cpu"
    assert "fallback" not in settings_of("cpu", 1, False)


def test_cuda_computes_in_fp32_and_not_in_tf32() -> None:
    assert wanted_providers("cuda")[0] == ("CUDAExecutionProvider", {"use_tf32": "0"})
    assert wanted_providers("cpu") == [("CPUExecutionProvider", {})]


def test_tensorrts_provider_computes_in_fp32_and_not_in_tf32(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVIDIA's libraries ask this variable when the first session is made; the provider has no option for it."""
    asked: list[str | None] = []

    def session(*_: object, **__: object) -> None:
        asked.append(os.environ.get("NVIDIA_TF32_OVERRIDE"))
        raise RuntimeError("no driver")

    monkeypatch.setattr("edgenas.runtimes.onnx_session._check_provider", lambda _: None)
    monkeypatch.setattr("edgenas.runtimes.onnx_session.ort.InferenceSession", session)
    for provider, before in (("cpu", None), ("cuda", None), ("tensorrt", None), ("tensorrt", "1")):
        monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", before or "")
        if before is None:
            monkeypatch.delenv("NVIDIA_TF32_OVERRIDE")
        with pytest.raises(EdgenasError, match="no driver"), open_session(MODEL, provider=provider):
            pass
    assert asked == [None, None, "0", "0"]


def test_wrong_inputs_are_named_with_what_the_model_takes() -> None:
    with open_session(MODEL) as runtime:
        with pytest.raises(EdgenasError, match=r"\['picture'\] were given; the model takes \['image'\]"):
            runtime.run({"picture": X["image"]})
        with pytest.raises(EdgenasError, match=r"float64 \(2, 1, 8, 8\); the model takes float32 batch x 1 x 8 x 8"):
            runtime.run({"image": X["image"].astype(np.float64)})
        with pytest.raises(EdgenasError, match=r"\(2, 3, 8, 8\)"):
            runtime.run({"image": np.ones((2, 3, 8, 8), np.float32)})


def test_files_that_are_no_models_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(MODEL[: len(MODEL) // 2])
    for name in ("bad.onnx", "missing.onnx"):
        with pytest.raises(EdgenasError, match=name) as caught, open_session(tmp_path / name):
            pass
        assert "\n" not in str(caught.value)
