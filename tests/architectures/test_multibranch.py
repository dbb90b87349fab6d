import pytest

from edgenas.architectures.multibranch import Dense, Mobile, Rectangle, branch_cells, cell_kinds, pool_operations
from edgenas.architectures.published import PUBLISHED, published_architecture
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import BranchCell, Classes, MultiBranchArchitecture


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("nsenet-27", 4_570_464, 326_325_200),
        ("nsenet", 4_564_000, 330_953_544),
        ("nsenet-gpu", 15_742_296, 1_471_130_624),
    ],
)
def test_published_multibranch_networks_have_their_published_counts(name: str, params: int, macs: int) -> None:
    workload = workload_from_architecture(published_architecture(name))
    assert (workload.params, workload.macs) == (params, macs)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("gnas-cifar10-t", 466_312),
        ("gnas-cifar10-m", 2_490_340),
        ("gnas-cifar100-t", 488_588),
        ("gnas-cifar100-m", 2_592_796),
        ("gnas-emnist-m", 2_252_547),
        ("gnas-fashion-t", 508_258),
        ("gnas-fashion-m", 6_159_850),
        ("gnas-kmnist-m", 2_711_170),
        ("trgnas-cifar10", 453_498),
    ],
)
def test_published_chains_have_their_published_parameters(name: str, params: int) -> None:
    assert workload_from_architecture(published_architecture(name)).params == params


@pytest.mark.parametrize(("name", "millions"), [("gnas-emnist-t", 0.406), ("gnas-kmnist-t", 0.420)])
def test_published_chains_round_to_the_papers_figure(name: str, millions: float) -> None:
    assert round(workload_from_architecture(published_architecture(name)).params / 1e6, 3) == millions


def test_an_unknown_published_name_lists_those_that_exist() -> None:
    with pytest.raises(EdgenasError, match=r"nsenet-28.*choose from .*nsenet-27"):
        published_architecture("nsenet-28")
    assert all(published_architecture(name) is PUBLISHED[name] for name in PUBLISHED)


def test_pools_have_the_published_order() -> None:
    small, middle, large = (pool_operations(size) for size in (19, 27, 72))
    assert [len(pool) for pool in (small, middle, large)] == [19, 27, 72]
    assert large[:27] == middle
    assert middle[4] == Mobile(3, 3, dilation=2)
    assert middle[20] == Mobile(11, 6)
    assert middle[21] == Rectangle(5, 1)
    assert large[27] == Mobile(3, 1, groups=(1, 2))
    assert large[71] == Mobile(11, 6, groups=(2, 2))
    assert small[8] == Mobile(7, 6)
    assert small[9:13] == (Dense(1, 1), Dense(1, 2), Dense(2, 1), Dense(2, 2))


def test_templates_expand_to_the_published_strings() -> None:
    assert cell_kinds("NER", [1, 3, 3, 3, 3, 3]) == "NRNNNRNNNRNNNENNNRNNNE"
    assert cell_kinds("NR", [1, 3, 3, 7, 3]) == "NRNNNRNNNRNNNNNNNRNNN"


def test_a_cell_counted_by_hand() -> None:
    # stem 3*3*1*4 (+8 norm) at 4x4; N cell on 4 channels, branch t3 k3: 4*12 + 12*9 + 12*4 (+2*(12+12+4) norm); mean with the
    # input; tail 4*8, no norm; linear 8*10 + 10
    cells = (BranchCell("N", 4, (3,)), BranchCell("N", 4, ()))
    network = MultiBranchArchitecture(27, cells, Classes(10), 4, 2, 8, in_channels=1, image_size=8)
    workload = workload_from_architecture(network)
    assert workload.params == 36 + 8 + 48 + 108 + 48 + 56 + 32 + 90
    assert workload.macs == (36 + 48 + 108 + 48 + 32) * 16 + 80
    means = [kernel for kernel in workload.kernels if kernel.kind == "mean"]
    assert [kernel.inputs for kernel in means] == [(0, 3)]  # the empty cell is not there


def test_a_reducing_rectangle_halves_one_side_at_a_time() -> None:
    network = MultiBranchArchitecture(27, (BranchCell("R", 6, (22,)),), Classes(10), 4, 1, 8, image_size=9)
    sides = [(k.kernel, k.height, k.width) for k in workload_from_architecture(network).kernels[1:5]]
    assert sides == [((1, 1), 9, 9), ((1, 5), 9, 5), ((5, 1), 5, 5), ((1, 1), 5, 5)]


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ((BranchCell("R", 8, ()),), "only an N cell may be left out"),
        ((BranchCell("N", 8, (0,)),), "changes 4 channels to 8"),
        ((BranchCell("N", 4, (27,)),), "distinct indices below 27"),
        ((BranchCell("N", 4, (3, 3)),), "distinct indices"),
    ],
)
def test_cells_that_make_no_network_are_refused(cells: tuple[BranchCell, ...], message: str) -> None:
    with pytest.raises(EdgenasError, match=message):
        workload_from_architecture(MultiBranchArchitecture(27, cells, Classes(10), stem_channels=4))


def test_groups_need_divisible_channels() -> None:
    cells = (BranchCell("N", 5, (28,)),)
    with pytest.raises(EdgenasError, match="2 groups on an odd number"):
        workload_from_architecture(MultiBranchArchitecture(72, cells, Classes(10), stem_channels=5))


def test_wrong_numbers_of_channels_are_refused() -> None:
    with pytest.raises(EdgenasError, match="need 2 channel numbers and 2 sets"):
        branch_cells("NR", (4, 8, 16), [[0], [0]])
