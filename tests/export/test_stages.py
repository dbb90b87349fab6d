"""Members of the space of stages in INT8 and FP16: squeeze-excitation, ReLU6 and additions survive it."""

from __future__ import annotations

import random

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from edgenas.architectures.stages_bounds import TINY_BOUNDS, bounded_stages
from edgenas.export.onnx import onnx_from_network
from edgenas.export.precision import half_from_onnx, int8_from_onnx, zero_points
from edgenas.networks import network_from_architecture
from edgenas.records import Classes, Stage, StagesArchitecture
from edgenas.runtimes.onnx_session import open_session

SIDE = 16
ALL_KINDS = StagesArchitecture(
    (
        Stage("separable", 8, 1, 5, 1),
        Stage("residual", 16, 1, 3, 2),
        Stage("fused", 16, 1, 3, 1, expansion=2, squeeze=True),
        Stage("mbconv", 16, 2, 5, 1, expansion=3, squeeze=True),
    ),
    Classes(5),
    3,
    SIDE,
    stem_width=16,
    stem_stride=2,
    head_width=32,
    activation="relu6",
)


def images(count: int, channels: int = 3) -> NDArray[np.float32]:
    """Smooth ones: noise has the same mean everywhere."""
    rng = np.random.default_rng(0)
    coarse = rng.standard_normal((count, channels, 4, 4)).astype(np.float32)
    return np.repeat(np.repeat(coarse, SIDE // 4, 2), SIDE // 4, 3)


def in_use(architecture: StagesArchitecture) -> nn.Module:
    """A network whose batch norms know their inputs, so that its outputs follow the image."""
    torch.manual_seed(0)
    network = network_from_architecture(architecture)
    with torch.no_grad():
        for _ in range(20):
            network(torch.from_numpy(images(64, architecture.in_channels)))
    return network.eval()


def outputs(model: onnx.ModelProto, x: NDArray[np.float32]) -> NDArray[np.float32]:
    with open_session(model.SerializeToString()) as session:
        (found,) = session.run({"image": x}).values()
    return np.asarray(found)


def agreement(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Correlation of what differs from image to image."""
    return float(np.corrcoef((one - one.mean(0)).ravel(), (other - other.mean(0)).ravel())[0, 1])


@pytest.mark.parametrize("seed", [None, 0, 1, 2])
def test_members_keep_their_outputs_in_int8_and_fp16(seed: int | None) -> None:
    space = bounded_stages(TINY_BOUNDS["small"], Classes(5), 1, SIDE, max_width=32)
    architecture = ALL_KINDS if seed is None else space.draw(random.Random(seed))
    network, x = in_use(architecture), images(64, architecture.in_channels)
    with torch.no_grad():
        exact = network(torch.from_numpy(x)).numpy()
    whole = onnx_from_network(network, architecture, opset=13, ir=7)
    np.testing.assert_allclose(outputs(whole, x), exact, atol=1e-4)
    assert agreement(outputs(half_from_onnx(whole), x), exact) > 0.9999
    quantised = int8_from_onnx(whole, x)
    assert all((points == 0).all() for points in zero_points(quantised))
    assert agreement(outputs(quantised, x), exact) > 0.95


def test_every_convolution_of_a_squeezed_block_is_quantised() -> None:
    model = int8_from_onnx(onnx_from_network(in_use(ALL_KINDS), ALL_KINDS, opset=13, ir=7), images(64))
    made = {name: node.op_type for node in model.graph.node for name in node.output}
    convolutions = [node for node in model.graph.node if node.op_type == "Conv"]
    assert len(convolutions) == 25 - 4
    assert all(made[name] == "DequantizeLinear" for node in convolutions for name in node.input[:2])
