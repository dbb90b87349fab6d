"""Other runtimes compute what an exported FP32 file computes: `python -m benchmarks.runtimes`, held to the gate's own bar."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.runtimes import IMAGES, NETWORKS, by_onnxruntime, compared, exported, install_line, packages_of, row_of
from edgenas.errors import EdgenasError
from edgenas.export.parity import BARS

PACKAGES = "EDGENAS_RUNTIMES"  # a folder with the packages of each runtime in a folder of its name
TOLERANCE = BARS["fp32"].tolerance


@pytest.mark.slow
@pytest.mark.parametrize("network", NETWORKS)
@pytest.mark.parametrize("runtime", ["openvino", "opencv", "ncnn"])
def test_openvino_opencv_and_ncnn_compute_what_onnx_runtime_does(runtime: str, network: str) -> None:
    folder = os.environ.get(PACKAGES)
    packages = packages_of(runtime, Path(folder) if folder else None)
    if packages is None:
        pytest.skip(f"{runtime} is not installed: {install_line(runtime, folder or 'DIR')} and set {PACKAGES}=DIR")
    row = compared(runtime, network, packages)
    assert TOLERANCE is not None
    assert row.max_abs <= TOLERANCE * (1 + row.scale)
    assert row.spread > 1000 * row.max_abs  # outputs that follow the image, or the difference said nothing
    assert (row.largest, row.images) == (IMAGES, IMAGES)


def test_what_is_compared_are_files_of_one_image_whose_outputs_follow_it() -> None:
    content, inputs = exported("stages")
    outputs = by_onnxruntime(content, inputs)
    assert outputs.shape == (IMAGES, 10)
    assert np.abs(outputs[:, None] - outputs[None]).max() > 0.1


@pytest.mark.parametrize("spoilt", ["shape", "nan"])
def test_outputs_of_another_shape_or_that_are_no_numbers_are_no_row(spoilt: str) -> None:
    wanted = np.eye(4, 3, dtype=np.float32)
    found = wanted[:3] if spoilt == "shape" else np.where(wanted == 1, np.nan, wanted)
    with pytest.raises(EdgenasError, match=r"tvm on chain: outputs .*, \(4, 3\) was expected, all of them finite"):
        row_of("chain", "tvm", "1", wanted, found)


def test_a_row_counts_by_definition() -> None:
    wanted = np.array([[0.0, 1.0], [3.0, 2.0]], np.float32)
    row = row_of("chain", "tvm", "1", wanted, np.array([[0.25, 1.0], [3.0, 3.5]], np.float32))
    assert (row.max_abs, row.spread, row.scale, row.largest, row.images) == (1.5, 3.0, 3.0, 1, 2)


def test_packages_are_looked_for_in_their_folder_and_then_here(tmp_path: Path) -> None:
    (tmp_path / "mnn").mkdir()
    assert packages_of("mnn", tmp_path) == str(tmp_path / "mnn")
    assert packages_of("opencv", tmp_path) == ""  # a dependency of the tests
    assert packages_of("rknn", tmp_path) is None
    assert install_line("tvm", "there") == "pip install --target there/tvm apache-tvm"
