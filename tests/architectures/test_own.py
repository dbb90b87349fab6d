"""Networks of somebody else's space: what they hold, what their kernels must say, what of a file is refused."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edgenas.architectures.own import MOST_KERNELS, Choices, OwnSpace, own_for_channels, workload_from_own
from edgenas.architectures.tracer import Tracer
from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.description import description
from edgenas.records import Architecture, Classes, Embedding, OwnArchitecture, Workload

VALUES = {"width": range(4, 13, 4), "depth": (1, 2, 3), "kernel 1": (3, 5), "kernel 2": (3, 5), "gate": (False, True)}


def gated(net: Tracer, choices: Choices) -> int:
    """A stem, layers with kernels of their own, and perhaps a gate at the end."""
    here = net.conv(-1, choices["width"], 3, norm=True, activation="relu")
    for layer in range(1, choices["depth"]):
        here = net.conv(here, choices["width"], choices[f"kernel {layer}"], norm=True, residual=here, activation="relu")
    if choices["gate"]:
        gate = net.conv(net.global_pool(here), choices["width"], 1, bias=True, activation="sigmoid")
        here = net.elementwise("mul", [here, gate])
    return here


SPACE = OwnSpace("gated", VALUES, gated)(Classes(10), 3, 8)
FULL = SPACE.pick({"width": 4, "depth": 2, "kernel 1": 5, "gate": True})


def test_parameters_are_those_of_the_kernels_and_the_head() -> None:
    stem, layer = 3 * 4 * 9 + 2 * 4, 4 * 4 * 25 + 2 * 4
    gate, head = 4 * 4 + 4, 4 * 10 + 10
    assert workload_from_architecture(FULL).params == stem + layer + gate + head
    assert [kernel.kind for kernel in workload_from_own(FULL).kernels] == [
        *("conv", "conv", "globalpool", "conv", "mul"),
        *("globalpool", "linear"),
    ]


@pytest.mark.parametrize("channels", [1, 3])
def test_a_network_on_images_of_other_channels_is_what_its_space_describes_for_them(channels: int) -> None:
    """Its gate and its residual stay; the stem reads what there is."""
    other = own_for_channels(FULL, channels)
    assert other == OwnSpace("gated", VALUES, gated)(Classes(10), channels, 8).pick(FULL.choices)
    assert workload_from_own(other).kernels[0].in_channels == channels


def test_what_works_on_three_channels_alone_is_refused_for_one() -> None:
    space = OwnSpace("each", {"width": (3,)}, lambda net, choices: net.conv(-1, choices["width"], 3, groups=3))
    with pytest.raises(EdgenasError, match="kernel 0 of the network: 1 channels in, 3 out, dilation 1 and 3 groups"):
        own_for_channels(space(Classes(10), 3, 8).pick({"width": 3}), 1)


def test_a_network_holds_the_choices_that_it_depends_on_and_no_other() -> None:
    assert FULL.choices == {"width": 4, "depth": 2, "kernel 1": 5, "gate": True}
    assert SPACE.pick({"width": 4, "depth": 1, "gate": False}).choices == {"width": 4, "depth": 1, "gate": False}
    both = [SPACE.pick({"width": 4, "depth": 1, "kernel 1": kernel, "gate": False}) for kernel in (3, 5)]
    assert both[0] == both[1], "what is not read is no difference"


def test_the_order_of_choices_is_no_part_of_a_network() -> None:
    turned = msgspec.structs.replace(FULL, choices=dict(reversed(FULL.choices.items())))
    assert (turned, turned.fingerprint, hash(turned)) == (FULL, FULL.fingerprint, hash(FULL))
    assert SPACE.choices_of(turned) == SPACE.choices_of(FULL)
    assert list(SPACE.choices_of(turned)) == ["width", "depth", "kernel 1", "gate"]
    assert SPACE.words(FULL) == "width 4, depth 2, kernel 1 5, ..."


def test_other_kernels_under_the_same_choices_are_another_network() -> None:
    def thinner(net: Tracer, choices: Choices) -> int:
        return net.conv(-1, choices["width"] // 2, 3, norm=True)

    values = {"width": (4, 8)}
    one, two = (OwnSpace("gated", values, build)(Classes(10), 3, 8).smallest() for build in (gated_stem, thinner))
    assert one.choices == two.choices
    assert one.fingerprint != two.fingerprint


def gated_stem(net: Tracer, choices: Choices) -> int:
    return net.conv(-1, choices["width"], 3, norm=True)


def test_the_head_can_be_exchanged() -> None:
    """As for a final training on other data."""
    other = msgspec.structs.replace(FULL, head=Embedding(16))
    assert workload_from_own(other).kernels[:5] == FULL.body.kernels
    assert workload_from_own(other).kernels[-1].out_channels == 16


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"width": 4, "depth": 1}, "space gated: choice 'gate' is missing: one of False, True"),
        ({"width": 5, "depth": 1, "gate": False}, "width 5 was chosen: 4, 8, 12"),
        (
            {"width": 4, "depth": 1, "gate": False, "bits": 8},
            "space gated has no choice 'bits': width, depth, kernel 1",
        ),
    ],
)
def test_choices_that_are_none_are_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(EdgenasError, match=words):
        SPACE.pick(values)


def test_a_misspelt_choice_in_build_is_named() -> None:
    space = OwnSpace("typo", {"width": (4, 8)}, lambda net, choices: net.conv(-1, choices["with"], 3))
    with pytest.raises(EdgenasError, match="space typo has no choice 'with': width"):
        space(Classes(2), 3, 8).pick({"width": 4})


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda net, c: net.conv(-1, c["width"], 3) * 0 - 1, "build returns -1, and the last of its 1 kernels"),
        (lambda _net, c: c["width"], "build returns 4, and the last of its 0 kernels"),
        (
            lambda net, c: min(net.conv(-1, c["width"], 3) for _ in range(2)),
            "build returns 0, and the last of its 2 kernels",
        ),
        (
            lambda net, c: max(net.conv(-1, c["width"], 3) for _ in range(2)),
            "kernel 0 .conv. .* is never read: leave it out",
        ),
        (lambda net, c: net.conv(-1, 3 * 10**6 * c["width"], 199, padding=99), "has .* parameters and .* at most"),
    ],
)
def test_what_build_may_not_do_is_said(build: Any, words: str) -> None:
    with pytest.raises(EdgenasError, match=words):
        OwnSpace("s", {"width": (4, 8)}, build)(Classes(2), 3, 8).pick({"width": 4})


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({}, "has no choices"),
        ({"a": ()}, "choice 'a' is ..: give a range, or a tuple of different values"),
        ({"a": range(0)}, "give a range"),
        ({"a": [1, 2]}, "give a range, or a tuple"),
        ({"a": (1, 1)}, "different values"),
        ({"a": ((1, 2), (3, 4))}, "no numbers or words"),
    ],
)
def test_choices_must_have_values_to_choose_from(values: Any, words: str) -> None:
    with pytest.raises(EdgenasError, match=words):
        OwnSpace("s", values, gated)


def test_a_space_that_makes_no_network_at_all_says_why() -> None:
    space = OwnSpace("too-large", {"kernel": (9, 11)}, lambda net, c: net.conv(-1, 4, c["kernel"], padding=0))
    made = space(Classes(2), 3, 8)
    with pytest.raises(EdgenasError, match=r"1000 random choices of space too-large .*; the last: kernel 0 .* does"):
        made.draw(random.Random(0))


def test_choices_that_make_no_network_are_passed_over() -> None:
    space = OwnSpace("half", {"kernel": (9, 3, 11, 5)}, lambda net, c: net.conv(-1, 4, c["kernel"], padding=0))
    made = space(Classes(2), 3, 8)
    rng = random.Random(0)
    assert {made.draw(rng).choices["kernel"] for _ in range(30)} == {3, 5}
    assert made.smallest().choices == {"kernel": 3}
    assert made.neighbour(made.smallest(), rng).choices == {"kernel": 5}


def test_the_smallest_is_found_where_one_choice_decides_which_value_of_another_is_smaller() -> None:
    channels = {("wide", 1): 10, ("wide", 2): 3, ("narrow", 1): 12, ("narrow", 2): 2}

    def build(net: Tracer, choices: Choices) -> int:
        return net.conv(-1, channels[choices["kind"], choices["step"]], 1)

    space = OwnSpace("steps", {"kind": ("wide", "narrow"), "step": (1, 2)}, build)(Classes(2), 3, 8)
    assert space.smallest().choices == {"kind": "narrow", "step": 2}


# ---------------------------------------------------------------- files


def changed(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(FULL.canonical_json())
    change(document)
    return document


def kernel(index: int, **values: Any) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["body"]["kernels"][index].update(values)


def test_a_file_is_read_without_the_code_of_its_space(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_bytes(FULL.canonical_json())
    found = description(path)
    assert found.fingerprint == FULL.fingerprint
    assert found.params == workload_from_own(FULL).params


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (kernel(0, height=9), "kernel 0 .conv. of a network of space gated contradicts itself"),
        (kernel(0, in_channels=1), "contradicts itself"),
        (kernel(0, in_height=7), "contradicts itself"),
        (kernel(0, dilation=[1, 2]), "contradicts itself"),
        (kernel(0, kind="depthwise"), "contradicts itself"),
        (kernel(0, begin=1), "contradicts itself"),
        (kernel(1, inputs=[0, 0]), "contradicts itself"),
        (kernel(1, inputs=[1]), "kernel 1 was asked for"),
        (kernel(1, inputs=[-2]), "kernel -2 was asked for"),
        (kernel(1, inputs=[]), "kernel 1 was asked for"),
        (kernel(1, residual=1), "kernel 1 was asked for"),
        (kernel(1, residual=-1), "residual of shape 3 x 8 x 8"),
        (kernel(1, groups=3), "3 groups"),
        (kernel(1, groups=0), "0 groups"),
        (kernel(1, stride=[0, 1]), "stride 0"),
        (kernel(1, kernel=[99, 99], padding=[0, 0]), "does not fit its input"),
        (kernel(1, padding=[10**6, 10**6]), "at most 99 pixels of padding"),
        (kernel(1, activation="exec"), "activation 'exec' is unknown"),
        (kernel(1, out_channels=2**62), "computes .* numbers"),
        (kernel(1, out_channels=-4), "residual|at least 1|channels"),
        (kernel(1, out_channels=0), "at least 1"),
        (kernel(2, counts_padding=True), "contradicts itself"),
        (kernel(4, inputs=[3, 1]), "mul of shapes"),
        (kernel(4, inputs=[1, 1]), "kernel 3 .conv. .* is never read"),
        (kernel(4, kind="matmul"), "matmul is not part of an own network"),
        (kernel(4, kind="softmax"), "softmax is not part"),
        (lambda d: d["body"].update(kernels=[]), "1 to 4000 kernels, not 0"),
        (lambda d: d["body"].update(kernels=d["body"]["kernels"][:1] * (MOST_KERNELS + 1)), "not 4001"),
        (lambda d: d.update(in_channels=1), "contradicts itself"),
        (lambda d: d.update(image_size=9), "contradicts itself"),
        (lambda d: d.update(image_size=0), "Expected `int` >= 1"),
        (lambda d: d.update(choices={"width": None}), "got `null`"),
        (lambda d: d.update(choices={"width": [4]}), "got `array`"),
        (lambda d: d.update(extra=1), "extra"),
        (lambda d: d.pop("body"), "body"),
        (
            lambda d: d.update(head={"kind": "classes", "count": 10**7}, type="own", body={"kernels": wide()}),
            "parameters",
        ),
    ],
)
def test_a_file_that_does_not_hold_a_network_is_one_line(
    change: Callable[[dict[str, Any]], object], words: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(changed(change)))
    with pytest.raises(EdgenasError, match=words) as refusal:
        description(path)
    assert "\n" not in str(refusal.value)


def wide() -> Any:
    trace = Tracer(3, 8, 8)
    trace.conv(-1, 65_536, 1)
    return msgspec.to_builtins(trace.workload().kernels)


def test_as_many_kernels_as_are_allowed_are_read_in_seconds() -> None:
    trace = Tracer(3, 8, 8)
    here = -1
    for _ in range(MOST_KERNELS):
        here = trace.conv(here, 4, 1)
    deep = OwnArchitecture("deep", {}, Workload(tuple(trace.kernels)), Classes(2), 3, 8)
    read = msgspec.json.decode(deep.canonical_json(), type=Architecture)
    assert len(workload_from_architecture(read).kernels) == MOST_KERNELS + 2


@pytest.mark.parametrize(
    ("size", "fits"), [((16, 320), True), ((14, 320), False), ((320, 14), False), (16, True), (14, False)]
)
def test_a_side_that_a_network_of_ones_own_uses_up_is_named(size: Any, fits: bool) -> None:
    """Four convolutions of 2 x 2, stride 2, without padding: 16 -> 8 -> 4 -> 2 -> 1, and 14 -> 7 -> 3 -> 1 -> nothing."""

    def build(net: Tracer, choices: Choices) -> int:
        here = -1
        for _ in range(choices["halvings"]):
            here = net.conv(here, 4, 2, stride=2, padding=0)
        return here

    space = OwnSpace("halving", {"halvings": (4, 5)}, build)(Classes(2), 1, size)
    if fits:
        last = workload_from_architecture(space.pick({"halvings": 4})).kernels[3]
        assert (last.height, last.width) == ((1, 20) if isinstance(size, tuple) else (1, 1))
    else:
        with pytest.raises(
            EdgenasError, match=r"kernel 3 of the network: kernel 2 .* does not fit its input of 1 pixels"
        ):
            space.pick({"halvings": 4})
