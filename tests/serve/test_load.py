"""A bundle that cannot be proved on this device is never served: the process ends, with one line that says why."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from edgenas.bundle import read_bundle, write_bundle
from edgenas.bundle_contents import golden_file
from edgenas.errors import BundleError, EdgenasError
from edgenas.records import Precision
from edgenas.runtimes.child import child_environment
from edgenas.serve.app import Service, create_app, ports_from_graph
from edgenas.serve.model import ServedModel, check_golden
from edgenas.serve.server import Address, Server, drain_s, run_server, server_config
from tests.digits_bundle import digits_bundle
from tests.serve.running import eventually, serving

Golden = dict[str, np.ndarray]


def ended(folder: Path) -> str:
    """The one line with which `edgenas serve` ends."""
    command = [sys.executable, "-m", "edgenas", "serve", str(folder), "--port", "0"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 1, done.stderr
    assert "Traceback" not in done.stderr
    assert not re.search(r"^(serving|next:) ", done.stderr, re.MULTILINE)  # it never did
    return done.stderr.strip().splitlines()[-1]


def changed(golden: Golden, **arrays: np.ndarray) -> Golden:
    return {**golden, **arrays}


def with_nan(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[3, 4] = np.nan
    return values


@pytest.mark.parametrize(
    "change",
    [
        lambda g: changed(g, fp32=with_nan(g["fp32"])),
        lambda g: changed(g, fp32=np.full_like(g["fp32"], np.nan)),
        lambda g: changed(g, fp32=g["fp32"] + 1),
        lambda g: changed(g, fp32=np.full_like(g["fp32"], np.inf)),
        lambda g: changed(g, inputs=np.full_like(g["inputs"], 3e38)),
        lambda g: {name: array[:0] for name, array in g.items()},
        lambda g: changed(g, inputs=g["inputs"][:, :, :4]),
        lambda g: changed(g, inputs=g["inputs"].astype(np.float64)),
        lambda g: changed(g, fp32=g["fp32"][:, :3]),
    ],
    ids=["one NaN", "all NaN", "off by one", "inf", "overflow", "no rows", "cut", "double", "narrow"],
)
def test_golden_values_that_prove_nothing_end_the_process(tmp_path: Path, change: Callable[[Golden], Golden]) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(digits_bundle().folder, folder)
    bundle = read_bundle(folder)
    files = {name: (folder / name).read_bytes() for name in bundle.manifest.files}
    golden = golden_file(change(dict(bundle.golden())))
    try:
        write_bundle(folder, bundle.manifest, {**files, "golden.npz": golden})
    except BundleError:  # not even written
        return
    assert ended(folder).startswith("edgenas: ")


def test_it_is_said_to_serve_once_the_model_is_loaded_and_then_how_it_is_asked() -> None:
    with serving(digits_bundle().folder) as running:
        eventually(lambda: "next: " in running.text())
        said = [line for line in running.text().splitlines() if line.startswith(("loading", "serving", "next"))]
    *loading, serves, onward = said  # which is not said of a model that is loaded before the server listens
    assert re.fullmatch(r"serving digits \(fp32, onnxruntime\) on http://127\.0\.0\.1:\d+", serves)
    assert loading in ([], [serves.replace("serving", "loading").replace(" on ", " for ")])
    assert onward == f"next: curl -F image=@IMAGE {serves.split()[-1]}/classify"


class Failing(ServedModel):
    """A model whose loading fails as that of a file, a driver or the memory may fail."""

    error: BaseException

    def _load(self) -> None:
        raise self.error


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "the model could not be loaded: MemoryError"),
        (OSError(5, "Input/output error"), "the model could not be loaded: OSError: [Errno 5] Input/output error"),
        (ValueError("two\nlines"), "the model could not be loaded: ValueError: two lines"),
        (KeyError("fp32"), "the model could not be loaded: KeyError: 'fp32'"),
        (BundleError("golden self-test: no"), "golden self-test: no"),
    ],
)
def test_whatever_goes_wrong_while_loading_ends_the_server(error: BaseException, line: str) -> None:
    model = Failing(digits_bundle(), None, "onnxruntime", queue=1, deadline_s=1)
    model.error = error
    servers: list[Server] = []
    app = create_app(Service(model, print))
    with pytest.raises(EdgenasError) as caught:
        run_server(app, model, Address("127.0.0.1", 0), servers, lambda _port, _ready: None)
    assert str(caught.value) == line
    assert not model.ready


@pytest.mark.parametrize(
    ("wanted", "got"),
    [
        ([[1.0, np.nan]], [[1.0, 2.0]]),
        ([[1.0, 2.0]], [[1.0, np.nan]]),
        ([[1.0, 2.0]], [[1.0, 2.001]]),
        ([[np.inf, 2.0]], [[np.inf, 2.0]]),
        ([[1.0, 2.0]], [[1.0, 2.0, 3.0]]),
        (np.zeros((0, 2)), np.zeros((0, 2))),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_comparison_is_one_that_nan_fails(wanted: list, got: list, precision: str) -> None:
    wanted, got = np.asarray(wanted), np.asarray(got)
    if (
        precision == "int8"
        and wanted.shape == got.shape
        and np.isfinite(wanted).all()
        and np.isfinite(got).all()
        and wanted.size
    ):
        check_golden(wanted, got, precision)  # INT8 is judged by its cosine: .001 is nothing
        return
    fault = (
        "the bundle's .* are missing or not finite"
        if not (wanted.size and np.isfinite(wanted).all())
        else "(fp32 )?outputs"
    )
    with pytest.raises(BundleError, match=f"golden self-test: {fault}"):
        check_golden(wanted, got, precision)


def test_what_is_right_passes_and_what_is_just_beyond_the_tolerance_does_not() -> None:
    """FP32: 1e-4 of one plus the row's largest value, here .0003."""
    wanted = np.asarray([[1.0, 2.0]])
    check_golden(wanted, wanted + 0.00029, "fp32")
    with pytest.raises(BundleError, match="are off by"):
        check_golden(wanted, wanted + 0.00031, "fp32")
    check_golden(np.asarray([[1.0, 0.0]]), np.asarray([[0.991, np.sqrt(1 - 0.991**2)]]), "int8")
    with pytest.raises(BundleError, match=r"cosine 0\.9890"):
        check_golden(np.asarray([[1.0, 0.0]]), np.asarray([[0.989, np.sqrt(1 - 0.989**2)]]), "int8")


