"""Networks of stages and their space: counts of published ones, what belongs to the space, and how far its members are spread."""

from __future__ import annotations

import random
from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.published import published_architecture
from edgenas.architectures.stages import stages_from_chain, traced_stages
from edgenas.architectures.stages_bounds import (
    BOUNDS,
    TINY_BOUNDS,
    StagesBounds,
    bounded_stages,
    kind_of_images,
    stages_space,
)
from edgenas.architectures.stages_features import BLOCKS, stage_features
from edgenas.architectures.stages_space import StagesSpace, ladder
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import ChainArchitecture, Classes, Embedding, Stage, StagesArchitecture
from tests.shared_data import shared_data

TEN, IMAGENET = Classes(10), Classes(1000)
SMALL = stages_space(TEN, 3, 32)
PHOTOGRAPHS = stages_space(IMAGENET, 3, 224)


def network(*stages: Stage, head_width: int = 0, image_size: int = 32) -> StagesArchitecture:
    return StagesArchitecture(stages, TEN, 3, image_size, stem_width=16, head_width=head_width)


# ---------------------------------------------------------------- counts


@pytest.mark.parametrize(
    ("name", "params", "macs"),
    [
        ("mobilenet-v2", 3_504_872, 300_774_272),  # torchvision; the paper: 3.4 M, 300 M
        ("mnasnet-a1", 3_887_038, 311_579_072),  # the paper: 3.9 M, 312 M
        ("mnasnet-b1", 4_383_312, 314_415_872),  # torchvision; the paper: 4.4 M, 315 M
        ("efficientnet-lite0", 4_652_008, 385_187_552),  # the authors: 4.7 M, 407 M (with norms)
        ("resnet-18-without-pool", 11_689_512, 6_900_715_520),  # torchvision's parameters: a pool has none
    ],
)
def test_published_networks_have_their_published_counts_and_are_members(name: str, params: int, macs: int) -> None:
    workload = workload_from_architecture(published_architecture(name))
    assert (workload.params, workload.macs) == (params, macs)
    assert PHOTOGRAPHS.contains(published_architecture(name))


@pytest.mark.parametrize("op", [0, 1])
@pytest.mark.parametrize("depth", [3, 8, 12])
def test_a_chain_of_one_operation_is_a_member_with_its_parameters_and_macs(op: int, depth: int) -> None:
    one = chain(16, depth, (op,) * depth, (5,) * depth, TEN)
    staged = stages_from_chain(one)
    ours, theirs = workload_from_architecture(staged), workload_from_architecture(one)
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs)
    assert len(staged.stages) == 3
    assert SMALL.contains(staged)


def test_a_chain_of_many_operations_has_a_stage_for_each_run_of_them() -> None:
    one = chain(8, 6, (0, 1, 1, 1, 0, 0), (3, 3, 3, 5, 3, 3), TEN)
    staged = stages_from_chain(one)
    assert [(stage.block, stage.width, stage.kernel, stage.repeats, stage.stride) for stage in staged.stages] == [
        ("separable", 8, 3, 1, 1),
        ("dense", 8, 3, 1, 1),
        ("dense", 16, 3, 1, 2),
        ("dense", 16, 5, 1, 1),
        ("separable", 32, 3, 2, 2),
    ]
    ours, theirs = workload_from_architecture(staged), workload_from_architecture(one)
    assert (ours.params, ours.macs) == (theirs.params, theirs.macs)


def test_a_chain_behind_a_stem_of_several_convolutions_is_no_network_of_stages() -> None:
    with pytest.raises(EdgenasError, match="2 convolutions before its first one"):
        stages_from_chain(chain(8, 3, (0,) * 3, (3,) * 3, TEN, image_size=96))


