"""Chain networks against their workloads, which count what the papers publish."""

import pytest

from edgenas.architectures.chain import chain
from edgenas.networks import network_from_architecture
from edgenas.records import ChainArchitecture, Classes, Embedding
from tests.networks.agreement import check_agreement

ARCHITECTURES = [
    chain(8, 5, (0, 1, 0, 1, 0), (3, 5, 3, 3, 5), Classes(10), 1, 28),
    chain(6, 4, (0, 0, 0, 1), (3, 7, 3, 3), Classes(3), 3, 8),
    chain(4, 6, (0,) * 6, (3,) * 6, Classes(2), 3, 224),
    chain(8, 4, (1, 0, 0, 0), (3,) * 4, Embedding(32), 1, 56),
    chain(8, 4, (0,) * 4, (5,) * 4, Embedding(16, "depthwise"), 3, 112),
]


@pytest.mark.parametrize("architecture", ARCHITECTURES, ids=lambda a: f"{type(a.head).__name__}-{a.image_size}px")
def test_network_has_the_parameters_and_shapes_of_its_workload(architecture: ChainArchitecture) -> None:
    check_agreement(architecture)


@pytest.mark.parametrize(
    ("depth", "width", "dense", "k5", "classes", "params"),
    [
        (26, 46, (0, 2), (13, 17), 10, 466_312),
        (21, 102, (0, 1, 5, 8, 13), (), 10, 2_490_340),
        (21, 56, (), (3,), 100, 488_588),
        (16, 56, (0, 2), (), 10, 453_498),
    ],
)
def test_published_parameter_counts(
    depth: int, width: int, dense: tuple[int, ...], k5: tuple[int, ...], classes: int, params: int
) -> None:
    architecture = chain(
        width,
        depth,
        tuple(int(i in dense) for i in range(depth)),
        tuple(5 if i in k5 else 3 for i in range(depth)),
        Classes(classes),
    )
    network = network_from_architecture(architecture)
    assert sum(p.numel() for p in network.parameters()) == params
