"""Small real data and a cost that counts parameters, for every test of the training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pytest

from edgenas.architectures.chain import chain
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Architecture, Candidate, ChainArchitecture, Classes, Cost, Limits, Recipe
from edgenas.tasks import Task, TaskSettings, load_task

NO_LIMITS = Limits()


@dataclass(frozen=True)
class ParameterCost:
    """The workload's own figures, no device."""

    limits: Limits = NO_LIMITS

    def __call__(self, architecture: Architecture) -> Cost:
        w = workload_from_architecture(architecture)
        return Cost(w.params, w.macs, w.bytes_moved, w.size_mb(), w.memory_mb())

    def prepare(self, architectures: Iterable[Architecture]) -> None:
        """Nothing to measure ahead."""


@pytest.fixture(scope="session")
def digits() -> Task:
    """320 training images of scikit-learn's digits."""
    return load_task(TaskSettings("digits", search_images=320))


def tiny(width: int = 4, depth: int = 3) -> ChainArchitecture:
    """A separable chain for 8x8 digits."""
    return chain(width, depth, (0,) * depth, (3,) * depth, Classes(10), in_channels=1, image_size=8)


def candidate(width: int = 4, depth: int = 3, epochs: int = 1, lr: float = 0.05, phase: str = "depth") -> Candidate:
    """A candidate that trains in a fraction of a second."""
    recipe = Recipe("test", epochs, 32, lr, crop_padding=1, cutout=2, nesterov=True)
    return Candidate(tiny(width, depth), recipe, phase)