def test_blocks_have_the_parameters_of_their_definition() -> None:
    """From 16 channels to 24, 5x5, expansion 3: by hand, norms with two numbers a channel."""
    stem, classes = 27 * 16 + 32, 24 * 10 + 10
    expected = {
        "separable": 16 * 25 + 16 * 24 + 48,
        "dense": 16 * 24 * 25 + 48,
        "residual": 16 * 24 * 25 + 48 + 24 * 24 * 25 + 48 + (16 * 24 + 48),
        "mbconv": 16 * 48 + 96 + 48 * 25 + 96 + 48 * 24 + 48,
        "fused": 16 * 48 * 25 + 96 + 48 * 24 + 48,
    }
    for block, params in expected.items():
        expansion = 3 if block in ("mbconv", "fused") else 1
        stage = Stage(block, 24, 1, 5, 1, expansion)  # type: ignore[arg-type]
        assert workload_from_architecture(network(stage)).params == stem + params + classes, block
    gates = 48 * 4 + 4 + 4 * 48 + 48  # squeeze-excitation has biases, and a quarter of the 16 channels inside
    squeezed = Stage("mbconv", 24, 1, 5, 1, 3, squeeze=True)
    assert workload_from_architecture(network(squeezed)).params == stem + expected["mbconv"] + gates + classes


def test_a_head_convolution_counts_where_it_is_there() -> None:
    stage = Stage("dense", 24, 1, 3, 1)
    without, with_one = (workload_from_architecture(network(stage, head_width=width)).params for width in (0, 64))
    assert with_one - without == 24 * 64 + 2 * 64 + 40 * 10


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (network(), "has 1 to 64 stages"),
        (network(*[Stage("dense", 8, 1, 3, 1)] * 65), "has 1 to 64 stages and at most 1000 blocks, not 65 and 65"),
        (network(*[Stage("dense", 8, 500, 3, 1)] * 3), "not 3 and 1500"),
        (network(Stage("dense", 8, 1, 4, 1)), "kernels of a network of stages are odd"),
        (network(Stage("residual", 8, 1, 3, 1, 2)), "stage 0 has residual blocks with expansion 2"),
        (network(Stage("separable", 8, 1, 3, 1, squeeze=True)), "squeeze True: only mbconv and fused"),
    ],
)
def test_what_is_no_network_is_refused_in_one_line(wrong: StagesArchitecture, words: str) -> None:
    with pytest.raises(EdgenasError) as caught:
        workload_from_architecture(wrong)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_largest_numbers_of_stages_and_blocks_are_networks() -> None:
    assert len(workload_from_architecture(network(*[Stage("dense", 8, 1, 3, 1)] * 64)).kernels) == 1 + 64 + 2
    assert len(workload_from_architecture(network(*[Stage("dense", 8, 500, 3, 1)] * 2)).kernels) == 1 + 1000 + 2


# ---------------------------------------------------------------- Accel-NASBench

WIDTHS, STRIDES = (16, 24, 40, 80, 112, 192, 320), (1, 2, 2, 2, 1, 2, 1)  # EfficientNet-B0's


def test_accel_nasbench_s_networks_are_members_and_have_its_parameters_and_macs() -> None:
    """Its MACs count 4 for every number that a batch norm computes, and 1 for every number that is averaged and every mean."""
    table = np.load(shared_data("nas/accel_nasbench.npz"))
    for row in random.Random(0).sample(range(len(table["arch"])), 150):
        stages = tuple(
            Stage("mbconv", width, int(layers), int(kernel), stride, int(expansion), bool(squeeze))
            for (expansion, kernel, layers, squeeze), width, stride in zip(
                table["arch"][row].reshape(7, 4), WIDTHS, STRIDES, strict=True
            )
        )
        member = StagesArchitecture(stages, IMAGENET, 3, 224, stem_width=32, stem_stride=2, head_width=1280)
        assert PHOTOGRAPHS.contains(member)
        workload = workload_from_architecture(member)
        assert workload.params / 1e6 == pytest.approx(table["mparams"][row], rel=1e-6)
        norms = sum(kernel.output_elements for kernel in workload.kernels if kernel.norm)
        means = sum(k.input_elements + k.out_channels for k in workload.kernels if k.kind == "globalpool")
        assert (workload.macs + 4 * norms + means) / 1e6 == pytest.approx(table["mmacs"][row], rel=1e-6)


# ---------------------------------------------------------------- the space


def changed(architecture: StagesArchitecture, place: int = 0, **values: object) -> StagesArchitecture:
    stages = list(architecture.stages)
    stages[place] = msgspec.structs.replace(stages[place], **values)
    return msgspec.structs.replace(architecture, stages=tuple(stages))


