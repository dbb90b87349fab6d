"""Describing a network kernel by kernel: shapes by hand, and every wrong call in one line."""

from collections.abc import Callable

import pytest

from edgenas.architectures.tracer import LARGEST_MAP, Tracer
from edgenas.errors import EdgenasError
from edgenas.records import Classes, Embedding, Outputs


def net() -> Tracer:
    """Kernel 0: (3, 8, 6) -> (4, 8, 6)."""
    trace = Tracer(3, 8, 6)
    trace.conv(-1, 4, 3)
    return trace


@pytest.mark.parametrize(
    ("call", "shape"),
    [
        (lambda t: t.conv(0, 5, 3), (5, 8, 6)),
        (lambda t: t.conv(0, 5, 3, stride=2), (5, 4, 3)),
        (lambda t: t.conv(0, 5, 3, stride=(2, 1), padding=0), (5, 3, 4)),
        (lambda t: t.conv(0, 5, (1, 5)), (5, 8, 6)),
        (lambda t: t.conv(0, 5, 3, dilation=2), (5, 8, 6)),
        (lambda t: t.conv(0, 5, 3, dilation=2, padding=0), (5, 4, 2)),
        (lambda t: t.conv(0, 5, (8, 6), padding=0), (5, 1, 1)),
        (lambda t: t.conv(0, 4, 3, groups=4, residual=0), (4, 8, 6)),
        (lambda t: t.conv(-1, 2, 1), (2, 8, 6)),
        (lambda t: t.linear(0, 7), (7, 1, 1)),
        (lambda t: t.pool("maxpool", 0, 2, stride=2, padding=0), (4, 4, 3)),
        (lambda t: t.pool("avgpool", 0, 3), (4, 8, 6)),
        (lambda t: t.pool("maxpool", 0, 199, padding=99), (4, 8, 6)),
        (lambda t: t.pool("avgpool", 0, 2, padding=1), (4, 9, 7)),
        (lambda t: t.pool("maxpool", 0, 3, padding=2), (4, 10, 8)),
        (lambda t: t.global_pool(0), (4, 1, 1)),
        (lambda t: t.elementwise("add", [0, 0]), (4, 8, 6)),
        (lambda t: t.elementwise("mul", [0, t.global_pool(0)]), (4, 8, 6)),
        (lambda t: t.concat([0, -1]), (7, 8, 6)),
        (lambda t: t.channels("slice", 0, 3, begin=1), (3, 8, 6)),
        (lambda t: t.channels("shuffle", 0, 4, groups=2), (4, 8, 6)),
        (lambda t: t.head(0, Classes(9)), (9, 1, 1)),
        (lambda t: t.head(0, Outputs(2)), (2, 1, 1)),
        (lambda t: t.head(0, Embedding(16)), (16, 1, 1)),
        (lambda t: t.head(0, Embedding(16, "depthwise")), (16, 1, 1)),
    ],
)
def test_shapes_follow_from_what_is_asked(call: Callable[[Tracer], int], shape: tuple[int, int, int]) -> None:
    trace = net()
    index = call(trace)
    assert index == len(trace.kernels) - 1
    assert trace.shape(index) == shape


