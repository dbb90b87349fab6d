"""Several boards as one measuring hook: candidates are measured there while others are trained here.

Every board has a thread that takes the next candidate from one queue. A board that goes away is waited for; when all have been
away for too long the search goes on with predictions that say so, and what could not be measured stays queued for their return.
One that answers and refuses, three times in a row, is left out; when all are left out the search ends.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, wait
from contextlib import suppress

import msgspec
import numpy as np

from edgenas.architectures.workload import workload_from_architecture
from edgenas.errors import EdgenasError
from edgenas.hardware.candidates import KIND, baseline, model_of
from edgenas.hardware.measure import MeasureError, Say, Timing, latency_from_measurement
from edgenas.hardware.predictor import latency_from_workload
from edgenas.records import Architecture, HardwareProfile, Latency, Measurement, Precision, Record, Workload
from edgenas.remote.client import Board, BoardAway
from edgenas.remote.job import BUILD_S, BUILDER, job_for, runtime_of
from edgenas.store import Store

BESIDE = "measurement-beside"  # of networks that no search has asked for
DECIDED = "predicted-away"  # latencies that a search had to go on with while no board answered
MAX_SIBLING_DIFFERENCE = 0.05
THROTTLED_TRIES = 3
LOST_JOBS = 3  # in a row: a board that answers and measures nothing is away, too
REFUSED_PAUSE_S = 2.0
REFUSALS = 3  # in a row, of a token, by a certificate, of another program: waiting would not help
LONGEST_PAUSE_S = 60.0  # between two tries of such a board
LATE_S = 60.0  # at the end of a search, for each that was not measured before; BUILD_S more where engines are built
REFERENCE_TRIES = 3  # of the reference network, which no candidate's latency is known without
Task = tuple[bytes, "Future[Measurement]"]


class Decided(Record, frozen=True):
    """What a search went on with; a resumed one does the same, whatever is measured later."""

    architecture: Architecture
    latency: Latency


class Boards:
    """Callable like `measuring_here`'s; `prepare` lets the boards work ahead."""

    def __init__(
        self,
        boards: Sequence[Board],
        profile: HardwareProfile,
        precision: Precision,
        store: Store,
        timing: Timing,
        patience_s: float,
        say: Say,
    ) -> None:
        self.boards, self.profile, self.precision, self.store = tuple(boards), profile, precision, store
        self.timing, self.patience_s, self.say = timing, patience_s, say
        self.reference_ms: dict[str, list[float]] = {board.url: [] for board in boards}
        self._queue: queue.Queue[Task] = queue.Queue()
        self._futures: dict[str, Future[Measurement]] = {}
        self._away: dict[str, float] = {}  # url -> since when
        self._lost = dict.fromkeys((board.url for board in boards), 0)  # jobs since the last that it finished
        self._refused = dict.fromkeys((board.url for board in boards), 0)  # times since then
        self._left_out: dict[str, str] = {}  # url -> why
        self._runtimes = dict.fromkeys((board.url for board in boards), profile.runtime)
        self._named: set[str] = set()
        self._no_reference: list[MeasureError] = []  # why, each time
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._serve, args=(board,), daemon=True) for board in boards]

    def greet(self) -> None:
        """Ask every board what it is; raise where none answers, say where one differs from the profile."""
        failures = []
        for board in self.boards:
            try:
                info = board.info()
            except BoardAway as away:
                failures.append(str(away))
                continue
            if self.store.study.limits.energy_mj is not None and not info["device"]["power_mw"]:
                raise EdgenasError(
                    f"board {board.url} has no power sensor, and there is a limit on energy: leave one of them out"
                )
            self._runtimes[board.url] = runtime_of(info)
            how = f"{info['runtime']} {info['runtime_version']} ({info['load']['provider']}), {self.precision}"
            self.say(f"board {board.url}: {info['device']['model']}, {how}")
            if (info["runtime"], self.precision) != (self.profile.runtime, self.profile.precision):
                described = f"{self.profile.runtime}, {self.profile.precision}"
                self.say(
                    f"warning: {self.profile.name} describes {described}: the latencies of this search are the board's own"
                )
            threads = info["load"].get("threads", 1)
            if info["load"]["provider"] == "cpu" and threads != self.profile.threads:
                wanted = self.profile.threads
                ask = "ask for ?threads=" if board.url.startswith("ssh://") else "start its agent with --threads "
                self.say(
                    f"warning: {self.profile.name} describes {wanted} threads, and it measures with {threads}: {ask}{wanted}"
                )
        if len(failures) == len(self.boards):
            raise EdgenasError(f"no board can measure: {'; '.join(failures)}")
        for failure in failures:
            self.say(f"warning: {failure}")
        for thread in self._threads:
            thread.start()
        self.prepare(self._unmeasured())

    def __call__(self, architecture: Architecture, workload: Workload) -> Latency:
        self.harvest()
        key = self.key_of(architecture)
        decided = self.store.get(DECIDED, key, Decided)
        if decided is not None:
            return decided.latency
        try:
            baseline_ms = self._baseline()
            measurement = self.store.get(KIND, key, Measurement)
            if measurement is None:
                measurement = self._wait(key, model_of(workload, self.profile, self.precision))
                self.store.put(KIND, key, measurement)
        except (BoardAway, MeasureError) as failure:
            return self._predict(architecture, key, str(failure))
        return latency_from_measurement(measurement, baseline_ms)

    def beside(self, architecture: Architecture, workload: Workload) -> Latency:
        """Of a network that a search's candidates are compared with: measured as they are, and kept apart from what a search has
        read. Raises BoardAway or MeasureError where it cannot be: nothing is predicted in its place."""
        baseline_ms = self._baseline()
        key = self.key_of(architecture)
        measurement = self.store.get(KIND, key, Measurement) or self.store.get(BESIDE, key, Measurement)
        if measurement is None:
            try:
                measurement = self._wait(key, model_of(workload, self.profile, self.precision))
            finally:
                self._futures.pop(key, None)  # what comes in late is no candidate's
            self.store.put(BESIDE, key, measurement)
        return latency_from_measurement(measurement, baseline_ms)

    def prepare(self, architectures: Iterable[Architecture]) -> None:
        """Queue candidates that will be asked for soon."""
        for architecture in architectures:
            key = self.key_of(architecture)
            if key not in self._futures and self.store.get(KIND, key, Measurement) is None:
                self._submit(key, model_of(workload_from_architecture(architecture), self.profile, self.precision))

    def prepare_first(self, architectures: Sequence[Architecture]) -> None:
        """Queue these before what waits for a board already; where engines are built that is said, since it takes minutes."""
        self.prepare(architectures)
        first = {self._futures.get(self.key_of(architecture)) for architecture in architectures}
        waiting: list[Task] = []
        with suppress(queue.Empty):
            while True:
                waiting.append(self._queue.get_nowait())
        for task in sorted(waiting, key=lambda task: task[1] not in first):
            self._queue.put(task)
        if self.pending(architectures) and BUILDER in self._runtimes.values():
            self.say(f"up to {len(architectures)} networks are measured, and an engine is built for each: minutes")

    def close(self) -> None:
        """Give boards that are there a last chance to measure what was only predicted, keep what came in, end the threads."""
        late_s = LATE_S + BUILD_S * (BUILDER in self._runtimes.values())
        left, told, deadline = 0, False, 0.0
        while self.pending(late := self._unmeasured()) and self.any_there():
            if len(late) != left:  # one more has come in
                left, deadline = len(late), time.monotonic() + late_s
            if time.monotonic() > deadline:
                break
            if not told:
                self.say(f"measuring {left} candidates that were predicted while no board answered (Ctrl-C ends it)")
                told = True
            time.sleep(0.1)
            self.harvest()
        self.end()

    def end(self) -> None:
        """Keep what came in, and wait for nothing: what is missing is measured when the same command goes on."""
        self._end.set()
        self.harvest()
        if left := self._unmeasured():
            self.say(f"warning: {len(left)} candidates could not be measured: their latencies are predictions")

    def pending(self, architectures: Iterable[Architecture]) -> bool:
        """Is any of these still to be measured? One that a board could not measure is not."""
        keys = (self.key_of(architecture) for architecture in architectures)
        return any(key in self._futures and not self._futures[key].done() for key in keys)

    def _unmeasured(self) -> list[Architecture]:
        """Candidates that were decided on by a prediction, and that the boards may still measure."""
        return [
            decided.architecture
            for key, decided in self.store.all(DECIDED, Decided).items()
            if key in self._futures or self.store.get(KIND, key, Measurement) is None
        ]

    # ------------------------------------------------------------ in the search's thread

    def key_of(self, architecture: Architecture) -> str:
        return f"{architecture.fingerprint} {self.profile.name} {self.precision}"

    def _submit(self, key: str, model: bytes) -> Future[Measurement]:
        if key not in self._futures:
            self._futures[key] = Future()
            self._queue.put((model, self._futures[key]))
        return self._futures[key]

    def _wait(self, key: str, model: bytes) -> Measurement:
        """The measurement, as long as any board is there or may come back soon. EdgenasError where all are left out."""
        future = self._submit(key, model)
        told = False
        while not wait([future], timeout=0.1).done:
            if self.any_there():
                told = False
                continue
            if len(self._left_out) == len(self.boards):
                raise EdgenasError(
                    f"no board measures any more: {'; '.join(self._left_out.values())} (what was measured is kept: the same "
                    "command goes on)"
                )
            waited = time.monotonic() - max(self._away.values(), default=time.monotonic())
            if waited > self.patience_s:
                raise BoardAway(f"no board has answered for {waited:.0f} s")
            if not told:
                self.say(f"warning: no board answers: waiting up to {self.patience_s:.0f} s")
                told = True
        self._futures.pop(key)
        return future.result()

    def _baseline(self) -> float:
        """The reference network's ms. MeasureError where it cannot be measured: after the third time it is tried no more."""
        if len(self._no_reference) >= REFERENCE_TRIES:
            raise self._no_reference[-1]
        try:
            return baseline(self.store, self.profile.name, lambda model: self._wait("reference", model))
        except MeasureError as error:
            self._no_reference.append(error)
            if len(self._no_reference) == REFERENCE_TRIES:
                self.say(
                    f"warning: the reference network could not be measured {REFERENCE_TRIES} times, and without it no latency "
                    f"is known: candidates are predicted from now on ({error})"
                )
            raise

    def _predict(self, architecture: Architecture, key: str, reason: str) -> Latency:
        # what stands beside measured latencies is of their precision, where the profile has it
        precision = self.precision if self.precision in self.profile.precisions else self.profile.precision
        predicted = latency_from_workload(self.profile, architecture, precision)
        latency = msgspec.structs.replace(predicted, detail=f"{precision}, not measured: {reason}")
        if len(self._no_reference) < REFERENCE_TRIES:  # else it was said
            self.say(f"{architecture.fingerprint}: predicted {latency.ms:.4g} ms, {latency.detail}")
        self.store.put(DECIDED, key, Decided(architecture, latency))
        return latency

    def any_there(self) -> bool:
        """Does any board answer now?"""
        return len(self._away) < len(self.boards)

    def harvest(self) -> None:
        """Keep measurements that came in late or ahead of time. What a board could not measure is for who asks for it."""
        for key, future in list(self._futures.items()):
            if future.done() and key != "reference" and future.exception() is None:
                self.store.put(KIND, key, self._futures.pop(key).result())

    # ------------------------------------------------------------ in the boards' threads

    def _serve(self, board: Board) -> None:
        while not self._end.is_set() and board.url not in self._left_out:
            try:
                model, future = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            try:
                result = self._measure(board, model)
            except BoardAway as away:
                self._queue.put((model, future))
                self._wait_for(board, str(away))
                continue
            except MeasureError as error:  # of this candidate
                future.set_exception(error)
            except EdgenasError as error:  # of this board
                self._queue.put((model, future))
                self._refuse(board, str(error))
                continue
            except Exception as error:  # noqa: BLE001  a thread that dies silently would be waited for
                future.set_exception(EdgenasError(f"board {board.url}: {type(error).__name__}: {error}"))
            else:
                future.set_result(result)
            self._lost[board.url] = self._refused[board.url] = 0
            self._away.pop(board.url, None)

    def _measure(self, board: Board, model: bytes) -> Measurement:
        for repeat in range(THROTTLED_TRIES):
            job = job_for(model, self.profile.name, self.timing, repeat=repeat, runtime=self._runtimes[board.url])
            try:
                measurement = board.measure(model, job)
            except MeasureError:
                if not repeat:
                    raise
                break  # the throttled one is what there is
            if measurement.status != "throttled":
                break
            self._end.wait(5)  # to cool down
        self._compare(board, float(np.median(measurement.detail["reference_ms"])))
        return msgspec.structs.replace(measurement, detail={**measurement.detail, "board": board.url})

    def _wait_for(self, board: Board, reason: str) -> None:
        """Until it answers. One that answers and loses every job stays away until it has finished one."""
        self._lost[board.url] += 1
        self._away.setdefault(board.url, time.monotonic())
        self.say(f"warning: {reason}")
        over = self._lost[board.url] - LOST_JOBS
        pause = 0.5 if over <= 0 else min(LONGEST_PAUSE_S, 0.5 * 2.0 ** min(over, 10))
        while not self._end.wait(pause) and board.url not in self._left_out:
            pause = 0.5
            try:
                board.info()
            except BoardAway:
                continue
            except EdgenasError as error:
                self._refuse(board, str(error))
                continue
            if over < 0:
                self.say(f"board {board.url} is back")
                self._away.pop(board.url, None)
            elif over == 0:
                self.say(
                    f"warning: board {board.url} answers, and has lost {LOST_JOBS} jobs in a row: it is away until it "
                    "measures one"
                )
            break

    def _refuse(self, board: Board, reason: str) -> None:
        """What a board refuses is tried again, there or on another one; after the third time in a row it is left out."""
        self._refused[board.url] += 1
        if self._refused[board.url] < REFUSALS:
            self.say(f"warning: {reason}")
            self._end.wait(REFUSED_PAUSE_S)
            return
        self.say(f"warning: {reason}: this board is left out from now on")
        self._left_out[board.url] = reason
        self._away.setdefault(board.url, time.monotonic())  # last: nobody is to wait for its return

    def _compare(self, board: Board, reference_ms: float) -> None:
        """Name a board whose reference network takes another time than its siblings'."""
        self.reference_ms[board.url].append(reference_ms)
        for url, difference in different_siblings(self.reference_ms).items():
            if url not in self._named:
                self._named.add(url)
                self.say(
                    f"warning: board {url} differs from its siblings: the reference network takes {difference:+.1%} there"
                )


def different_siblings(reference_ms: dict[str, list[float]], enough: int = 5) -> dict[str, float]:
    """Boards whose median reference time differs by more than 5 % from their siblings', once all have been seen."""
    medians = {url: float(np.median(times)) for url, times in reference_ms.items() if len(times) >= enough}
    if len(medians) < 2 or len(medians) < len(reference_ms):
        return {}
    different = {}
    for url, median in medians.items():
        siblings = float(np.median([other for name, other in medians.items() if name != url]))
        if abs(median / siblings - 1) > MAX_SIBLING_DIFFERENCE:
            different[url] = median / siblings - 1
    return different
