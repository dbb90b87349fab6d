"""How the engine is called: what says where and how, and decides nothing; and objects of the caller's in place of names."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgenas.architectures.named_spaces import SPACES, SpaceForData
from edgenas.engine.arrays import Arrays
from edgenas.engine.events import Listener, noting, unheard
from edgenas.engine.registry import METHODS, method_named
from edgenas.errors import EdgenasError
from edgenas.methods.spec import MethodSpec

if TYPE_CHECKING:
    from edgenas.tasks import Task


@dataclass(frozen=True)
class Where:
    """What does not decide the result: which folder, how many processes, which machines."""

    study: str | None = None
    workers: int | None = None
    ray: str | None = None
    boards: tuple[str, ...] = ()
    token_file: Path | None = None
    ca: Path | None = None
    references: tuple[str, ...] = ()  # public networks to be compared with: they decide nothing
    processes: int = 1  # that train one supernet together

    def __post_init__(self) -> None:
        if self.workers is not None and self.workers < 0:
            raise EdgenasError(f"--workers {self.workers}: as many processes as shall train, or 0: this one does")
        if self.processes < 1:
            raise EdgenasError(f"--processes {self.processes}: at least one")
        if self.ray is not None and self.workers is not None:
            raise EdgenasError("--workers counts processes here, --ray takes a cluster's slots: give one of them")
        if self.processes > 1 and self.ray is not None:
            raise EdgenasError("--processes work together on this machine, --ray takes a cluster: give one of them")

    def refuse_for(self, method: MethodSpec) -> None:
        """Raise EdgenasError where the method has nothing that `processes` could train together."""
        if self.processes > 1 and not method.together:
            raise EdgenasError(
                f"--processes {self.processes}: method {method.name} trains candidates side by side, and none of them in several "
                "processes: give --workers"
            )

    def refuse_more_than(self, workers: int, gpus: int | None) -> None:
        """Raise EdgenasError for more `processes` than there are workers, or GPUs (None: a CPU) for them."""
        most = workers if gpus is None else min(workers, gpus)
        if self.processes > most:
            where = "" if gpus is None else f" on {gpus} GPUs"
            raise EdgenasError(
                f"--processes {self.processes}: this search has {workers} workers{where}: take {most} or fewer, or more --workers"
            )


@dataclass(frozen=True)
class Given:
    """Objects of the caller's in place of names. The settings call them by the names that they have."""

    method: MethodSpec | None = None
    space: SpaceForData | None = None
    task: Task | None = None  # with all its training images
    arrays: Arrays | None = None  # what `task` is made of, if it is made of arrays: they are kept in the study's folder

    def method_for(self, name: str) -> MethodSpec:
        """The method of this name: the caller's own, or one that is installed."""
        return method_named(name) if self.method is None or self.method.name != name else self.method

    def refuse_taken_names(self, space: str | None) -> None:
        """Raise EdgenasError for an object that is called like something else of edgenas's. `space`: how settings call it."""
        if self.space is not None and space is not None:
            SPACES.refuse_taken(space)
        own = self.method
        if own is not None and own.name in METHODS.built_in and own != METHODS.load(own.name):
            METHODS.refuse_taken(own.name)

    @property
    def objects(self) -> tuple[str, ...]:
        """Which of data, method and space are objects that another process does not find."""
        held = {"data": self.arrays is None and self.task, "method": self.method, "space": self.space}
        return tuple(name for name, thing in held.items() if thing)


@dataclass(frozen=True)
class Call:
    """One call of the engine. `started`: when it began, monotonic seconds."""

    where: Where = Where()
    given: Given = Given()
    listener: Listener = unheard
    started: float = field(default_factory=time.monotonic)

    @property
    def tell(self) -> Callable[[str], None]:
        """A function that tells whoever listens a sentence."""
        return noting(self.listener)

    @property
    def boards(self) -> bool:
        """Are latencies measured?"""
        return bool(self.where.boards)
