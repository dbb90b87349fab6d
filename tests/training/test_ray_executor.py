"""A real local Ray cluster of one head and three nodes: the same ledger as without it, whatever dies."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from edgenas.architectures.chain import ChainSpace, chain
from edgenas.errors import EdgenasError, MachineError, StudyError
from edgenas.methods.gnas import GnasRules, gnas
from edgenas.methods.ladder import Training
from edgenas.records import Ask, Candidate, Classes, Limits, Recipe, StudyRecord, Trial
from edgenas.store import Store
from edgenas.study import Executor, run
from edgenas.tasks import Loading, Task, TaskSettings
from edgenas.tasks.classification import load_classification
from edgenas.training.evaluator import Evaluation, Evaluator
from edgenas.training.executors import inline_executor
from edgenas.training.ray_executor import RayCrew, _refuse_silent_host, ray_executor
from edgenas.training.work import Lost
from tests.cli.edgenas import BRIEF, ENVIRONMENT, edgenas_json
from tests.image_folders import fill
from tests.training.conftest import ParameterCost
from tests.training.conftest import candidate as tiny_candidate
from tests.training.test_executors import GPU_LOST, FaultyTask
from tests.training.test_nse import play, play_with

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    # Ray's own: sockets that it leaves to the collector, and its announcements.
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
SPACE = ChainSpace(Classes(10), 1, 8, min_depth=3, max_depth=4, min_width=4, max_width=6, width_step=2)
STUDY = StudyRecord("gnas", "classification", "digits", (), "fp32", Limits(), 0)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"
    os.environ["PYTHONPATH"] = ENVIRONMENT["PYTHONPATH"]  # the nodes': they inherit ours
    pytest.importorskip("ray", reason="needs the extra `ray`")
    from ray.cluster_utils import Cluster

    small = {"num_cpus": 1, "object_store_memory": 100 << 20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args={**small, "num_cpus": 0})
    for _ in range(3):
        cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


def ledger(folder: Path, executor: Executor) -> list[Trial]:
    """Of a small GNAS search."""
    training = Training(Recipe("test", 1, 32, 0.05, crop_padding=1, nesterov=True))
    rules = GnasRules(first_epochs=1, width_epochs=1, micro_epochs=1)
    method = gnas(SPACE, rules, training, ParameterCost())
    with Store.create(folder, STUDY) as store:
        for _ in run(method, executor, store):
            pass
    return decided(folder)


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory, digits: Task) -> list[Trial]:
    return ledger(tmp_path_factory.mktemp("inline"), inline_executor(Evaluator(digits, 0), ParameterCost()))


def test_three_nodes_give_the_ledger_of_one_process(
    tmp_path: Path, cluster: Any, digits: Task, expected: list[Trial]
) -> None:
    with ray_executor(Evaluator(digits, 0), ParameterCost(), cluster.address) as executor:
        assert ledger(tmp_path, executor) == expected


@pytest.mark.parametrize("on_one_machine", [True, False])
def test_decoded_images_go_to_nodes_as_a_file_here_and_as_pixels_elsewhere(
    tmp_path: Path, cluster: Any, monkeypatch: pytest.MonkeyPatch, on_one_machine: bool
) -> None:
    task = load_classification(TaskSettings(str(fill(tmp_path / "pics", each=20))), Loading(tmp_path / "cache"))
    if not on_one_machine:  # as nodes with other names would see it: the file is not there
        monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    candidate = Candidate(chain(4, 3, (0,) * 3, (3,) * 3, task.head, 3, 16), Recipe("r", 1, 8, 0.1), "random")
    crew = RayCrew(task, "cpu", cluster.address)
    try:
        if not on_one_machine:
            shutil.rmtree(tmp_path / "cache")
        crew.start({candidate.key: Evaluation(candidate, ParameterCost()(candidate.architecture), 0)}, needed=True)
        results: list[Trial] = []
        while not results:
            results += [result for _, result in crew.finished()]
    finally:
        crew.close()
    here = Evaluator(task, 0)(candidate, ParameterCost()(candidate.architecture))
    assert (results[0].status, results[0].scores) == ("complete", here.scores)


def test_a_session_that_the_program_has_is_used_and_stays(cluster: Any, digits: Task) -> None:
    import ray

    ray.init(address=cluster.address, log_to_driver=False)
    try:
        for address in ("auto", cluster.address):
            RayCrew(digits, "cpu", address).close()
            assert ray.is_initialized()
        with pytest.raises(
            EdgenasError, match=rf"^--ray 127.0.0.1:1: this program is connected to Ray at {cluster.address}"
        ):
            RayCrew(digits, "cpu", "127.0.0.1:1")
    finally:
        ray.shutdown()
    RayCrew(digits, "cpu", cluster.address).close()
    assert not ray.is_initialized()


def test_killed_workers_and_a_killed_node_change_nothing(
    tmp_path: Path, cluster: Any, digits: Task, expected: list[Trial]
) -> None:
    def kill() -> None:
        for _ in range(60):  # until a worker that trains has been found, a minute at most
            time.sleep(1)
            if kill_one_ray_worker():
                break
        cluster.remove_node(next(iter(cluster.worker_nodes)), allow_graceful=False)

    with ray_executor(Evaluator(digits, 0), ParameterCost(), cluster.address) as executor:
        killer = threading.Thread(target=kill)
        killer.start()
        assert ledger(tmp_path, executor) == expected
        killer.join()
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)


@pytest.mark.parametrize("method", ["gnas", "guided"])
def test_a_killed_driver_goes_on_to_the_same_ledger(method: str, tmp_path: Path, cluster: Any) -> None:
    (tmp_path / "project.toml").write_text("[rules]\ntrials = 10\nepochs = 6\n" if method == "guided" else "")
    search = ("search", "project.toml", "--method", method, "--target", "raspberry-pi-5", *BRIEF)
    edgenas_json(*search, "--study", "local", folder=tmp_path)
    command = (*search, "--study", "ray", "--ray", cluster.address)
    for trials in (3, 8):
        kill_driver_at(trials, command, tmp_path)
    edgenas_json(*command, folder=tmp_path)
    assert decided(tmp_path / "studies/ray") == decided(tmp_path / "studies/local")


def test_a_round_of_nse_is_the_same_on_a_cluster(tmp_path: Path, cluster: Any, digits: Task) -> None:
    with ray_executor(Evaluator(digits, 0), ParameterCost(), cluster.address) as executor:
        assert play_with(executor, digits, tmp_path / "ray") == play(digits, tmp_path / "inline")


def kill_driver_at(trials: int, command: tuple[str, ...], folder: Path) -> None:
    """Start a search and end its process with SIGKILL once its ledger has so many trials."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    driver = subprocess.Popen([sys.executable, "-m", "edgenas", *command], cwd=folder, env=ENVIRONMENT, **quiet)
    try:
        while not begun(folder / "studies/ray") or len(decided(folder / "studies/ray")) < trials:
            assert driver.poll() is None, "the search ended before it was killed"
            time.sleep(0.1)
    finally:
        driver.kill()
        driver.wait()


