"""Networks of branches against their definition (NSE, arXiv 2011.10904) in plain torch, and their published sizes."""

import pytest
import torch.nn.functional as F
from torch import Tensor

from edgenas.architectures.published import published_architecture
from edgenas.architectures.workload import workload_from_architecture
from edgenas.networks import network_from_architecture
from edgenas.records import BranchCell, Classes, Embedding, MultiBranchArchitecture
from tests.networks.reference import Reference, check_equal


def mobile(net: Reference, x: Tensor, out: int, kernel: int, expand: int, stride: int = 1, dilation: int = 1) -> Tensor:
    middle, pad = x.shape[1] * expand, dilation * (kernel - 1) // 2
    x = F.relu(net.norm(net.conv(x, middle)))
    x = F.relu(net.norm(net.conv(x, middle, kernel, stride, pad, dilation, groups=middle)))
    return net.norm(net.conv(x, out))


def rectangle(net: Reference, x: Tensor, out: int, kernel: int, expand: int, stride: int = 1) -> Tensor:
    middle = x.shape[1] * expand
    x = F.relu(net.norm(net.conv(x, middle)))
    x = F.relu(net.norm(net.conv(x, middle, (1, kernel), (1, stride))))
    x = F.relu(net.norm(net.conv(x, middle, (kernel, 1), (stride, 1))))
    return net.norm(net.conv(x, out))


def branches(net: Reference, x: Tensor) -> Tensor:
    """N, R and E cells of pool 27: operations 3, 22 | 4, 10, 26 | none | 0, 21."""
    x = F.relu(net.norm(net.conv(x, 4, 3, 2)))
    x = (x + mobile(net, x, 4, 3, 3) + rectangle(net, x, 4, 5, 2)) * (1 / 3)
    x = (mobile(net, x, 6, 3, 3, 2, 2) + mobile(net, x, 6, 5, 3, 2) + rectangle(net, x, 6, 7, 4, 2)) * (1 / 3)
    x = (mobile(net, x, 8, 3, 1) + rectangle(net, x, 8, 5, 1)) * (1 / 2)
    return F.relu(net.conv(x, 16))


CELLS = (
    BranchCell("N", 4, (3, 22)),
    BranchCell("R", 6, (4, 10, 26)),
    BranchCell("N", 6, ()),
    BranchCell("E", 8, (0, 21)),
)


def test_a_cell_is_the_mean_of_its_branches_and_where_it_keeps_the_shape_of_its_input() -> None:
    network = MultiBranchArchitecture(27, CELLS, Classes(10), 4, 2, 16, in_channels=1, image_size=15)
    check_equal(network, lambda net, x: net.classes(branches(net, x), 10))


def test_an_embedding_is_pooled_by_a_depthwise_convolution_and_normalised_before_and_after_its_layer() -> None:
    network = MultiBranchArchitecture(27, CELLS, Embedding(5, "depthwise"), 4, 2, 16, in_channels=3, image_size=16)

    def embedding(net: Reference, x: Tensor) -> Tensor:
        x = branches(net, x)
        x = net.norm(net.conv(x, 16, 4, padding=0, groups=16)).flatten(1)
        return net.norm(net.linear(x, 5, bias=False))

    check_equal(network, embedding)


@pytest.mark.parametrize(
    "architecture",
    [
        MultiBranchArchitecture(72, (BranchCell("N", 4, (28, 71, 24)), BranchCell("R", 6, (40, 3))), Classes(3), 4, 1, 8, 1, 16),
        MultiBranchArchitecture(19, (BranchCell("N", 4, (9, 10)), BranchCell("R", 6, (11, 12, 18))), Classes(3), 4, 1, 8, 1, 16),
        published_architecture("nsenet-27"),
    ],
    ids=["grouped", "dense", "nsenet-27"],
)  # fmt: skip
def test_a_network_has_the_parameters_of_its_workload(architecture: MultiBranchArchitecture) -> None:
    network = network_from_architecture(architecture)
    assert sum(p.numel() for p in network.parameters()) == workload_from_architecture(architecture).params
