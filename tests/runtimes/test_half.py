"""Candidates in float16: the same network, on half the bytes."""

import numpy as np
import pytest
from onnx import TensorProto

from edgenas.architectures.chain import chain
from edgenas.architectures.onnx_weights import precision_of_model
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import CellArchitecture, Classes, FbnetArchitecture, Kernel, Nasbench201Cell, Workload
from edgenas.runtimes.graph import onnx_from_workload
from edgenas.runtimes.half import half_from_float
from tests.runtimes.test_graph import answer, image, zoo

CELL = Nasbench201Cell(("nor_conv_3x3", "skip_connect", "avg_pool_3x3", "nor_conv_1x1", "skip_connect", "nor_conv_3x3"))
NETWORKS = {
    "chain": chain(8, 4, (0, 1, 0, 1), (3, 5, 3, 3), Classes(10), 3, 16),
    "cells": CellArchitecture(CELL, Classes(10), 16, 1),
    "fbnet": FbnetArchitecture((3, 8) * 11, Classes(10)),
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("opset", [13, 18])
def test_a_candidate_in_float16_computes_the_same_within_its_bits(name: str, opset: int) -> None:
    workload = workload_from_architecture(NETWORKS[name])
    whole = onnx_from_workload(workload, None, opset, 7 if opset == 13 else 10)
    half = half_from_float(whole)
    x = image(workload)
    wanted, found = answer(whole, x), answer(half, x)
    assert found.dtype == np.float32
    assert np.abs(found - wanted).max() < 0.02 * np.abs(wanted).max()
    assert not np.array_equal(found, wanted)
    assert (precision_of_model(whole), precision_of_model(half)) == ("fp32", "fp16")
    assert len(half.SerializeToString()) < 0.6 * len(whole.SerializeToString())


def test_sizes_that_a_node_takes_in_float32_stay_so() -> None:
    conv = Kernel("conv", 3, 4, 8, 8, 8, 8, (-1,), (3, 3), padding=(1, 1))
    workload = Workload((conv, Kernel("resize", 4, 4, 16, 16, 8, 8, (0,))))
    half, x = half_from_float(onnx_from_workload(workload, None)), image(workload)
    types = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert types == {"k0_weight": TensorProto.FLOAT16, "k1_factors": TensorProto.FLOAT}
    np.testing.assert_allclose(answer(half, x), answer(onnx_from_workload(workload, None), x), atol=0.01)


@pytest.mark.parametrize("opset", [13, 18])
def test_every_kind_of_kernel_can_be_written_in_float16(opset: int) -> None:
    half = half_from_float(onnx_from_workload(zoo(), None, opset, 7 if opset == 13 else 10))
    assert np.isfinite(answer(half, image(zoo()))).all()
