"""Which kernel of a runtime computes a convolution, and at what size."""

from __future__ import annotations

import pytest

from edgenas.architectures.chain import ChainSpace
from edgenas.architectures.workload import workload_from_architecture
from edgenas.hardware.kernels import compute, tiles_of
from edgenas.records import Classes, Kernel, Workload

SPACE = ChainSpace(Classes(10), 3, 32, min_depth=4, max_depth=4, min_width=4, max_width=64, width_step=1)


def chain(width: int) -> Workload:
    return workload_from_architecture(SPACE.chain(4, width, (1, 0, 0, 0)))


@pytest.mark.parametrize(
    ("runtime", "width", "classes"),
    [
        ("onnxruntime", 16, {"first", "dense", "depthwise3", "pointwise", "linear"}),
        # 2 x 15 = 30 channels, and 15: no fours, which only depthwise layers suffer from; the later layers have 60
        ("onnxruntime", 15, {"first", "dense", "depthwise4", "depthwise3", "pointwise", "linear"}),
        ("tflite", 15, {"first", "dense", "depthwise3", "pointwise", "linear"}),
    ],
)
def test_onnx_runtime_computes_channels_in_fours(runtime: str, width: int, classes: set[str]) -> None:
    tiles = tiles_of(runtime, "fp32", "", fitted=True)
    assert {compute(kernel, tiles)[0] for kernel in chain(width).kernels} - {""} == classes


def test_a_datasheet_does_not_know_what_general_kernels_cost() -> None:
    tiles = tiles_of("onnxruntime", "fp32", "", fitted=False)
    assert compute(chain(15).kernels[1], tiles)[0] == "dense"


def test_channels_that_are_no_fours_are_computed_without_padding() -> None:
    tiles = tiles_of("onnxruntime", "fp32", "", fitted=True)
    plain, blocked = (chain(width).kernels[1] for width in (15, 16))
    assert (plain.in_channels, blocked.in_channels) == (30, 32)
    assert compute(plain, tiles) == ("dense", plain.macs)
    assert compute(blocked, tiles) == ("dense", blocked.macs)
    padded = chain(20).kernels[1]
    assert (padded.in_channels, padded.out_channels) == (40, 20)
    assert compute(padded, tiles)[1] == padded.macs * 32 // 20  # two blocks of 16


@pytest.mark.parametrize(("groups", "times"), [(8, 1), (16, 4), (32, 7)])
def test_onnx_runtime_computes_narrow_groups_slowly_on_x86_only(groups: int, times: int) -> None:
    kernel = Kernel("conv", 128, 128, 14, 14, 14, 14, (-1,), kernel=(3, 3), padding=(1, 1), groups=groups)
    x86, arm = (
        tiles_of("onnxruntime", "fp32", "", fitted=True, instruction_set=name) for name in ("x86-64", "aarch64")
    )
    assert compute(kernel, x86) == ("grouped", times * kernel.macs)
    assert compute(kernel, arm) == ("grouped", kernel.macs)
