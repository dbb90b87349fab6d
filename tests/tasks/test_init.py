"""What a search learns from is cut out of the whole task as it would be read: the same bytes."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from edgenas.engine.decide import data_asked
from edgenas.errors import DataError
from edgenas.methods.settings import SearchSettings
from edgenas.tasks import Task, TaskSettings, as_searched, fingerprint, load_task
from tests.engine.test_sessions import write_mnist
from tests.image_folders import fill
from tests.tasks.test_faces import write_people


def both(settings: TaskSettings) -> tuple[Task, Task]:
    """(read with the subsample, cut out of the whole)."""
    whole = load_task(msgspec.structs.replace(settings, search_images=None))
    before = fingerprint(whole.train, whole.val, whole.test)
    cut = as_searched(whole, settings)
    assert fingerprint(whole.train, whole.val, whole.test) == before  # the whole stays whole
    return load_task(settings), cut


@pytest.mark.parametrize("images", [None, 20, 41, 10_000])
@pytest.mark.parametrize("data", ["digits", "mnist", "folder", "scaled", "people", "synthetic"])
def test_a_subsample_of_the_whole_is_what_would_have_been_read(data: str, images: int | None, tmp_path: Path) -> None:
    settings = TaskSettings("digits", seed=3, search_images=images)
    if data == "mnist":  # padded from 28 to 32 px
        write_mnist(tmp_path)
        settings = TaskSettings("mnist", data_dir=str(tmp_path), search_images=images)
    if data in ("folder", "scaled"):
        size = 24 if data == "scaled" else None
        settings = TaskSettings(str(fill(tmp_path, each=40)), image_size=size, search_images=images)
    if data in ("people", "synthetic"):
        where = str(write_people(tmp_path, 14, each=6)) if data == "people" else data
        few = {"far": 0.1, **({"people": 8, "each": 6} if data == "synthetic" else {})}
        settings = TaskSettings(where, "faces", image_size=28, seed=2, search_images=images, settings=few)
    read, cut = both(settings)
    for name in ("train", "val", "test"):
        for part in ("images", "labels"):
            ours, theirs = (getattr(getattr(task, name), part) for task in (cut, read))
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)
    for name in ("classes", "preprocessing", "flip", "head", "chance"):
        assert getattr(cut, name) == getattr(read, name)
    assert getattr(cut, "facts", None) == getattr(read, "facts", None)
    assert fingerprint(cut.train, cut.val) == fingerprint(read.train, read.val)


def test_too_few_search_images_are_refused_alike() -> None:
    settings = TaskSettings("digits", search_images=19)
    whole = load_task(TaskSettings("digits"))
    for cut in (lambda: as_searched(whole, settings), lambda: load_task(settings)):
        with pytest.raises(DataError, match="19 search images for 10 classes: ask for at least 20"):
            cut()


def test_a_new_search_takes_as_many_images_as_were_asked_for_and_one_of_before_those_that_it_began_with() -> None:
    """600 of the digits: each class rounded alone gives 601."""
    whole = load_task(TaskSettings("digits"))
    before = TaskSettings("digits", search_images=600)  # as it was written down
    new = data_asked(SearchSettings("digits", search_images=600))
    assert [len(as_searched(whole, settings).train) for settings in (before, new)] == [601, 600]
