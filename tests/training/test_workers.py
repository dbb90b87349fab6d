"""Worker processes started by programs as users write them: no guard, on stdin, in a notebook's cell; what is theirs alone."""

from __future__ import annotations

import contextlib
import gc
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
import torch

from edgenas.errors import EdgenasError
from edgenas.records import Trial
from edgenas.store import Store
from edgenas.training.worker import settle_on
from edgenas.training.workers import LocalCrew
from tests.cli.edgenas import ENVIRONMENT

pytestmark = pytest.mark.usefixtures("cold")
SLOW = pytest.mark.slow
# Without `if __name__ == "__main__"`, and with a task of its own that no other process could import.
PROGRAM = """
import sys
from dataclasses import dataclass
from pathlib import Path
import msgspec
import numpy as np
import torch
from edgenas.architectures.chain import ChainSpace
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training
from edgenas.architectures.workload import workload_from_architecture
from edgenas.records import Classes, Cost, Limits, Metric, Preprocessing, Recipe, StudyRecord
from edgenas.store import Store
from edgenas.training.workers import LocalCrew
from edgenas.study import run
from edgenas.tasks import Split
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import local_executor

THRESHOLD = 100

class SumLoss(torch.nn.Module):
    def forward(self, outputs, labels):
        print("a word from the task")  # goes to stderr in a worker
        return torch.nn.functional.cross_entropy(outputs, labels), (outputs.argmax(1) == labels).sum()

def stripes(count, seed):
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    images = rng.integers(0, THRESHOLD, (count, 8, 8, 1), dtype=np.uint8)
    images[labels == 1, 2:4] += THRESHOLD
    return Split(images, labels)

@dataclass(frozen=True)
class Stripes:
    train: Split
    val: Split
    test: Split
    name, kind, metric = "stripes", "generic", Metric("stripes")
    chance, flip, classes, default_loss = 50.0, False, ("none", "one"), "sum"
    head, preprocessing = Classes(2), Preprocessing(1, 8, (0.5,), (0.5,))

    def loss(self, recipe, width=None):
        return SumLoss()

    def scores(self, outputs, labels):
        return {"stripes": 100 * (outputs.argmax(1) == labels).float().mean().item(), "accuracy": float(THRESHOLD)}

    def report(self, outputs, labels):
        return self.scores(outputs, labels)

class CountParameters:
    limits = Limits()

    def __call__(self, architecture):
        w = workload_from_architecture(architecture)
        return Cost(w.params, w.macs, w.bytes_moved, w.size_mb(), w.memory_mb())

    def prepare(self, architectures):
        pass

def search(folder, workers):
    task = Stripes(stripes(IMAGES, 0), stripes(100, 1), stripes(100, 2))
    space = ChainSpace(Classes(2), 1, 8, min_depth=3, max_depth=4, min_width=4, max_width=6, width_step=2)
    training = Training(Recipe("test", EPOCHS, 32, 0.05, crop_padding=1, nesterov=True, loss="sum"))
    rules = GnasRules(first_epochs=EPOCHS, width_epochs=EPOCHS, micro_epochs=EPOCHS)
    method = gnas(space, rules, training, CountParameters(), objective="val_stripes")
    study = StudyRecord("gnas", "stripes", "own", (), "fp32", Limits(), 0)
    with Store.create(folder, study) as store, local_executor(Evaluator(task, 0), CountParameters(), workers) as executor:
        for _ in run(method, executor, store):
            pass
        return [msgspec.structs.replace(trial, seconds=0.0) for trial in store.ledger()]

ledgers = [search(Path(FOLDER) / str(workers), workers) for workers in WORKERS]
assert all(ledger == ledgers[0] for ledger in ledgers)
assert {trial.status for trial in ledgers[0]} == {"complete"}
print(len(ledgers[0]))
"""


# A shell's background jobs ignore SIGINT, and so do their children: also where these tests are such a job.
HEEDS_SIGINT = "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"


