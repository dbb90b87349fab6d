"""The agent's jobs: queued, running, remembered, all in bounded number; one at a time in a child process (job.py)."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path

import msgspec

from edgenas.hardware.worker import Load
from edgenas.records import Record
from edgenas.remote.job import SETTLED, Answer, Bounds, Job, run


class Quota(Record, frozen=True):
    """How much of the board all clients together may take."""

    connections: int = 32
    uploads: int = 4
    queue: int = 16
    remembered: int = 256
    request_s: float = 60.0
    idle_s: float = 10.0
    stranger_s: float = 5.0  # for a client to show its token


class Refused(Exception):  # noqa: N818 (an answer, not an error of ours)
    """An HTTP answer other than success."""

    def __init__(self, code: int, message: str, **headers: str) -> None:
        super().__init__(message)
        self.code, self.headers = code, headers


class Desk:
    """The jobs: queued, running, remembered. One thread works them off."""

    def __init__(self, load: Load, bounds: Bounds, quota: Quota, folder: Path) -> None:
        self.load, self.bounds, self.quota, self.folder = load, bounds, quota, folder
        self._answers: OrderedDict[str, bytes] = OrderedDict()  # finished, encoded
        self._queue: OrderedDict[str, tuple[Job, Path]] = OrderedDict()
        self._running: str | None = None
        self._begun = False  # else the running one waits for another measurement on this machine
        self._cancel = threading.Event()
        self._changed = threading.Condition()
        self._ended = False
        self._thread = threading.Thread(target=self._work, daemon=True)
        self._thread.start()

    def find(self, job_id: str) -> bytes | None:
        """The encoded answer, whatever its status."""
        with self._changed:
            if job_id in self._answers:
                return self._answers[job_id]
            if job_id == self._running or job_id in self._queue:
                measured = job_id == self._running and self._begun
                return msgspec.json.encode(Answer(job_id, "running" if measured else "queued"))
        return None

    def settled(self, job_id: str) -> bytes | None:
        """The answer that a repeated question gets: not one that another moment may change."""
        answer = self.find(job_id)
        if answer and msgspec.json.decode(answer, type=Answer).status not in SETTLED:
            return None
        return answer

    def refuse_if_full(self) -> None:
        with self._changed:
            if len(self._queue) >= self.quota.queue:
                raise Refused(503, f"{self.quota.queue} jobs are waiting already", **{"Retry-After": "2"})

    def add(self, job: Job, path: Path) -> bytes:
        """Queue a job whose model is at `path`, which is the desk's to remove from now on."""
        with self._changed:
            if job.id == self._running or job.id in self._queue:
                path.unlink()
            else:
                self.refuse_if_full()
                self._answers.pop(job.id, None)
                self._queue[job.id] = (job, path)
                self._changed.notify_all()
        return self.find(job.id) or b"{}"

    def remove(self, job_id: str) -> bool:
        """Forget a job; a running one is killed."""
        with self._changed:
            known = self.find(job_id) is not None
            self._answers.pop(job_id, None)
            if job_id in self._queue:
                self._queue.pop(job_id)[1].unlink()
            if job_id == self._running:
                self._cancel.set()
            return known

    def close(self) -> None:
        """Kill what runs and stop."""
        with self._changed:
            self._ended = True
            self._cancel.set()
            self._changed.notify_all()
        self._thread.join()

    @property
    def busy(self) -> dict[str, int]:
        with self._changed:
            waiting = self._running is not None and not self._begun
            return {"running": int(self._begun), "queued": len(self._queue) + waiting}

    def _begin(self) -> None:
        with self._changed:
            self._begun = True

    def _work(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._ended)
                if self._ended:
                    return
                job_id, (job, path) = self._queue.popitem(last=False)
                self._running, self._cancel = job_id, threading.Event()
            answer = run(path, job, self.load, self.bounds, self._cancel, self._begin)
            path.unlink(missing_ok=True)
            with self._changed:
                if not self._cancel.is_set():
                    self._answers[job_id] = msgspec.json.encode(answer)
                    while len(self._answers) > self.quota.remembered:
                        self._answers.popitem(last=False)
                self._running, self._begun = None, False
