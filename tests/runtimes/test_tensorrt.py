import ctypes
import fcntl
import importlib.util
import inspect
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import msgspec
import numpy as np
import onnx
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError, MissingExtraError
from edgenas.hardware import worker
from edgenas.hardware.worker import Load
from edgenas.records import Classes
from edgenas.runtimes import How, open_runtime
from edgenas.runtimes.child import child_environment
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.tensorrt import (
    BuildOrder,
    Engine,
    EngineRuntime,
    Gpu,
    Sidecar,
    build_in_child,
    cache_folder,
    cached_engine,
    engine_from_onnx,
    free_memory_mb,
    probe_gpu,
    tensorrt_module,
    trim,
    workspace_bytes,
)
from edgenas.runtimes.tensorrt_build import build, network_flags, precision_flags
from edgenas.runtimes.tensorrt_support import NEWEST_OPSET, unsupported
from tests.digits_bundle import digits_bundle

GPU = Gpu("Orin", "8.7", 12060)
NOT_LOADED = (AttributeError, MissingExtraError)  # what a machine without TensorRT or cuda-python says of an engine
SIDECAR = Sidecar("a" * 64, "10.3.0", GPU, "fp16", 64)


def has_gpu() -> bool:
    try:
        return ctypes.CDLL("libcuda.so.1").cuInit(0) == 0
    except OSError:
        return False


def test_a_missing_driver_is_one_line():
    with pytest.raises(EdgenasError, match="needs an NVIDIA driver"):
        probe_gpu("libno-such-driver.so.1")


@pytest.mark.skipif(importlib.util.find_spec("tensorrt") is not None, reason="TensorRT is installed here")
def test_without_tensorrt_the_error_names_the_platforms_way_to_install_it():
    with pytest.raises(MissingExtraError, match=r"python3-libnvinfer.*pip install tensorrt"):
        engine_from_onnx(digits_bundle().path("fp32"), "fp32")


def test_an_empty_namespace_left_by_a_stubs_package_is_seen_through(tmp_path, monkeypatch):
    (tmp_path / "tensorrt").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)
    if importlib.util.find_spec("tensorrt").origin is not None:
        pytest.skip("a real tensorrt comes first here")
    with pytest.raises(MissingExtraError, match="empty namespace"):
        tensorrt_module()
    monkeypatch.delitem(sys.modules, "tensorrt", raising=False)


def trt_like(flags: dict[str, int], **builder: str) -> SimpleNamespace:
    """A module's surface as NVIDIA documents it for one version."""
    return SimpleNamespace(
        NetworkDefinitionCreationFlag=SimpleNamespace(**flags), BuilderFlag=SimpleNamespace(**builder)
    )


def test_networks_are_strongly_typed_where_that_exists_and_flags_are_set_only_where_it_does_not():
    eight = trt_like({"EXPLICIT_BATCH": 0}, FP16="fp16", INT8="int8")
    ten = trt_like({"EXPLICIT_BATCH": 0, "STRONGLY_TYPED": 1}, FP16="fp16", INT8="int8")
    eleven = trt_like({"STRONGLY_TYPED": 1})
    assert [network_flags(trt) for trt in (eight, ten, eleven)] == [1, 2, 2]
    assert [precision_flags(trt, "fp16") for trt in (eight, ten, eleven)] == [["fp16"], [], []]
    assert [precision_flags(trt, "int8") for trt in (eight, ten, eleven)] == [["int8"], [], []]
    assert precision_flags(eight, "fp32") == []


@pytest.mark.parametrize(("flags", "cleared"), [({"FP16": "fp16", "TF32": "tf32"}, ["tf32"]), ({}, [])])
def test_engines_are_built_without_tf32_where_the_builder_has_it(tmp_path, flags, cleared):
    workload = workload_from_architecture(chain(4, 3, (0, 1, 0), (3, 3, 3), Classes(10), 1, 8))
    onnx.save(onnx_from_workload(workload, None), tmp_path / "model.onnx")
    trt = MagicMock(**vars(trt_like({"STRONGLY_TYPED": 1}, **flags)))  # the rest of TensorRT agrees with everything
    trt.Builder().build_serialized_network.return_value = b"engine"
    config = trt.Builder().create_builder_config()
    config.get_timing_cache().serialize.return_value = b""
    build(BuildOrder(str(tmp_path / "model.onnx"), str(tmp_path / "e"), str(tmp_path / "t"), "fp32", 1, 1), trt)
    assert [call.args[0] for call in config.clear_flag.call_args_list] == cleared
    assert (tmp_path / "e").read_bytes() == b"engine"


