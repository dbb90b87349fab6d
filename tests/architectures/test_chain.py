"""Counts against the published networks, and shapes by hand."""

import pytest

from edgenas.architectures.chain import ChainSpace, chain, layer_shapes, workload_from_chain
from edgenas.errors import EdgenasError
from edgenas.records import ChainArchitecture, Classes, Embedding


def network(width: int, depth: int, dense: set[int], k5: set[int], classes: int = 10) -> ChainArchitecture:
    ops = tuple(int(i in dense) for i in range(depth))
    return chain(width, depth, ops, tuple(5 if i in k5 else 3 for i in range(depth)), Classes(classes))


@pytest.mark.parametrize(
    ("net", "params"),
    [
        (network(46, 26, {0, 2}, {13, 17}), 466_312),
        (network(102, 21, {0, 1, 5, 8, 13}, set()), 2_490_340),
        (network(56, 21, set(), {3}, classes=100), 488_588),
        (network(56, 16, {0, 2}, set()), 453_498),
    ],
)
def test_published_parameter_counts_are_hit_exactly(net: ChainArchitecture, params: int) -> None:
    assert workload_from_chain(net).params == params


def test_published_macs_are_hit_exactly() -> None:
    assert workload_from_chain(network(56, 16, {0, 2}, set())).macs == 134_968_512  # 135.0 M in the paper


def test_width_doubles_at_a_third_and_at_two_thirds_with_stride_two() -> None:
    assert layer_shapes(network(8, 4, set(), set())) == [(16, 8, 1), (8, 16, 2), (16, 32, 2), (32, 32, 1)]


@pytest.mark.parametrize(
    ("image_size", "stem", "stages"),
    [
        (32, (), (2, 2)),
        (33, (2,), (2, 2)),
        (224, (2, 2, 2), (2, 2)),
        (28, (), (2, 2)),
        (8, (), (2, 1)),
        (6, (), (1, 1)),
    ],
)
def test_strides_fit_the_image(image_size: int, stem: tuple[int, ...], stages: tuple[int, int]) -> None:
    net = chain(8, 3, (0,) * 3, (3,) * 3, Classes(2), image_size=image_size)
    assert (net.stem_strides, net.stage_strides) == (stem, stages)
    last = [k for k in workload_from_chain(net).kernels if k.kind == "conv"][-1]
    assert last.height >= min(4, image_size)


def test_an_embedding_chain_starts_at_28_pixels() -> None:
    net = chain(8, 3, (0,) * 3, (3,) * 3, Embedding(64), in_channels=1, image_size=56)
    first_layer = workload_from_chain(net).kernels[2]
    assert (first_layer.in_height, first_layer.kind) == (28, "depthwise")


def test_tiny_workload_counted_by_hand() -> None:
    # width 1, depth 3, RGB 8x8, 2 classes: stem 3->2; layers 2->1 (stride 1), 1->2 (stride 2), 2->4 (stride 1: 8 px keep 4x4)
    load = workload_from_chain(chain(1, 3, (0, 1, 0), (3, 3, 3), Classes(2), image_size=8))
    stem = 3 * 2 * 9 + 4
    separable_0 = 2 * 9 + 2 * 1 + 2
    dense_1 = 1 * 2 * 9 + 4
    separable_2 = 2 * 9 + 2 * 4 + 8
    head = 4 * 2 + 2
    assert load.params == stem + separable_0 + dense_1 + separable_2 + head
    assert load.macs == 54 * 64 + 18 * 64 + 2 * 64 + 18 * 16 + 18 * 16 + 8 * 16 + 8


@pytest.mark.parametrize(
    ("bounds", "words"),
    [
        ({"min_depth": 5, "max_depth": 4}, "depth bounds 5..4"),
        ({"min_width": 0}, "width bounds 0"),
        ({"width_step": 0}, "width step"),
    ],
)
def test_bounds_that_make_no_space_are_refused(bounds: dict[str, int], words: str) -> None:
    good = {"min_depth": 3, "max_depth": 6, "min_width": 4, "max_width": 8, "width_step": 2}
    with pytest.raises(EdgenasError, match=words):
        ChainSpace(Classes(10), 3, 32, **{**good, **bounds})


def test_an_architecture_whose_lists_do_not_fit_its_depth_is_refused() -> None:
    with pytest.raises(EdgenasError, match="needs 4 ops and kernels, not 3 and 4"):
        workload_from_chain(ChainArchitecture(8, 4, (0,) * 3, (3,) * 4, Classes(10)))
