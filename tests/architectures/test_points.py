"""Paths that may be dropped, and where an auxiliary head reads: by hand on small networks, by DARTS's own rule on its cells."""

from __future__ import annotations

from edgenas.architectures.cell import cell_network
from edgenas.architectures.chain import chain
from edgenas.architectures.multibranch import branch_cells
from edgenas.architectures.points import OWN, Points, points_of, shortcut_paths
from edgenas.architectures.tracer import Tracer
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import (
    CellArchitecture,
    Classes,
    DartsCell,
    MultiBranchArchitecture,
    Nasbench101Cell,
    Nasbench201Cell,
    Stage,
    StagesArchitecture,
)

GENOTYPE = (
    ("sep_conv_3x3", 0), ("skip_connect", 1), ("max_pool_3x3", 0), ("skip_connect", 2),
    ("skip_connect", 0), ("skip_connect", 1), ("dil_conv_5x5", 2), ("avg_pool_3x3", 4),
)  # fmt: skip


def darts(cells_per_stage: int = 1, image_size: int = 32) -> CellArchitecture:
    cell = DartsCell(GENOTYPE, GENOTYPE)
    return cell_network(cell, Classes(10), channels=4, cells_per_stage=cells_per_stage, image_size=image_size)


def test_a_chain_has_neither() -> None:
    assert points_of(chain(8, 6, (0, 1) * 3, (3,) * 6, Classes(10), 3, 32)) == Points(())


def test_a_residual_block_may_lose_what_its_shortcut_leads_around() -> None:
    net = Tracer(3, 8, 8)
    first = net.conv(-1, 8, 3, norm=True, activation="relu")
    inner = net.conv(first, 8, 3, norm=True, activation="relu")
    block = net.conv(inner, 8, 3, norm=True, activation="relu", residual=first)
    total = net.elementwise("add", [net.conv(block, 8, 1, norm=True), block])
    net.head(total, Classes(10))
    assert shortcut_paths(net.workload()) == ((block, OWN), (total, 0))


def test_a_shortcut_with_a_convolution_is_no_identity() -> None:
    net = Tracer(3, 8, 8)
    first = net.conv(-1, 8, 3, norm=True)
    inner = net.conv(first, 16, 3, stride=2, norm=True)
    shortcut = net.conv(first, 16, 1, stride=2, norm=True)
    last = net.conv(inner, 16, 3, norm=True, residual=shortcut)
    other = net.elementwise("add", [net.conv(last, 16, 1), net.conv(last, 16, 3)])
    net.head(net.elementwise("add", [other, other]), Classes(10))
    assert shortcut_paths(net.workload()) == ()


def test_networks_of_stages_have_a_path_for_every_block_that_keeps_its_shape() -> None:
    stages = (Stage("residual", 16, 2, 3, 1), Stage("mbconv", 24, 3, 3, 2, 3, True), Stage("dense", 24, 2, 3, 1))
    found = points_of(StagesArchitecture(stages, Classes(10), 3, 32, 16))
    assert len(found.paths) == 2 + 2
    assert {place for _, place in found.paths} == {OWN}
    assert not found.by_epoch
    assert found.tap is None


def test_a_cell_of_branches_with_its_input_among_them_may_lose_each_branch() -> None:
    cells = branch_cells("NRN", (16, 24), ((3, 1), (0, 2), (0, 1, 2)))
    network = MultiBranchArchitecture(19, cells, Classes(10), tail_channels=64)
    kernels = workload_from_architecture(network).kernels
    found = points_of(network).paths
    assert [len(kernels[kernel].inputs) for kernel, _ in found] == [3, 3, 4, 4, 4]  # none of the R cell's mean of two
    assert [place for _, place in found] == [1, 2, 1, 2, 3]  # input 0 is the shortcut


def test_every_edge_of_a_darts_cell_but_the_identity_may_be_dropped() -> None:
    """DARTS drops where the operation is no Identity. A skip of stride 2 is a factorised reduction, and dropped."""
    found = points_of(darts())
    # A normal cell: 4 of 8 edges are skips. A reducing one: of its skips those from nodes keep their side; from the cell's two
    # inputs (edges 1, 4 and 5) they do not.
    assert len(found.paths) == 3 * 4 + 2 * 7
    assert found.by_epoch
    kernels = workload_from_architecture(darts()).kernels
    assert all(kernels[kernel].kind == "add" for kernel, _ in found.paths)


def test_the_auxiliary_head_reads_behind_the_second_reduction() -> None:
    """DARTS: cell 2 * layers // 3, from 0. Of 5 cells it is cell 3, of 20 cell 13: 8 x 8 px with 4 times 4 C channels."""
    for cells_per_stage in (1, 6):
        network = darts(cells_per_stage)
        tap = points_of(network).tap
        assert tap is not None
        kernels = workload_from_architecture(network).kernels
        assert (kernels[tap].kind, kernels[tap].height, kernels[tap].out_channels) == ("concat", 8, 4 * 16)
        layers = 3 * cells_per_stage + 2
        concats = [i for i, k in enumerate(kernels) if k.kind == "concat" and len(k.inputs) == 4]
        assert concats.index(tap) == 2 * layers // 3
    tap = points_of(darts(1, 224)).tap
    assert tap is not None
    assert workload_from_architecture(darts(1, 224)).kernels[tap].height == 7


def test_the_other_cells() -> None:
    ops = ("nor_conv_3x3", "skip_connect", "nor_conv_1x1", "avg_pool_3x3", "none", "skip_connect")
    nb201 = cell_network(Nasbench201Cell(ops), Classes(10), channels=8, cells_per_stage=1)
    kernels = workload_from_architecture(nb201).kernels
    found = points_of(nb201)
    # Node 2: a skip and a 1x1 convolution; node 3: a pool and a skip; node 1 has one edge, whose loss would leave nothing.
    assert len(found.paths) == 3 * 2
    assert found.tap is not None
    assert (kernels[found.tap].height, kernels[found.tap].out_channels) == (8, 32)
    matrix = ((0, 1, 0), (0, 0, 1), (0, 0, 0))
    nb101 = cell_network(
        Nasbench101Cell(matrix, ("input", "conv3x3-bn-relu", "output")), Classes(10), channels=8, cells_per_stage=1
    )
    found = points_of(nb101)
    assert found.paths == ()
    assert found.tap is not None
    assert workload_from_architecture(nb101).kernels[found.tap].height == 8
