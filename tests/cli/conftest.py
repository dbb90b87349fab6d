"""What a command would do in other processes, or measure for seconds, done here or at once, for tests of something else."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from edgenas.hardware.measure import Timing
from edgenas.records import Latency, Precision
from edgenas.tasks import Task
from edgenas.training.work import InlineCrew


@pytest.fixture
def trains_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Final trainings are in this process, one after the other: each of their own would import torch for two seconds."""

    def crew(task: Task, devices: tuple[str, ...], attempts: int) -> InlineCrew:
        return InlineCrew(task, devices[0])

    monkeypatch.setattr("edgenas.training.final.LocalCrew", crew)


@pytest.fixture
def times_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every exported file takes one millisecond here, by no measurement."""

    def latencies(models: Mapping[Precision, bytes], timing: Timing, batch: int = 1) -> dict[Precision, Latency]:
        return {
            precision: Latency(1.0, "measured", "host-cpu", p90_ms=1.0, n=200, precision=precision)
            for precision in models
        }

    monkeypatch.setattr("edgenas.export.release.measured_latencies", latencies)