def test_a_depthwise_convolution_is_one_of_as_many_groups_as_channels() -> None:
    trace = net()
    kinds = [trace.kernels[trace.conv(0, 4, 3, groups=groups)].kind for groups in (1, 2, 4)]
    assert kinds == ["conv", "conv", "depthwise"]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda t: t.conv(1, 5, 3), "kernel 1 was asked for; there are 0 to 0, and -1, the input"),
        (lambda t: t.conv(-2, 5, 3), "kernel -2 was asked for"),
        (lambda t: t.conv(0, 0, 3), "0 channels out: at least 1"),
        (lambda t: t.linear(0, -1), "-1 channels out: at least 1"),
        (lambda t: t.conv(0, 5, 3, groups=3), "4 channels in, 5 out, dilation 1 and 3 groups"),
        (lambda t: t.conv(0, 6, 3, groups=4), "4 channels in, 6 out"),
        (lambda t: t.conv(0, 4, 3, groups=0), "and 0 groups"),
        (lambda t: t.conv(0, 4, 3, dilation=0), "dilation 0"),
        (lambda t: t.conv(0, 5, (8, 7), padding=0), "kernel 7 .* does not fit its input of 6 pixels"),
        (lambda t: t.conv(0, 5, 3, dilation=4, padding=0), "kernel 3 with dilation 4 and padding 0 does not fit"),
        (lambda t: t.conv(0, 5, 0), "kernel 0, stride 1"),
        (lambda t: t.conv(0, 5, 3, stride=0), "kernel 3, stride 0"),
        (lambda t: t.conv(0, 5, 3, padding=-1), "padding -1"),
        (lambda t: t.conv(0, 5, 3, activation="swishy"), "activation 'swishy' is unknown: relu, relu6"),
        (
            lambda t: t.conv(0, 5, 3, residual=0),
            "residual of shape 4 x 8 x 6: the result that it is added to is 5 x 8 x 6",
        ),
        (lambda t: t.conv(0, 4, 3, residual=1), "kernel 1 was asked for"),
        (lambda t: t.pool("minpool", 0, 3), "pool 'minpool' is unknown: maxpool or avgpool"),
        (lambda t: t.pool("avgpool", 0, 2, padding=2), "avgpool of kernel 2 with padding 2: a pool's padding is less"),
        (
            lambda t: t.pool("maxpool", 0, 3, stride=2, padding=3),
            "maxpool of kernel 3 with padding 3: a pool's padding",
        ),
        (lambda t: t.pool("maxpool", 0, 9, padding=1), "kernel 9 .* does not fit its input of 6 pixels"),
        (lambda t: t.elementwise("add", [0, -1]), "add of shapes 4 x 8 x 6 and 3 x 8 x 6: they must be equal"),
        (lambda t: t.elementwise("add", [0, t.global_pool(0)]), "4 x 8 x 6 and 4 x 1 x 1"),
        (lambda t: t.elementwise("mul", [t.global_pool(0), 0]), "4 x 1 x 1 and 4 x 8 x 6"),
        (lambda t: t.elementwise("add", []), "add of 0 tensors"),
        (lambda t: t.elementwise("activation", [0, 0]), "activation of 2 tensors"),
        (lambda t: t.elementwise("max", [0, 0]), "elementwise 'max' is unknown"),
        (lambda t: t.concat([]), "concat of nothing"),
        (lambda t: t.concat([0, t.global_pool(0)]), "concat of shapes 4 x 8 x 6 and 4 x 1 x 1"),
        (lambda t: t.channels("slice", 0, 4, begin=1), "slice of channels 1 to 4 of 4"),
        (lambda t: t.channels("slice", 0, 1, begin=-1), "slice of channels -1"),
        (lambda t: t.channels("shuffle", 0, 4, groups=3), "shuffle of 4 channels to 4 in 3 groups"),
        (lambda t: t.channels("shuffle", 0, 2, groups=2), "shuffle of 4 channels to 2"),
        (lambda t: t.channels("swap", 0, 4), "channels 'swap' is unknown"),
        (lambda t: t.conv(0, 10**9, 1), "computes 4.8e.10 numbers: at most 1e.10"),
        (lambda t: t.pool("maxpool", 0, 201, padding=100), "at most 99 pixels of padding"),
    ],
)
def test_a_wrong_call_is_one_line_and_adds_nothing(call: Callable[[Tracer], int], words: str) -> None:
    trace = net()
    with pytest.raises(EdgenasError, match=words) as refusal:
        call(trace)
    assert "\n" not in str(refusal.value)
    assert all(kernel.kind in ("conv", "globalpool") for kernel in trace.kernels)


def test_in_a_network_without_kernels_there_is_only_the_input() -> None:
    trace = Tracer(1, 2, 3)
    assert trace.shape(-1) == (1, 2, 3)
    with pytest.raises(EdgenasError, match="kernel 0 was asked for; there are none yet, and -1, the input"):
        trace.shape(0)


def test_a_map_may_be_as_large_as_the_largest() -> None:
    trace = Tracer(1, 10, 10)
    assert trace.shape(trace.conv(-1, LARGEST_MAP // 100, 1))[0] == LARGEST_MAP // 100
    with pytest.raises(EdgenasError, match="at most"):
        trace.conv(-1, LARGEST_MAP // 100 + 1, 1)
