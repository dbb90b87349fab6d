"""Chains against their definition (GNAS, arXiv 2502.03553) in plain torch, and their published sizes."""

import pytest
import torch.nn.functional as F
from torch import Tensor

from edgenas.architectures.chain import chain
from edgenas.networks import network_from_architecture
from edgenas.records import Classes, Embedding
from tests.networks.reference import Reference, check_equal

Layer = tuple[str, int, int, int]  # operation, kernel, channels, stride


def layers(net: Reference, x: Tensor, *wanted: Layer) -> Tensor:
    for op, kernel, out, stride in wanted:
        x = F.relu(x)
        if op == "dense":
            x = net.norm(net.conv(x, out, kernel, stride))
        else:
            x = net.norm(net.conv(net.conv(x, x.shape[1], kernel, stride, groups=x.shape[1]), out))
    return x


def test_a_layer_is_relu_separable_or_dense_convolution_and_batch_norm() -> None:
    def reference(net: Reference, x: Tensor) -> Tensor:
        x = net.norm(net.conv(x, 16, 3))
        x = layers(
            net,
            x,
            ("separable", 3, 8, 1),
            ("dense", 5, 16, 2),
            ("separable", 3, 16, 1),
            ("dense", 3, 32, 2),
            ("separable", 5, 32, 1),
        )
        return net.classes(x, 10)

    check_equal(chain(8, 5, (0, 1, 0, 1, 0), (3, 5, 3, 3, 5), Classes(10), 1, 28), reference)


def test_large_images_are_first_halved_and_small_ones_keep_their_last_stage() -> None:
    def large(net: Reference, x: Tensor) -> Tensor:
        x = F.relu(net.norm(net.conv(x, 8, 3, 2)))
        x = net.norm(net.conv(x, 8, 3))
        return net.classes(layers(net, x, ("separable", 3, 4, 1), ("separable", 3, 8, 2), ("separable", 3, 16, 2)), 2)

    def small(net: Reference, x: Tensor) -> Tensor:
        x = net.norm(net.conv(x, 8, 3))
        return net.classes(layers(net, x, ("separable", 3, 4, 1), ("separable", 3, 8, 2), ("separable", 3, 16, 1)), 2)

    check_equal(chain(4, 3, (0,) * 3, (3,) * 3, Classes(2), 3, 64), large)
    check_equal(chain(4, 3, (0,) * 3, (3,) * 3, Classes(2), 3, 8), small)


@pytest.mark.parametrize("pool", ["average", "depthwise"])
def test_an_embedding_is_pooled_normalised_projected_and_normalised(pool: str) -> None:
    def reference(net: Reference, x: Tensor) -> Tensor:
        x = F.relu(net.norm(net.conv(x, 16, 3, 2)))
        x = net.norm(net.conv(x, 16, 3))
        x = layers(
            net, x, ("dense", 3, 8, 1), ("separable", 3, 16, 2), ("separable", 3, 32, 2), ("separable", 3, 32, 1)
        )
        x = F.adaptive_avg_pool2d(x, 1) if pool == "average" else net.conv(x, 32, 7, padding=0, groups=32)
        return net.norm(net.linear(net.norm(x).flatten(1), 32, bias=False))

    check_equal(chain(8, 4, (1, 0, 0, 0), (3,) * 4, Embedding(32, pool), 1, 56), reference)  # type: ignore[arg-type]


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