def profile_of(tmp_path, model: onnx.ModelProto, **order) -> dict[str, tuple[list[int], ...]]:
    """The shapes (least, best, most) of every input that a builder is told."""
    onnx.save(model, tmp_path / "model.onnx")
    trt = MagicMock(**vars(trt_like({"STRONGLY_TYPED": 1})))
    trt.Builder().build_serialized_network.return_value = b"engine"
    trt.Builder().create_builder_config().get_timing_cache().serialize.return_value = b""
    place = (str(tmp_path / "model.onnx"), str(tmp_path / "e"), str(tmp_path / "t"))
    build(BuildOrder(*place, "fp32", workspace_bytes=1, **order), trt)
    calls = trt.Builder().create_optimization_profile().set_shape.call_args_list
    return {call.args[0]: call.args[1:] for call in calls}


def test_an_engine_is_tuned_for_the_batch_that_is_measured_and_weights_are_no_inputs(tmp_path):
    model = onnx_from_workload(workload_from_architecture(chain(4, 3, (0, 1, 0), (3, 3, 3), Classes(10), 1, 8)), None)
    (image,) = model.graph.input
    shape = [d.dim_value for d in image.type.tensor_type.shape.dim][1:]
    assert profile_of(tmp_path, model, batch=64) == {image.name: ([1, *shape], [1, *shape], [64, *shape])}
    eight = {image.name: ([1, *shape], [8, *shape], [64, *shape])}
    assert profile_of(tmp_path, model, batch=64, tuned=8) == eight
    for tensor in model.graph.initializer:  # as files of IR 3 do
        model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    model.ir_version = 3
    assert profile_of(tmp_path, model, batch=64, tuned=8) == eight
    image.type.tensor_type.shape.dim[0].dim_value = 4
    assert profile_of(tmp_path, model, batch=64, tuned=4) == {image.name: ([4, *shape],) * 3}


def write_engine(folder: Path, sidecar: Sidecar, content: bytes) -> Path:
    import hashlib

    path = folder / "x.engine"
    path.write_bytes(content)
    whole = msgspec.structs.replace(sidecar, engine_sha256=hashlib.sha256(content).hexdigest())
    path.with_suffix(".json").write_bytes(whole.canonical_json())
    return path


def test_an_engine_is_taken_from_the_cache_only_if_everything_is_as_it_was(tmp_path):
    path = write_engine(tmp_path, SIDECAR, b"engine")
    assert cached_engine(path, SIDECAR).path == path
    for change in (
        {"tensorrt": "10.4.0"},
        {"gpu": Gpu("Orin", "8.7", 13000)},
        {"gpu": Gpu("Thor", "11.0", 12060)},
        {"precision": "int8"},
        {"onnx_sha256": "b" * 64},
        {"clocks": "pmode:0001"},
        {"batch": 1},
        {"tuned": 8},
        {"builder": 2},
    ):
        assert cached_engine(path, msgspec.structs.replace(SIDECAR, **change)) is None


def test_changed_bytes_or_a_missing_or_damaged_sidecar_mean_a_rebuild(tmp_path):
    path = write_engine(tmp_path, SIDECAR, b"engine")
    path.write_bytes(b"other code")
    assert cached_engine(path, SIDECAR) is None
    path = write_engine(tmp_path, SIDECAR, b"engine")
    for damage in (b"", b"\xff", b"{}", json.dumps({"surprise": 1}).encode()):
        path.with_suffix(".json").write_bytes(damage)
        assert cached_engine(path, SIDECAR) is None
    path.with_suffix(".json").unlink()
    assert cached_engine(path, SIDECAR) is None


