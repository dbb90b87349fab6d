"""`Tracer` describes a network kernel by kernel: each call adds one and works out its shape.

    net = Tracer(3, 32, 32)
    here = net.conv(-1, 16, 3, norm=True, activation="relu")                    # (3, 32, 32) -> (16, 32, 32)
    here = net.conv(here, 16, 3, norm=True, activation="relu", residual=here)   # the input is added before the activation
    net.head(here, Classes(10))                                                 # -> 10 logits

Shapes are (channels, height, width) of one image; sources and results are indices of kernels, -1 is the network's input.
What cannot be, such as a kernel that is larger than its padded input, is refused with an EdgenasError of one line.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from edgenas.errors import EdgenasError
from edgenas.records import Classes, Head, Kernel, KernelKind, Outputs, Workload

ACTIVATIONS = ("relu", "relu6", "sigmoid", "tanh", "elu", "leakyrelu", "hardsigmoid", "hardswish", "silu")
TRACES = 256  # workloads that each space remembers; a deep chain takes about 0.1 MB
LARGEST_MAP = 10**10  # numbers in what one kernel computes for one image
WIDEST_PADDING = 99  # pixels
# Of a network for one image; GPT-3 has 1.75e11 parameters, the largest vision models 2e10.
LARGEST_PARAMS, LARGEST_MACS = 10**11, 10**15
Pair = int | tuple[int, int]  # (height, width); one number for both
Shape = tuple[int, int, int]  # (channels, height, width)


class Tracer:
    """Appends kernels to a workload; every method returns the new kernel's index, to be a source of later ones."""

    def __init__(self, channels: int, height: int, width: int) -> None:
        """A network without kernels whose input is (channels, height, width)."""
        self.input = (channels, height, width)
        self.kernels: list[Kernel] = []

    def shape(self, index: int) -> Shape:
        """(channels, height, width) of what this kernel computes; of the network's input for -1."""
        if not -1 <= index < len(self.kernels):
            there = f"0 to {len(self.kernels) - 1}" if self.kernels else "none yet"
            raise self._refused(f"kernel {index} was asked for; there are {there}, and -1, the input")
        if index < 0:
            return self.input
        kernel = self.kernels[index]
        return kernel.out_channels, kernel.height, kernel.width

    def conv(
        self,
        source: int,
        out_channels: int,
        kernel: Pair,
        *,
        stride: Pair = 1,
        padding: Pair | None = None,
        dilation: int = 1,
        groups: int = 1,
        norm: bool = False,
        bias: bool = False,
        activation: str = "",
        residual: int | None = None,
    ) -> int:
        """A convolution, (C, H, W) -> (out_channels, H', W'), and in this order what runs with it: batch norm (`norm`), a tensor
        of the result's shape that is added (`residual`, an index), the activation (one of ACTIVATIONS).

        `padding` None = half the (dilated) kernel: odd kernels of stride 1 then keep the size. With `groups` = C > 1 it is a
        depthwise convolution.
        """
        channels, height, width = self.shape(source)
        k, s = _pair(kernel), _pair(stride)
        p = (dilation * (k[0] - 1) // 2, dilation * (k[1] - 1) // 2) if padding is None else _pair(padding)
        if min(groups, dilation) < 1 or channels % groups or out_channels % groups:
            raise self._refused(
                f"{channels} channels in, {out_channels} out, dilation {dilation} and {groups} groups: both numbers of channels "
                "must be multiples of the groups"
            )
        kind: KernelKind = "depthwise" if groups == channels and groups > 1 else "conv"
        return self._append(
            Kernel(
                kind,
                channels,
                out_channels,
                self._side(height, k[0], s[0], p[0], dilation),
                self._side(width, k[1], s[1], p[1], dilation),
                height,
                width,
                (source,),
                kernel=k,
                stride=s,
                padding=p,
                dilation=(dilation, dilation),
                groups=groups,
                norm=norm,
                bias=bias,
                activation=activation,
                residual=residual,
            )
        )

    def linear(
        self, source: int, out_features: int, *, bias: bool = True, norm: bool = False, activation: str = ""
    ) -> int:
        """A fully connected layer on all numbers of its input, (C, H, W) -> (out_features, 1, 1)."""
        channels, height, width = self.shape(source)
        features = channels * height * width
        return self._append(
            Kernel("linear", features, out_features, 1, 1, 1, 1, (source,), bias=bias, norm=norm, activation=activation)
        )

    def pool(self, kind: KernelKind, source: int, kernel: int, *, stride: int = 1, padding: int | None = None) -> int:
        """kind: maxpool or avgpool, (C, H, W) -> (C, H', W'). `padding` None = half the kernel, and always less than
        the kernel: nothing is the mean of padding alone. Averages do not count it."""
        if kind not in ("maxpool", "avgpool"):
            raise self._refused(f"pool {kind!r} is unknown: maxpool or avgpool")
        channels, height, width = self.shape(source)
        p = kernel // 2 if padding is None else padding
        sides = self._side(height, kernel, stride, p), self._side(width, kernel, stride, p)
        if p >= kernel:  # as ONNX Runtime and TensorRT want it
            raise self._refused(f"{kind} of kernel {kernel} with padding {p}: a pool's padding is less than its kernel")
        return self._append(
            Kernel(
                kind,
                channels,
                channels,
                *sides,
                height,
                width,
                (source,),
                kernel=(kernel, kernel),
                stride=(stride, stride),
                padding=(p, p),
            )
        )

    def global_pool(self, source: int) -> int:
        """The mean of every channel, (C, H, W) -> (C, 1, 1)."""
        channels, height, width = self.shape(source)
        return self._append(
            Kernel("globalpool", channels, channels, 1, 1, height, width, (source,), kernel=(height, width))
        )

    def elementwise(self, kind: KernelKind, sources: Sequence[int], *, activation: str = "", norm: bool = False) -> int:
        """kind: add or mean over sources of one shape; mul, where all but the first may be (C, 1, 1), as gates are; activation,
        of one source. (C, H, W), ... -> (C, H, W)."""
        if kind not in ("add", "mul", "mean", "activation"):
            raise self._refused(f"elementwise {kind!r} is unknown: add, mul, mean or activation")
        if not sources or (kind == "activation" and len(sources) > 1):
            raise self._refused(f"{kind} of {len(sources)} tensors: add, mul and mean take some, activation takes one")
        channels, height, width = first = self.shape(sources[0])
        for source in sources[1:]:
            if self.shape(source) != first and not (kind == "mul" and self.shape(source) == (channels, 1, 1)):
                raise self._refused(
                    f"{kind} of shapes {self._shape_words(sources[0])} and {self._shape_words(source)}: they must be equal"
                )
        return self._append(
            Kernel(
                kind, channels, channels, height, width, height, width, tuple(sources), activation=activation, norm=norm
            )
        )

    def concat(self, sources: Sequence[int]) -> int:
        """Sources of one height and width, channels side by side: (C1, H, W), (C2, H, W) -> (C1 + C2, H, W)."""
        if not sources:
            raise self._refused("concat of nothing: give at least one source")
        shapes = [self.shape(source) for source in sources]
        if len({shape[1:] for shape in shapes}) > 1:
            words = " and ".join(map(self._shape_words, sources))
            raise self._refused(f"concat of shapes {words}: height and width must be equal")
        channels = sum(shape[0] for shape in shapes)
        _, height, width = shapes[0]
        return self._append(Kernel("concat", channels, channels, height, width, height, width, tuple(sources)))

    def channels(
        self, kind: Literal["slice", "shuffle"], source: int, out_channels: int, *, groups: int = 1, begin: int = 0
    ) -> int:
        """kind: slice (`out_channels` channels from `begin` on, (C, H, W) -> (out_channels, H, W)) or shuffle (ShuffleNet's, over
        `groups`, the shape stays)."""
        channels, height, width = self.shape(source)
        if kind == "slice":
            if begin < 0 or begin + out_channels > channels:
                raise self._refused(f"slice of channels {begin} to {begin + out_channels - 1} of {channels}")
        elif kind != "shuffle":
            raise self._refused(f"channels {kind!r} is unknown: slice or shuffle")
        elif groups < 1 or channels % groups or out_channels != channels:
            raise self._refused(
                f"shuffle of {channels} channels to {out_channels} in {groups} groups: the channels stay, and are a multiple of "
                "the groups"
            )
        return self._append(
            Kernel(kind, channels, out_channels, height, width, height, width, (source,), groups=groups, begin=begin)
        )

    def head(self, source: int, head: Head) -> int:
        """Pooling and the last layer, (C, H, W) -> (classes, 1, 1) logits, (count, 1, 1) numbers or (dim, 1, 1) embedding."""
        channels, height, width = self.shape(source)
        if isinstance(head, Classes | Outputs):
            return self.linear(self.global_pool(source), head.count)
        if head.pool == "depthwise":
            pooled = self.conv(source, channels, (height, width), padding=0, groups=channels, norm=True)
        else:
            pooled = self.elementwise("activation", [self.global_pool(source)], norm=True)
        return self.linear(pooled, head.dim, bias=False, norm=True)

    def workload(self) -> Workload:
        """What was described so far."""
        return Workload(tuple(self.kernels))

    def _append(self, kernel: Kernel) -> int:
        if kernel.out_channels < 1:
            raise self._refused(f"{kernel.kind} with {kernel.out_channels} channels out: at least 1")
        if kernel.output_elements > LARGEST_MAP:
            raise self._refused(
                f"{kernel.kind} that computes {kernel.output_elements:.1e} numbers: at most {LARGEST_MAP:.0e}"
            )
        if kernel.activation and kernel.activation not in ACTIVATIONS:
            raise self._refused(f"activation {kernel.activation!r} is unknown: {', '.join(ACTIVATIONS)}")
        shape = kernel.out_channels, kernel.height, kernel.width
        if kernel.residual is not None and self.shape(kernel.residual) != shape:
            raise self._refused(
                f"residual of shape {self._shape_words(kernel.residual)}: the result that it is added to is {_words(shape)}"
            )
        self.kernels.append(kernel)
        return len(self.kernels) - 1

    def _side(self, side: int, kernel: int, stride: int, padding: int, dilation: int = 1) -> int:
        """What a window leaves of a side, in pixels."""
        span = dilation * (kernel - 1) + 1
        if min(kernel, stride) < 1 or not 0 <= padding <= WIDEST_PADDING:
            raise self._refused(
                f"kernel {kernel}, stride {stride} and padding {padding}: at least 1, 1 and 0, and at most {WIDEST_PADDING} "
                "pixels of padding"
            )
        if span > side + 2 * padding:
            raise self._refused(
                f"kernel {kernel} with dilation {dilation} and padding {padding} does not fit its input of {side} pixels"
            )
        return (side + 2 * padding - span) // stride + 1

    def _shape_words(self, index: int) -> str:
        return _words(self.shape(index))

    def _refused(self, why: str) -> EdgenasError:
        return EdgenasError(f"kernel {len(self.kernels)} of the network: {why}")


def refuse_impossible(workload: Workload, name: str) -> Workload:
    """The workload, if a network for one image can be that large. Raises EdgenasError otherwise."""
    if workload.params > LARGEST_PARAMS or workload.macs > LARGEST_MACS:
        raise EdgenasError(
            f"{name} has {workload.params:,} parameters and {workload.macs:,} MACs: at most {LARGEST_PARAMS:.0e} and "
            f"{LARGEST_MACS:.0e} can be meant"
        )
    return workload


def _words(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _pair(value: Pair) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)
