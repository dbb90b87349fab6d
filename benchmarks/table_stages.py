"""The space that Accel-NASBench sampled: MnasNet's seven stages, of each expansion, kernel, layers and squeeze-excitation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from benchmarks.board_searches import workload_from_stages
from edgenas.architectures.space import Answer, NamedChoices, Value, Values
from edgenas.records import Architecture, Record, Workload


class Staged(Record, frozen=True, tag="staged", tag_field="type"):
    """A network: the values of all columns, in their order."""

    values: tuple[int, ...]

    @property
    def fingerprint(self) -> str:
        return " ".join(map(str, self.values))


@dataclass(frozen=True)
class StageSpace(NamedChoices):
    """columns: names, such as block0_e; possible: of each its values, smallest first."""

    columns: tuple[str, ...]
    possible: tuple[tuple[int, ...], ...]

    @property
    def name(self) -> str:
        return "accel"

    def choices(self) -> dict[str, Values]:
        return dict(zip(self.columns, self.possible, strict=True))

    def choose(self, answer: Answer) -> Architecture:
        return staged(tuple(int(answer(name, values)) for name, values in self.choices().items()))

    def choices_of(self, network: Architecture) -> dict[str, Value]:
        return dict(zip(self.columns, values_of(network), strict=True))

    def workload(self, network: Architecture) -> Workload:
        values = values_of(network)
        return workload_from_stages(tuple(zip(*(values[start::4] for start in range(4)), strict=True)))


def staged(values: tuple[int, ...]) -> Architecture:
    """The network as what spaces pass around."""
    return cast("Architecture", Staged(values))


def values_of(network: Architecture) -> tuple[int, ...]:
    """The values of all columns."""
    return cast("Staged", network).values