def begun(folder: Path) -> bool:
    """Does its file hold a study? A moment after it was made it holds none yet."""
    try:
        with Store.read(folder):
            return True
    except StudyError:
        return False


def decided(folder: Path) -> list[Trial]:
    """What decisions have read so far, without the seconds."""
    with Store.read(folder) as store:
        return [msgspec.structs.replace(trial, seconds=0.0) for trial in store.ledger()]


def kill_one_ray_worker() -> bool:
    """kill -9 of a process that runs our task; Ray names its processes after what they run."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            name = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if name.startswith(b"ray::do_item"):
            os.kill(int(process.name), signal.SIGKILL)
            return True
    return False


def test_a_node_that_cannot_import_us_is_one_line(tmp_path: Path, cluster: Any, digits: Task) -> None:
    def without_us(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'edgenas'")

    with ray_executor(Evaluator(digits, 0), ParameterCost(), cluster.address) as executor:
        executor.crew.do = executor.crew.ray.remote(without_us)
        with pytest.raises(EdgenasError, match=r"No module named 'edgenas'.*: install this edgenas"):
            ledger(tmp_path, executor)


def test_what_a_node_refuses_is_one_line_and_a_gpu_that_its_process_has_lost_is_tried_again(
    tmp_path: Path, cluster: Any, digits: Task
) -> None:
    full = FaultyTask.raising(digits, tmp_path / "full", 1000, "OSError(28, 'No space left on device')")
    lost = FaultyTask.raising(digits, tmp_path / "lost", 1, GPU_LOST)
    with Store.create(tmp_path / "study", STUDY) as store:
        executor = ray_executor(Evaluator(full, 0), ParameterCost(), cluster.address)
        with executor, pytest.raises(MachineError, match=r"No space left on device.: make room"):
            executor.answer(Ask((tiny_candidate(),)), store)
        assert store.trials() == ()
        with ray_executor(Evaluator(lost, 0), ParameterCost(), cluster.address) as executor:
            (trial,) = executor.answer(Ask((tiny_candidate(),)), store)
    assert trial.status == "complete"
    assert len(set(lost.log.read_text().split())) == 2  # processes


@pytest.mark.parametrize("name", ["OutOfDiskError", "RuntimeEnvSetupError", "ObjectStoreFullError", "OwnerDiedError"])
def test_what_the_cluster_lacks_is_no_candidates_fault(name: str) -> None:
    crew = crew_whose_items_end_with(name)
    with pytest.raises(MachineError, match=r"^--ray: the cluster cannot go on .*run the same command again.*kept$"):
        crew._result(None)


@pytest.mark.parametrize("name", ["WorkerCrashedError", "OutOfMemoryError", "NodeDiedError", "LocalRayletDiedError"])
def test_an_item_whose_processes_die_on_the_cluster_is_lost(name: str) -> None:
    assert isinstance(crew_whose_items_end_with(name)._result(None), Lost)


def crew_whose_items_end_with(name: str) -> RayCrew:
    """No cluster can be made to raise each of these."""
    exceptions = pytest.importorskip("ray.exceptions", reason="needs the extra `ray`")

    def get(_: object) -> None:
        kind = getattr(exceptions, name)
        raise kind("00ff", None, "a call") if issubclass(kind, exceptions.ObjectLostError) else kind("full")

    crew = RayCrew.__new__(RayCrew)
    crew.ray = SimpleNamespace(exceptions=exceptions, get=get)
    return crew


def test_no_cluster_is_one_line() -> None:
    with pytest.raises(EdgenasError, match="ray start --head"):
        _refuse_silent_host("127.0.0.1:1")
