"""`edgenas train --processes 2`: one training in two processes, which end together, however they end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.cli.main import app
from edgenas.records import FinalRun, FinalTraining
from edgenas.store import Store
from tests.cli.edgenas import ENVIRONMENT, refusal
from tests.cli.test_kills import kill_within_one_run
from tests.trained_study import trained_study

LONG = ("--seeds", "1", "--epochs", "3000", "--processes", "2", "--checkpoint-s", "0")
PATIENCE_S = 240


@pytest.fixture
def running(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A training in two processes, which has written a checkpoint."""
    study = trained_study(tmp_path / "study")
    process = subprocess.Popen(
        [sys.executable, "-m", "edgenas", "train", str(study), *LONG],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE_S
    while not list(study.glob("weights/*.checkpoint")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield process
    process.kill()
    process.wait()


def children_of(process: subprocess.Popen[str]) -> list[int]:
    return [int(pid) for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]


def last_line(process: subprocess.Popen[str]) -> str:
    """Of what it says before it ends; nothing of it is left then."""
    _, said = process.communicate(timeout=PATIENCE_S)
    assert "Traceback" not in said
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    return said.strip().splitlines()[-1]


def test_one_that_dies_ends_the_training_with_one_line_and_nobody_is_left(
    running: subprocess.Popen[str], tmp_path: Path
) -> None:
    workers = children_of(running)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    assert last_line(running) == (
        "edgenas: a final training ended early: its worker process died (exit code -9): free memory, or take fewer "
        "--processes, and run it again"
    )
    assert running.returncode == 1
    assert list((tmp_path / "study").glob("weights/*.checkpoint"))


@pytest.mark.slow
def test_ctrl_c_ends_all_processes_of_a_training(running: subprocess.Popen[str]) -> None:
    os.killpg(running.pid, signal.SIGINT)
    assert last_line(running).startswith("stopped: everything finished so far is kept")
    assert running.returncode == 130


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_that_are_killed_go_on_to_the_same_bytes(tmp_path: Path) -> None:
    kill_within_one_run(tmp_path, 3, 40, "--processes", "2")


def test_the_run_says_how_many_processes_trained_it(tmp_path: Path) -> None:
    study = trained_study(tmp_path / "study")
    app(["train", str(study), "--seeds", "1", "--epochs", "1", "--processes", "2"], standalone_mode=False)
    with Store.read(study) as store:
        (run,) = store.all("final-run", FinalRun).values()
        assert [final.runs for final in store.all("final", FinalTraining).values()] == [(run,)]
    assert run.processes == 2


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (("--workers", "2"), "workers train one seed each, processes train each seed together"),
        (("--budget", "5"), "how long they take together is not known before they do: give --epochs"),
    ],
)
def test_what_does_not_go_together_is_refused(more: tuple[str, ...], line: str, tmp_path: Path) -> None:
    study = str(trained_study(tmp_path / "study"))
    assert line in refusal("train", study, "--processes", "2", *more)
