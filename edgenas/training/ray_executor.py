"""Work items as Ray tasks: many machines, the data in the object store once, results back to the one writer of study.db."""

from __future__ import annotations

import copy
import dataclasses
import functools
import logging
import os
import pickle
import socket
import sys
from collections.abc import Collection, Iterator
from typing import TYPE_CHECKING, Any

import torch

from edgenas.errors import EdgenasError, MachineError, MissingExtraError, pip_line
from edgenas.tasks import Task
from edgenas.tasks.mapped import MappedImages
from edgenas.training.evaluator import Evaluator
from edgenas.training.executors import Costs, CrewExecutor
from edgenas.training.faults import KEPT, DeviceLostError, machine_faults, wait_for
from edgenas.training.memory import keep_freed_memory
from edgenas.training.shared import not_pickled
from edgenas.training.work import ATTEMPTS, AnyItem, Lost, Workplace, run_item

if TYPE_CHECKING:
    from ray import ObjectRef

POLL_SECONDS = 1.0  # Ctrl-C is heard this often
CONNECT_SECONDS = 5.0


def ray_executor(evaluator: Evaluator, cost: Costs, address: str, gpus: float = 1.0) -> CrewExecutor:
    """Trains on a Ray cluster; the same trials as on this machine, since seeds belong to candidates."""
    crew = RayCrew(evaluator.task, evaluator.device, address, gpus)
    return CrewExecutor(crew, cost, evaluator.study_seed, evaluator.start)


class RayCrew:
    """A Ray cluster. Ray repeats an item whose worker or node dies, ATTEMPTS times in all; then it is lost.

    `gpus`: share of a GPU for one item, where the device is CUDA.
    """

    ahead = True

    def __init__(self, task: Task, device: str, address: str, gpus: float = 1.0) -> None:
        self.ray, self.own_session = connect(address)
        self.data: ObjectRef[Any] = self._put(task)
        on_gpu = device.startswith("cuda")
        resources = {"num_cpus": 1, "num_gpus": gpus} if on_gpu else {"num_cpus": 1}
        self.device = device
        self.do = self.ray.remote(max_retries=ATTEMPTS - 1, **resources)(do_item)
        self.slots_per = ("GPU", gpus) if on_gpu else ("CPU", 1.0)
        self.items: dict[ObjectRef[Any], AnyItem] = {}

    @property
    def running(self) -> Collection[str]:
        return tuple(item.key for item in self.items.values())

    def start(self, queue: dict[str, AnyItem], *, needed: bool) -> None:
        while queue and (needed or len(self.items) < self._slots()):
            item = queue.pop(next(iter(queue)))
            self.items[self.do.remote([self.data], self.device, item)] = item

    def finished(self) -> Iterator[tuple[AnyItem, Any]]:
        done, _ = self.ray.wait(list(self.items), num_returns=1, timeout=POLL_SECONDS)
        for reference in done:
            item = self.items.pop(reference)
            yield item, self._result(reference)

    def close(self) -> None:
        """Give back what is still running; the cluster stays, and a session that the program had before."""
        for reference in self.items:
            self.ray.cancel(reference, force=True)
        self.items.clear()
        if self.own_session:
            self.ray.shutdown()

    def _put(self, task: Task) -> ObjectRef[Any]:
        try:
            reference: ObjectRef[Any] = self.ray.put(task if self._one_machine() else in_memory(task))
            return reference
        except (TypeError, pickle.PicklingError) as error:
            raise EdgenasError(not_pickled(task, error)) from error

    def _one_machine(self) -> bool:
        """Are all nodes on this machine, where they can map the same files?"""
        return {node["NodeManagerHostname"] for node in self.ray.nodes() if node["Alive"]} == {socket.gethostname()}

    def _slots(self) -> int:
        """How many items the cluster does at once, as it is now: nodes come and go."""
        name, each = self.slots_per
        return int(self.ray.cluster_resources().get(name, 0.0) / each)

    def _died(self) -> tuple[type[Exception], ...]:
        """What Ray raises where an item took its process or node with it, or something else did, again and again."""
        known = self.ray.exceptions
        return known.WorkerCrashedError, known.OutOfMemoryError, known.NodeDiedError, known.LocalRayletDiedError

    def _result(self, reference: ObjectRef[Any]) -> Any:
        try:
            result = self.ray.get(reference)
        except self.ray.exceptions.RayTaskError as error:  # no item's fault: those come back as results
            raise EdgenasError(
                f"--ray: a node could not train ({_last_line(error)}): install this edgenas with its dependencies on it"
            ) from error
        except self._died() as error:
            return Lost(f"lost {ATTEMPTS} times on the cluster: {_last_line(error)}")
        except self.ray.exceptions.RayError as error:  # a full disk, a cluster that ends: no item's fault either
            raise MachineError(
                f"--ray: the cluster cannot go on ({_last_line(error)}): see to it, and {KEPT}"
            ) from error
        if isinstance(result, EdgenasError):
            raise result
        return result


