"""Which kernel of a runtime computes a convolution, and at what size."""

from __future__ import annotations

import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.kernels import compute, tiles_of
from edgenas.records import Classes, Workload

SPACE = ChainSpace(Classes(10), 3, 32, min_depth=4, max_depth=4, min_width=4, max_width=64, width_step=1)


def chain(width: int) -> Workload:
    return workload_from_architecture(SPACE.chain(4, width, (1, 0, 0, 0)))


@pytest.mark.parametrize(
    ("runtime", "width", "classes"),
    [
        ("onnxruntime", 16, {"first", "dense", "depthwise3", "pointwise", "linear"}),
        # 2 x 15 = 30 channels, and 15: no fours; the later layers have 60
        ("onnxruntime", 15, {"first", "grouped", "depthwise4", "depthwise3", "pointwise", "linear"}),
        ("tflite", 15, {"first", "dense", "depthwise3", "pointwise", "linear"}),
    ],
)
def test_onnx_runtime_computes_channels_in_fours(runtime: str, width: int, classes: set[str]) -> None:
    tiles = tiles_of(runtime, "fp32", "", fitted=True)
    assert {compute(kernel, tiles)[0] for kernel in chain(width).kernels} - {""} == classes


def test_a_datasheet_does_not_know_what_general_kernels_cost() -> None:
    tiles = tiles_of("onnxruntime", "fp32", "", fitted=False)
    assert compute(chain(15).kernels[1], tiles)[0] == "dense"
