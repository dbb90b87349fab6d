"""What a command would do in other processes, or measure for seconds, done here or at once, for tests of something else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from edgenas.hardware.measure import Say, Timing, measure
from edgenas.hardware.worker import Load
from edgenas.records import Measurement
from edgenas.tasks import Task
from edgenas.training.work import InlineCrew
from tests.cli.edgenas import one_millisecond


@pytest.fixture
def trains_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Final trainings are in this process, one after the other: each of their own would import torch for two seconds."""

    def crew(task: Task, devices: tuple[str, ...], attempts: int) -> InlineCrew:
        return InlineCrew(task, devices[0])

    monkeypatch.setattr("edgenas.training.final.LocalCrew", crew)


@pytest.fixture
def times_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every exported file takes one millisecond here, by no measurement."""
    monkeypatch.setattr("edgenas.export.release.measured_latencies", one_millisecond)


@pytest.fixture
def times_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What `edgenas bench` and a search measure here is run a few times, in place of half a second to three."""

    def taken(models: Sequence[bytes], load: Load, timing: Timing, profile: str, *, say: Say) -> list[Measurement]:
        few = Timing(runs=5, seconds=0.0, rounds=5, warmup_runs=1, warmup_seconds=0.0)
        return measure(models, load, few, profile, say=say)

    monkeypatch.setattr("edgenas.hardware.candidates.measure", taken)
    monkeypatch.setattr("edgenas.hardware.measure.measure", taken)
