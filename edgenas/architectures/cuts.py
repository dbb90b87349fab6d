"""The space `cuts`: what is left of a trained network of stages when blocks and whole stages are cut off its end.

Every member has as its first layers those of the network, so that it can begin with their weights (networks/heritage.py).
"""

from __future__ import annotations

from typing import ClassVar

import msgspec

from edgenas.architectures.space import Answer, NamedChoices, Value, Values, asking
from edgenas.architectures.stages import workload_from_stages
from edgenas.errors import EdgenasError
from edgenas.image_sizes import ImageSize
from edgenas.records import Architecture, Head, Record, Stage, StagesArchitecture, Workload


class CutSpace(Record, NamedChoices, frozen=True):
    """The first stages of `whole`, of each its first blocks; the last 1x1 convolution where no stage is missing."""

    name: ClassVar[str] = "cuts"

    head: Head
    in_channels: int
    image_size: ImageSize
    whole: StagesArchitecture

    def choices(self) -> dict[str, Values]:
        """stages: how many; repeats_0, repeats_1, ...: blocks of each."""
        stages = self.whole.stages
        repeats = {f"repeats_{place}": range(1, stage.repeats + 1) for place, stage in enumerate(stages)}
        return {"stages": range(1, len(stages) + 1), **repeats}

    def choose(self, answer: Answer) -> StagesArchitecture:
        ask = asking(self.choices(), answer)
        count = int(ask("stages"))
        kept = [self._shortened(place, int(ask(f"repeats_{place}"))) for place in range(count)]
        return msgspec.structs.replace(
            self.whole,
            stages=tuple(kept),
            head=self.head,
            in_channels=self.in_channels,
            image_size=self.image_size,
            head_width=self.whole.head_width if count == len(self.whole.stages) else 0,
        )

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        if not isinstance(network, StagesArchitecture) or len(network.stages) > len(self.whole.stages):
            raise EdgenasError("this network is no cut of the one that this space was made from")
        repeats: dict[str, Value] = {f"repeats_{place}": stage.repeats for place, stage in enumerate(network.stages)}
        return {"stages": len(network.stages), **repeats}

    def workload(self, network: Architecture) -> Workload:
        assert isinstance(network, StagesArchitecture)
        return workload_from_stages(network)

    def _shortened(self, place: int, repeats: int) -> Stage:
        return msgspec.structs.replace(self.whole.stages[place], repeats=repeats)
