"""A spawned process that does one job at a time, and is replaced when it dies."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar

from edgenas.errors import EdgenasError
from edgenas.training.memory import keep_freed_memory

J = TypeVar("J")
R = TypeVar("R")


class WorkerDiedError(Exception):
    """The process ended without an answer: killed, out of memory, crashed."""


class Worker(Generic[J, R]):
    """One process; `function` (picklable, with all that it needs) goes there once, jobs and results one by one."""

    def __init__(self, function: Callable[[J], R]) -> None:
        self.function = function
        self.job: J | None = None
        self.exit_code: int | None = None
        self._spawn()

    def start(self, job: J) -> None:
        """Begin a job; returns at once."""
        self.job = job
        # Where the process is dead already, `finish` finds out.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.connection.send(job)

    def finish(self) -> R:
        """Wait for the result. Raises the job's own EdgenasError, or WorkerDiedError; then there is a new process."""
        self.job = None
        try:
            result: R | EdgenasError = self.connection.recv()
        except (EOFError, ConnectionResetError) as error:
            self.stop()
            self._spawn()
            raise WorkerDiedError(f"exit code {self.exit_code}") from error
        if isinstance(result, EdgenasError):
            raise result
        return result

    def stop(self) -> None:
        """End the process; what it was doing is lost."""
        self.connection.close()
        self.process.kill()  # it holds nothing that must be saved
        self.process.join()
        self.exit_code = self.process.exitcode

    def _spawn(self) -> None:
        context = multiprocessing.get_context("spawn")  # a forked process cannot use CUDA or threads safely
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_work, args=(theirs, self.function), daemon=True)
        self.process.start()
        theirs.close()


def ready(workers: Iterable[Worker[J, R]]) -> Iterator[Worker[J, R]]:
    """Wait until at least one busy worker has answered or died; yield those that have."""
    busy = {worker.connection: worker for worker in workers if worker.job is not None}
    for connection in wait(list(busy)):
        assert isinstance(connection, Connection)
        yield busy[connection]


def _work(connection: Connection, function: Callable[[J], R]) -> None:
    """A worker's life: jobs in, results out, until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    threading.Thread(target=_end_with_parent, daemon=True).start()
    keep_freed_memory()
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job = connection.recv()
            try:
                connection.send(function(job))
            except EdgenasError as error:
                connection.send(error)


def _end_with_parent() -> None:
    """A killed parent must not leave workers training for nobody."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
