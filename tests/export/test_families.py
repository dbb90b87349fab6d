"""Every family of networks that can be trained is exported with the same outputs, by torch's exporter and by the workload."""

import numpy as np
import pytest
import torch
from onnx import numpy_helper
from torch import nn

from edgenas.architectures.chain import chain
from edgenas.bundle_contents import check_sizes
from edgenas.errors import ParityError
from edgenas.export.onnx import onnx_from_network
from edgenas.export.parity import Case, check_parity, network_outputs, parity_cases
from edgenas.networks import network_from_architecture
from edgenas.records import (
    Architecture,
    BranchCell,
    CellArchitecture,
    Classes,
    Embedding,
    FbnetArchitecture,
    MultiBranchArchitecture,
    Nasbench201Cell,
    Preprocessing,
    Stage,
    StagesArchitecture,
)
from edgenas.runtimes.norms import scale_and_shift_nodes
from tests.architectures.cells import BEST_101, DARTS_V2

SIDE = 16
EVERY_EDGE = Nasbench201Cell(("nor_conv_3x3", "avg_pool_3x3", "none", "skip_connect", "nor_conv_1x1", "avg_pool_3x3"))
FAMILIES: dict[str, Architecture] = {
    "chain": chain(8, 5, (0, 1, 0, 1, 0), (3, 5, 3, 3, 5), Classes(7), 3, SIDE),
    "chain for faces": chain(8, 4, (0, 1, 0, 0), (3, 3, 3, 3), Embedding(16, "depthwise"), 3, SIDE),
    "chain for faces, averaged": chain(8, 4, (0, 1, 0, 0), (3, 3, 3, 3), Embedding(16, "average"), 3, SIDE),
    "NSE": MultiBranchArchitecture(
        27,
        (BranchCell("N", 8, (0, 22)), BranchCell("N", 8, ()), BranchCell("R", 12, (4, 10, 26)), BranchCell("E", 16, (3,))),
        Classes(7), 8, 1, 32, in_channels=3, image_size=SIDE,
    ),
    "NAS-Bench-101": CellArchitecture(BEST_101, Classes(7), 8, 1, 3, SIDE),
    "NAS-Bench-201": CellArchitecture(EVERY_EDGE, Classes(7), 4, 1, 3, SIDE),
    "DARTS": CellArchitecture(DARTS_V2, Classes(7), 4, 1, 3, SIDE),
    "stages": StagesArchitecture(
        (
            Stage("separable", 8, 1, 5, 1), Stage("residual", 12, 1, 3, 2),
            Stage("fused", 12, 1, 3, 1, expansion=2, squeeze=True), Stage("mbconv", 12, 1, 5, 1, expansion=2),
        ),
        Classes(7), 3, SIDE, stem_width=8, stem_stride=2, head_width=32, activation="relu6",
    ),
    "FBNet": FbnetArchitecture((0, 8, 3, 8) * 5 + (1, 5), Classes(7), 32),
}  # fmt: skip


def preprocessing(architecture: Architecture) -> Preprocessing:
    return Preprocessing(3, architecture.image_size, (0.4, 0.5, 0.6), (0.2, 0.25, 0.3))


def trained(architecture: Architecture) -> nn.Module:
    """A network whose batch norms have moved away from one and zero and know their inputs, so that outputs follow the image."""
    torch.manual_seed(0)
    network = network_from_architecture(architecture)
    for norm in (m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))):
        if norm.affine:
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, std=0.3)
        norm.momentum = 0.5
    with torch.no_grad():
        for _ in range(8):
            side = architecture.image_size
            network.train()(torch.randn(16, 3, 1, 1) + 0.5 * torch.randn(16, 3, side, side))
    return network.eval()


def cases_of(architecture: Architecture) -> list[Case]:
    side = architecture.image_size
    pixels = np.random.default_rng(1).integers(0, 256, (20, side, side, 3), dtype=np.uint8)
    return parity_cases(preprocessing(architecture), pixels)


BY_SCALE = ("NAS-Bench-201",)  # a sum is normed and a ReLU follows: no layer can take it in


@pytest.mark.parametrize("opset", [18, 13])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_network_of_every_family_passes_the_gate_without_a_batch_norm(family: str, opset: int) -> None:
    """Opset 18 is written by torch's exporter, 13 (JetPack 4) from the workload."""
    architecture = FAMILIES[family]
    network = trained(architecture)
    model = onnx_from_network(network, architecture, opset=opset, ir={18: 10, 13: 7}[opset])
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", opset)]
    assert [node.name for node in model.graph.node if node.op_type == "BatchNormalization"] == []
    assert len(scale_and_shift_nodes(model)) == (2 if family in BY_SCALE else 0)
    read = {name for node in model.graph.node for name in node.input}
    assert {tensor.name for tensor in model.graph.initializer} <= read
    check_sizes(model, (1, 3, architecture.image_size, architecture.image_size), family)
    cases = cases_of(architecture)
    figures = check_parity(network, model, "fp32", cases, preprocessing(architecture))
    assert figures.passed
    black, white = (network_outputs(network, case.inputs) for case in cases if case.name.startswith("pixels of"))
    assert np.abs(black - white).max() > 0.05  # outputs that follow the image: the gate saw something


@pytest.mark.parametrize("family", FAMILIES)
def test_a_spoilt_last_layer_passes_no_familys_gate(family: str) -> None:
    architecture = FAMILIES[family]
    network = trained(architecture)
    model = onnx_from_network(network, architecture, opset=13, ir=7)
    last = [node for node in model.graph.node if node.op_type == "Gemm"][-1]
    (weight,) = [tensor for tensor in model.graph.initializer if tensor.name == last.input[1]]
    values = numpy_helper.to_array(weight)
    weight.CopyFrom(numpy_helper.from_array((values * 1.01).astype(np.float32), weight.name))
    with pytest.raises(ParityError, match="fp32 export differs"):
        check_parity(network, model, "fp32", cases_of(architecture), preprocessing(architecture))