@pytest.mark.parametrize(
    "break_it",
    [
        lambda net: changed(net, width=18),  # 16, 20, 24: not on the ladder
        lambda net: changed(net, width=640),
        lambda net: changed(net, repeats=5),
        lambda net: changed(net, kernel=9),
        lambda net: changed(net, 1, expansion=5),
        lambda net: msgspec.structs.replace(net, stem_stride=1),  # 224 px
        lambda net: msgspec.structs.replace(net, stem_width=72),
        lambda net: msgspec.structs.replace(net, head_width=1000),
        lambda net: msgspec.structs.replace(net, stages=net.stages[:2]),
        lambda net: msgspec.structs.replace(net, stages=net.stages + net.stages[:1]),
        lambda net: changed(net, 4, stride=4),
        lambda net: changed(changed(net, 5, stride=1), 3, stride=1),  # leaves 28 px
        lambda net: msgspec.structs.replace(net, in_channels=1),
        lambda net: msgspec.structs.replace(net, image_size=192),
        lambda net: msgspec.structs.replace(net, head=TEN),
    ],
)
def test_a_network_out_of_bounds_is_no_member(break_it: Callable[[StagesArchitecture], StagesArchitecture]) -> None:
    member = published_architecture("mobilenet-v2")
    assert isinstance(member, StagesArchitecture)
    broken = break_it(member)
    workload_from_architecture(broken)  # it is a network
    assert not PHOTOGRAPHS.contains(broken)


def last_side(architecture: StagesArchitecture) -> int:
    workload, spans = traced_stages(architecture)
    return workload.kernels[spans[-1][-1]].height


@pytest.mark.parametrize("image_size", [8, 12, 28, 32, 64, 65, 96, 112, 224, 256, 257, 512])
def test_the_last_map_of_what_is_drawn_has_4_to_16_pixels(image_size: int) -> None:
    space, rng = stages_space(TEN, 3, image_size), random.Random(0)
    sides = {last_side(space.draw(rng)) for _ in range(60)}
    assert min(sides) >= 4
    assert max(sides) <= 16
    assert len(sides) > 1


@pytest.mark.parametrize(("side", "least"), [(32, 3), (256, 3), (257, 4), (512, 4), (513, 5), (1024, 5), (4097, 8)])
@pytest.mark.parametrize("bounds", [BOUNDS, TINY_BOUNDS], ids=["t", "tiny"])
def test_large_images_have_stages_enough_to_end_in_a_small_map(
    side: int, least: int, bounds: dict[str, StagesBounds]
) -> None:
    usual = bounds[kind_of_images(TEN, side)]
    space = bounded_stages(usual, TEN, 3, side)
    assert (space.min_stages, space.max_stages) == (least, max(least, usual.max_stages))
    rng = random.Random(0)
    for member in (*(space.draw(rng) for _ in range(20)), *space.simplest(), *space.largest(), space.reference()):
        assert 4 <= last_side(member) <= 16


@pytest.mark.parametrize(("size", "square"), [((16, 64), 32), ((32, 160), 71), ((64, 320), 143), ((8, 512), 64)])
def test_a_rectangle_is_halved_as_the_square_of_as_many_pixels_is(size: tuple[int, int], square: int) -> None:
    """Same bounds, same choices, same strides: so the same random numbers draw the same stages."""
    wide, like = stages_space(TEN, 3, size), stages_space(TEN, 3, square)
    assert msgspec.structs.replace(wide, image_size=square) == like
    assert wide.choices() == like.choices()
    one, two = random.Random(5), random.Random(5)
    for _ in range(20):
        drawn = wide.draw(one)
        assert msgspec.structs.replace(drawn, image_size=square) == like.draw(two)
        assert wide.contains(drawn)
        kernel = traced_stages(drawn)[0].kernels[0]
        assert (kernel.in_height, kernel.in_width) == size


def test_a_large_image_is_halved_by_the_stem() -> None:
    rng = random.Random(1)
    early = [{stages_space(TEN, 3, size).draw(rng).stem_stride for _ in range(40)} for size in (64, 65)]
    assert early == [{1, 2}, {2}]


