"""A teacher as a study keeps it: a record, found again by what it was asked for by."""

from __future__ import annotations

from edgenas.records import Architecture, Embedding, Preprocessing, Recipe, Record
from edgenas.store import Store

KIND = "teacher"  # of the store's rows


class Teacher(Record, frozen=True):
    """What taught. `file`: relative to the study, and its SHA-256; `source_sha256`: of the file that was named, "" where
    none was. `width`: numbers that it gives for an image. `architecture`, `preprocessing`: of a network; None where it is
    outputs. `further`: images without labels among those. `anchor`: the task's scores of the teacher itself on the test images,
    where its outputs for them are known; nothing learns from these."""

    name: str
    file: str
    sha256: str
    width: int
    architecture: Architecture | None = None
    preprocessing: Preprocessing | None = None
    source_sha256: str = ""
    further: int = 0
    anchor: dict[str, float] | None = None


def taught_words(store: Store, recipe: Recipe) -> str:
    """What is said of a network that was taught: by whom. "" where it was not."""
    if not recipe.teacher:
        return ""
    name = next((one.name for one in store.all(KIND, Teacher).values() if one.sha256 == recipe.teacher), "another")
    return f", taught by {name}"


def width_of(architecture: Architecture) -> int:
    """Numbers that a network gives for an image."""
    head = architecture.head
    return head.dim if isinstance(head, Embedding) else head.count
