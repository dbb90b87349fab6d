import pytest
import torch
from torch import nn

from edgenas.architectures.published import published_architecture
from edgenas.architectures.workload import workload_from_architecture
from edgenas.networks import network_from_architecture
from edgenas.networks.multibranch import MultiBranch, mean
from edgenas.records import Architecture, BranchCell, Classes, Embedding, MultiBranchArchitecture


def small(pool: int, ops: tuple[tuple[int, ...], ...], embedding: bool = False) -> MultiBranchArchitecture:
    cells = (BranchCell("N", 4, ops[0]), BranchCell("R", 6, ops[1]), BranchCell("E", 8, ops[2]))
    head = Embedding(5, "depthwise") if embedding else Classes(10)
    return MultiBranchArchitecture(pool, cells, head, 4, 2, 16, in_channels=1, image_size=15)  # type: ignore[arg-type]


SMALL = [
    small(27, ((), (22,), (0, 5))),
    small(72, ((28, 71, 24), (40, 3), (26,))),
    small(19, ((9, 10), (11, 12, 13), (18, 8)), embedding=True),
]


@pytest.mark.parametrize("architecture", SMALL)
def test_layers_run_in_the_workloads_order_with_its_shapes(architecture: Architecture) -> None:
    network = network_from_architecture(architecture).eval()
    ran: list[tuple[int, tuple[int, ...]]] = []
    for layer in network.modules():
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            layer.register_forward_hook(lambda m, _, y: ran.append((m.weight.numel(), tuple(y.shape[2:]) or (1, 1))))
    network(torch.zeros(2, 1, 15, 15))
    kernels = workload_from_architecture(architecture).kernels
    assert ran == [(k.weights, (k.height, k.width)) for k in kernels if k.weights]


@pytest.mark.parametrize("architecture", [*SMALL, published_architecture("nsenet-27")])
def test_a_network_has_the_parameters_of_its_workload(architecture: Architecture) -> None:
    network = network_from_architecture(architecture)
    assert sum(p.numel() for p in network.parameters()) == workload_from_architecture(architecture).params


def test_a_cell_is_the_exact_mean_of_its_branches_and_its_input() -> None:
    torch.manual_seed(0)
    network = network_from_architecture(small(27, ((3, 21), (0,), (0,)))).eval().double()
    assert isinstance(network, MultiBranch)
    cell = network.cells[0]
    x = torch.randn(2, 4, 8, 8, dtype=torch.float64)
    a, b = (one(x) for one in cell.branches)  # type: ignore[union-attr,operator]
    torch.testing.assert_close(cell(x), (x + a + b) / 3, rtol=1e-14, atol=1e-14)


def test_a_mean_of_one_is_that_one() -> None:
    x = torch.ones(1)
    assert mean([x]) is x