@pytest.mark.parametrize("image_size", [28, 32, 96, 224])
def test_drawn_networks_are_spread_over_orders_of_magnitude(image_size: int) -> None:
    """Of 300: every block is frequent, and each half of the range of log MACs between the 5th and 95th percentile has at least a
    third of them; it is more than two orders of magnitude wide."""
    space, rng = stages_space(TEN, 3, image_size), random.Random(0)
    networks = [space.draw(rng) for _ in range(300)]
    macs = np.log10([workload_from_architecture(net).macs for net in networks])
    low, high = np.quantile(macs, [0.05, 0.95])
    assert high - low > 2
    assert 0.33 < np.mean(macs < (low + high) / 2) < 0.67
    blocks = [stage.block for net in networks for stage in net.stages]
    assert min(blocks.count(block) for block in BLOCKS) > len(blocks) / 10
    assert 0.25 < np.mean([any(stage.squeeze for stage in net.stages) for net in networks]) < 0.75
    for net in networks:
        widths = [stage.width for stage in net.stages]
        assert widths == sorted(widths)


def plain(architecture: StagesArchitecture) -> list[Stage]:
    """The stages without strides, some of which follow from the others and the size of the image."""
    return [msgspec.structs.replace(stage, stride=1) for stage in architecture.stages]


def test_most_neighbours_cost_nearly_the_same_and_keep_all_other_stages() -> None:
    rng = random.Random(0)
    ratios = []
    for _ in range(100):
        one = SMALL.draw(rng)
        other = SMALL.neighbour(one, rng)
        assert isinstance(other, StagesArchitecture)
        ratios.append(workload_from_architecture(other).macs / workload_from_architecture(one).macs)
        if len(one.stages) == len(other.stages):
            assert sum(a != b for a, b in zip(plain(one), plain(other), strict=True)) <= 1
        else:
            assert plain(other)[: len(one.stages)] == plain(one)[: len(other.stages)]
    assert np.mean(np.abs(np.log2(ratios)) < 1) > 0.8


def test_the_ladder_has_four_widths_in_an_octave() -> None:
    assert ladder(1, 20, 1) == (1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20)
    assert ladder(4, 64, 4) == (4, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64)
    assert ladder(8, 512, 8) == (
        8,
        16,
        24,
        32,
        40,
        48,
        56,
        64,
        80,
        96,
        112,
        128,
        160,
        192,
        224,
        256,
        320,
        384,
        448,
        512,
    )


@pytest.mark.parametrize("bounds", ["usual", "tiny"])
@pytest.mark.parametrize(("head", "image_size"), [(TEN, 8), (TEN, 32), (TEN, 224), (Embedding(64), 112)])
def test_smallest_reference_and_largest_enclose_what_is_drawn(
    bounds: str, head: Classes | Embedding, image_size: int
) -> None:
    space = bounded_stages(
        {"usual": BOUNDS, "tiny": TINY_BOUNDS}[bounds][kind_of_images(head, image_size)], head, 3, image_size
    )
    rng = random.Random(0)
    drawn = [workload_from_architecture(space.draw(rng)) for _ in range(100)]
    smallest, reference = (workload_from_architecture(net) for net in (space.smallest(), space.reference()))
    largest = [workload_from_architecture(net) for net in space.largest()]
    assert all(map(space.contains, (space.smallest(), space.reference(), *space.largest())))
    for count in (lambda w: w.params, lambda w: w.macs):
        assert count(smallest) <= min(map(count, drawn))
        assert max(map(count, drawn)) <= max(map(count, largest))
    assert max(len(w.kernels) for w in drawn) <= max(len(w.kernels) for w in largest)
    assert np.quantile([w.macs for w in drawn], 0.75) < reference.macs < max(w.macs for w in largest)


# ---------------------------------------------------------------- bounds


def bounded(**asked: int) -> StagesSpace:
    return bounded_stages(BOUNDS["small"], TEN, 3, 32, **asked)


