"""Networks that were read become stages again, and what is left of them when their end is cut off is a space."""

from __future__ import annotations

import random

import msgspec
import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.cuts import CutSpace
from edgenas.architectures.published import published_architecture
from edgenas.architectures.stages import workload_from_stages
from edgenas.architectures.stages_reading import stages_from_kernels
from edgenas.architectures.tracer import Tracer
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.records import Classes, Kernel, Stage, StagesArchitecture

TEN = Classes(10)
MIXED = StagesArchitecture(
    (
        Stage("dense", 16, 2, 3, 1),
        Stage("separable", 24, 2, 5, 2),
        Stage("fused", 32, 2, 3, 2, expansion=3),
        Stage("mbconv", 32, 3, 5, 1, expansion=2),
        Stage("mbconv", 40, 1, 3, 1),
    ),
    TEN, 1, 32, stem_width=12, stem_kernel=5,
)  # fmt: skip


def kernels_of(network: StagesArchitecture) -> list[Kernel]:
    return list(workload_from_stages(network).kernels)


@pytest.mark.parametrize("name", ["mobilenet-v2", "mnasnet-b1", "efficientnet-lite0", "resnet-18-without-pool"])
def test_the_layers_of_a_published_network_are_its_stages_again(name: str) -> None:
    network = published_architecture(name)
    assert isinstance(network, StagesArchitecture)
    assert stages_from_kernels(name, kernels_of(network)) == network


def test_blocks_of_every_plain_kind_are_told_apart_and_the_side_of_padding_is_not_looked_at() -> None:
    padded = [
        msgspec.structs.replace(one, padding=(0, 0)) if one.stride == (2, 2) else one for one in kernels_of(MIXED)
    ]
    assert stages_from_kernels("mixed", padded) == MIXED


@pytest.mark.parametrize("head_width", [0, 64])
@pytest.mark.parametrize(
    "stages",
    [
        (Stage("dense", 16, 2, 3, 1), Stage("dense", 32, 1, 3, 2)),
        (Stage("residual", 12, 2, 3, 1), Stage("residual", 16, 1, 5, 1), Stage("residual", 16, 3, 5, 2)),
        (Stage("fused", 16, 1, 3, 2, expansion=2), Stage("residual", 16, 2, 3, 1), Stage("fused", 24, 1, 3, 2)),
        (Stage("residual", 16, 1, 3, 2), Stage("dense", 16, 1, 3, 1), Stage("separable", 16, 2, 3, 2)),
        (Stage("dense", 16, 2, 1, 1), Stage("separable", 8, 1, 1, 2), Stage("residual", 8, 2, 1, 1), Stage("dense", 8, 1, 1, 2)),
        (Stage("fused", 16, 2, 1, 1, expansion=3), Stage("mbconv", 16, 2, 3, 1, expansion=4)),
    ],
    ids=lambda stages: " ".join(f"{stage.block}{stage.kernel}" for stage in stages),
)  # fmt: skip
def test_members_that_end_in_any_block_are_read(stages: tuple[Stage, ...], head_width: int) -> None:
    network = msgspec.structs.replace(MIXED, stages=stages, head_width=head_width)
    assert stages_from_kernels("member", kernels_of(network)) == network


def pooled() -> list[Kernel]:
    """Dense stages with a max pool of stride 2 in place of the second stage's stride."""
    trace = Tracer(1, 32, 32)
    here = trace.conv(-1, 12, 5, norm=True, activation="relu")
    here = trace.conv(here, 16, 3, norm=True, activation="relu")
    here = trace.pool("maxpool", here, 2, stride=2, padding=0)
    trace.head(trace.conv(here, 24, 3, norm=True, activation="relu"), TEN)
    return trace.kernels


def changed(place: int, **fields: object) -> list[Kernel]:
    """MIXED with one layer that is another."""
    kernels = kernels_of(MIXED)
    kernels[place] = msgspec.structs.replace(kernels[place], **fields)
    return kernels


def averaged(side: int) -> list[Kernel]:
    """A stem and a dense layer of 16 x 16, and the mean of so many of its rows and columns."""
    trace = Tracer(1, 32, 32)
    here = trace.conv(-1, 12, 5, stride=2, norm=True, activation="relu")
    here = trace.conv(here, 16, 3, norm=True, activation="relu")
    trace.linear(trace.pool("avgpool", here, side, stride=16, padding=0), 10)
    return trace.kernels