def test_small_boards_get_a_quarter_of_the_free_memory_and_too_little_is_refused(tmp_path):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:        7620000 kB\nMemFree: 1 kB\nMemAvailable:    4000000 kB\n")
    assert free_memory_mb(meminfo) == (4000.0, 7620.0)
    assert workspace_bytes(4000, 7620) == 1_000_000_000
    assert workspace_bytes(6000, 64000) == 3_000_000_000
    assert workspace_bytes(60000, 64000) == 4_000_000_000
    with pytest.raises(EdgenasError, match="200 MB of memory are free"):
        workspace_bytes(200, 4000)
    assert (workspace_bytes(4000, 8499), workspace_bytes(4000, 8501)) == (1_000_000_000, 2_000_000_000)
    assert workspace_bytes(300, 4000) == 75_000_000
    with pytest.raises(EdgenasError, match=r"^299 MB of memory are free, building an engine needs 300: "):
        workspace_bytes(299.9, 4000)


def test_engines_of_two_gigabytes_are_kept():
    assert inspect.signature(trim).parameters["most"].default == 2_000_000_000


@pytest.mark.skipif(has_gpu(), reason="there is a GPU here")
def test_a_build_that_fails_in_its_child_is_one_line(tmp_path):
    order = BuildOrder(str(digits_bundle().path("fp32")), str(tmp_path / "e"), str(tmp_path / "t"), "fp32", 1, 1)
    with pytest.raises(EdgenasError, match="building the engine failed: TensorRT needs") as caught:
        build_in_child(order)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_build_that_fails_says_what_tensorrt_said(tmp_path, monkeypatch):
    said = (
        "[I] starting",
        "[E] [a.cpp::1] no tactic",
        "[E] [b.cpp::2] no room",
        "[W] hm",
        "TensorRT 10.3 built no engine",
    )
    done = SimpleNamespace(returncode=1, stderr="\n".join(said) + "\n")
    monkeypatch.setattr("edgenas.runtimes.tensorrt.subprocess.run", lambda *_, **__: done)
    with pytest.raises(EdgenasError) as caught:
        build_in_child(BuildOrder("m", "e", "t", "fp32", 1, 1))
    assert str(caught.value) == f"building the engine failed: {said[4]}; {said[1]}; {said[2]}"


class Counting:
    """A GPU's memory: what is allocated, by address."""

    def __init__(self) -> None:
        self.held, self.made = {}, 0

    def stream(self, stack: ExitStack) -> int:
        return 1

    def allocate(self, size: int) -> int:
        self.made += 1
        self.held[self.made] = size
        return self.made

    def free(self, address: int) -> None:
        del self.held[address]

    def to_device(self, *_: object) -> None:
        pass

    def wait(self, _: int) -> None:
        pass


def test_each_port_holds_one_block_of_the_gpus_memory_and_none_after_the_end(tmp_path, monkeypatch):
    memory, trt = Counting(), MagicMock(__version__="10.3")
    engine = trt.Runtime().deserialize_cuda_engine()
    engine.num_io_tensors, engine.get_tensor_name = 2, ("x", "y").__getitem__
    engine.get_tensor_mode = lambda name: trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT
    engine.get_tensor_shape = {"x": (-1, 4), "y": (-1, 2)}.__getitem__
    engine.get_tensor_dtype = lambda _: trt.DataType.FLOAT
    context, shapes = engine.create_execution_context(), {}
    context.set_input_shape = lambda _, shape: shapes.update(x=shape, y=(shape[0], 2)) or True
    context.get_tensor_shape = shapes.__getitem__
    monkeypatch.setattr("edgenas.runtimes.tensorrt.tensorrt_module", lambda: trt)
    monkeypatch.setattr("edgenas.runtimes.tensorrt.Cuda", lambda: memory)
    with ExitStack() as stack:
        runtime = EngineRuntime(Engine(write_engine(tmp_path, SIDECAR, b"engine"), SIDECAR), stack)
        for batch in (1, 8, 9, 64, 3):
            runtime.bound({"x": np.zeros((batch, 4), np.float32)})
        assert sorted(memory.held.values()) == [64 * 2 * 4, 64 * 4 * 4]
        assert memory.made == 8
    assert memory.held == {}


