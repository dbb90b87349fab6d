"""The newest study, where none is named: the one that was written last, also while a search writes it."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

import pytest

from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.records import Decision
from edgenas.store import Store
from tests.plans import plan, studied


def begun(folder: Path, at: float) -> None:
    """A study that was finished at this time."""
    with Store.create(folder, studied(plan())):
        pass
    os.utime(folder / "study.db", (at, at))


@pytest.fixture
def now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """The time, in a folder with the studies `older` and `newer`, of 3000 and 2000 seconds before."""
    monkeypatch.chdir(tmp_path)
    at = time.time()
    begun(Path("studies/older"), at - 3000)
    begun(Path("studies/newer"), at - 2000)
    return at


def newest(capsys: pytest.CaptureFixture[str]) -> str:
    with contextlib.suppress(EdgenasError):  # it has no front yet
        app(["front", "--json"], standalone_mode=False)
    return capsys.readouterr().err.splitlines()[0]


def test_the_study_that_a_search_is_writing_is_the_newest(now: float, capsys: pytest.CaptureFixture[str]) -> None:
    assert newest(capsys) == "study studies/newer"
    with Store.write(Path("studies/older")) as store:
        store.put("decision", "1", Decision("search", "accept", "it goes on"))
        assert Path("studies/older/study.db").stat().st_mtime < now - 2900  # that alone would not say it
        assert newest(capsys) == "study studies/older"


@pytest.mark.usefixtures("now")
def test_a_study_that_somebody_reads_is_not_newer_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Store.read(Path("studies/older")) as store:
        assert store.trials() == ()
        assert newest(capsys) == "study studies/newer"
