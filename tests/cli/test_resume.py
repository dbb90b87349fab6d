"""`edgenas search --resume STUDY`: a study goes on without its flags."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from edgenas.cli.main import app
from edgenas.methods.settings import SearchSettings
from edgenas.store import Store
from tests.cli.edgenas import ENVIRONMENT, edgenas_json, refusal
from tests.cli.test_search import FEWER, ledger
from tests.plans import plan, studied


def unfinished(study: Path, trials: int = 1000) -> None:
    """As if killed after so many trials, before it chose."""
    with sqlite3.connect(study / "study.db") as connection:
        connection.execute("DELETE FROM records WHERE kind = 'choice'")
        connection.execute("DELETE FROM trials WHERE number > ? OR number IS NULL", (trials,))
    connection.close()


@pytest.fixture(scope="module")
def searched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished small search named `one`."""
    folder = tmp_path_factory.mktemp("searched")
    edgenas_json(*FEWER, "--study", "one", "--workers", "0", folder=folder)
    (folder / "project.toml").write_text('target = "raspberry-pi-5"\n')
    return folder


@pytest.fixture
def here(searched: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(searched)
    return searched


def test_a_search_killed_with_9_goes_on_by_its_name_alone_and_ends_with_the_same_ledger(searched: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "edgenas", *FEWER, "--study", "killed", "--workers", "0"],
        cwd=searched,
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if "start: the shallowest" in line:
            break
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    with Store.read(searched / "studies/killed") as store:
        assert store.choice is None
        assert len(store.ledger()) >= 1
    resumed = edgenas_json("search", "--resume", "killed", "--workers", "2", folder=searched)
    assert resumed["study"] == "studies/killed"
    assert ledger(searched / "studies/killed") == ledger(searched / "studies/one")
    assert edgenas_json("search", "--resume", "./studies/killed", folder=searched) == resumed  # finished: printed


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (("--seed", "0"), "--seed"),
        (("--no-flip",), "--flip"),
        (("--from", "other"), "--from"),
        (("--target", "jetson", "--max-depth", "6"), "--target, --max-depth"),
        (("--study", "one"), "--study"),
        (("project.toml",), "a project file"),
    ],
)
def test_a_setting_beside_it_is_refused_by_name(here: Path, flags: tuple[str, ...], named: str) -> None:
    assert refusal("search", "--resume", "one", *flags) == (
        f"--resume one takes every setting from that study: leave out {named} (possible beside it: --workers, "
        "--processes, --ray, --board, --token-file, --ca, --data-dir)"
    )


def test_where_and_how_may_stand_beside_it(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "token").write_text("secret\n")
    flags = ("--workers", "1", "--data-dir", str(here), "--token-file", "token", "--json")
    app(["search", "--resume", "one", *flags], standalone_mode=False)
    assert msgspec.json.decode(capsys.readouterr().out)["study"] == "studies/one"
    both = refusal("search", "--resume", "one", "--workers", "1", "--ray", "auto")
    assert both == "--workers counts processes here, --ray takes a cluster's slots: give one of them"


def test_every_setting_comes_from_the_study(here: Path) -> None:
    before = ledger(here / "studies/one")
    unfinished(here / "studies/one", trials=3)
    app(["search", "--resume", "one", "--workers", "0"], standalone_mode=False)
    assert ledger(here / "studies/one") == before


def test_front_and_search_tell_one_time(here: Path, tmp_path: Path) -> None:
    """By the clock, and the sum over the trainings that decisions have read, however many were made ahead of need."""
    study = shutil.copytree(here / "studies/one", tmp_path / "one")
    with Store.write(study) as store:
        trial = store.ledger()[0]
        ahead = msgspec.structs.replace(trial.candidate, repeat=9)
        store.add(msgspec.structs.replace(trial, candidate=ahead, number=None, seconds=50.0))
        trained, wall = sum(one.seconds for one in store.ledger()), store.get("clock", "wall", float)
    assert wall is not None
    assert wall != trained
    for command in (("search", "--resume"), ("front",)):
        told = edgenas_json(*command, str(study), folder=here)
        assert (told["seconds"], told["training_seconds"]) == (
            pytest.approx(wall, abs=0.01),
            pytest.approx(trained, abs=1e-3),
        )
    with sqlite3.connect(study / "study.db") as connection:
        connection.execute("DELETE FROM records WHERE kind = 'clock'")
    connection.close()
    assert edgenas_json("front", str(study), folder=here)["seconds"] == pytest.approx(trained, abs=1e-3)


def test_a_study_that_is_not_there_is_refused_with_those_that_are(here: Path) -> None:
    line = refusal("search", "--resume", "two")
    assert line.startswith("no study 'two'")
    assert "(no study.db in it or in studies/two): studies here: " in line
    assert not (here / "studies/two").exists()


def begun(folder: Path, boards: bool = False, **changes: object) -> str:
    asked = SearchSettings(target=("raspberry-pi-5",), method="gnas")
    study = studied(plan(asked=asked, boards=boards), **{"versions": {"edgenas": "9.9"}, **changes})
    Store.create(folder, study).close()
    return str(folder)


def test_a_study_that_cannot_go_on_here_is_refused_in_one_line(tmp_path: Path) -> None:
    other = begun(tmp_path / "other", method="annealing")
    line = refusal("search", "--resume", other)
    assert "method 'annealing' is unknown; possible: gnas, trgnas," in line
    assert line.endswith("; this study was begun by edgenas 9.9")
    bare = begun(tmp_path / "bare", plan=msgspec.Raw(b'{"device": "cpu"}'))
    assert "does not say how it was searched" in refusal("search", "--resume", bare)


def test_a_study_goes_on_where_its_latencies_came_from(tmp_path: Path) -> None:
    board = ("--board", "http://127.0.0.1:9")
    measured = begun(tmp_path / "measured", boards=True)
    assert refusal("search", "--resume", measured).endswith("measures its candidates on a board: give its --board URL")
    predicted = begun(tmp_path / "predicted")
    assert "was begun without a board: leave --board out" in refusal("search", "--resume", predicted, *board)


def test_a_study_that_another_process_writes_is_refused(here: Path) -> None:
    unfinished(here / "studies/one")
    with Store.write(here / "studies/one"):
        line = refusal("search", "--resume", "one", "--workers", "0")
    assert "studies/one is being written by process" in line
    app(["search", "--resume", "one", "--workers", "0"], standalone_mode=False)  # and now it goes on
