"""Cell networks against their publications' definitions in plain torch, and one training step of every operation."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenas.architectures.cell import DARTS_OPS, NASBENCH101_OPS, NASBENCH201_OPS, Cell, cell_network
from edgenas.networks import network_from_architecture
from edgenas.records import CellArchitecture, Classes, DartsCell, Embedding, Nasbench101Cell, Nasbench201Cell
from tests.networks.reference import Reference, check_equal

C3, C1, MP = NASBENCH101_OPS


def small(cell: Cell, **rest: int) -> CellArchitecture:
    return cell_network(cell, Classes(5), channels=8, cells_per_stage=1, **rest)


# ---------------------------------------------------------------- NAS-Bench-101

# Truncating edges (1 -> 3, 2 -> 4), a projected input -> output edge, all three operations.
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


def conv_norm_relu(net: Reference, x: Tensor, out: int, kernel: int, stride: int = 1) -> Tensor:
    return F.relu(net.norm(net.conv(x, out, kernel, stride)))


def branchy(net: Reference, x: Tensor, out: int) -> Tensor:
    c2, c3, c4 = (out // 3 + (place < out % 3) for place in range(3))  # of the vertices that the output concatenates
    c1 = max(c2, c3)
    v1 = conv_norm_relu(net, conv_norm_relu(net, x, c1, 1), c1, 3)
    v2 = F.max_pool2d(v1[:, :c2], 3, 1, 1)
    v3 = conv_norm_relu(net, v1[:, :c3], c3, 1)
    v4 = conv_norm_relu(net, v2[:, :c4] + conv_norm_relu(net, x, c4, 1), c4, 3)
    return torch.cat([v2, v3, v4], 1) + conv_norm_relu(net, x, out, 1)


def nasbench101(net: Reference, x: Tensor, per_stage: int) -> Tensor:
    x = conv_norm_relu(net, x, 8, 3)
    for channels in (8, 16, 32):
        x = F.max_pool2d(x, 2) if channels > 8 else x
        for _ in range(per_stage):
            x = branchy(net, x, channels)
    return x


def test_nasbench101_vertices_add_what_arrives_and_the_output_concatenates() -> None:
    check_equal(small(BRANCHY_101, image_size=16), lambda net, x: net.classes(nasbench101(net, x, 1), 5))


def test_nasbench101_without_operations_is_one_projection_per_cell() -> None:
    def direct(net: Reference, x: Tensor) -> Tensor:
        x = conv_norm_relu(net, conv_norm_relu(net, x, 8, 3), 8, 1)
        x = conv_norm_relu(net, F.max_pool2d(x, 2), 16, 1)
        return net.classes(conv_norm_relu(net, F.max_pool2d(x, 2), 32, 1), 5)

    cell = Nasbench101Cell(((0, 1), (0, 0)), ("input", "output"))
    check_equal(small(cell, image_size=8, in_channels=1), direct)


def test_large_images_are_halved_by_the_stem_and_embeddings_end_in_batch_norms() -> None:
    def recogniser(net: Reference, x: Tensor) -> Tensor:
        x = nasbench101(net, conv_norm_relu(net, x, 8, 3, 2), 2)
        x = net.norm(net.conv(x, 32, 7, padding=0, groups=32)).flatten(1)
        return net.norm(net.linear(x, 16, bias=False))

    head = Embedding(16, "depthwise")
    check_equal(cell_network(BRANCHY_101, head, channels=8, cells_per_stage=2, image_size=56), recogniser)


# ---------------------------------------------------------------- NAS-Bench-201

FULL_201 = Nasbench201Cell(
    ("nor_conv_1x1", "skip_connect", "avg_pool_3x3", "nor_conv_3x3", "nor_conv_3x3", "nor_conv_1x1")
)


def relu_conv_norm(net: Reference, x: Tensor, out: int, kernel: int, stride: int = 1) -> Tensor:
    return net.norm(net.conv(F.relu(x), out, kernel, stride))


def full_201(net: Reference, x: Tensor) -> Tensor:
    c = x.shape[1]
    one = relu_conv_norm(net, x, c, 1)
    two = x + F.avg_pool2d(one, 3, 1, 1, count_include_pad=False)
    return relu_conv_norm(net, x, c, 3) + relu_conv_norm(net, one, c, 3) + relu_conv_norm(net, two, c, 1)


def sparse_201(net: Reference, x: Tensor) -> Tensor:
    """Nodes 1 and 3 only; what leads to node 2 is not there."""
    one = relu_conv_norm(net, x, x.shape[1], 1)
    return x + F.avg_pool2d(one, 3, 1, 1, count_include_pad=False)


SPARSE_201 = Nasbench201Cell(("nor_conv_1x1", "nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "none"))


@pytest.mark.parametrize(("cell", "function"), [(FULL_201, full_201), (SPARSE_201, sparse_201)], ids=["full", "sparse"])
def test_nasbench201_nodes_add_their_edges_and_stages_begin_with_a_residual_block(cell, function) -> None:  # type: ignore[no-untyped-def]
    def reference(net: Reference, x: Tensor) -> Tensor:
        x = net.norm(net.conv(x, 8, 3))
        for channels in (8, 16, 32):
            if channels > 8:
                body = relu_conv_norm(net, relu_conv_norm(net, x, channels, 3, 2), channels, 3)
                x = net.conv(F.avg_pool2d(x, 2), channels) + body
            x = function(net, x)
        return net.classes(F.relu(net.norm(x)), 5)

    check_equal(small(cell, image_size=16), reference)


# ---------------------------------------------------------------- DARTS

# Every operation, of stride 1 and 2; two edges of one state that both start with a ReLU, skips of stride 2 among them.
NORMAL = (
    ("sep_conv_3x3", 0), ("dil_conv_5x5", 1), ("skip_connect", 0), ("max_pool_3x3", 1),
    ("avg_pool_3x3", 2), ("sep_conv_5x5", 0), ("dil_conv_3x3", 3), ("skip_connect", 4),
)  # fmt: skip
REDUCE = (
    ("skip_connect", 0), ("sep_conv_3x3", 1), ("dil_conv_3x3", 0), ("skip_connect", 1),
    ("sep_conv_5x5", 0), ("max_pool_3x3", 1), ("avg_pool_3x3", 0), ("skip_connect", 3),
)  # fmt: skip


def factorized_reduction(net: Reference, x: Tensor, out: int) -> Tensor:
    x = F.relu(x)
    even = net.norm(net.conv(x, out // 2, 1, 2))
    return torch.cat([even, net.norm(net.conv(x[:, :, 1:, 1:], out - out // 2, 1, 2))], 1)


def darts_operation(net: Reference, op: str, x: Tensor, stride: int) -> Tensor:
    c = x.shape[1]
    if op == "skip_connect":
        return x if stride == 1 else factorized_reduction(net, x, c)
    if op == "max_pool_3x3":
        return F.max_pool2d(x, 3, stride, 1)
    if op == "avg_pool_3x3":
        return F.avg_pool2d(x, 3, stride, 1, count_include_pad=False)
    kernel, dilation = int(op[-1]), 2 if op.startswith("dil") else 1
    for s in (stride,) if dilation == 2 else (stride, 1):
        depthwise = net.conv(F.relu(x), c, kernel, s, dilation * (kernel - 1) // 2, dilation, groups=c)
        x = net.norm(net.conv(depthwise, c))
    return x


def darts_cells(net: Reference, before: Tensor, here: Tensor, channels: int, was_reduced: bool) -> Tensor:
    for index in range(5):
        reduces = index in (1, 3)
        channels *= 1 + reduces
        first = factorized_reduction(net, before, channels) if was_reduced else relu_conv_norm(net, before, channels, 1)
        states = [first, relu_conv_norm(net, here, channels, 1)]
        genotype = REDUCE if reduces else NORMAL
        for node in range(4):
            (op_a, a), (op_b, b) = genotype[2 * node : 2 * node + 2]
            value = darts_operation(net, op_a, states[a], 2 if reduces and a < 2 else 1)
            states.append(value + darts_operation(net, op_b, states[b], 2 if reduces and b < 2 else 1))
        before, here, was_reduced = here, torch.cat(states[2:], 1), reduces
    return here


def test_darts_nodes_add_two_operations_and_cells_read_the_two_before_them() -> None:
    def reference(net: Reference, x: Tensor) -> Tensor:
        stem = net.norm(net.conv(x, 24, 3))
        return net.classes(darts_cells(net, stem, stem, 8, False), 5)

    check_equal(small(DartsCell(NORMAL, REDUCE), image_size=16), reference)


def test_darts_on_large_images_begins_with_three_reductions() -> None:
    def reference(net: Reference, x: Tensor) -> Tensor:
        first = net.norm(net.conv(F.relu(net.norm(net.conv(x, 4, 3, 2))), 8, 3, 2))
        return net.classes(darts_cells(net, first, relu_conv_norm(net, first, 8, 3, 2), 8, True), 5)

    check_equal(small(DartsCell(NORMAL, REDUCE), image_size=64), reference)


# ---------------------------------------------------------------- every operation


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
