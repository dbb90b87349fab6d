"""Cells against what the benchmarks publish."""

import json

import msgspec
import numpy as np
import pytest

from edgenas.architectures.cell import canonical, cell_network, check_cell, live_edges, pruned, vertex_channels
from edgenas.architectures.cell_workload import workload_from_cell
from edgenas.errors import EdgenasError
from edgenas.records import CellArchitecture, Classes, DartsCell, Nasbench101Cell, Nasbench201Cell
from tests.architectures.cells import BEST_101, DARTS_V2, nasbench101_cells
from tests.shared_data import shared_data

C3, C1, MP = "conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3"
SKIP, NONE, CONV1, CONV3, POOL = "skip_connect", "none", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3"


def nasbench201(*ops: str) -> CellArchitecture:
    return cell_network(Nasbench201Cell(ops), Classes(10))  # type: ignore[arg-type]


def test_nasbench101_parameter_counts_of_the_first_rows_equal_the_table() -> None:
    _compare_parameter_counts(slice(0, 400))


@pytest.mark.slow
def test_nasbench101_parameter_counts_of_all_rows_equal_the_table() -> None:
    _compare_parameter_counts(slice(None))


def _compare_parameter_counts(rows: slice) -> None:
    table = np.load(shared_data("nas/nb101_20000.npz"))
    counts = [workload_from_cell(cell_network(cell, Classes(10))).params for cell in nasbench101_cells(table, rows)]
    np.testing.assert_array_equal(counts, table["params"][rows])


def test_channels_are_split_over_the_vertices_that_feed_the_output_and_pushed_back_by_maximum() -> None:
    matrix = ((0, 1, 1, 0, 0), (0, 0, 1, 1, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0, 0, 0, 0, 0))
    assert vertex_channels(matrix, 128, 129) == [
        128,
        65,
        65,
        64,
        129,
    ]  # 129 = 65 + 64; vertex 1 has its larger successor


def test_isomorphic_cells_share_one_canonical_form_and_others_do_not() -> None:
    #   input -> a -> b -> output, input -> c -> output, spelled in two orders
    one = Nasbench101Cell(
        ((0, 1, 0, 1, 0), (0, 0, 1, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 0, 1), (0,) * 5), ("input", C3, C1, MP, "output")
    )
    other = Nasbench101Cell(
        ((0, 1, 1, 0, 0), (0, 0, 0, 0, 1), (0, 0, 0, 1, 0), (0, 0, 0, 0, 1), (0,) * 5), ("input", MP, C3, C1, "output")
    )
    third = Nasbench101Cell(other.matrix, ("input", MP, C1, C3, "output"))
    assert canonical(one) == canonical(other) != canonical(third)
    assert canonical(canonical(one)) == canonical(one)
    check_cell(canonical(one))


def test_all_cells_of_the_table_stay_distinct_in_canonical_form() -> None:
    cells = nasbench101_cells(np.load(shared_data("nas/nb101_20000.npz")), slice(0, 4000))
    assert len({canonical(cell) for cell in cells}) == 4000
    assert all(pruned(cell) == cell for cell in cells)


