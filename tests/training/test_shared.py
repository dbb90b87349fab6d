"""One copy of the data for every process."""

from __future__ import annotations

import mmap
import os
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from edgenas.errors import EdgenasError
from edgenas.training.shared import LEAST_BYTES, Shared, open_shared
from edgenas.training.workers import LocalCrew

LARGE = np.arange(3 * LEAST_BYTES, dtype=np.uint8).reshape(3, -1)


def reopened(value: object) -> Any:
    shared = Shared(value)
    try:
        return open_shared(shared.file.fileno(), shared.start)
    finally:
        shared.close()


def test_any_object_comes_back_as_it_was() -> None:
    value = {"large": LARGE, "fortran": np.asfortranarray(LARGE), "small": np.arange(5), "same": LARGE, "text": "x"}
    back = reopened(value)
    assert back["text"] == "x"
    for name in ("large", "fortran", "small", "same"):
        np.testing.assert_array_equal(back[name], value[name])
        assert back[name].dtype == value[name].dtype
    assert back["same"] is back["large"]


def test_nothing_large_is_an_object_too() -> None:
    assert reopened([1, "two", None]) == [1, "two", None]


def test_large_arrays_lie_in_the_file_once_and_small_ones_with_the_object() -> None:
    shared = Shared([LARGE, LARGE, LARGE[:2]])
    size = os.fstat(shared.file.fileno()).st_size
    shared.close()
    assert LARGE.nbytes + LARGE[:2].nbytes <= size < 2 * LARGE.nbytes + LARGE[:2].nbytes


def test_large_arrays_are_mapped_and_not_copied() -> None:
    back = reopened({"large": LARGE, "small": LARGE[:, :5]})
    assert isinstance(memory_of(back["large"]), mmap.mmap)
    assert not isinstance(memory_of(back["small"]), mmap.mmap)


def memory_of(array: Any) -> object:
    """What an array looks at in the end."""
    while isinstance(array, np.ndarray) and array.base is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


def test_the_file_has_no_name_that_could_be_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    shared = Shared([LARGE])
    assert os.fstat(shared.file.fileno()).st_nlink == 0
    assert list(tmp_path.iterdir()) == []
    shared.close()


def test_who_writes_into_an_array_changes_nothing_for_others() -> None:
    shared = Shared(LARGE)
    one, other = (open_shared(shared.file.fileno(), shared.start) for _ in range(2))
    one[:] = 0
    np.testing.assert_array_equal(other, LARGE)
    np.testing.assert_array_equal(open_shared(shared.file.fileno(), shared.start), LARGE)
    shared.close()


def test_what_cannot_go_to_another_process_is_one_line() -> None:
    class Locked:
        def __init__(self) -> None:
            self.lock = threading.Lock()

    with pytest.raises(EdgenasError, match=r"^Locked cannot be sent to worker processes \(.*lock.*workers = 0\)$"):
        Shared(Locked())


def test_no_room_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    with pytest.raises(EdgenasError, match=r"no room for 0 MB of data in /nowhere .*TMPDIR"):
        Shared([LARGE])


def test_a_task_that_only_this_process_knows_is_one_line() -> None:
    """Of a module that was made here, and that no other process can import."""
    module = ModuleType("made_here")
    exec("class Task:\n    pass", module.__dict__)
    sys.modules["made_here"] = module
    crew = LocalCrew(module.Task(), ("cpu",))
    try:
        crew.start({"one": Nothing()}, needed=True)
        with pytest.raises(EdgenasError, match=r"a worker process cannot load the task .*made_here.*: define it in"):
            list(crew.finished())
    finally:
        crew.close()
        del sys.modules["made_here"]


class Nothing:
    """A work item."""

    key = "one"

    def run(self, place: object) -> None:
        raise AssertionError(place)
