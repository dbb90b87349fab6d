"""Counts against the published networks, and shapes by hand."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from edgenas.architectures.chain import ChainSpace, chain, layer_shapes, workload_from_chain
from edgenas.architectures.stem import Stem, stem_widths
from edgenas.engine.settings import PRESETS, chain_space
from edgenas.errors import EdgenasError
from edgenas.methods.settings import SearchSettings
from edgenas.records import ChainArchitecture, Classes, Embedding, Head, Kernel


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
        ({"kernels": ()}, r"kernels \[\]: need one or more"),
        ({"kernels": (3, 4)}, r"kernels \[3, 4\]: need one or more, each of them odd"),
        ({"kernels": (3, -1)}, "each of them odd"),
    ],
)
def test_bounds_that_make_no_space_are_refused(bounds: dict[str, Any], words: str) -> None:
    good: dict[str, Any] = {"min_depth": 3, "max_depth": 6, "min_width": 4, "max_width": 8, "width_step": 2}
    with pytest.raises(EdgenasError, match=words):
        ChainSpace(Classes(10), 3, 32, **{**good, **bounds})


@pytest.mark.parametrize(("kernels", "usual"), [((3, 5), 3), ((5, 3), 3), ((7, 5), 5), ((1, 3), 3), ((1,), 1)])
def test_a_chain_that_names_no_kernel_is_a_member_with_the_usual_one(kernels: tuple[int, ...], usual: int) -> None:
    space = ChainSpace(Classes(10), 3, 32, 3, 4, 8, 12, 4, kernels=kernels)
    assert space.reference().kernels == (usual,) * 4
    assert all(space.contains(one) for one in (space.reference(), space.chain(3, 8), *space.simplest()))


def test_an_architecture_whose_lists_do_not_fit_its_depth_is_refused() -> None:
    with pytest.raises(EdgenasError, match="needs 4 ops and kernels, not 3 and 4"):
        workload_from_chain(ChainArchitecture(8, 4, (0,) * 3, (3,) * 4, Classes(10)))


# ---------------------------------------------------------------- stems of large images


def behind(stem: Stem, image_size: int, head: Head = Classes(2)) -> ChainArchitecture:
    return chain(16, 3, (0,) * 3, (3,) * 3, head, 3, image_size, stem)


def test_a_growing_stem_counted_by_hand() -> None:
    """224 px: 3 -> 8 at 112 px, then separable 8 -> 16 at 56 and 16 -> 32 at 28, where the chain begins with 32 channels."""
    wide, growing = (workload_from_chain(behind(stem, 224)) for stem in ("wide", "growing"))  # type: ignore[arg-type]
    assert [(k.kind, k.out_channels, k.height, k.activation) for k in growing.kernels[:6]] == [
        ("conv", 8, 112, "relu"),
        ("depthwise", 8, 56, ""),
        ("conv", 16, 56, "relu"),
        ("depthwise", 16, 28, ""),
        ("conv", 32, 28, "relu"),
        ("depthwise", 32, 28, ""),  # the first layer of the chain
    ]
    stem = sum(kernel.macs for kernel in growing.kernels[:5])
    assert stem == 27 * 8 * 112**2 + (8 * 9 + 8 * 16) * 56**2 + (16 * 9 + 16 * 32) * 28**2
    assert growing.kernels[-7:] == tuple(shifted(k, 1) for k in wide.kernels[-7:]), "the chain is the same"
    before = sum(kernel.macs for kernel in wide.kernels[:4])
    assert (before - stem, before / stem) == (wide.macs - growing.macs, pytest.approx(14.1, abs=0.1))


def shifted(kernel: Kernel, by: int) -> Kernel:
    return msgspec.structs.replace(kernel, inputs=tuple(source + by for source in kernel.inputs))


@pytest.mark.parametrize(
    ("channels", "reductions", "widths"),
    [
        (32, 1, (32,)),
        (32, 2, (16, 32)),
        (32, 3, (8, 16, 32)),
        (16, 3, (8, 8, 16)),
        (20, 2, (10, 20)),
        (10, 2, (8, 10)),
        (6, 3, (6, 6, 6)),
    ],
)
def test_a_growing_stem_doubles_from_eight_channels_on(channels: int, reductions: int, widths: tuple[int, ...]) -> None:
    assert stem_widths(channels, reductions) == widths


def test_a_chain_that_needs_no_stem_is_the_published_one_whatever_stem_is_asked_for() -> None:
    for image_size, head in ((32, Classes(10)), (28, Classes(10)), (28, Embedding(64))):
        assert behind("growing", image_size, head) == behind("wide", image_size, head)
        assert behind("growing", image_size, head).fingerprint == behind("wide", image_size, head).fingerprint
    for image_size, head in ((33, Classes(10)), (29, Embedding(64))):
        assert behind("growing", image_size, head).fingerprint != behind("wide", image_size, head).fingerprint


def test_a_stem_that_grows_out_of_nothing_or_by_other_strides_is_refused() -> None:
    for strides in ((), (2, 3)):
        with pytest.raises(EdgenasError, match="a growing stem has convolutions of stride 2 only"):
            workload_from_chain(msgspec.structs.replace(behind("growing", 64), stem_strides=strides))


def test_new_searches_of_large_images_have_a_growing_stem_and_others_the_published_chain() -> None:
    spaces = {
        (size, kind): chain_space(SearchSettings(), PRESETS["tiny"], head, 3, size).stem
        for size in (28, 29, 32, 33, 224)
        for kind, head in (("classes", Classes(10)), ("faces", Embedding(64)))
    }
    grown = {key for key, stem in spaces.items() if stem == "growing"}
    assert grown == {(29, "faces"), (32, "faces"), (33, "classes"), (33, "faces"), (224, "classes"), (224, "faces")}


def test_a_space_that_was_written_before_there_were_stems_keeps_the_wide_one() -> None:
    space = ChainSpace(Classes(10), 3, 96, 4, 10, 4, 24, 4, stem="growing")
    fields = msgspec.json.decode(msgspec.json.encode(space))
    fields.pop("stem")
    old = msgspec.json.decode(msgspec.json.encode(fields), type=ChainSpace)
    assert old.smallest() == msgspec.structs.replace(space.smallest(), stem="wide")
    assert old.smallest().fingerprint == "9081ce37d8a30e90"  # of the version before


def test_features_are_those_of_a_chain_by_hand() -> None:
    """Six layers of width 8 at 32 px; stem and layers 0, 1 see every pixel, 2, 3 every second one, 4, 5 every fourth."""
    net = chain(8, 6, (1, 0, 0, 0, 1, 1), (3, 5, 7, 3, 3, 5), Classes(10))
    space = ChainSpace(Classes(10), 3, 32, 3, 100, 8, 8, kernels=(3, 5, 7))
    field = 1 + 2 + 2 + 4 + 6 + 2 * 2 + 2 * 2 + 4 * 4  # a kernel of k adds k - 1 steps of its input
    expected = [0.6, 3, 0.5, 0.5, 0, 0, 0, 0.5, 1, 0.5, 0, math.log2(field)]
    np.testing.assert_allclose(space.features([net])[0, :-4], expected)
    assert space.features([]).shape == (0, 16)


@pytest.mark.parametrize(
    ("size", "stem", "stages", "first", "last"),
    [
        ((16, 64), 0, (2, 2), (16, 64), (4, 16)),  # as many pixels as 32 x 32
        ((16, 65), 0, (2, 2), (16, 65), (4, 17)),  # the square is rounded down
        ((17, 65), 1, (2, 2), (9, 33), (3, 9)),  # 33 x 33 and a few
        ((32, 160), 2, (2, 2), (8, 40), (2, 10)),  # 71: 36, 18
        ((160, 32), 2, (2, 2), (40, 8), (10, 2)),
        ((64, 320), 3, (2, 2), (8, 40), (2, 10)),
        ((16, 320), 2, (2, 2), (4, 80), (1, 20)),
        ((8, 2048), 2, (2, 2), (2, 512), (1, 128)),  # halving rounds up: no side gets to 0
        ((8, 14), 0, (2, 1), (8, 14), (4, 7)),  # 10
    ],
)
def test_a_rectangle_is_halved_as_often_as_the_square_of_as_many_pixels(
    size: tuple[int, int], stem: int, stages: tuple[int, int], first: tuple[int, int], last: tuple[int, int]
) -> None:
    net = chain(8, 3, (0,) * 3, (3,) * 3, Classes(2), image_size=size, stem="growing")
    square = chain(8, 3, (0,) * 3, (3,) * 3, Classes(2), image_size=math.isqrt(size[0] * size[1]), stem="growing")
    assert (net.stem_strides, net.stage_strides) == ((2,) * stem, stages) == (square.stem_strides, square.stage_strides)
    maps = [(k.height, k.width) for k in workload_from_chain(net).kernels if k.kind == "conv" and k.kernel == (1, 1)]
    assert (maps[-3], maps[-1]) == (first, last)


def test_multiplications_of_a_rectangular_chain_are_those_of_its_definition() -> None:
    """64 x 320, width 16: a stem of 8, 16 and 32 channels, halved each time; 16, 32 and 64 at 8 x 40, 4 x 20 and 2 x 10."""
    net = chain(16, 3, (0, 1, 0), (3, 5, 3), Classes(7), in_channels=1, image_size=(64, 320), stem="growing")
    stem = 32 * 160 * 9 * 1 * 8  # dense, 1 -> 8
    stem += 16 * 80 * (9 * 8 + 8 * 16) + 8 * 40 * (9 * 16 + 16 * 32)  # depthwise, 1 x 1: 8 -> 16 -> 32
    layers = 8 * 40 * (9 * 32 + 32 * 16) + 4 * 20 * (25 * 16 * 32) + 2 * 10 * (9 * 32 + 32 * 64)
    assert workload_from_chain(net).macs == stem + layers + 64 * 7


def test_a_network_lying_down_costs_what_it_costs_upright() -> None:
    flat, tall = (
        chain(8, 6, (0, 1) * 3, (3, 5, 7) * 2, Classes(2), image_size=size, stem="growing")
        for size in ((48, 320), (320, 48))
    )
    one, two = workload_from_chain(flat), workload_from_chain(tall)
    assert (one.macs, one.params, one.bytes_moved) == (two.macs, two.params, two.bytes_moved)
    assert [(k.height, k.width) for k in one.kernels] == [(k.width, k.height) for k in two.kernels]
    assert flat.fingerprint != tall.fingerprint


def test_a_second_spelling_of_a_square_is_no_network() -> None:
    other = msgspec.json.decode(
        network(8, 3, set(), set()).canonical_json().replace(b'"image_size":32', b'"image_size":[32,32]'),
        type=ChainArchitecture,
    )
    with pytest.raises(EdgenasError, match="a square is written as one number, 32"):
        workload_from_chain(other)