def test_pruning_drops_vertices_off_the_path_and_gives_none_without_one() -> None:
    dangling = Nasbench101Cell(((0, 1, 1, 0), (0, 0, 0, 1), (0,) * 4, (0,) * 4), ("input", C3, MP, "output"))
    assert pruned(dangling) == Nasbench101Cell(((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("input", C3, "output"))
    assert pruned(Nasbench101Cell(((0, 1, 0), (0, 0, 0), (0, 0, 0)), ("input", C3, "output"))) is None


def test_nasbench201_counts_by_hand() -> None:
    # stem 3*16*9 + 32 = 464; reductions 14,464 + 57,600; last BN 128; linear 650: 73,306 without the cells
    outside = (
        464 + (16 * 32 * 9 + 64 + 32 * 32 * 9 + 64 + 512) + (32 * 64 * 9 + 128 + 64 * 64 * 9 + 128 + 2048) + 128 + 650
    )
    assert outside == 73_306
    assert workload_from_cell(nasbench201(*[SKIP] * 6)).params == 73_306
    # six 3x3 convolutions with BN in five cells at 16, 32 and 64 channels: the benchmark's largest, 1.531546 M, 220.12 M MACs
    largest = workload_from_cell(nasbench201(*[CONV3] * 6))
    assert largest.params == 73_306 + 30 * sum(9 * c * c + 2 * c for c in (16, 32, 64)) == 1_531_546
    assert round(largest.macs / 1e6, 2) == 220.12
    # one live 1x1 (0 -> 3) beside a pool; the 3x3 out of node 1 is dead because nothing reaches node 1
    mixed = workload_from_cell(nasbench201(NONE, NONE, CONV3, CONV1, CONV3, POOL))
    assert mixed.params == 73_306 + 5 * sum(c * c + 2 * c for c in (16, 32, 64))


def test_nasbench201_liveness_goes_both_ways() -> None:
    assert live_edges(Nasbench201Cell((NONE, SKIP, CONV3, NONE, CONV3, POOL))) == (
        False,
        True,
        False,
        False,
        False,
        True,
    )
    with pytest.raises(EdgenasError, match="never connects"):
        nasbench201(CONV3, CONV3, CONV3, NONE, NONE, NONE)


def test_darts_v2_has_the_published_sizes() -> None:
    cifar = workload_from_cell(cell_network(DARTS_V2, Classes(10)))
    assert cifar.params == 3_349_342  # published: 3.3 M
    imagenet = workload_from_cell(cell_network(DARTS_V2, Classes(1000), image_size=224))
    assert imagenet.params == 4_718_752  # published: 4.7 M
    assert (
        500e6 < imagenet.macs < 600e6
    )  # published: 574 M, counting more than convolutions; below the mobile bound of 600 M


@pytest.mark.parametrize("cell", [BEST_101, DARTS_V2, Nasbench201Cell((SKIP, POOL, CONV1, CONV3, SKIP, CONV3))])
def test_architectures_survive_json(cell: Nasbench101Cell | Nasbench201Cell | DartsCell) -> None:
    import msgspec

    architecture = cell_network(cell, Classes(10), image_size=64)
    assert msgspec.json.decode(architecture.canonical_json(), type=CellArchitecture) == architecture
    assert json.loads(architecture.canonical_json())["cell"]["space"]


@pytest.mark.parametrize(
    ("matrix", "ops", "message"),
    [
        (((0, 1), (1, 0)), ("input", "output"), "upper triangular"),
        (((0, 1), (0, 0)), ("input", "out"), "'output' last"),
        (((0, 1, 0), (0, 0, 1), (0, 0, 0)), ("input", "conv5x5", "output"), "conv3x3-bn-relu"),
        (((0, 0, 1), (0, 0, 1), (0, 0, 0)), ("input", C3, "output"), "prune"),
        (tuple((0,) * (i + 1) + (1,) * (4 - i) for i in range(5)), ("input", C3, C3, C3, "output"), "at most 9 edges"),
    ],
)
def test_bad_nasbench101_cells_are_one_line_errors(
    matrix: tuple[tuple[int, ...], ...], ops: tuple[str, ...], message: str
) -> None:
    with pytest.raises(EdgenasError, match=message) as caught:
        check_cell(Nasbench101Cell(matrix, ops))
    assert "\n" not in str(caught.value)


def test_bad_genotypes_and_sizes_are_one_line_errors() -> None:
    with pytest.raises(EdgenasError, match="node 0 reads states 0 to 1, not 2"):
        check_cell(DartsCell((("skip_connect", 2), *DARTS_V2.normal[1:]), DARTS_V2.reduce))
    with pytest.raises(EdgenasError, match="no operation 'sep_conv_7x7'"):
        check_cell(DartsCell((("sep_conv_7x7", 0), *DARTS_V2.normal[1:]), DARTS_V2.reduce))
    with pytest.raises(EdgenasError, match="--image-size 96"):
        cell_network(DARTS_V2, Classes(10), image_size=100)
    with pytest.raises(EdgenasError, match="--image-size 28"):
        cell_network(BEST_101, Classes(10), image_size=27)
    for size, near in (
        ((32, 66), "32x64"),
        ((30, 64), "32x64"),
        ((28, 66), "32x64"),
    ):  # one reduction, and two in the network
        halved = f"halves {size[0]}x{size[1]}-px images to a fraction of a pixel; sides must be multiples of 8: "
        halved += f"use --image-size {near}"
        with pytest.raises(EdgenasError, match=halved):
            cell_network(BEST_101, Classes(10), image_size=size)
    assert cell_network(BEST_101, Classes(10), image_size=(32, 64)).image_size == (32, 64)


def test_cells_take_rectangles_behind_the_stem_of_the_square_of_as_many_pixels() -> None:
    """64 x 256 px are 128 x 128: two reductions, then stages at 16 x 64, 8 x 32 and 4 x 16."""
    for cell in (BEST_101, Nasbench201Cell((CONV3,) * 6)):
        wide, square = (
            workload_from_cell(
                cell_network(cell, Classes(5), channels=32, cells_per_stage=1, image_size=size, stem="growing")
            )
            for size in ((64, 256), 128)
        )
        assert (wide.macs, wide.params) == (square.macs, square.params)
        assert {(k.height, k.width) for k in wide.kernels} == {(32, 128), (16, 64), (8, 32), (4, 16), (1, 1)}
    genotype = workload_from_cell(cell_network(DARTS_V2, Classes(5), image_size=(64, 256)))
    assert {(k.height, k.width) for k in genotype.kernels} >= {(32, 128), (16, 64), (8, 32), (4, 16), (2, 8)}


@pytest.mark.parametrize("cell", [BEST_101, Nasbench201Cell((CONV3,) * 6)], ids=["101", "201"])
def test_cells_behind_a_growing_stem_are_the_same_cells(cell: Nasbench101Cell | Nasbench201Cell) -> None:
    """128 px: 3 -> 16 at 64 px, separable 16 -> 32 at 32; the wide stem has two of 32 and the published convolution."""
    wide, growing = (
        workload_from_cell(cell_network(cell, Classes(5), channels=32, cells_per_stage=1, image_size=128, stem=stem))
        for stem in ("wide", "growing")
    )
    assert [(k.kind, k.out_channels, k.height) for k in growing.kernels[:3]] == [
        ("conv", 16, 64),
        ("depthwise", 16, 32),
        ("conv", 32, 32),
    ]
    assert growing.kernels[2].activation == wide.kernels[2].activation == ("relu" if cell is BEST_101 else "")
    assert sum(k.macs for k in growing.kernels[:3]) == 27 * 16 * 64**2 + (16 * 9 + 16 * 32) * 32**2
    assert [(k.kind, k.macs) for k in growing.kernels[3:]] == [(k.kind, k.macs) for k in wide.kernels[3:]]


def test_only_cells_of_large_images_without_a_published_stem_grow_one() -> None:
    small, genotype = nasbench201(*(CONV3,) * 6), cell_network(DARTS_V2, Classes(10), image_size=128, stem="growing")
    assert cell_network(small.cell, Classes(10), stem="growing") == small
    assert genotype == cell_network(DARTS_V2, Classes(10), image_size=128)
    for network in (small, genotype):
        with pytest.raises(EdgenasError, match="a growing stem is for NAS-Bench-101 and -201"):
            workload_from_cell(msgspec.structs.replace(network, stem="growing"))