def in_memory(task: Task) -> Task:
    """The task with its images as arrays, for machines that do not have the file that they are mapped from."""
    splits = {name: getattr(task, name) for name in ("train", "val", "test")}
    mapped = {name: split for name, split in splits.items() if isinstance(split.images, MappedImages)}
    if not mapped:
        return task
    parts: Any = task  # a dataclass, as all tasks with mapped images are
    held = {name: dataclasses.replace(split, images=split.images[:]) for name, split in mapped.items()}
    whole: Task = dataclasses.replace(parts, **held)
    return whole


def do_item(data: list[Any], device: str, item: AnyItem) -> Any:
    """One Ray task. `data` holds a reference: inside a list Ray does not fetch it anew for every task."""
    keep_freed_memory()
    try:
        return run_item(item, _place(data[0], device))
    except DeviceLostError as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(1)  # Ray gives the item to another process
    except EdgenasError as error:
        return error


def _last_line(error: Exception) -> str:
    """Of a traceback that came from afar: what went wrong."""
    return str(error).strip().splitlines()[-1]


@functools.lru_cache(maxsize=1)
def _place(reference: Any, device: str) -> Workplace:
    """The task as this process uses it: images stay where all processes of the node map them, read-only; the rest is its own."""
    import ray

    task: Task = ray.get(reference)
    images = [split.images for split in (task.train, task.val, task.test)]
    place = Workplace(copy.deepcopy(task, {id(array): array for array in images}), torch.device(device))
    try:
        with machine_faults(place.device):
            wait_for(place.device)
    except DeviceLostError as error:  # no item's doing: another process would not have it either
        raise MachineError(str(error)) from error
    return place


def connect(address: str) -> tuple[Any, bool]:
    """(the ray module, connected; was it connected here?). `auto`: the session that the program has, else the cluster of this
    machine (RAY_ADDRESS or the one that runs here). EdgenasError where there is none, or the program's is at another address."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MissingExtraError(f"--ray needs Ray: {pip_line('ray')}") from error
    if ray.is_initialized():
        there = ray.get_runtime_context().gcs_address
        if address not in ("auto", there):
            raise EdgenasError(
                f"--ray {address}: this program is connected to Ray at {there} already: give that address or auto, or call "
                "ray.shutdown() before"
            )
        return ray, False
    _refuse_silent_host(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR, configure_logging=False)
    except (ConnectionError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise EdgenasError(f"--ray {address}: no cluster ({first}): start one with `ray start --head`") from error
    return ray, True


def _refuse_silent_host(address: str) -> None:
    """Nothing listens there: say so now, where Ray would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # auto, or a form that Ray judges
    try:
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise EdgenasError(f"--ray {address}: no cluster ({error}): start one with `ray start --head`") from error
