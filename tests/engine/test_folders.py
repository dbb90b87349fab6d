"""The newest study, where none is named: the one that was written last, by its own word."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

import pytest

from edgenas.architectures.chain import chain
from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.methods.replay import cost_without_device
from edgenas.records import Candidate, Classes, Decision, Recipe, Session, Trial
from edgenas.store import Store
from tests.plans import plan, studied

GOES_ON = Decision("search", "accept", "it goes on")
Ago = Callable[[float], None]


@pytest.fixture
def ago(monkeypatch: pytest.MonkeyPatch) -> Ago:
    """A function that sets the clock to so many seconds before now."""
    now = time.time()
    return lambda seconds: monkeypatch.setattr("time.time", lambda: now - seconds)


@pytest.fixture(autouse=True)
def studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ago: Ago) -> None:
    """A folder with the studies `older` and `newer`, of 3000 and 2000 seconds before; `newer` has the older file."""
    monkeypatch.chdir(tmp_path)
    for name, seconds in (("newer", 2000), ("older", 3000)):
        ago(seconds)
        Store.create(Path("studies", name), studied(plan())).close()
    ago(0)


def newest(capsys: pytest.CaptureFixture[str]) -> str:
    with contextlib.suppress(EdgenasError):  # it has no front yet
        app(["front", "--json"], standalone_mode=False)
    return capsys.readouterr().err.splitlines()[0].removeprefix("study studies/")


def of_an_earlier_version(name: str, file_s: float) -> None:
    """A study that does not say when it was written; `file_s`: when its file was, seconds before now."""
    file = Path("studies", name, "study.db")
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute("DELETE FROM records WHERE kind = 'clock'")
    os.utime(file, (time.time() - file_s, time.time() - file_s))


def test_the_study_that_a_search_is_writing_is_the_newest(capsys: pytest.CaptureFixture[str]) -> None:
    assert newest(capsys) == "newer"
    with Store.write(Path("studies/older")) as store:
        assert newest(capsys) == "newer"  # nothing is written yet
        store.put("decision", "1", GOES_ON)
        assert newest(capsys) == "older"
    assert newest(capsys) == "older"


def test_a_trial_that_a_decision_reads_is_a_write(capsys: pytest.CaptureFixture[str], ago: Ago) -> None:
    network = chain(8, 4, (0,) * 4, (3,) * 4, Classes(10), image_size=8)
    candidate, cost = Candidate(network, Recipe("fast", 2, 64, 0.1), "depth"), cost_without_device(network)
    trial = Trial(candidate, "complete", cost, 7, {"val_accuracy": 90.0})
    with Store.write(Path("studies/older")) as store:
        ago(2900)
        store.add(trial)
        ago(0)
        assert newest(capsys) == "newer"
        store.number(trial.candidate.key)
        assert newest(capsys) == "older"


def test_a_study_that_somebody_reads_is_not_newer_for_it(capsys: pytest.CaptureFixture[str]) -> None:
    with Store.read(Path("studies/older")) as store:
        assert store.trials() == ()
        assert newest(capsys) == "newer"


def test_reading_a_killed_study_does_not_make_it_the_newest(capsys: pytest.CaptureFixture[str], ago: Ago) -> None:
    """Who closes it first moves the killed writer's log into the file, whose time is then that of the reader."""
    ago(2500)
    with Store.write(Path("studies/older")) as store:
        store.put("decision", "1", GOES_ON)
        shutil.copytree("studies/older", "studies/killed")  # as it lies there in the midst of it
    ago(0)
    database, log = Path("studies/killed/study.db"), Path("studies/killed/study.db-wal")
    assert log.stat().st_size
    for file in (database, log):
        os.utime(file, (time.time() - 2500,) * 2)
    Store.read(database.parent).close()
    assert database.stat().st_mtime > time.time() - 1000  # no file's time would say it
    assert newest(capsys) == "newer"


def test_a_study_of_an_earlier_version_says_when_its_last_session_began(capsys: pytest.CaptureFixture[str]) -> None:
    for number, seconds in enumerate((9000, 1000)):
        began = datetime.fromtimestamp(time.time() - seconds, timezone.utc).isoformat(timespec="seconds")
        with Store.write(Path("studies/older")) as store:
            store.put("session", f"{number:04d}", Session("search", began, 0, {}))
    of_an_earlier_version("older", 5000)
    assert newest(capsys) == "older"


@pytest.mark.parametrize(("file_s", "found"), [(1900, "older"), (2100, "newer")])
def test_one_without_sessions_is_as_new_as_its_file(
    file_s: float, found: str, capsys: pytest.CaptureFixture[str]
) -> None:
    of_an_earlier_version("older", file_s)
    assert newest(capsys) == found


def test_a_damaged_study_hides_no_newer_one(capsys: pytest.CaptureFixture[str]) -> None:
    file = Path("studies/older/study.db")
    file.write_bytes(b"no database")
    os.utime(file, (time.time() - 2100,) * 2)
    assert newest(capsys) == "newer"
