"""The space `stages`: what can be chosen of a network of stages. For which images which bounds says stages_bounds.py."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking
from edgenas.architectures.stages import BLOCKS, EXPANDING, workload_from_stages
from edgenas.architectures.stages_features import FEATURES, stage_features
from edgenas.architectures.stages_steps import drawn_choices, one_step, possible_counts
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize, square_side
from edgenas.records import Architecture, BlockKind, Head, Record, Stage, StagesArchitecture, Workload

# Pixels of the last map: images are halved as often as these allow and need. A rectangle counts as the square of as many pixels.
SMALLEST_SIDE, LARGEST_SIDE = 4, 16
EARLY_FROM = 64  # pixels, above which the stem always has stride 2

Activation: TypeAlias = Literal["relu", "relu6"]


class StagesSpace(Record, NamedChoices, frozen=True):
    """Bounds of what is chosen. Widths are steps of a quarter octave (16, 20, 24, 28, 32, 40, ...), multiples of `width_step`.
    `min_depth`, `max_depth`: blocks in all. `heads`: channels of the last 1x1 convolution, 0 for none."""

    name: ClassVar[str] = "stages"

    head: Head
    in_channels: int
    image_size: ImageSize
    min_stages: int
    max_stages: int
    max_repeats: int
    min_width: int
    max_width: int
    width_step: int
    max_stem: int
    heads: tuple[int, ...]
    kernels: tuple[int, ...] = (3, 5)
    expansions: tuple[int, ...] = (1, 2, 3, 4, 6)
    stem_kernels: tuple[int, ...] = (3,)
    activations: tuple[Activation, ...] = ("relu",)
    min_depth: int = 1
    max_depth: int = 1000

    def __post_init__(self) -> None:
        if not 1 <= self.min_stages <= self.max_stages:
            raise EdgenasError(f"{self.min_stages} to {self.max_stages} stages: need 1 <= min_stages <= max_stages")
        if not self.widths or not self.stems:
            raise EdgenasError(
                f"width bounds {self.min_width}..{self.max_width} hold no multiple of {self.width_step} that is a step of a "
                "quarter octave: widen them"
            )
        most = self.max_stages * self.max_repeats
        if not max(self.min_stages, self.min_depth) <= min(self.max_depth, most):
            raise EdgenasError(
                f"depth bounds {self.min_depth}..{self.max_depth}: {self.min_stages} to {self.max_stages} stages of up to "
                f"{self.max_repeats} blocks have {self.min_stages} to {most} in all"
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Widths of a stage."""
        return ladder(self.min_width, self.max_width, self.width_step)

    @property
    def stems(self) -> tuple[int, ...]:
        """Widths of the stem."""
        return ladder(self.min_width, self.max_stem, self.width_step)

    @property
    def _may_be_early(self) -> bool:
        """Is it a choice whether the stem has stride 2?"""
        return self._side <= EARLY_FROM and _may_halve(self._side)

    @property
    def _side(self) -> int:
        return square_side(self.image_size)

    # -------- choices

    def choices(self) -> dict[str, Values]:
        """Of the network: stages (how many), stem, stem_kernel, early_stride (the stem's), activation, head. Of each stage:
        block_0, width_0, repeats_0, kernel_0, stride_0, expansion_0, squeeze_0, and so on. `choose` does not ask for a stride
        that the size of the image decides, nor for what a block does not have; early_stride is no choice above 64 px."""
        of_stage: dict[str, Values] = {
            "block": BLOCKS,
            "width": self.widths,
            "repeats": range(1, self.max_repeats + 1),
            "kernel": self.kernels,
            "expansion": self.expansions,
            "squeeze": (False, True),
        }
        early: dict[str, Values] = {"early_stride": (False, True)} if self._may_be_early else {}
        if _may_halve(self._side):
            of_stage["stride"] = (1, 2)
        return {
            "stages": range(self.min_stages, self.max_stages + 1),
            "stem": self.stems,
            "stem_kernel": self.stem_kernels,
            **early,
            "activation": self.activations,
            "head": self.heads,
            **{f"{name}_{stage}": values for stage in range(self.max_stages) for name, values in of_stage.items()},
        }

    def choose(self, answer: Answer) -> StagesArchitecture:
        ask = asking(self.choices(), answer)
        count = int(ask("stages"))
        side = self._side
        early = _must_halve(side, count) or side > EARLY_FROM
        if not early and self._may_be_early:
            early = bool(ask("early_stride"))
        side = _halved(side) if early else side
        stages = []
        for place in range(count):
            stride = 1
            if _must_halve(side, count - place - 1):
                stride = 2
            elif _may_halve(side):
                stride = int(ask(f"stride_{place}"))
            side = _halved(side) if stride == 2 else side
            stages.append(_stage(ask, place, stride))
        depth = sum(stage.repeats for stage in stages)
        if not self.min_depth <= depth <= self.max_depth:
            raise EdgenasError(f"{depth} blocks: the bounds of the depth are {self.min_depth}..{self.max_depth}")
        return StagesArchitecture(
            tuple(stages),
            self.head,
            self.in_channels,
            self.image_size,
            stem_width=int(ask("stem")),
            stem_stride=2 if early else 1,
            stem_kernel=int(ask("stem_kernel")),
            head_width=int(ask("head")),
            activation=cast("Activation", ask("activation")),
        )

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, StagesArchitecture):
            raise EdgenasError("this network has no stages")
        if not self.min_stages <= len(network.stages) <= self.max_stages:
            raise EdgenasError(
                f"a network of {len(network.stages)} stages: this space has {self.min_stages} to {self.max_stages}"
            )
        said: dict[str, Value] = {
            "stages": len(network.stages),
            "stem": network.stem_width,
            "stem_kernel": network.stem_kernel,
            "early_stride": network.stem_stride == 2,
            "activation": network.activation,
            "head": network.head_width,
        }
        for place, stage in enumerate(network.stages):
            said |= {f"{name}_{place}": getattr(stage, name) for name in stage.__struct_fields__}
        held: dict[str, Value] = {}

        def answer(name: str, _: Values) -> Value:
            held[name] = said[name]
            return said[name]

        self.choose(answer)
        return {name: held[name] for name in self.choices() if name in held}

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, StagesArchitecture)
        return workload_from_stages(network)

    def features(self, networks: Sequence[Architecture]) -> NDArray[np.float64]:
        """(n, FEATURES): see stages_features.py; their number does not grow with the stages."""
        rows = [stage_features(network) for network in networks if isinstance(network, StagesArchitecture)]
        return np.array(rows, np.float64).reshape(len(networks), FEATURES)

    # -------- members

    def draw(self, rng: random.Random) -> StagesArchitecture:
        """Widths grow from stage to stage, over any part of the ladder: costs are spread over orders of magnitude."""
        drawn = drawn_choices(self.choices(), (self.min_depth, self.max_depth), rng)
        return self.choose(lambda name, _: drawn[name])

    def neighbour(self, network: Architecture, rng: random.Random) -> StagesArchitecture:
        """One choice has another value, of a size most often the next one; a new stage is like the one before it."""
        return one_step(self.choices(), self.choose, self.choices_of(network), rng)

    def smallest(self) -> StagesArchitecture:
        """As few blocks as there may be, at the least width, of the kind that takes the fewest parameters."""
        return min(self.simplest(), key=lambda network: workload_from_stages(network).params)

    def simplest(self) -> tuple[StagesArchitecture, ...]:
        """The same of each kind of block, those with the fewest kernels among them: where all of them break a limit, all do."""
        count = self._counts()[0]
        first = {_kind(name): values[0] for name, values in self.choices().items()}
        said = {**first, "stride": 2, "early_stride": True}
        return tuple(self._uniform(block, [0] * count, max(self.min_depth, count), said) for block in BLOCKS)

    def reference(self) -> StagesArchitecture:
        """As deep as possible, of mbconv blocks with the largest expansion; widths from the middle of the ladder to its end."""
        count, last = self._counts()[-1], len(self.widths) - 1
        places = [last - round((count - 1 - place) * last / 2 / count) for place in range(count)]
        usual = {"kernel": self.kernels[0], "stem_kernel": self.stem_kernels[0], "squeeze": False, "stride": 2}
        return self._uniform("mbconv", places, self.max_depth, {"early_stride": False, "stride_0": 1, **usual})

    def largest(self) -> tuple[StagesArchitecture, ...]:
        """The member of the most parameters and MACs, and that of the most kernels: one of them is the slowest on any device."""
        places = [len(self.widths) - 1] * self._counts()[-1]
        late = {"early_stride": False, "stride": 1}
        return tuple(self._uniform(block, places, self.max_depth, late) for block in EXPANDING)

    def _counts(self) -> list[int]:
        """Numbers of stages that the bounds of the depth leave possible."""
        return possible_counts(self.choices(), (self.min_depth, self.max_depth))

    def _uniform(
        self, block: BlockKind, places: list[int], depth: int, said: Mapping[str, Value]
    ) -> StagesArchitecture:
        """The network of one kind of block with widths at these places of the ladder and `depth` blocks, or as many as there may
        be. `said`: other choices, of one stage (`stride_0`) or of all (`stride`); the last value of those that are not said."""
        count = len(places)
        depth = min(depth, count * self.max_repeats)
        stages = {f"repeats_{place}": depth // count + (place < depth % count) for place in range(count)}
        stages |= {f"width_{place}": self.widths[at] for place, at in enumerate(places)}
        told: dict[str, Value] = {**said, **stages, "stages": count, "block": block}

        def answer(name: str, values: Values) -> Value:
            return told.get(name, told.get(_kind(name), values[-1]))

        return self.choose(answer)


def ladder(least: int, most: int, step: int) -> tuple[int, ...]:
    """Four widths for every octave, 4, 5, 6 and 7 times a power of two, of those that are multiples of `step`."""
    steps = (part << octave for octave in range(most.bit_length()) for part in (4, 5, 6, 7))
    small = range(1, 4)  # below the first whole octave
    return tuple(width for width in (*small, *steps) if least <= width <= most and width % step == 0)


def _stage(ask: Callable[[str], Value], place: int, stride: int) -> Stage:
    """The stage of these choices; only blocks with an inner width are asked for its expansion and for squeeze-excitation."""
    block = cast("BlockKind", ask(f"block_{place}"))
    expansion, squeeze = 1, False
    if block in EXPANDING:
        expansion, squeeze = int(ask(f"expansion_{place}")), bool(ask(f"squeeze_{place}"))
    width, repeats, kernel = (int(ask(f"{name}_{place}")) for name in ("width", "repeats", "kernel"))
    return Stage(block, width, repeats, kernel, stride, expansion, squeeze)


def _kind(name: str) -> str:
    """What a choice is about, whichever stage's it is: "block" of "block_0"."""
    kind, _, stage = name.rpartition("_")
    return kind if stage.isdigit() else name


def least_stages(side: int) -> int:
    """How many stages it takes, each of stride 2 as the stem is, until the last map is no larger than LARGEST_SIDE."""
    count, side = 0, _halved(side)
    while side > LARGEST_SIDE:
        count, side = count + 1, _halved(side)
    return count


def _halved(side: int) -> int:
    return -(-side // 2)


def _may_halve(side: int) -> bool:
    return _halved(side) >= SMALLEST_SIDE


def _must_halve(side: int, left: int) -> bool:
    """Would the last map be too large without this stride, `left` more being possible?"""
    for _ in range(left):
        side = _halved(side)
    return side > LARGEST_SIDE