def engine_of(monkeypatch, kinds: dict[str, str], context: object) -> MagicMock:
    """TensorRT whose engine takes `x` and gives the others, each of a type."""
    names, trt = ["x", *kinds], MagicMock(__version__="10.3")
    trt.DataType = SimpleNamespace(
        **{name: name for name in ("FLOAT", "HALF", "INT8", "INT32", "INT64", "UINT8", "BOOL", "BF16")}
    )
    engine = trt.Runtime().deserialize_cuda_engine()
    engine.num_io_tensors, engine.get_tensor_name = len(names), names.__getitem__
    engine.get_tensor_mode = lambda name: trt.TensorIOMode.INPUT if name == "x" else trt.TensorIOMode.OUTPUT
    engine.get_tensor_shape = lambda _: (-1, 4)
    engine.get_tensor_dtype = lambda name: {"x": "FLOAT", **kinds}[name]
    engine.create_execution_context.return_value = context
    monkeypatch.setattr("edgenas.runtimes.tensorrt.tensorrt_module", lambda: trt)
    monkeypatch.setattr("edgenas.runtimes.tensorrt.Cuda", Counting)
    return trt


def test_outputs_are_of_every_type_that_numpy_has(tmp_path, monkeypatch):
    engine = Engine(write_engine(tmp_path, SIDECAR, b"engine"), SIDECAR)
    trt = engine_of(monkeypatch, {"a": "INT64", "b": "BOOL", "c": "HALF", "d": "INT32"}, MagicMock())
    with ExitStack() as stack:
        outputs = EngineRuntime(engine, stack).outputs
    assert [port.dtype for port in outputs.values()] == ["int64", "bool", "float16", "int32"]
    engine_of(monkeypatch, {"a": "BF16"}, MagicMock())
    with ExitStack() as stack, pytest.raises(EdgenasError, match="'a' of this engine is BF16, which NumPy has not"):
        EngineRuntime(engine, stack)
    trt = engine_of(monkeypatch, {"a": "INT32"}, MagicMock())
    del trt.DataType.INT64  # as 8.6
    with ExitStack() as stack:
        assert EngineRuntime(engine, stack).outputs["a"].dtype == "int32"


def test_an_engine_that_the_gpu_has_no_memory_for_is_one_line_and_out_of_memory(tmp_path, monkeypatch):
    engine_of(monkeypatch, {"a": "FLOAT"}, None)
    path = write_engine(tmp_path, SIDECAR, b"engine")
    with ExitStack() as stack, pytest.raises(EdgenasError, match="the GPU is out of memory") as caught:
        EngineRuntime(Engine(path, SIDECAR), stack)
    assert worker.status_of(caught.value) == "oom"


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@pytest.mark.parametrize("version", ["10", "11"])
def test_every_exported_file_is_within_what_tensorrt_documents(precision, version):
    model = onnx.load(digits_bundle().path(precision))
    assert unsupported(model, version) == []


def test_what_is_not_documented_is_found():
    model = onnx.load(digits_bundle().path("int8"))
    assert "opset 20: TensorRT 8.6 reads 9 to 17" in unsupported(model, "8.6")
    assert any("weights stored as int8" in line for line in unsupported(model, "8.6"))  # host-cpu stores them so
    model.graph.node[0].op_type = "NonZero"
    assert any("NonZero is not in the list" in line for line in unsupported(model, "11"))
    assert set(NEWEST_OPSET) >= {"8.6", "10", "11"}


def test_a_builder_does_not_outlive_the_process_that_asked_for_the_engine():
    """It is told which process that is; of another one's it is killed at once, as by the end of its own."""
    command = [sys.executable, "-m", "edgenas.runtimes.tensorrt_build", "{}", str(os.getppid())]
    done = subprocess.run(command, env=child_environment(), capture_output=True, timeout=240, check=False)
    assert done.returncode == -signal.SIGKILL


@pytest.fixture
def building(tmp_path, monkeypatch) -> tuple[Path, list[BuildOrder]]:
    """A model, and what is ordered for it, of a builder that writes `engine`."""
    orders: list[BuildOrder] = []

    def build(order: BuildOrder) -> None:
        orders.append(order)
        Path(order.engine).write_bytes(b"engine")

    monkeypatch.setattr("edgenas.runtimes.tensorrt.tensorrt_module", lambda: SimpleNamespace(__version__="10.3.0"))
    monkeypatch.setattr("edgenas.runtimes.tensorrt.probe_gpu", lambda: GPU)
    monkeypatch.setattr("edgenas.runtimes.tensorrt.build_in_child", build)
    monkeypatch.setenv("EDGENAS_CACHE", str(tmp_path / "cache"))
    model = tmp_path / "model.onnx"
    model.write_bytes(b"model")
    return model, orders