def settings(folder: Path, workers: tuple[int, ...], epochs: int = 1) -> str:
    return f"FOLDER, WORKERS, EPOCHS, IMAGES = {str(folder)!r}, {workers}, {epochs}, {200 * epochs}\n"


def form_of(kind: str, folder: Path, program: str) -> tuple[list[str], str | None]:
    """(command, stdin) of a program in a file, on stdin, or in a notebook's cell."""
    if kind == "stdin":
        return [sys.executable, "-"], program
    file = folder / "program.py"
    file.write_text(program if kind == "script" else f"exec({program!r}, {{'__name__': 'cell'}})\n")
    return [sys.executable, str(file)], None


@pytest.mark.parametrize(
    ("kind", "workers"),
    [("stdin", (2,)), *(pytest.param(kind, (0, 1, 2, 4), marks=SLOW) for kind in ("script", "stdin", "cell"))],
)
def test_a_program_without_a_guard_has_workers_and_the_same_ledger_for_any_number(
    kind: str, workers: tuple[int, ...], tmp_path: Path
) -> None:
    command, stdin = form_of(kind, tmp_path, settings(tmp_path, workers) + PROGRAM)
    done = subprocess.run(
        command, input=stdin, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1].isdigit()
    if 0 not in workers:
        assert len(done.stdout.splitlines()) == 1  # the task's words are on stderr
        assert "a word from the task" in done.stderr


@pytest.mark.parametrize("whom", ["group", pytest.param("process", marks=SLOW)])
def test_interrupted_its_workers_end_and_the_same_call_goes_on_to_the_same_ledger(whom: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(HEEDS_SIGINT + settings(tmp_path / "interrupted", (2,), epochs=3) + PROGRAM)
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    command = [sys.executable, str(program)]
    folder = tmp_path / "interrupted" / "2"
    code = 0
    while code == 0:  # it ended before it was interrupted: once more
        shutil.rmtree(folder, ignore_errors=True)
        process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True, text=True, **quiet)
        while process.poll() is None and len(decided(folder)) < 2:
            time.sleep(0.02)
        if process.poll() is None and whom == "group":  # as a terminal does; a notebook interrupts its kernel alone
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.send_signal(signal.SIGINT)
        _, words = process.communicate(timeout=120)
        code = process.returncode
    assert code == -signal.SIGINT
    assert words.count("Traceback") == 1  # the program's own
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    begun = decided(folder)
    subprocess.run(command, env=ENVIRONMENT, check=True, **quiet)
    program.write_text(settings(tmp_path / "whole", (0,), epochs=3) + PROGRAM)
    subprocess.run(command, env=ENVIRONMENT, check=True, **quiet)
    whole = decided(tmp_path / "whole" / "0")
    assert decided(folder) == whole
    assert begun == whole[: len(begun)]


def decided(folder: Path) -> list[Trial]:
    """What decisions have read so far, without the seconds."""

    if not Store.is_in(folder):
        return []
    with Store.read(folder) as store:
        return [msgspec.structs.replace(trial, seconds=0.0) for trial in store.ledger()]


# Says what a worker process is like. `where` lies on the parent's path alone, before everything else.
SURROUNDINGS = """
import sys
sys.path.insert(0, sys.argv[1])
from edgenas.training.workers import LocalCrew

class Stay:
    def __init__(self, key):
        self.key = key

    def run(self, place):
        import time
        time.sleep(60)

class Look:
    key = "look"

    def run(self, place):
        import os, warnings, where, torch
        return [place.task, where.HERE, sys.warnoptions, sys._xoptions.get("utf8"), sys.stdin.read(), str(place.device)]

def look(count):
    crew = LocalCrew("task", ("cpu",) * count)
    crew.start({"look": Look()}, needed=True)
    done = []
    while not done:  # that a worker is ready is no result
        done = list(crew.finished())
    [(_, result)] = done
    crew.close()
    return result

print(look(1))
if len(sys.argv) > 2:  # until it is killed
    crew = LocalCrew("task", ("cpu", "cpu"))
    crew.start({"one": Stay("one"), "other": Stay("other")}, needed=True)
    print(*(worker.process.pid for worker in crew.workers), flush=True)
    while True:
        list(crew.finished())
"""


