"""How many threads each training of a command has on a CPU: as many as are free, or as many as what is there of it has.

The number is part of the recipe, since another one rounds otherwise. So more seeds, or the same command on a machine of other
cores, would name every training anew; what is finished or has a checkpoint is kept instead, with its threads.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec

from edgenas.engine.counts import counted
from edgenas.records import FinalRun, FinalTraining, Recipe, Record
from edgenas.store import Store

if TYPE_CHECKING:
    from edgenas.training.final import SeedTraining

KIND = "threads"  # of the store's rows, key = a training's whose recipe has one thread
Seeds = Callable[[Recipe], "Sequence[SeedTraining]"]


class Begun(Record, frozen=True):
    """The numbers of threads with which a training has been begun."""

    threads: tuple[int, ...] = ()


def with_threads_begun(
    store: Store, recipe: Recipe, least: int, seeds: Seeds, tell: Callable[[str], None], finals: str = "final"
) -> Recipe:
    """`recipe`, whose threads are free, with those that most of these `seeds` were trained with, where any was; put on record.

    `least`: threads that its file asks for, so never fewer. `finals`: kind of the rows in which older studies have theirs.
    """
    plain = msgspec.structs.replace(recipe, threads=1)
    key = seeds(plain)[0].key
    known = store.get(KIND, key, Begun) or Begun()
    older = [final.recipe for final in store.all(finals, FinalTraining).values()]
    here = {*known.threads, *(one.threads for one in older if msgspec.structs.replace(one, threads=1) == plain)}
    there = {count: _there(store, seeds(msgspec.structs.replace(recipe, threads=count))) for count in here}
    own = recipe.threads
    chosen = max(
        (count for count, some in there.items() if count >= least and any(some)),
        key=lambda count: (*there[count], count == own, count),
        default=own,
    )
    store.put(KIND, key, Begun(tuple(sorted({*known.threads, chosen}))))
    if chosen != own:
        tell(
            f"{counted(chosen, 'thread')} a training, as what is finished or begun of it has: that is kept "
            f"(this command would take {own} now)"
        )
    return msgspec.structs.replace(recipe, threads=chosen)


def _there(store: Store, seeds: Sequence[SeedTraining]) -> tuple[int, int]:
    """How many are finished, and how many have a checkpoint."""
    finished = sum(store.get("final-run", seed.key, FinalRun) is not None for seed in seeds)
    return finished, sum(seed.checkpoint.exists() for seed in seeds)
