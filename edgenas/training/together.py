"""What one process does of a training in several, as work for a crew; see share.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from edgenas.errors import EdgenasError, TrainingError
from edgenas.records import FinalRun, Recipe
from edgenas.training.loop import images_an_epoch
from edgenas.training.share import LostError, Share
from edgenas.training.work import Workplace

if TYPE_CHECKING:
    from edgenas.training.final import SeedTraining

R = TypeVar("R")


@dataclass(frozen=True)
class Cut:
    """In place of a run: another process of its training is gone."""

    reason: str


@dataclass(frozen=True)
class PartOfTraining:
    """What one process does of a training in several, as a work item. Its result: the run, of the process that leads."""

    training: SeedTraining
    share: Share
    meeting: Path
    attempts = 1

    @property
    def key(self) -> str:
        return f"{self.training.key} {self.share.rank} of {self.share.processes}"

    def run(self, place: Workplace) -> FinalRun | Cut | None:
        try:
            return self.training.run_part(place, self.share, self.meeting)
        except LostError as error:
            return Cut(str(error))


def led(results: Sequence[R | Cut | None], what: str) -> R:
    """The result of the process that leads. Raises TrainingError, in one line, where the processes have lost each other."""
    reasons = [result.reason for result in results if isinstance(result, Cut)]
    if reasons:
        raise TrainingError(f"{what}: its processes have lost each other ({reasons[0]}): run it again")
    return next(result for result in results if result is not None and not isinstance(result, Cut))


def refuse_thin_batches(recipe: Recipe, images: int, processes: int) -> None:
    """Raise EdgenasError where a batch has fewer images than there are processes to take a part of it."""
    batch_size = min(recipe.batch_size, images)
    least = images_an_epoch(images, batch_size, recipe) % batch_size or batch_size
    if least < processes:
        raise EdgenasError(
            f"--processes {processes}: a batch of this training has {least} images, which are too few for each to have one: "
            f"take {least} or fewer, or another batch_size in a --recipe"
        )
