"""What is checked first on a GPU holds on a CPU, and each fault that it is there for is noticed."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from benchmarks.cuda_checks import BARS, averaged_by_definition, failed, figures
from edgenas.training.checkpoint import State
from edgenas.training.step import Step

CPU = torch.device("cpu")


class LeavesTraces(Step):
    """A capture whose rehearsal has trained the network."""

    def rehearse(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        self._compute(x, labels)


class ForgetsMomentum(Step):
    """A checkpoint without it."""

    def restore(self, state: State) -> None:
        super().restore(State({name: t for name, t in state.tensors.items() if "momentum" not in name}, state.notes))


class AveragesTwice(Step):
    """An average that is updated as if every step were two."""

    def __call__(self, *batch: Any) -> None:
        super().__call__(*batch)
        assert self.average is not None
        self.average.update()


class NeverHalf(Step):
    """Trains in FP32 whatever the recipe says."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.objective.bf16 = False  # type: ignore[assignment]


@pytest.fixture(scope="module")
def right() -> dict[str, float]:
    return figures(CPU)


def test_a_cpu_trains_as_a_cpu_does(right: dict[str, float]) -> None:
    assert failed(right, CPU) == []
    assert right["graphs"] == right["checkpoint"] == right["repeated"] == 0


@pytest.mark.parametrize(
    ("make", "figure"),
    [(LeavesTraces, "graphs"), (ForgetsMomentum, "checkpoint"), (AveragesTwice, "ema"), (NeverHalf, "bf16_weights")],
)
def test_a_fault_breaks_its_bar(make: type[Step], figure: str) -> None:
    assert figure in [line.split(":")[0] for line in failed(figures(CPU, make), CPU)]


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_a_figure_at_its_bar_is_right_and_above_it_or_no_number_is_not(device: str, right: dict[str, float]) -> None:
    there = torch.device(device)
    at = right | BARS[device] | {"graphs_recorded": 1.0}
    assert failed(at, there) == []
    for name, bar in BARS[device].items():
        for value in (math.nextafter(bar, 1), math.nan):
            (line,) = failed(at | {name: value}, there)
            assert line.startswith(f"{name}: ")


def test_cuda_without_a_recorded_graph_is_noticed(right: dict[str, float]) -> None:
    at = right | BARS["cuda"]
    assert failed(at | {"graphs_recorded": 0.0}, torch.device("cuda")) == ["graphs_recorded: none"]
    assert failed(at | {"graphs_recorded": 0.0}, CPU)[:1] != ["graphs_recorded: none"]


def test_the_average_by_definition_by_hand() -> None:
    """Decays of 1/11 and 2/12: (0 + 10 * 1.1 / 11) = 1, then 1 * 2/12 + 7 * 10/12 = 6."""
    found = averaged_by_definition(torch.tensor([0.0]), [torch.tensor([1.1]), torch.tensor([7.0])])
    assert found.item() == pytest.approx(6.0)
