"""Worker processes as their parent sees them: each does one item at a time, and is replaced when it dies."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
from collections.abc import Collection, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from edgenas.errors import EdgenasError, MachineError
from edgenas.tasks import Task
from edgenas.training.faults import KEPT, DeviceLostError
from edgenas.training.shared import Shared, pickled
from edgenas.training.work import ATTEMPTS, AnyItem, Lost
from edgenas.training.worker import command


class WorkerDiedError(Exception):
    """The process ended without an answer: killed, out of memory, crashed; or it has lost its GPU.

    `by_machine`: it never came to its item, or could not read what it had mapped: that is no item's doing.
    """

    def __init__(self, reason: str, *, by_machine: bool = False) -> None:
        super().__init__(reason)
        self.by_machine = by_machine


class Worker:
    """One process, which has mapped the task of `shared` and trains on `device`."""

    def __init__(self, shared: Shared, device: str) -> None:
        self.shared, self.device = shared, device
        self.item: AnyItem | None = None
        self.lifeline: int | None = None
        self._start_process()

    def start(self, item: AnyItem) -> None:
        """Begin an item; returns at once."""
        content = pickled(item)
        self.item = item
        # Where the process is dead already, `finish` finds out.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send_bytes(content)

    def get_ready(self) -> None:
        """Wait until it has the task. Raises as `finish` does."""
        self._answer()
        self.ready = True

    def finish(self) -> Any:
        """Wait for the result. Raises the item's own EdgenasError, or WorkerDiedError; then there is a new process."""
        result = self._answer()
        self.item = None
        return result

    def _answer(self) -> Any:
        try:
            answer = pickle.loads(self.connection.recv_bytes())
        except (EOFError, OSError) as error:  # OSError: it ended in the middle of its answer
            raise self._replaced() from error
        if self.ready and isinstance(answer, DeviceLostError):
            raise self._replaced(str(answer.args[0])) from answer
        if isinstance(answer, EdgenasError):
            raise answer
        return answer

    def _replaced(self, reason: str | None = None) -> WorkerDiedError:
        """What its death is called; there is a new process."""
        was_ready, self.item = self.ready, None
        exit_code = self.stop()
        self._start_process()
        by_machine = not was_ready or exit_code == -signal.SIGBUS
        return WorkerDiedError(reason or f"exit code {exit_code}", by_machine=by_machine)

    def stop(self) -> int:
        """End the process; what it was doing is lost. Returns its exit code."""
        self.connection.close()
        self.process.kill()  # it holds nothing that must be saved
        self._close_lifeline()
        return self.process.wait()

    def _close_lifeline(self) -> None:
        if self.lifeline is not None:
            os.close(self.lifeline)
            self.lifeline = None

    def _start_process(self) -> None:
        """EdgenasError where this machine has no descriptors, memory or processes left for one."""
        self.ready = False
        try:
            self._process_with_channels()
        except OSError as error:
            raise EdgenasError(
                f"no worker process could be started ({error}): take fewer workers, or none (workers = 0)"
            ) from error

    def _process_with_channels(self) -> None:
        with contextlib.ExitStack() as failed:
            ours, theirs = socket.socketpair()
            with theirs:
                self.connection = Connection(ours.detach())
                failed.callback(self.connection.close)
                watched, self.lifeline = os.pipe()
                failed.callback(self._close_lifeline)
                with open(watched, "rb"), _without_interrupts():  # noqa: PTH123  a descriptor, which is closed here
                    inherited = (theirs.fileno(), watched, self.shared.file.fileno())
                    self.process = _process(command(*inherited, self.shared.start, self.device), inherited)
                    failed.pop_all()
                    failed.callback(self.stop)  # where Ctrl-C came meanwhile
            failed.pop_all()


def _process(arguments: list[str], inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Started, with these descriptors. Its stdout is our stderr: stdout is for results."""
    return subprocess.Popen(arguments, stdin=subprocess.DEVNULL, stdout=_standard_error(), pass_fds=inherited)


class LocalCrew:
    """Worker processes on this machine that share one copy of the task; `devices[i]` is where worker i trains.

    An item whose process dies is given to a new one at once, `attempts` times in all, and as often where the machine
    was to blame.
    """

    ahead = True

    def __init__(self, task: Task, devices: tuple[str, ...], attempts: int = ATTEMPTS) -> None:
        self.attempts = attempts
        self.deaths: dict[tuple[str, bool], int] = {}  # by an item's key, and whether it was the machine's doing
        self.shared = Shared(task)
        self.workers: list[Worker] = []
        with contextlib.ExitStack() as interrupted:
            interrupted.callback(self.close)
            self.workers.extend(Worker(self.shared, device) for device in devices)
            interrupted.pop_all()

    @property
    def running(self) -> Collection[str]:
        return tuple(worker.item.key for worker in self.workers if worker.item is not None)

    def start(self, queue: dict[str, AnyItem], *, needed: bool) -> None:  # noqa: ARG002  processes do not grow in number
        for worker in self.workers:
            if worker.item is None and queue:
                worker.start(queue.pop(next(iter(queue))))

    def finished(self) -> Iterator[tuple[AnyItem, Any]]:
        busy = {worker.connection: worker for worker in self.workers if worker.item is not None}
        for connection in wait(list(busy)):
            assert isinstance(connection, Connection)
            worker = busy[connection]
            item = worker.item
            assert item is not None
            try:
                if not worker.ready:
                    worker.get_ready()
                    continue
                result = worker.finish()
            except WorkerDiedError as error:
                kind = (item.key, error.by_machine)
                deaths = self.deaths[kind] = self.deaths.get(kind, 0) + 1
                if deaths < getattr(item, "attempts", self.attempts):
                    worker.start(item)
                    continue
                times = "" if deaths == 1 else f" {deaths} times"
                if error.by_machine:
                    raise MachineError(
                        f"a worker process died{times} ({error}) of what is no network's doing: see what it said, and that there "
                        f"is memory and room on the disk, and {KEPT}"
                    ) from error
                result = Lost(f"its worker process died{times} ({error})")
            yield item, result

    def close(self) -> None:
        for worker in self.workers:
            worker.stop()
        self.workers.clear()
        self.shared.close()


@contextlib.contextmanager
def _without_interrupts() -> Iterator[None]:
    """What is started here ignores Ctrl-C from its first instruction on; this process hears it a moment later."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _standard_error() -> int:
    """The descriptor of stderr; where this process has none, one of nothing."""
    try:
        os.fstat(2)
    except OSError:
        return subprocess.DEVNULL
    return 2
