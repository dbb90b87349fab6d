"""The loop of every target: known inputs first, then drawn ones until the time is over; whatever is at fault is kept in a file.

An input is bytes, always, so that any of them can be kept, sent to somebody and tried again.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import hypothesis
from hypothesis import HealthCheck, Phase
from hypothesis.strategies import SearchStrategy

Kind = Literal["refused", "accepted", "crash", "traceback", "silent change"]
FAULTS = ("crash", "traceback", "silent change")
BATCH = 40
SAVED_AT_MOST = 20  # files of one target


@dataclass(frozen=True)
class Verdict:
    """What became of one input. `crash`: also a hang, too much memory, or an answer that is none."""

    kind: Kind
    words: str = ""


class SilentChangeError(Exception):
    """Something was accepted and gives another result than it should."""


class Door(Protocol):
    """Where inputs of one kind come into the product."""

    seeds: Sequence[bytes]  # all that was found before, and one that is right
    inputs: SearchStrategy[bytes]

    def tried(self, content: bytes) -> Verdict: ...

    def ended(self) -> Sequence[Verdict]:
        """What only shows after many inputs: memory, the log, the answer to a right request."""
        ...

    @property
    def note(self) -> str:
        """A figure to print beside the table; "" where there is none."""
        ...


@dataclass(frozen=True)
class Target:
    """`least`: so many inputs are tried, however little time there is."""

    name: str
    opened: Callable[[Path], AbstractContextManager[Door]]  # given an empty folder
    least: int = 0


@dataclass
class Tally:
    """A row of the table; `faults` are (file or "", words)."""

    target: str
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0
    note: str = ""

    @property
    def inputs(self) -> int:
        return sum(self.counts.values())

    def row(self) -> tuple[str, ...]:
        kinds = ("refused", "accepted", *FAULTS)
        return (self.target, str(self.inputs), *(str(self.counts[kind]) for kind in kinds), f"{self.seconds:.0f}")


HEADER = ("target", "inputs", "refused", "accepted", "crashes", "tracebacks", "silent changes", "seconds")


def fuzz(target: Target, seconds: float, seed: int, work: Path, saved: Path) -> Tally:
    """Try inputs for so long, beginning when the door is open. The same seed gives the same inputs in the same order."""
    tally = Tally(target.name)
    folder = work / target.name
    folder.mkdir()
    with target.opened(folder) as door:
        began = time.monotonic()
        for number, content in enumerate(_contents(door, f"{seed} {target.name}")):
            if time.monotonic() - began > seconds and number >= target.least:
                break
            _note(tally, door.tried(content), content, saved)
        for verdict in door.ended():
            _note(tally, verdict, None, saved)
        tally.seconds, tally.note = time.monotonic() - began, door.note
    return tally


def _contents(door: Door, seed: str) -> Iterator[bytes]:
    yield from door.seeds
    number = 0
    while True:
        yield from drawn(door.inputs, f"{seed} {number}")
        number += 1


def drawn(inputs: SearchStrategy[bytes], seed: str, count: int = BATCH) -> list[bytes]:
    """So many different inputs, the same for the same seed on every machine with this version of hypothesis."""
    found: list[bytes] = []

    @hypothesis.seed(int(hashlib.sha256(seed.encode()).hexdigest()[:16], 16))
    @hypothesis.settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @hypothesis.given(inputs)
    def draw(content: bytes) -> None:
        found.append(content)

    draw()
    return list(dict.fromkeys(found))


def _note(tally: Tally, verdict: Verdict, content: bytes | None, saved: Path) -> None:
    tally.counts[verdict.kind] += 1
    if verdict.kind not in FAULTS:
        return
    name = ""
    if content is not None and len(tally.faults) < SAVED_AT_MOST:
        saved.mkdir(parents=True, exist_ok=True)
        path = saved / f"{tally.target}-{hashlib.sha256(content).hexdigest()[:12]}"
        path.write_bytes(content)
        name = str(path)
    tally.faults.append((name, f"{verdict.kind}: {verdict.words}"))