@pytest.mark.parametrize(
    "kernels",
    [
        averaged(16),
        [*changed(4, dilation=(2, 2))],  # of a 1 x 1 kernel
        [*changed(1, bias=True)],  # before a norm
        [*changed(-1, bias=False)],
    ],
    ids=["an average of all", "a dilated 1x1", "a bias before a norm", "a last layer without bias"],
)
def test_what_changes_nothing_is_not_looked_at(kernels: list[Kernel]) -> None:
    stages_from_kernels("net.onnx", kernels)


@pytest.mark.parametrize(
    ("kernels", "why"),
    [
        (changed(1, dilation=(2, 2)), r"its layer 1 has dilation \(2, 2\), not \(1, 1\) as in"),
        (changed(1, height=30, width=30), r"its layer 1 has size \(30, 30\), not \(32, 32\)"),  # without padding
        (changed(3, bias=True), "its layer 3 has bias True, not none"),  # the depthwise layer of a separable block
        (averaged(15), "its kernel 2 is a avgpool"),
        (kernels_of(published_architecture("mnasnet-a1")), "its kernel 11 is a globalpool"),  # type: ignore[arg-type]
        (pooled(), "its kernel 2 is a maxpool, and between the layers there are only additions"),
        (kernels_of(MIXED)[:-1], "it does not begin with a convolution and end in a linear layer"),
        ([msgspec.structs.replace(kernels_of(MIXED)[0], activation="silu"), *kernels_of(MIXED)[1:]], "is silu"),
        (kernels_of(MIXED)[:3] + [msgspec.structs.replace(k, groups=2) for k in kernels_of(MIXED)[3:4]]
         + kernels_of(MIXED)[4:], "its layer 3 has groups 2, not 16"),
        ([*kernels_of(MIXED)[:-3], *2 * [msgspec.structs.replace(kernels_of(MIXED)[-3], kernel=(1, 1))],
          *kernels_of(MIXED)[-2:]], "begins no block of a known kind|its layer"),
    ],
)  # fmt: skip
def test_a_network_of_other_layers_is_refused_with_the_first_of_them(kernels: list[Kernel], why: str) -> None:
    with pytest.raises(EdgenasError, match=why) as caught:
        stages_from_kernels("net.onnx", kernels)
    assert str(caught.value).startswith("net.onnx is no network of stages of equal blocks (docs/spaces.md)")


def cuts() -> CutSpace:
    whole = msgspec.structs.replace(MIXED, head_width=64, head=Classes(1000))
    return CutSpace(TEN, 1, 32, whole)


def test_the_cuts_are_the_first_blocks_of_the_first_stages() -> None:
    space = cuts()
    members = {
        msgspec.json.encode(space.draw(rng)) for rng in map(random.Random, range(400))
    }  # 2, 2 x 2, 2 x 2 x 2, 2 x 2 x 2 x 3, and as many with the last stage
    assert len(members) == 2 + 4 + 8 + 24 + 24
    one = space.pick({"stages": 3, "repeats_0": 1, "repeats_1": 2, "repeats_2": 1})
    assert isinstance(one, StagesArchitecture)
    wanted = (Stage("dense", 16, 1, 3, 1), MIXED.stages[1], Stage("fused", 32, 1, 3, 2, expansion=3))
    assert (one.stages, one.head, one.head_width, one.stem_width) == (wanted, TEN, 0, 12)
    whole = space.pick({"stages": 5, **{f"repeats_{at}": stage.repeats for at, stage in enumerate(MIXED.stages)}})
    assert whole == msgspec.structs.replace(space.whole, head=TEN)  # with its last convolution


def test_members_are_known_and_others_are_none() -> None:
    space = cuts()
    one = space.draw(random.Random(1))
    assert space.contains(one)
    assert space.contains(space.neighbour(one, random.Random(2)))
    assert not space.contains(msgspec.structs.replace(one, stem_width=16))
    assert not space.contains(chain(8, 3, (0,) * 3, (3,) * 3, TEN))
    assert not space.contains(space.whole)  # of another head
    longer = (*MIXED.stages[:1], msgspec.structs.replace(MIXED.stages[1], repeats=3))
    assert not space.contains(msgspec.structs.replace(one, stages=longer))
    smallest = space.smallest()
    assert isinstance(smallest, StagesArchitecture)
    assert [stage.repeats for stage in smallest.stages] == [1]
    assert workload_from_architecture(space.reference()).params == workload_from_architecture(
        msgspec.structs.replace(space.whole, head=TEN)
    ).params  # fmt: skip