def test_an_engine_is_built_once_for_the_batch_that_it_is_given(building):
    model, orders = building
    first = engine_from_onnx(model, "fp32")
    assert engine_from_onnx(model, "fp32") == first
    with pytest.raises(NOT_LOADED), open_runtime("tensorrt", model, "fp32", How(batch=200)):
        pass  # there is no TensorRT to load it
    assert [order.batch for order in orders] == [64, 200]
    assert sorted(file.suffix for file in first.path.parent.iterdir()) == ["", ".engine", ".engine", ".json", ".json"]
    assert first.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_job_of_a_larger_batch_has_an_engine_of_it(building):
    model, orders = building
    for batch in (1, 65, 1024):
        with pytest.raises(NOT_LOADED), worker._opened(Load(str(model), runtime="tensorrt", batch_size=batch)):
            pass
    assert [(order.batch, order.tuned) for order in orders] == [(64, 1), (65, 65), (1024, 1024)]


def test_an_engine_that_was_built_otherwise_is_built_again(building):
    """Before it had a number the builder left TF32 on, and such an engine passed for FP32."""
    model, orders = building
    new = engine_from_onnx(model, "fp32")
    old = msgspec.json.decode(new.path.with_suffix(".json").read_bytes())
    del old["builder"], old["tuned"]
    new.path.with_suffix(".json").write_bytes(msgspec.json.encode(old))
    again = engine_from_onnx(model, "fp32")
    assert again.sidecar == new.sidecar
    assert len(orders) == 2


def test_who_waits_for_another_builder_takes_its_engine(building):
    model, orders = building
    folder = cache_folder()
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with ThreadPoolExecutor(2) as threads:
            waiting = [threads.submit(engine_from_onnx, model, "fp32") for _ in range(2)]
            time.sleep(0.3)
            assert orders == []
            fcntl.flock(lock, fcntl.LOCK_UN)
            one, other = (engine.result() for engine in waiting)
    assert one == other
    assert len(orders) == 1


def test_the_cache_loses_what_was_used_longest_ago(tmp_path):
    for age, (name, size) in enumerate(
        [("e.engine", 30), ("d.engine.part", 20), ("c.engine", 30), ("b.timing", 5), ("a.engine", 30)]
    ):
        (tmp_path / name).write_bytes(bytes(size))
        os.utime(tmp_path / name, (1000 - age, 1000 - age))
        if name.endswith(".engine"):
            (tmp_path / name).with_suffix(".json").touch()
    trim(tmp_path, keep=tmp_path / "a.engine", most=115)
    assert len([*tmp_path.iterdir()]) == 8
    trim(tmp_path, keep=tmp_path / "a.engine", most=81)
    assert sorted(file.name for file in tmp_path.iterdir()) == [
        "a.engine", "a.json", "d.engine.part", "e.engine", "e.json"]  # fmt: skip
    trim(tmp_path, keep=tmp_path / "a.engine", most=0)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.engine", "a.json"]


def test_an_engine_that_is_used_is_new_again(tmp_path):
    path = write_engine(tmp_path, SIDECAR, b"engine")
    os.utime(path, (1000, 1000))
    assert cached_engine(path, SIDECAR) is not None
    assert time.time() - path.stat().st_mtime < 100


def test_a_cache_that_others_can_write_to_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("EDGENAS_CACHE", str(tmp_path))
    folder = cache_folder()
    for mode in (0o720, 0o702, 0o777):
        folder.chmod(mode)
        with pytest.raises(EdgenasError, match=r"others may write to the engine cache .*: chmod go-w"):
            cache_folder()
    folder.chmod(0o755)
    assert cache_folder() == folder
    monkeypatch.setattr("edgenas.runtimes.tensorrt.os.geteuid", lambda: os.getuid() + 1)
    with pytest.raises(EdgenasError, match=r"belongs to user .*: set EDGENAS_CACHE to a folder of your own"):
        cache_folder()
