"""Local executors: the same trials for any number of workers, whatever dies."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from dataclasses import dataclass, fields, replace
from pathlib import Path

import msgspec
import pytest
import torch
from torch import nn

from edgenas.architectures.chain import chain
from edgenas.errors import DataError, EdgenasError, MachineError, MissingExtraError, TrainingError  # noqa: F401  for FaultyTask
from edgenas.networks import network_from_architecture
from edgenas.networks.weights import save_tensors
from edgenas.records import Ask, Limits, Recipe, StudyRecord, Trial
from edgenas.store import Store
from edgenas.tasks import Loading, Task, TaskSettings
from edgenas.tasks.classification import Classification, load_classification
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import CrewExecutor, inline_executor, local_executor
from edgenas.training.start import Start
from edgenas.training.work import ATTEMPTS, Workplace
from edgenas.training.worker import ENTRY
from edgenas.training.workers import LocalCrew
from tests.image_folders import fill
from tests.training.conftest import ParameterCost, candidate

STUDY = StudyRecord("gnas", "classification", "digits", (), "fp32", Limits(), 0)


def fresh_store(folder: Path) -> Store:
    return Store.create(folder, STUDY)


def without_seconds(trials: tuple[Trial, ...]) -> list[Trial]:
    return [msgspec.structs.replace(trial, seconds=0.0) for trial in trials]


def test_two_workers_and_none_give_the_same_trials_and_speculation_is_kept(tmp_path: Path, digits: Task) -> None:
    needed = (candidate(4), candidate(6))
    likely = (candidate(8),)
    evaluator, cost = Evaluator(digits, 7), ParameterCost()
    with fresh_store(tmp_path / "inline") as store:
        inline = inline_executor(evaluator, cost).answer(Ask(needed), store)
    with fresh_store(tmp_path / "local") as store, local_executor(evaluator, cost, 2) as executor:
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
    executor = inline_executor(Evaluator(digits, 0), ParameterCost())
    with fresh_store(tmp_path) as store:
        (first,) = executor.answer(Ask((candidate(),)), store)
        (again,) = executor.answer(Ask((candidate(),)), store)
    assert again == first  # the seconds too


@pytest.mark.parametrize("workers", [0, 1])
def test_weights_that_are_lost_end_the_search_and_fail_no_candidate(tmp_path: Path, digits: Task, workers: int) -> None:
    first = candidate()
    whole = network_from_architecture(first.architecture)
    path, sha256 = save_tensors(whole.state_dict(), tmp_path, "whole")
    content = path.read_bytes()
    evaluator = Evaluator(digits, 0, start=Start(first.architecture, path, sha256))
    for broken, why in ((None, "cannot be read"), (content[:-1], "SHA-256 differs")):
        path.unlink(missing_ok=True)
        if broken is not None:
            path.write_bytes(broken)
        with fresh_store(tmp_path / why) as store, local_executor(evaluator, ParameterCost(), workers) as executor:
            with pytest.raises(EdgenasError, match=why):
                executor.answer(Ask((first,)), store)
            assert store.trials() == ()
    path.write_bytes(content)
    with fresh_store(tmp_path / "whole") as store, local_executor(evaluator, ParameterCost(), workers) as executor:
        (trial,) = executor.answer(Ask((first,)), store)
    assert trial.status == "complete"


def crew_of(executor: CrewExecutor) -> LocalCrew:
    assert isinstance(executor.crew, LocalCrew)
    return executor.crew


@dataclass(frozen=True)
class DeadlyTask(Classification):
    """Takes its process with it, as an out-of-memory kill does: always, or `deaths` times. Writes down each attempt."""

    log: Path = Path()
    deaths: int = 1000

    @classmethod
    def of(cls, task: Task, log: Path, deaths: int) -> DeadlyTask:
        assert isinstance(task, Classification)
        return cls(**{field.name: getattr(task, field.name) for field in fields(task)}, log=log, deaths=deaths)

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        with self.log.open("a") as log:
            log.write(f"{recipe.epochs}\n")
        if len(self.log.read_text().split()) <= self.deaths:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().loss(recipe, width)


@dataclass(frozen=True)
class InterruptedTask(DeadlyTask):
    """Is killed while it sends its answer: 3 bytes of a thousand have gone."""

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        with self.log.open("a") as log:
            log.write(f"{recipe.epochs}\n")
        if len(self.log.read_text().split()) <= self.deaths:
            channel = int(sys.orig_argv[sys.orig_argv.index(ENTRY) + 1])
            os.write(channel, (1000).to_bytes(4, "big") + b"abc")  # as multiprocessing.connection frames a message
            os.kill(os.getpid(), signal.SIGKILL)
        return Classification.loss(self, recipe, width)


@dataclass(frozen=True)
class WaitingTask(DeadlyTask):
    """Waits to be killed by somebody else, `deaths` times."""

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        with self.log.open("a") as log:
            log.write(f"{recipe.epochs}\n")
        if len(self.log.read_text().split()) <= self.deaths:
            time.sleep(600)
        return Classification.loss(self, recipe, width)


def test_a_killed_worker_is_replaced_and_its_candidate_trained(tmp_path: Path, digits: Task) -> None:
    waiting, cost = WaitingTask.of(digits, tmp_path / "log", deaths=1), ParameterCost()
    with fresh_store(tmp_path / "a") as store, local_executor(Evaluator(waiting, 3), cost, 1) as executor:
        crew = crew_of(executor)

        def kill() -> None:
            while not (waiting.log.exists() and waiting.log.read_text()):  # it is at work then
                time.sleep(0.01)
            crew.workers[0].process.kill()

        killer = threading.Thread(target=kill, daemon=True)
        killer.start()
        (survived,) = executor.answer(Ask((candidate(),)), store)
        killer.join()
        assert crew.deaths == {(survived.candidate.key, False): 1}
    with fresh_store(tmp_path / "b") as store:
        undisturbed = inline_executor(Evaluator(digits, 3), cost).answer(Ask((candidate(),)), store)
    assert without_seconds((survived,)) == without_seconds(undisturbed)


def test_a_worker_that_is_killed_before_it_begins_is_replaced(tmp_path: Path, digits: Task) -> None:
    with fresh_store(tmp_path) as store, local_executor(Evaluator(digits, 3), ParameterCost(), 1) as executor:
        crew = crew_of(executor)
        crew.workers[0].process.kill()
        (survived,) = executor.answer(Ask((candidate(),)), store)
        assert list(crew.deaths.values()) == [1]
    assert survived.status == "complete"


def test_a_worker_that_is_killed_in_the_middle_of_its_answer_is_replaced(tmp_path: Path, digits: Task) -> None:
    interrupted = InterruptedTask.of(digits, tmp_path / "log", deaths=1)
    with fresh_store(tmp_path) as store, local_executor(Evaluator(interrupted, 0), ParameterCost(), 1) as executor:
        (trial,) = executor.answer(Ask((candidate(),)), store)
        assert crew_of(executor).deaths == {(trial.candidate.key, False): 1}
    assert trial.status == "complete"
    assert interrupted.log.read_text().split() == ["1", "1"]


def test_a_candidate_that_kills_its_workers_fails_after_bounded_attempts(tmp_path: Path, digits: Task) -> None:
    deadly = DeadlyTask.of(digits, tmp_path / "log", deaths=1000)
    with fresh_store(tmp_path) as store, local_executor(Evaluator(deadly, 0), ParameterCost(), 1) as executor:
        (trial,) = executor.answer(Ask((candidate(),)), store)
        assert store.find(trial.candidate.key) is not None
    assert trial.status == "failed"
    assert trial.error == f"its worker process died {ATTEMPTS} times (exit code -9)"


def test_a_dead_workers_candidate_is_trained_before_those_that_wait(tmp_path: Path, digits: Task) -> None:
    deadly = DeadlyTask.of(digits, tmp_path / "log", deaths=1)
    with fresh_store(tmp_path) as store, local_executor(Evaluator(deadly, 0), ParameterCost(), 1) as executor:
        trials = executor.answer(Ask(tuple(candidate(epochs=epochs) for epochs in (1, 2, 3))), store)
    assert deadly.log.read_text().split() == ["1", "1", "2", "3"]
    assert {trial.status for trial in trials} == {"complete"}


@dataclass(frozen=True)
class FaultyTask(DeadlyTask):
    """Raises `fault`, an expression, always or `deaths` times."""

    fault: str = ""

    def loss(self, recipe: Recipe, width: int | None = None) -> nn.Module:
        with self.log.open("a") as log:
            log.write(f"{os.getpid()}\n")
        if len(self.log.read_text().split()) <= self.deaths:
            raise eval(self.fault)
        return Classification.loss(self, recipe, width)

    @classmethod
    def raising(cls, task: Task, log: Path, deaths: int, fault: str) -> FaultyTask:
        return replace(cls.of(task, log, deaths), fault=fault)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (
            "OSError(28, 'No space left on device')",
            "No space left on device.: make room, and run the same command again",
        ),
        ("OSError(24, 'Too many open files')", "ulimit -n"),
        ("RuntimeError('unable to write to file </torch_1>: Input/output error (5)')", "see that its disk works"),
        ('RuntimeError("can\'t start new thread")', "ulimit -u"),
        ("ImportError('libgomp.so.1: cannot open shared object file')", "libgomp"),
        ("MissingExtraError('install it')", "^install it$"),
        ("MachineError('the images are gone')", "^the images are gone$"),
    ],
)
def test_what_the_machine_refuses_ends_the_search_in_one_line_and_fails_no_candidate(
    fault: str, words: str, workers: int, tmp_path: Path, digits: Task
) -> None:
    task = FaultyTask.raising(digits, tmp_path / "log", 1, fault)
    with fresh_store(tmp_path) as store:
        with local_executor(Evaluator(task, 0), ParameterCost(), workers) as executor:
            with pytest.raises(EdgenasError, match=words) as caught:
                executor.answer(Ask((candidate(),)), store)
            assert "\n" not in str(caught.value)
            assert store.trials() == ()
        with local_executor(Evaluator(task, 0), ParameterCost(), workers) as executor:
            (trial,) = executor.answer(Ask((candidate(),)), store)
    assert trial.status == "complete"


@pytest.mark.parametrize(
    "fault",
    [
        "ValueError('a layer of no size')",
        "RuntimeError('mat1 and mat2 shapes cannot be multiplied (8x4 and 5x10)')",
        "TrainingError('the loss is nan after epoch 1 of 1')",
        "DataError('3 of 9 embeddings are not finite')",  # what a recogniser gave
        "MemoryError()",
        "OSError(12, 'Cannot allocate memory')",
        'RuntimeError("DefaultCPUAllocator: can\'t allocate memory: you tried. Error code 12 (Cannot allocate memory)")',
        "torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 2.00 GiB.')",
        "RuntimeError('CUDA error: out of memory\\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.')",
        "RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`')",
    ],
)
def test_what_a_network_does_is_a_failed_trial(fault: str, tmp_path: Path, digits: Task) -> None:
    task = FaultyTask.raising(digits, tmp_path / "log", 1, fault)
    with fresh_store(tmp_path) as store:
        (trial,) = inline_executor(Evaluator(task, 0), ParameterCost()).answer(Ask((candidate(),)), store)
    assert trial.status == "failed"


GPU_LOST = "RuntimeError('CUDA error: unspecified launch failure\\nCompile with TORCH_USE_CUDA_DSA')"


def test_a_process_that_has_lost_its_gpu_is_replaced_and_its_candidate_trained(tmp_path: Path, digits: Task) -> None:
    task = FaultyTask.raising(digits, tmp_path / "log", ATTEMPTS - 1, GPU_LOST)
    with fresh_store(tmp_path / "a") as store, local_executor(Evaluator(task, 3), ParameterCost(), 1) as executor:
        (trial,) = executor.answer(Ask((candidate(),)), store)
    with fresh_store(tmp_path / "b") as store:
        undisturbed = inline_executor(Evaluator(digits, 3), ParameterCost()).answer(Ask((candidate(),)), store)
    assert without_seconds((trial,)) == without_seconds(undisturbed)
    assert len(set(task.log.read_text().split())) == ATTEMPTS  # processes


def test_a_network_that_loses_the_gpu_of_every_process_fails(tmp_path: Path, digits: Task) -> None:
    task = FaultyTask.raising(digits, tmp_path / "log", 1000, GPU_LOST)
    with fresh_store(tmp_path) as store, local_executor(Evaluator(task, 0), ParameterCost(), 1) as executor:
        (trial,) = executor.answer(Ask((candidate(),)), store)
    reason = "cpu was lost (CUDA error: unspecified launch failure)"
    assert (trial.status, trial.error) == ("failed", f"its worker process died {ATTEMPTS} times ({reason})")


def test_a_gpu_that_is_lost_without_workers_ends_the_search_in_one_line(tmp_path: Path, digits: Task) -> None:
    executor = inline_executor(Evaluator(FaultyTask.raising(digits, tmp_path / "log", 1, GPU_LOST), 0), ParameterCost())
    with fresh_store(tmp_path) as store:
        with pytest.raises(MachineError, match=r"was lost .*launch failure.: run the same command again") as caught:
            executor.answer(Ask((candidate(),)), store)
        assert "\n" not in str(caught.value)
        assert store.trials() == ()


def test_workers_that_end_before_they_are_ready_end_the_search_and_fail_no_candidate(
    tmp_path: Path, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenas.training.worker.ENTRY", "raise SystemExit(3)")
    with fresh_store(tmp_path) as store, local_executor(Evaluator(digits, 0), ParameterCost(), 1) as executor:
        with pytest.raises(MachineError, match=f"died {ATTEMPTS} times .exit code 3. of what is no network's doing"):
            executor.answer(Ask((candidate(),)), store)
        assert store.trials() == ()


def test_images_that_cannot_be_read_any_more_end_the_search_and_fail_no_candidate(tmp_path: Path, digits: Task) -> None:
    """A mapped file on a disk that fails, or shared memory that is full: SIGBUS."""
    task = FaultyTask.raising(digits, tmp_path / "log", 1000, "os.kill(os.getpid(), signal.SIGBUS)")
    with fresh_store(tmp_path) as store, local_executor(Evaluator(task, 0), ParameterCost(), 1) as executor:
        with pytest.raises(MachineError, match=f"died {ATTEMPTS} times .exit code -7."):
            executor.answer(Ask((candidate(),)), store)
        assert store.trials() == ()


def test_workers_that_end_before_they_are_ready_are_no_attempts_of_a_candidate(
    tmp_path: Path, digits: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "starts"
    log.touch()
    count = f"from pathlib import Path; p = Path({str(log)!r}); p.write_text(p.read_text() + '.')"
    monkeypatch.setattr("edgenas.training.worker.ENTRY", f"{count}; len(p.read_text()) > 2 or exit(3); {ENTRY}")
    task = FaultyTask.raising(digits, tmp_path / "log", 1, "os.kill(os.getpid(), signal.SIGKILL)")
    with fresh_store(tmp_path) as store, local_executor(Evaluator(task, 0), ParameterCost(), 1) as executor:
        (trial,) = executor.answer(Ask((candidate(),)), store)
        assert crew_of(executor).deaths == {(trial.candidate.key, True): 2, (trial.candidate.key, False): 1}
    assert trial.status == "complete"


def test_decoded_images_that_are_removed_end_the_search_and_fail_no_candidate(tmp_path: Path) -> None:
    task = load_classification(TaskSettings(str(fill(tmp_path / "pics", each=20))), Loading(tmp_path / "cache"))
    again = msgspec.structs.replace(candidate(), architecture=chain(4, 3, (0,) * 3, (3,) * 3, task.head, 3, 16), cut=1)
    with fresh_store(tmp_path / "study") as store:
        executor = inline_executor(Evaluator(task, 0), ParameterCost())
        shutil.rmtree(tmp_path / "cache")
        with pytest.raises(MachineError, match=r"are gone or cut short .*: run the command again"):
            executor.answer(Ask((again,)), store)
        assert store.trials() == ()


def test_closing_ends_the_workers(digits: Task) -> None:
    executor = local_executor(Evaluator(digits, 0), ParameterCost(), 1)
    process = crew_of(executor).workers[0].process
    assert process.poll() is None
    executor.close()
    assert process.poll() is not None


@pytest.mark.parametrize("workers", [1, 2])
def test_the_asked_number_of_workers_is_started(digits: Task, workers: int) -> None:
    with local_executor(Evaluator(digits, 0), ParameterCost(), workers) as executor:
        assert len(crew_of(executor).workers) == workers


@dataclass(frozen=True)
class Add:
    """A work item: the sum of the training labels and a number."""

    number: int
    deadly: bool = False

    @property
    def key(self) -> str:
        return f"add {self.number}"

    def run(self, place: Workplace) -> int:
        if self.deadly:
            os.kill(os.getpid(), signal.SIGKILL)
        return int(place.task.train.labels.sum()) + self.number


def test_other_work_gives_the_same_results_wherever_it_is_done(tmp_path: Path, digits: Task) -> None:
    total = int(digits.train.labels.sum())
    with fresh_store(tmp_path) as store:
        for workers in (0, 1, 2):
            with local_executor(Evaluator(digits, 0), ParameterCost(), workers) as executor:
                done = dict(executor.results([Add(n) for n in range(5)], store))
            assert done == {Add(n): total + n for n in range(5)}


@dataclass(frozen=True)
class Loaded:
    """A work item: which of these modules its process has imported."""

    modules: tuple[str, ...]
    key: str = "loaded"

    def run(self, place: Workplace) -> list[str]:
        return [name for name in self.modules if name in sys.modules]


def test_a_worker_that_has_trained_has_not_imported_what_takes_seconds_and_is_not_used(
    tmp_path: Path, digits: Task
) -> None:
    look = Loaded(("torch", "torch._dynamo", "torchvision", "sklearn", "scipy.stats"))
    with fresh_store(tmp_path) as store, local_executor(Evaluator(digits, 0), ParameterCost(), 1) as executor:
        executor.answer(Ask((candidate(),)), store)
        assert [found for _, found in executor.results([look], store)] == [["torch"]]


def test_what_is_trained_ahead_meanwhile_is_stored(tmp_path: Path, digits: Task) -> None:
    with fresh_store(tmp_path) as store, local_executor(Evaluator(digits, 0), ParameterCost(), 1) as executor:
        executor.answer(Ask((candidate(4),), likely=(candidate(6),)), store)
        assert store.find(candidate(6).key) is None
        assert [item for item, _ in executor.results([Add(1)], store)] == [Add(1)]
        assert store.find(candidate(6).key) is not None


def test_other_work_that_kills_its_processes_ends_the_search_in_one_line(tmp_path: Path, digits: Task) -> None:
    fails = pytest.raises(TrainingError, match=f"died {ATTEMPTS} times .exit code -9.: free memory")
    with fresh_store(tmp_path) as store, local_executor(Evaluator(digits, 0), ParameterCost(), 1) as executor, fails:
        list(executor.results([Add(1, deadly=True)], store))


@dataclass(frozen=True)
class Greedy:
    """A work item that wants more memory than there is."""

    key: str = "greedy"

    def run(self, place: Workplace) -> torch.Tensor:
        return torch.empty(1 << 60, device=place.device)


@pytest.mark.parametrize("workers", [0, 1])
def test_other_work_that_runs_out_of_memory_ends_the_search_in_one_line_at_once(
    workers: int, tmp_path: Path, digits: Task
) -> None:
    with fresh_store(tmp_path) as store, local_executor(Evaluator(digits, 0), ParameterCost(), workers) as executor:
        with pytest.raises(TrainingError, match=r"^out of memory: .*allocate memory") as caught:
            list(executor.results([Greedy()], store))
        assert "\n" not in str(caught.value)
        assert not getattr(executor.crew, "deaths", {})