def graph(inputs: int, shape: tuple[object, ...], kind: int = TensorProto.FLOAT) -> onnx.GraphProto:
    ports = [helper.make_tensor_value_info(f"in{i}", kind, shape) for i in range(inputs)]
    out = helper.make_tensor_value_info("out", kind, shape)
    return helper.make_graph([helper.make_node("Identity", ["in0"], ["out"])], "g", ports, [out])


def test_a_model_is_served_with_one_input_of_fixed_sizes_and_weights_are_none() -> None:
    right = graph(1, ("n", 3, 8, 8))
    weight = helper.make_tensor("w", TensorProto.FLOAT, [1], [1.0])
    right.initializer.append(weight)
    right.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]))
    taken, given = ports_from_graph(right)
    assert (taken.name, taken.shape, given.datatype) == ("in0", (3, 8, 8), "FP32")
    for wrong in (
        graph(2, ("n", 3)),
        graph(1, ("n", "m")),
        graph(1, ("n",)),
        graph(1, ("n", 3), TensorProto.FLOAT16),
        graph(1, ("n", 0)),
    ):
        with pytest.raises(BundleError, match="export it again"):
            ports_from_graph(wrong)


@pytest.mark.parametrize(
    ("precision", "proved", "off", "taken"),
    [
        ("fp16", None, 0.0149, True),  # 5e-3 of one plus the row's largest value, 2
        ("fp16", None, 0.0151, False),
        ("fp16", 1e-2, 0.0299, True),  # what the proof of parity needed
        ("fp16", 1e-2, 0.0301, False),
        ("fp16", 5e-1, 0.0599, True),  # never more than 2e-2
        ("fp16", 5e-1, 0.0601, False),
        ("fp32", 5e-1, 0.00029, True),
        ("fp32", 5e-1, 0.00031, False),
    ],
)
def test_a_device_may_be_as_far_off_as_the_proof_of_parity_needed(
    precision: Precision, proved: float | None, off: float, taken: bool
) -> None:
    wanted = np.asarray([[1.0, 2.0]])
    with contextlib.nullcontext() if taken else pytest.raises(BundleError, match="are off by"):
        check_golden(wanted, wanted + off, precision, proved=proved)


SLOW = """
import pathlib, sys, time
from edgenas.bundle import read_bundle
from edgenas.serve.app import Service, create_app
from edgenas.serve.model import ServedModel
from edgenas.serve.server import Address, run_server

class Building(ServedModel):
    def _load(self):
        time.sleep(120)

model = Building(read_bundle(pathlib.Path(sys.argv[1])), None, "onnxruntime", queue=1, deadline_s=1)
say = lambda port, ready: print(port, flush=True)
run_server(create_app(Service(model, print)), model, Address("127.0.0.1", 0), [], say)
"""


def test_a_signal_while_the_model_loads_ends_the_process() -> None:
    """An engine takes minutes to build."""
    command = [sys.executable, "-c", SLOW, str(digits_bundle().folder)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=child_environment()) as process:
        assert int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=90)
    assert (process.returncode, said) == (0, "stopped while the model was loading\n")


def test_a_request_may_take_its_deadline_where_the_server_is_told_to_stop() -> None:
    for deadline_s, seconds in ((1, 30), (10, 30), (3600, 3620)):
        model = ServedModel(digits_bundle(), None, "onnxruntime", queue=1, deadline_s=deadline_s)
        config = server_config(create_app(Service(model, print)), Address("127.0.0.1", 0))
        assert Server(config, model, lambda *_: None, lambda _: None).config.timeout_graceful_shutdown == seconds
        model.close()


def test_a_server_that_is_told_how_long_it_is_waited_for_uses_that_time(tmp_path: Path) -> None:
    model = ServedModel(digits_bundle(), None, "onnxruntime", queue=1, deadline_s=10)
    config = server_config(create_app(Service(model, print)), Address("127.0.0.1", 0))
    assert Server(config, model, lambda *_: None, lambda _: None, 90).config.timeout_graceful_shutdown == 88
    model.close()
    assert drain_s(3600) == 3620
    assert drain_s(1, 23) == 21
    with pytest.raises(EdgenasError, match="--deadline-s 1 needs 23 s to stop in"):
        drain_s(1, 22.9)
