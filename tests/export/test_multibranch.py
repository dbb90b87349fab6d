"""Multi-branch networks leave the house with the exact mean of their branches."""

import numpy as np
import pytest
import torch
from torch import nn

from edgenas.architectures.published import published_architecture
from edgenas.export.from_workload import onnx_from_trained_workload
from edgenas.export.onnx import onnx_from_network
from edgenas.networks import network_from_architecture
from edgenas.records import Architecture, BranchCell, Classes, MultiBranchArchitecture
from edgenas.runtimes.onnx_session import open_session

CELLS = (
    BranchCell("N", 8, (0, 22)),
    BranchCell("N", 8, ()),
    BranchCell("R", 12, (4, 10, 26)),
    BranchCell("E", 16, (3,)),
)
SMALL = MultiBranchArchitecture(27, CELLS, Classes(10), 8, 1, 32, in_channels=1, image_size=16)


def trained(architecture: Architecture) -> nn.Module:
    """A network whose batch norms have all moved away from one and zero."""
    torch.manual_seed(0)
    network = network_from_architecture(architecture)
    for norm in (m for m in network.modules() if isinstance(m, nn.BatchNorm2d)):
        nn.init.uniform_(norm.weight, 0.5, 1.5)
        nn.init.normal_(norm.bias, std=0.3)
        norm.running_mean.normal_(std=0.2)
        norm.running_var.uniform_(0.5, 2.0)
    return network.eval()


def compare(architecture: Architecture, model_bytes: bytes, network: nn.Module, side: int) -> None:
    images = np.random.default_rng(0).standard_normal((2, architecture.in_channels, side, side)).astype(np.float32)
    with torch.no_grad():
        wanted = network(torch.from_numpy(images)).numpy()
    with open_session(model_bytes) as runtime:
        (name,) = runtime.inputs
        (got,) = runtime.run({name: images}).values()
    assert np.abs(wanted).max() > 0.05
    np.testing.assert_allclose(got, wanted, atol=1e-4, rtol=1e-4)


def test_torchs_exporter_keeps_the_mean_as_a_sum_and_one_multiplication() -> None:
    network = trained(SMALL)
    model = onnx_from_network(network, SMALL, opset=18, ir=8, metadata={})
    shares = [node for node in model.graph.node if node.op_type == "Mul"]
    assert (
        len(shares) == 2
    )  # a third each for the N cell's two branches and its input, and for the R cell's three branches
    compare(SMALL, model.SerializeToString(), network, 16)


def test_the_workloads_own_graph_computes_the_same() -> None:
    network = trained(SMALL)
    model = onnx_from_trained_workload(network, 13, 7, ("image", "logits"))
    compare(SMALL, model.SerializeToString(), network, 16)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["nsenet-27", "nsenet", "nsenet-gpu"])
def test_published_networks_export_and_compute_the_same(name: str) -> None:
    architecture = published_architecture(name)
    network = trained(architecture)
    compare(
        architecture,
        onnx_from_network(network, architecture, opset=18, ir=8, metadata={}).SerializeToString(),
        network,
        224,
    )
