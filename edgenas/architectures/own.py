"""A space of your own: named choices, and a function that describes the network of some of them.

    def two_stages(net: Tracer, choices: Choices) -> int:
        here = net.conv(-1, choices["width"], 3, norm=True, activation="relu")
        for stage in range(2):
            for _ in range(choices[f"blocks {stage}"]):
                here = net.conv(here, choices["width"], choices["kernel"], norm=True, activation="relu", residual=here)
        return here                                          # the head that the data asks for is added behind it

    SPACE = OwnSpace("two-stages", {"width": range(8, 33, 8), "blocks 0": (1, 2), "blocks 1": (1, 2, 3), "kernel": (3, 5)},
                     two_stages)

Its architectures hold their kernels: whoever gets one can build, export and verify it without this code.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking
from edgenas.architectures.tracer import TRACES, Tracer, refuse_impossible
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, sides_of
from edgenas.records import Architecture, Head, Kernel, OwnArchitecture, Workload

MOST_KERNELS = 4_000


class Choices(Mapping[str, Any]):
    """What was chosen, by name. A choice that is never read is not part of the network."""

    def __init__(self, space: str, values: Mapping[str, Values], answer: Answer) -> None:
        self._space, self._values = space, values
        self._ask = asking(values, answer)
        self.read: dict[str, Value] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._values:
            raise EdgenasError(f"space {self._space} has no choice {name!r}: {', '.join(self._values)}")
        self.read[name] = self._ask(name)
        return self.read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


Build: TypeAlias = Callable[[Tracer, Choices], int]


@dataclass(frozen=True)
class OwnSpace:
    """`choices`: per name what can be chosen, a range of sizes or a tuple of numbers, words or both truth values; the smallest or
    simplest first. `build` describes the network of some choices on a `Tracer` whose input is the image, and returns the index of
    its last kernel, a map that the head is put on. An EdgenasError that it raises says: these choices make no network.
    """

    name: str
    choices: Mapping[str, Values]
    build: Build

    def __post_init__(self) -> None:
        for name, values in self.choices.items():
            if not isinstance(values, range | tuple) or not values or len(set(values)) != len(values):
                raise EdgenasError(
                    f"space {self.name}: choice {name!r} is {values!r}: give a range, or a tuple of different values"
                )
            if isinstance(values, tuple) and not all(isinstance(value, int | float | str) for value in values):
                raise EdgenasError(
                    f"space {self.name}: choice {name!r} has values that are no numbers or words: {values!r}"
                )
        if not self.choices:
            raise EdgenasError(f"space {self.name} has no choices: there is nothing to search")

    def __call__(self, head: Head, in_channels: int, image_size: ImageSize) -> ChoiceSpace:
        """The space for data: images of (in_channels, height, width) and the head that the task asks for."""
        return ChoiceSpace(self, head, in_channels, image_size)


@dataclass(frozen=True)
class ChoiceSpace(NamedChoices):
    """An `OwnSpace` for given data: a `Space` whose members are `OwnArchitecture`s."""

    own: OwnSpace
    head: Head
    in_channels: int
    image_size: ImageSize

    @property
    def name(self) -> str:
        return self.own.name

    def choices(self) -> dict[str, Values]:
        return dict(self.own.choices)

    def choose(self, answer: Answer) -> OwnArchitecture:
        choices = Choices(self.name, self.own.choices, answer)
        trace = Tracer(self.in_channels, *sides_of(self.image_size))
        last = self.own.build(trace, choices)
        if not trace.kernels or last != len(trace.kernels) - 1:
            raise EdgenasError(
                f"space {self.name}: build returns {last!r}, and the last of its {len(trace.kernels)} kernels is what the head "
                "goes on: return that one's index"
            )
        held = {name: choices.read[name] for name in self.own.choices if name in choices.read}
        network = OwnArchitecture(self.name, held, trace.workload(), self.head, self.in_channels, self.image_size)
        workload_from_own(network)  # refuses what cannot be
        return network

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, OwnArchitecture) or network.space != self.name:
            raise EdgenasError(f"this network is not one of space {self.name}")
        return {name: network.choices[name] for name in self.own.choices if name in network.choices}

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, OwnArchitecture)
        return workload_from_own(network)


@functools.lru_cache(TRACES)
def workload_from_own(architecture: OwnArchitecture) -> Workload:
    """Its kernels, and those of its head. Raises EdgenasError, in one line, for kernels that do not make a network: a Tracer
    describes them again, and must come to the same ones."""
    kernels = architecture.body.kernels
    if not 1 <= len(kernels) <= MOST_KERNELS:
        raise EdgenasError(
            f"a network of space {architecture.space} has 1 to {MOST_KERNELS} kernels, not {len(kernels)}"
        )
    trace = Tracer(architecture.in_channels, *sides_of(architecture.image_size))
    for index, kernel in enumerate(kernels):
        _describe(trace, kernel)
        if trace.kernels[index] != kernel:
            raise EdgenasError(
                f"kernel {index} ({kernel.kind}) of a network of space {architecture.space} contradicts itself: its sizes do not "
                "follow from its inputs"
            )
    read = {source for kernel in kernels for source in kernel.sources}
    if unread := sorted(set(range(len(kernels) - 1)) - read):
        raise EdgenasError(
            f"kernel {unread[0]} ({kernels[unread[0]].kind}) of a network of space {architecture.space} is never read: "
            "leave it out"
        )
    trace.head(len(kernels) - 1, architecture.head)
    return refuse_impossible(trace.workload(), f"a network of space {architecture.space}")


def own_for_channels(architecture: OwnArchitecture, channels: int) -> OwnArchitecture:
    """The same operations on images of so many channels. Raises EdgenasError where these cannot take them, as of a convolution
    with three groups on one channel."""
    workload_from_own(architecture)  # refuses what contradicts itself
    trace = Tracer(channels, *sides_of(architecture.image_size))
    for kernel in architecture.body.kernels:
        _describe(trace, kernel)
    return msgspec.structs.replace(architecture, body=trace.workload(), in_channels=channels)


def _describe(trace: Tracer, kernel: Kernel) -> None:
    """Call the tracer as it must have been called for this kernel. Raises EdgenasError for a kind that it does not make."""
    source = kernel.inputs[0] if kernel.inputs else len(trace.kernels)
    kind, out, norm, activation = kernel.kind, kernel.out_channels, kernel.norm, kernel.activation
    if kind in ("conv", "depthwise"):
        trace.conv(
            source,
            out,
            kernel.kernel,
            stride=kernel.stride,
            padding=kernel.padding,
            dilation=kernel.dilation[0],
            groups=kernel.groups,
            norm=norm,
            bias=kernel.bias,
            activation=activation,
            residual=kernel.residual,
        )
    elif kind == "linear":
        trace.linear(source, out, bias=kernel.bias, norm=norm, activation=activation)
    elif kind in ("maxpool", "avgpool"):
        trace.pool(kind, source, kernel.kernel[0], stride=kernel.stride[0], padding=kernel.padding[0])
    elif kind == "globalpool":
        trace.global_pool(source)
    elif kind in ("add", "mul", "mean", "activation"):
        trace.elementwise(kind, kernel.inputs, activation=activation, norm=norm)
    elif kind == "concat":
        trace.concat(kernel.inputs)
    elif kind == "slice":
        trace.channels("slice", source, out, groups=kernel.groups, begin=kernel.begin)
    elif kind == "shuffle":
        trace.channels("shuffle", source, out, groups=kernel.groups)
    else:
        raise EdgenasError(f"kernel {len(trace.kernels)}: {kind} is not part of an own network")
