"""Candidates as Ray tasks: many machines, the data in the object store once, results back to the one writer of study.db."""

from __future__ import annotations

import copy
import functools
import logging
import os
import socket
from typing import TYPE_CHECKING, Any

from edgenas.errors import EdgenasError, MissingExtraError
from edgenas.records import Ask, Candidate, Cost, Trial
from edgenas.store import Store
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import ATTEMPTS, Costs, Desk
from edgenas.training.memory import keep_freed_memory

if TYPE_CHECKING:
    from ray import ObjectRef

POLL_SECONDS = 1.0  # Ctrl-C is heard this often
CONNECT_SECONDS = 5.0


class RayExecutor:
    """Trains on a Ray cluster; the same trials as on this machine, since seeds belong to candidates.

    Ray repeats a task whose worker or node dies, ATTEMPTS times in all; then the candidate is a failed trial.
    `gpus`: share of a GPU for one candidate, where the evaluator's device is CUDA.
    """

    def __init__(self, evaluator: Evaluator, cost: Costs, address: str, gpus: float = 1.0) -> None:
        self.ray = connect(address)
        self.desk = Desk(cost, evaluator.study_seed)
        self.data: ObjectRef[Any] = self.ray.put(evaluator)
        on_gpu = evaluator.device.startswith("cuda")
        resources = {"num_cpus": 1, "num_gpus": gpus} if on_gpu else {"num_cpus": 1}
        self.task = self.ray.remote(max_retries=ATTEMPTS - 1, **resources)(evaluate)
        self.slots_per = ("GPU", gpus) if on_gpu else ("CPU", 1.0)
        self.running: dict[ObjectRef[Any], Candidate] = {}

    def answer(self, ask: Ask, store: Store) -> tuple[Trial, ...]:
        """See study.Executor. What is needed is always submitted; what is likely only where slots are free."""
        self.desk.cost.prepare(c.architecture for c in (*ask.needed, *ask.likely) if store.find(c.key) is None)
        needed = self.desk.missing(ask.needed, store)
        for candidate in needed.values():
            self._submit(candidate)
        likely = list(self.desk.missing(ask.likely, store).values())
        while True:
            while likely and len(self.running) < self._slots():
                self._submit(likely.pop(0))
            if not needed:
                return self.desk.answers(ask, store)
            for trial in self._collect():
                store.add(trial)
                needed.pop(trial.candidate.key, None)

    def close(self) -> None:
        """Give back what is still running; the cluster stays."""
        for reference in self.running:
            self.ray.cancel(reference, force=True)
        self.running.clear()
        self.ray.shutdown()

    def __enter__(self) -> RayExecutor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _slots(self) -> int:
        """How many candidates the cluster trains at once, as it is now: nodes come and go."""
        name, each = self.slots_per
        return int(self.ray.cluster_resources().get(name, 0.0) / each)

    def _submit(self, candidate: Candidate) -> None:
        if candidate not in self.running.values():
            cost = self.desk.cost(candidate.architecture)
            self.running[self.task.remote([self.data], candidate, cost)] = candidate

    def _collect(self) -> list[Trial]:
        """Finished trials; those of candidates that were lost with their workers too."""
        finished, _ = self.ray.wait(list(self.running), num_returns=1, timeout=POLL_SECONDS)
        trials = []
        for reference in finished:
            candidate = self.running.pop(reference)
            try:
                trials.append(self.ray.get(reference))
            except self.ray.exceptions.RayTaskError as error:  # no candidate's fault: those come back as failed trials
                raise EdgenasError(
                    f"--ray: a node could not train ({_last_line(error)}): install this edgenas with its dependencies on it"
                ) from error
            except self.ray.exceptions.RayError as error:
                lost = f"lost {ATTEMPTS} times on the cluster: {_last_line(error)}"
                trials.append(self.desk.lost(candidate, lost))
        return trials


def evaluate(data: list[Any], candidate: Candidate, cost: Cost) -> Trial:
    """One Ray task. `data` holds a reference: inside a list Ray does not fetch it anew for every task."""
    keep_freed_memory()
    return _evaluator(data[0])(candidate, cost)


def _last_line(error: Exception) -> str:
    """Of a traceback that came from afar: what went wrong."""
    return str(error).strip().splitlines()[-1]


@functools.lru_cache(maxsize=1)
def _evaluator(reference: Any) -> Evaluator:
    """This process's own copy: arrays in the object store are read-only, which torch warns about."""
    import ray

    evaluator: Evaluator = copy.deepcopy(ray.get(reference))
    return evaluator


def connect(address: str) -> Any:
    """The ray module, connected. `auto`: the cluster of this machine (RAY_ADDRESS or the one that runs here)."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError("--ray needs Ray: pip install 'edgenas[ray]'") from error
    if ray.is_initialized():
        return ray
    _refuse_silent_host(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise EdgenasError(f"--ray {address}: no cluster ({first}): start one with `ray start --head`") from error
    return ray


def _refuse_silent_host(address: str) -> None:
    """Nothing listens there: say so now, where Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # auto, or a form that Ray judges
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise EdgenasError(f"--ray {address}: no cluster ({error}): start one with `ray start --head`") from error