@pytest.fixture
def surroundings(tmp_path: Path) -> list[str]:
    (tmp_path / "where").mkdir()
    (tmp_path / "where" / "where.py").write_text("HERE = 'beside the program'\n")
    (tmp_path / "program.py").write_text(SURROUNDINGS)
    (tmp_path / "signal.py").write_text("raise ImportError('not the standard library')\n")  # in the working directory
    return [sys.executable, "-W", "error", "-X", "utf8", str(tmp_path / "program.py"), str(tmp_path / "where")]


def test_a_worker_has_the_path_and_the_options_of_its_parent_and_nothing_to_read(
    tmp_path: Path, surroundings: list[str]
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "signal.py").rename(tmp_path / "elsewhere" / "signal.py")
    done = subprocess.run(
        surroundings,
        cwd=tmp_path / "elsewhere",
        env={**ENVIRONMENT, "PYTHONWARNINGS": "ignore::DeprecationWarning"},
        input="typed",
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    options = ["ignore::DeprecationWarning", "error"]
    assert done.stdout == f"{['task', 'beside the program', options, True, '', 'cpu']}\n"


def test_workers_end_with_a_killed_parent(tmp_path: Path, surroundings: list[str]) -> None:
    (tmp_path / "signal.py").unlink()
    process = subprocess.Popen([*surroundings, "stay"], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    process.stdout.readline()
    pids = [int(pid) for pid in process.stdout.readline().split()]
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker outlived its killed parent"
        time.sleep(0.05)


def test_a_parent_without_stderr_has_workers_too(tmp_path: Path, surroundings: list[str]) -> None:
    (tmp_path / "signal.py").unlink()
    quoted = shlex.join(surroundings)
    done = subprocess.run(
        ["/bin/sh", "-c", f"exec {quoted} 2>&-"], cwd=tmp_path, env=ENVIRONMENT, stdout=subprocess.PIPE, check=False
    )
    assert done.returncode == 0
    assert b"beside the program" in done.stdout


@pytest.mark.parametrize(("device", "settled"), [("cuda:1", ["cuda:1"]), ("cpu", [])])
def test_a_workers_streams_and_graphs_are_on_its_own_gpu(
    device: str, settled: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found: list[str] = []
    monkeypatch.setattr(torch.cuda, "set_device", found.append)
    settle_on(device)
    assert found == settled


def test_a_process_that_cannot_be_started_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EdgenasError, match=r"no worker process could be started .*/nowhere/python.*fewer workers"):
        LocalCrew("task", ("cpu", "cpu"))  # type: ignore[arg-type]  # any object is handed on
    assert open_descriptors() == before
    monkeypatch.setattr(sys, "executable", "")
    with pytest.raises(EdgenasError, match="need Python's executable"):
        LocalCrew("task", ("cpu",))  # type: ignore[arg-type]
    assert open_descriptors() == before


class Nothing:
    """An item that is never done here."""

    key = "nothing"


@pytest.mark.parametrize("refused", ["subprocess.Popen", "socket.socketpair", "os.pipe"])
def test_a_worker_that_cannot_be_replaced_is_one_line_and_leaves_nothing_open(
    refused: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(24, "Too many open files")

    before = open_descriptors()
    with contextlib.closing(LocalCrew("task", ("cpu",))) as crew:  # type: ignore[arg-type]
        crew.workers[0].process.kill()
        crew.start({"nothing": Nothing()}, needed=True)  # type: ignore[dict-item]
        monkeypatch.setattr(f"edgenas.training.workers.{refused}", refuse)
        with pytest.raises(EdgenasError, match=r"no worker process could be started .*Too many.*fewer workers"):
            list(crew.finished())
    assert open_descriptors() == before


def open_descriptors() -> list[str]:
    """Of this process: what each one is open on, without what only waits to be collected."""
    gc.collect()
    return sorted(str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink())