def test_bounds_that_were_asked_for_hold_for_all_that_is_drawn() -> None:
    space, rng = bounded(min_width=16, max_width=40, width_step=8, min_depth=9, max_depth=11), random.Random(0)
    networks = [space.draw(rng) for _ in range(100)]
    networks += [space.neighbour(net, rng) for net in networks] + [
        space.smallest(),
        space.reference(),
        *space.largest(),
    ]
    depths = {sum(stage.repeats for stage in net.stages) for net in networks}
    assert depths == {9, 10, 11}
    assert {stage.width for net in networks for stage in net.stages} == {16, 24, 32, 40}


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"min_width": 50, "max_width": 40}, "width bounds 50..40 hold no multiple of 4"),
        ({"min_width": 41, "max_width": 47}, "width bounds 41..47 hold no multiple of 4"),
        ({"min_depth": 12, "max_depth": 11}, "depth bounds 12..11"),
        ({"max_depth": 2}, "3 to 6 stages of up to 4 blocks have 3 to 24 in all"),
        ({"min_depth": 25}, "depth bounds 25..1000"),
    ],
)
def test_bounds_without_a_network_are_refused(asked: dict[str, int], words: str) -> None:
    with pytest.raises(EdgenasError) as caught:
        bounded(**asked)
    assert words in str(caught.value)


def test_the_narrowest_bounds_have_networks() -> None:
    for asked in ({"min_depth": 24}, {"max_depth": 3}, {"min_width": 40, "max_width": 47}):
        space = bounded(**asked)
        assert space.contains(space.draw(random.Random(0)))


def test_images_have_the_bounds_of_their_kind() -> None:
    kinds = [
        kind_of_images(head, size) for head, size in ((TEN, 48), (TEN, 49), (Embedding(8), 49), (Embedding(8), 32))
    ]
    assert kinds == ["small", "photographs", "faces", "small"]


# ---------------------------------------------------------------- features


def test_features_are_those_of_a_network_by_hand() -> None:
    """A stem of 16 at stride 2, one dense block (64 x 64 px), two mbconv blocks of expansion 2 at stride 2."""
    one = StagesArchitecture(
        (Stage("dense", 16, 1, 5, 1), Stage("mbconv", 32, 2, 3, 2, 2, squeeze=True)),
        *(TEN, 3, 128),
        stem_width=16,
        stem_stride=2,
        activation="relu6",
    )
    dense = 16 * 16 * 25 * 64 * 64
    first = 16 * 32 * 64 * 64 + 32 * 9 * 32 * 32 + 32 * 32 * 32 * 32 + 2 * 32 * 4
    second = 32 * 64 * 32 * 32 + 64 * 9 * 32 * 32 + 64 * 32 * 32 * 32 + 2 * 64 * 8
    share = dense / (dense + first + second)
    assert one.stages[0].block == "dense"
    field = 3 + 4 * 2 + 2 * 2 + 2 * 4  # stem, 5x5 at stride 2, 3x3 at stride 2, 3x3 at stride 4
    expected = [0.2, 0.3, 1, 2, 4, 0, (4 + 5 + 5) / 3, 1, 0, share, 0, 1 - share, 0, share, 0, 1 - share, 1 - share]
    expected += [0.5 * (1 - share), 1, np.log2(field)]
    np.testing.assert_allclose(stage_features(one)[:-4], expected)


def test_a_chain_and_its_network_of_stages_have_the_same_sizes() -> None:
    one = chain(16, 6, (0,) * 6, (3,) * 6, TEN)
    assert isinstance(one, ChainArchitecture)
    staged = stages_from_chain(one)
    np.testing.assert_array_equal(SMALL.features([staged])[0, -4:], stage_features(staged)[-4:])
    assert SMALL.features([staged]).shape == (1, len(stage_features(staged)))


def test_the_simplest_networks_are_of_one_kind_of_block_each() -> None:
    space = bounded_stages(BOUNDS["small"], TEN, 3, 32, min_depth=5)
    for block, one in zip(BLOCKS, space.simplest(), strict=True):
        assert [(stage.block, stage.width, stage.kernel, stage.repeats) for stage in one.stages] == [
            (block, 4, 3, 2),
            (block, 4, 3, 2),
            (block, 4, 3, 1),
        ]
        assert (one.stem_stride, one.head_width, last_side(one)) == (2, 0, 4)
