"""Cell networks against their workloads, and one training step of every operation."""

import pytest
import torch
from torch import nn

from edgenas.architectures.cell import DARTS_OPS, NASBENCH101_OPS, NASBENCH201_OPS, Cell, cell_network
from edgenas.architectures.workload import workload_from_architecture
from edgenas.networks import network_from_architecture
from edgenas.records import CellArchitecture, Classes, DartsCell, Embedding, Nasbench101Cell, Nasbench201Cell
from edgenas.runtimes.graph import KernelWeights, onnx_from_workload, weight_shape
from edgenas.runtimes.onnx import open_runtime
from tests.architectures.cells import BEST_101, DARTS_V2
from tests.networks.agreement import check_agreement

C3, C1, MP = NASBENCH101_OPS
# Truncating edges (vertex 2 -> 4), a projected input -> output edge, all three operations.
BRANCHY_101 = Nasbench101Cell(
    (
        (0, 1, 0, 0, 1, 1),
        (0, 0, 1, 1, 0, 0),
        (0, 0, 0, 0, 1, 1),
        (0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 1),
        (0, 0, 0, 0, 0, 0),
    ),
    ("input", C3, MP, C1, C3, "output"),
)
DIRECT_101 = Nasbench101Cell(((0, 1), (0, 0)), ("input", "output"))
MIXED_201 = Nasbench201Cell(("nor_conv_1x1", "skip_connect", "avg_pool_3x3", "none", "nor_conv_3x3", "skip_connect"))


def every_darts_op(offset: int) -> DartsCell:
    edges = tuple((DARTS_OPS[(place + offset) % 7], place % (2 + place // 2)) for place in range(8))
    return DartsCell(edges, edges[::-1][-2:] * 4)


def small(cell: Cell, **rest: int) -> CellArchitecture:
    return cell_network(cell, Classes(5), channels=8, cells_per_stage=1, **rest)


ARCHITECTURES = [
    small(BEST_101),
    small(BRANCHY_101, image_size=64),
    small(DIRECT_101, image_size=8, in_channels=1),
    cell_network(BRANCHY_101, Embedding(16, "depthwise"), channels=8, cells_per_stage=2, image_size=112),
    small(MIXED_201),
    small(Nasbench201Cell(("nor_conv_3x3",) * 6), image_size=224),
    small(every_darts_op(0)),
    small(every_darts_op(3), image_size=64),
    cell_network(DARTS_V2, Embedding(8), channels=8, cells_per_stage=2, in_channels=1, image_size=28),
]


def names(architecture: CellArchitecture) -> str:
    return f"{type(architecture.cell).__name__}-{type(architecture.head).__name__}-{architecture.image_size}px"


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=names)
def test_network_has_the_parameters_and_shapes_of_its_workload(architecture: CellArchitecture) -> None:
    check_agreement(architecture)


@pytest.mark.parametrize("architecture", [a for a in ARCHITECTURES if isinstance(a.head, Classes)], ids=names)
def test_the_workload_with_the_networks_weights_computes_what_the_network_computes(
    architecture: CellArchitecture,
) -> None:
    torch.manual_seed(3)
    network = network_from_architecture(architecture)
    side = architecture.image_size
    images = torch.randn(4, architecture.in_channels, side, side)
    network(images)  # moves the running statistics away from their start
    network.eval()
    order: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear | nn.BatchNorm2d):
            module.register_forward_hook(lambda m, _, __: order.append(m))
    expected = network(images).detach().numpy()

    workload = workload_from_architecture(architecture)
    weights: dict[int, KernelWeights] = {}
    modules = iter(order)
    for index, kernel in enumerate(workload.kernels):
        if not weight_shape(kernel) and not kernel.norm:
            continue
        weight, bias = None, None
        if weight_shape(kernel):
            module = next(modules)
            weight, bias = module.weight, module.bias
        if kernel.norm:
            norm = next(modules)
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.running_mean is not None
            assert norm.running_var is not None
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            bias = norm.bias - norm.running_mean * scale
            weight = scale if weight is None else weight * scale[:, None, None, None]
        assert weight is not None
        weights[index] = KernelWeights(weight.detach().numpy(), None if bias is None else bias.detach().numpy())
    assert next(modules, None) is None
    with open_runtime(onnx_from_workload(workload, weights).SerializeToString()) as runtime:
        (answer,) = runtime.run({"image": images.numpy()}).values()
    assert abs(answer - expected).max() < 1e-4


@pytest.mark.parametrize(
    "cell",
    [
        *(Nasbench101Cell(((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("input", op, "output")) for op in NASBENCH101_OPS),
        *(Nasbench201Cell((op, "skip_connect", op, "none", op, "skip_connect")) for op in NASBENCH201_OPS),
        *(DartsCell(((op, 0), (op, 1)) * 4, ((op, 1), (op, 0)) * 4) for op in DARTS_OPS),
    ],
    ids=lambda cell: cell.ops[1] if isinstance(cell, Nasbench101Cell) else str(cell)[:60],
)
def test_one_training_step_of_every_operation_lowers_the_loss(cell: Cell) -> None:
    torch.manual_seed(0)
    network = network_from_architecture(small(cell, image_size=16))
    images, labels = torch.randn(16, 3, 16, 16), torch.arange(16) % 5
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    losses = []
    for _ in range(2):
        loss = nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        losses.append(loss.item())
    assert losses[1] < losses[0]
    assert all(p.grad is not None and p.grad.isfinite().all() for p in network.parameters())
