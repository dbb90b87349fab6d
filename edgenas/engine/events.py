"""What happens while the engine works, for whoever wants to show it. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from edgenas.records import Decision, FinalRun, Metric, Record, StudyRecord, Trial


class Note(Record, frozen=True):
    """A sentence for a person: what was chosen, a warning, a step that takes long."""

    text: str


@dataclass(frozen=True)
class SearchBegins:
    """The search of this study begins or goes on. `seconds`: what is left of its budget, None without one. `left`: how many more
    candidates the phase can judge at most after this trial, so many of it being judged; None where only the method knows."""

    study: StudyRecord
    folder: Path
    seconds: float | None
    left: Callable[[Trial, int], int | None]


class TrainingBegins(Record, frozen=True):
    """So many runs of a final training begin, on so many images of each split (train, val, test), or go on: `kept` of them are on
    record. `seconds`: about what all others take; None where nobody knows."""

    runs: int
    metric: Metric
    images: dict[str, int]
    seconds: float | None = None
    kept: int = 0


class RunEnds(Record, frozen=True):
    """One seed of a final training has ended."""

    run: FinalRun
    metric: Metric
    images: dict[str, int]


Event: TypeAlias = Note | SearchBegins | Trial | Decision | TrainingBegins | RunEnds
Listener: TypeAlias = Callable[[Event], None]


def unheard(event: Event) -> None:
    """A listener that shows nothing."""
    del event


def without(listener: Listener, said: set[str]) -> Listener:
    """The listener, which is not told the sentences `said` a second time; a third time it is."""

    def hear(event: Event) -> None:
        if isinstance(event, Note) and event.text in said:
            said.remove(event.text)
        else:
            listener(event)

    return hear


def noting(listener: Listener) -> Callable[[str], None]:
    """A function that tells the listener a sentence."""
    return lambda text: listener(Note(text))
