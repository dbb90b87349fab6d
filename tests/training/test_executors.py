"""Local executors: the same trials for any number of workers, whatever dies."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest

from edgenas.records import Ask, Candidate, Cost, Limits, Study, Trial
from edgenas.store import Store
from edgenas.tasks import Task
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import ATTEMPTS, InlineExecutor, LocalExecutor, local_executor
from tests.training.conftest import ParameterCost, candidate

STUDY = Study("gnas", "classification", "digits", (), "fp32", Limits(), 0, {})


def fresh_store(folder: Path) -> Store:
    return Store.create(folder, STUDY)


def without_seconds(trials: tuple[Trial, ...]) -> list[Trial]:
    return [msgspec.structs.replace(trial, seconds=0.0) for trial in trials]


def test_two_workers_and_none_give_the_same_trials_and_speculation_is_kept(tmp_path: Path, digits: Task) -> None:
    needed = (candidate(4), candidate(6))
    likely = (candidate(8),)
    evaluator, cost = Evaluator(digits, 7), ParameterCost()
    with fresh_store(tmp_path / "inline") as store:
        inline = InlineExecutor(evaluator, cost).answer(Ask(needed), store)
    with fresh_store(tmp_path / "local") as store, LocalExecutor(evaluator, cost, ("cpu", "cpu")) as executor:
        local = executor.answer(Ask(needed, likely), store)
        (ahead,) = executor.answer(Ask(likely), store)
    assert without_seconds(local) == without_seconds(inline)
    assert [trial.status for trial in local] == ["complete", "complete"]
    assert ahead.candidate == likely[0]


def test_over_a_limit_is_infeasible_and_never_trained(tmp_path: Path, digits: Task) -> None:
    executor = local_executor(Evaluator(digits, 0), ParameterCost(Limits(params=10)), workers=0)
    with fresh_store(tmp_path) as store:
        (trial,) = executor.answer(Ask((candidate(),)), store)
    assert (trial.status, trial.seconds, trial.scores) == ("infeasible", 0.0, {})
    assert trial.error.endswith("parameters > 10")


def test_what_the_store_knows_is_not_trained_again(tmp_path: Path, digits: Task) -> None:
    executor = InlineExecutor(Evaluator(digits, 0), ParameterCost())
    with fresh_store(tmp_path) as store:
        (first,) = executor.answer(Ask((candidate(),)), store)
        (again,) = executor.answer(Ask((candidate(),)), store)
    assert again == first  # the seconds too


def test_a_killed_worker_is_replaced_and_its_candidate_trained(tmp_path: Path, digits: Task) -> None:
    slow = candidate(8, 6, epochs=8)
    evaluator, cost = Evaluator(digits, 3), ParameterCost()
    with fresh_store(tmp_path / "a") as store, LocalExecutor(evaluator, cost, ("cpu",)) as executor:
        pid = executor.workers[0].process.pid
        assert pid is not None
        killer = threading.Timer(0.1, os.kill, (pid, signal.SIGKILL))
        killer.start()
        (survived,) = executor.answer(Ask((slow,)), store)
        killer.join()
        assert executor.deaths == {slow.key: 1}
    with fresh_store(tmp_path / "b") as store:
        undisturbed = InlineExecutor(evaluator, cost).answer(Ask((slow,)), store)
    assert without_seconds((survived,)) == without_seconds(undisturbed)


class Deadly(Evaluator):
    """Takes its process with it, as an out-of-memory kill does."""

    def __call__(self, candidate: Candidate, cost: object) -> Trial:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


def test_a_candidate_that_kills_its_workers_fails_after_bounded_attempts(tmp_path: Path, digits: Task) -> None:
    with fresh_store(tmp_path) as store, LocalExecutor(Deadly(digits, 0), ParameterCost(), ("cpu",)) as executor:
        (trial,) = executor.answer(Ask((candidate(),)), store)
        assert store.find(trial.candidate.key) is not None
    assert trial.status == "failed"
    assert trial.error == f"its worker process died {ATTEMPTS} times (exit code -9)"


def test_closing_ends_the_workers(digits: Task) -> None:
    executor = LocalExecutor(Evaluator(digits, 0), ParameterCost(), ("cpu",))
    process = executor.workers[0].process
    executor.close()
    deadline = time.monotonic() + 30
    while process.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not process.is_alive()


@pytest.mark.parametrize("workers", [1, 2])
def test_the_asked_number_of_workers_is_started(digits: Task, workers: int) -> None:
    executor = local_executor(Evaluator(digits, 0), ParameterCost(), workers)
    assert isinstance(executor, LocalExecutor)
    with executor:
        assert len(executor.workers) == workers


@dataclass(frozen=True)
class DiesOnce(Evaluator):
    """Writes down what it is asked to train, and takes its process with it the first time."""

    log: Path = Path()

    def __call__(self, candidate: Candidate, cost: Cost) -> Trial:
        first = not self.log.exists()
        with self.log.open("a") as log:
            log.write(f"{candidate.architecture.width}\n")  # type: ignore[union-attr]
        if first:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(candidate, cost)


def test_a_dead_workers_candidate_is_trained_before_those_that_wait(tmp_path: Path, digits: Task) -> None:
    evaluator, log = DiesOnce(digits, 0, log=tmp_path / "log"), tmp_path / "log"
    with fresh_store(tmp_path) as store, LocalExecutor(evaluator, ParameterCost(), ("cpu",)) as executor:
        trials = executor.answer(Ask((candidate(4), candidate(6), candidate(8))), store)
    assert log.read_text().split() == ["4", "4", "6", "8"]
    assert {trial.status for trial in trials} == {"complete"}
