"""Boards as a search sees them: real agents on loopback that come and go."""

import functools
import hashlib
import inspect
import math
import secrets
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from edgenas.errors import EdgenasError
from edgenas.hardware.candidates import KIND, model_from_architecture
from edgenas.hardware.cost import CostModel
from edgenas.hardware.measure import MeasureError, no_one, reference_model
from edgenas.hardware.profile import profile_from_name
from edgenas.records import ChainArchitecture, Cost, Latency, Limits, Measurement, StudyRecord
from edgenas.remote import boards
from edgenas.remote.boards import measuring_beside, open_board, open_boards, remembered
from edgenas.remote.client import BoardAway
from edgenas.remote.fleet import (
    BESIDE,
    DECIDED,
    LOST_JOBS,
    REFERENCE_TRIES,
    REFUSALS,
    Boards,
    Decided,
    different_siblings,
)
from edgenas.remote.job import BUILD_S, Job
from edgenas.remote.token import VARIABLE
from edgenas.store import Store
from tests.remote.conftest import listening, until
from tests.remote.models import HOST, QUICK, small
from tests.remote.test_calibration import PI, Drawn

JETSON = profile_from_name("jetson-nano")
measuring = functools.partial(boards.measuring, finalists=lambda _store: [])


def test_a_board_is_waited_for_a_minute() -> None:
    for begin in (boards.measuring, measuring_beside):
        assert inspect.signature(begin).parameters["patience_s"].default == 60


@pytest.fixture
def token(monkeypatch: pytest.MonkeyPatch) -> str:
    value = secrets.token_hex(32)
    monkeypatch.setenv(VARIABLE, value)
    return value


@pytest.fixture
def store(tmp_path: Path) -> Store:
    study = StudyRecord("gnas", "classification", "digits", ("host-cpu",), "fp32", Limits(), 0)
    return Store.create(tmp_path / "study", study)


def costs(hook: Boards, architectures: list[ChainArchitecture]) -> list[Cost]:
    model = CostModel([hook.profile], "fp32", Limits(), hook, hook.profile.name)
    model.prepare(architectures)
    return [model(architecture) for architecture in architectures]


def origins(hook: Boards, architectures: list[ChainArchitecture]) -> list[str]:
    return [cost.latencies[hook.profile.name].origin for cost in costs(hook, architectures)]


def test_two_boards_share_the_work_and_a_resumed_search_reads_the_same_numbers(store: Store, token: str) -> None:
    networks = [small(width) for width in (2, 4, 6, 8)]
    with listening(token=token) as one, listening(token=token) as two:
        with measuring([one.url, two.url], None, [HOST], None, store, timing=QUICK) as (hook, name):
            assert name == "host-cpu"
            assert isinstance(hook, Boards)
            first = costs(hook, networks)
        assert {cost.latencies["host-cpu"].origin for cost in first} == {"measured"}
        taken = store.all("measurement", Measurement)
        assert len(taken) == 5  # four candidates and the reference network
        assert {m.detail["board"] for m in taken.values()} == {one.url, two.url}
        with measuring([one.url], None, [HOST], None, store, timing=QUICK) as (hook, _):
            assert isinstance(hook, Boards)
            assert costs(hook, networks) == first


def test_a_board_that_goes_away_is_waited_for_then_predicted_and_measured_when_it_is_back(
    store: Store, token: str
) -> None:
    said: list[str] = []
    with listening(token=token) as board:
        url, port = board.url, board.address[1]
        keep = measuring([url], None, [JETSON], None, store, said.append, timing=QUICK, patience_s=0.5)
        hook, _ = keep.__enter__()
        assert isinstance(hook, Boards)
        assert origins(hook, [small(2)]) == ["measured"]
    begun = time.monotonic()
    away = costs(hook, [small(4)])[0].latencies[JETSON.name]
    assert time.monotonic() - begun > 0.5
    assert away.origin in ("predicted", "datasheet")
    assert "not measured: no board has answered" in away.detail
    assert any("does not answer" in message for message in said)
    with listening(token=token, port=port):
        until(lambda: not hook._away)
        hook.patience_s = 60
        assert origins(hook, [small(6)]) == ["measured"]
        keep.__exit__(None, None, None)
    key = f"{small(4).fingerprint} {JETSON.name} fp32"
    assert store.get("measurement", key, Measurement) is not None  # measured later, kept beside
    decided = store.get(DECIDED, key, Decided)
    assert decided is not None
    assert decided.latency == away  # but what was decided on stays


class Loses(Drawn):
    """A board that always says what it is, and loses the first so many jobs."""

    def __init__(self, jobs: int) -> None:
        super().__init__()
        self.jobs, self.lost = jobs, 0

    def measure(self, model: bytes, job: Job) -> Measurement:
        if self.lost < self.jobs:
            self.lost += 1
            raise BoardAway(f"board {self.url}: the agent lost the job 3 times")
        return super().measure(model, job)


@pytest.mark.parametrize(("jobs", "origin"), [(LOST_JOBS - 1, "measured"), (10**6, "predicted")])
def test_a_board_that_answers_and_loses_every_job_is_away_after_three(jobs: int, origin: str, store: Store) -> None:
    said: list[str] = []
    gave_up = "answers, and has lost 3 jobs in a row: it is away until it measures one"

    def say(line: str) -> None:
        said.append(line)
        if gave_up in line:
            hook.patience_s = 0.1

    board = Loses(jobs)
    hook = Boards([board], PI, "fp32", store, QUICK, 600.0, say)
    hook.greet()
    found = costs(hook, [small(2)])[0].latencies[PI.name]
    assert found.origin == origin
    assert any(gave_up in line for line in said) == (origin == "predicted")
    assert any(line.endswith("is back") for line in said)  # it was believed at first
    assert hook.any_there() == (origin == "measured")
    if origin == "predicted":
        board.jobs, hook.patience_s = 0, 600.0  # mended
        until(hook.any_there)
        assert costs(hook, [small(4)])[0].latencies[PI.name].origin == "measured"
    hook.close()


class Refuses(Drawn):
    """A board that says what it is, and raises `error` in place of measuring, the first so many times that it is asked."""

    def __init__(self, url: str, error: EdgenasError, times: int = 10**6) -> None:
        super().__init__()
        self.url, self.error, self.times, self.asked_for = url, error, times, list[str]()

    def measure(self, model: bytes, job: Job) -> Measurement:
        self.asked_for.append(job.sha256)
        if len(self.asked_for) <= self.times:
            raise self.error
        return super().measure(model, job)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgenas.remote.fleet.REFUSED_PAUSE_S", 0.05)


@pytest.mark.usefixtures("hurried")
@pytest.mark.parametrize("times", [REFUSALS - 1, REFUSALS, 10**6])
def test_what_one_board_refuses_another_one_measures_and_the_search_ends_when_all_are_left_out(
    times: int, store: Store
) -> None:
    said: list[str] = []
    odd = Refuses("http://odd", EdgenasError("board http://odd refuses the token"), times)
    hook = Boards([odd, Drawn()], PI, "fp32", store, QUICK, 5.0, said.append)
    hook.greet()
    assert origins(hook, [small(width) for width in (2, 4, 6)]) == ["measured"] * 3
    hook.close()
    alone = Refuses("http://alone", EdgenasError("board http://alone refuses the token"), times)
    hook = Boards([alone], PI, "fp32", store, QUICK, 5.0, said.append)
    hook.greet()
    if times < REFUSALS:  # it passed
        assert origins(hook, [small(8)]) == ["measured"]
    else:
        words = (
            r"^no board measures any more: board http://alone refuses the token \(what was measured is kept: the same"
            r" command goes on\)$"
        )
        with pytest.raises(EdgenasError, match=words):
            origins(hook, [small(8)])
        assert len(alone.asked_for) == REFUSALS
        assert said[-1] == "warning: board http://alone refuses the token: this board is left out from now on"
        assert not hook.any_there()
    hook.close()
    assert len([key for key in store.all(KIND, Measurement) if "reference" not in key]) == 3 + (times < REFUSALS)


@pytest.mark.usefixtures("hurried")
def test_a_board_that_is_left_out_is_not_said_to_be_waited_for(store: Store) -> None:
    """Not even in the moment between the two things that a board's thread notes of it."""

    class Noted(dict[str, str]):
        def __setitem__(self, url: str, reason: str) -> None:
            time.sleep(0.5)
            super().__setitem__(url, reason)

    said: list[str] = []
    board = Refuses("http://alone", EdgenasError("board http://alone refuses the token"))
    hook = Boards([board], PI, "fp32", store, QUICK, 60.0, said.append)
    hook._left_out = Noted()
    hook.greet()
    with pytest.raises(EdgenasError, match="no board measures any more"):
        origins(hook, [small(2)])
    hook.close()
    assert not any("waiting" in line for line in said)


@pytest.mark.usefixtures("hurried")
def test_a_board_that_comes_back_as_another_program_is_left_out(store: Store) -> None:
    class Gone(Loses):
        def info(self) -> dict[str, Any]:
            if self.lost:
                raise EdgenasError("board http://board:8765: what answers there is no edgenas agent")
            return super().info()

    hook = Boards([Gone(1)], PI, "fp32", store, QUICK, 60.0, no_one)
    hook.greet()
    with pytest.raises(EdgenasError, match=r"no board measures any more: .* is no edgenas agent"):
        origins(hook, [small(2)])
    hook.close()


def test_a_candidate_that_a_board_cannot_take_is_asked_once_and_the_search_goes_on(store: Store) -> None:
    """Though it was measured ahead of need."""
    too_large = hashlib.sha256(model_from_architecture(small(4), PI, "fp32")).hexdigest()

    class Small(Refuses):
        def measure(self, model: bytes, job: Job) -> Measurement:
            self.times = 10**6 if job.sha256 == too_large else 0
            return super().measure(model, job)

    board = Small("http://small", MeasureError("refused", "board http://small refuses (413): the model is too large"))
    hook = Boards([board], PI, "fp32", store, QUICK, 5.0, no_one)
    hook.greet()
    hook.prepare([small(2), small(4), small(6)])
    until(lambda: not hook.pending([small(2), small(4), small(6)]))
    found = [cost.latencies[PI.name] for cost in costs(hook, [small(2), small(4), small(6)])]
    assert [latency.origin for latency in found] == ["measured", "predicted", "measured"]
    assert found[1].detail.endswith("not measured: board http://small refuses (413): the model is too large")
    assert board.asked_for.count(too_large) == 1
    hook.close()


@pytest.mark.parametrize("runtime", ["onnxruntime", "tensorrt"])
def test_a_board_has_the_time_that_its_own_runtime_needs(runtime: str, store: Store) -> None:
    """The profile describes ONNX Runtime, which builds no engine."""
    board = Drawn()
    board.runtime = runtime
    hook = Boards([board], PI, "fp32", store, QUICK, 0.3, lambda _: None)
    hook.greet()
    assert costs(hook, [small(2)])[0].latencies[PI.name].origin == "measured"
    hook.close()
    assert all((deadline > BUILD_S) == (runtime == "tensorrt") for deadline in board.deadlines)


class Slow(Drawn):
    """Takes so many seconds for each."""

    def __init__(self, seconds: float, runtime: str = "onnxruntime") -> None:
        super().__init__()
        self.seconds, self.runtime = seconds, runtime

    def measure(self, model: bytes, job: Job) -> Measurement:
        time.sleep(self.seconds)
        return super().measure(model, job)


class ByTheClock(Slow):
    """Takes so many seconds of a clock of its own, which goes on where `hook` sleeps by it and stands while the board answers."""

    now = 0.0
    due = -math.inf  # when the measurement ends that it is at
    hook: Boards

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        until(lambda: self.due > self.now or all(future.done() for future in self.hook._futures.values()))

    def measure(self, model: bytes, job: Job) -> Measurement:
        self.due = self.now + self.seconds
        until(lambda: self.now >= self.due)
        self.due = -math.inf
        return Drawn.measure(self, model, job)


def predicted_before(store: Store, networks: list[ChainArchitecture]) -> list[str]:
    """The keys of candidates that a search went on with while no board answered."""
    keys = [f"{network.fingerprint} {PI.name} fp32" for network in networks]
    for key, network in zip(keys, networks, strict=True):
        store.put(DECIDED, key, Decided(network, Latency(1.0, "predicted", PI.name)))
    return keys


@pytest.mark.parametrize(
    ("seconds", "runtime", "measured"),
    [(0.4, "onnxruntime", 4), (3.0, "onnxruntime", 0), (3.0, "tensorrt", 2)],
)
def test_late_candidates_have_the_time_that_each_of_them_takes(
    seconds: float, runtime: str, measured: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four in 1.6 s with a second for each; two, of which each takes longer, where that is the building of its engine."""
    monkeypatch.setattr("edgenas.remote.fleet.LATE_S", 1.0)
    monkeypatch.setattr("edgenas.remote.fleet.BUILD_S", 30.0)
    said: list[str] = []
    networks = [small(width) for width in (2, 4, 6, 8)[: measured or 1]]
    keys = predicted_before(store, networks)
    board = ByTheClock(seconds, runtime)
    monkeypatch.setattr("edgenas.remote.fleet.time", board)
    board.hook = hook = Boards([board], PI, "fp32", store, QUICK, 5.0, said.append)
    hook.greet()
    hook.close()
    board.now = math.inf  # what it still measures ends
    assert sum(store.get(KIND, key, Measurement) is not None for key in keys) == measured
    told = f"measuring {len(keys)} candidates that were predicted while no board answered (Ctrl-C ends it)"
    assert said.count(told) == 1


@pytest.mark.parametrize("beside", [False, True])
def test_what_ends_by_ctrl_c_waits_for_no_board(beside: bool, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boards, "open_boards", lambda *_: [Slow(20.0)])
    predicted_before(store, [small(2)])
    begin = measuring_beside if beside else measuring
    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt), begin(["http://board"], None, [PI], None, store, timing=QUICK):
        raise KeyboardInterrupt
    assert time.monotonic() - begun < 15


@pytest.mark.parametrize(("times", "found"), [(REFERENCE_TRIES - 1, "measured"), (10**6, "predicted")])
def test_a_reference_network_that_cannot_be_measured_is_given_up_and_said_once(
    times: int, found: str, store: Store
) -> None:
    reference = hashlib.sha256(reference_model()).hexdigest()

    class Without(Drawn):
        failed = 0

        def measure(self, model: bytes, job: Job) -> Measurement:
            if job.sha256 == reference and self.failed < times:
                self.failed += 1
                raise MeasureError("oom", "needs more than 256 MB")
            return super().measure(model, job)

    said: list[str] = []
    board = Without()
    hook = Boards([board], PI, "fp32", store, QUICK, 5.0, said.append)
    hook.greet()
    latencies = [cost.latencies[PI.name] for cost in costs(hook, [small(width) for width in (2, 4, 6, 8, 10)])]
    hook.close()
    assert [latency.origin for latency in latencies] == ["predicted"] * 2 + [found] * 3
    assert all("needs more than 256 MB" in latency.detail for latency in latencies if latency.origin == "predicted")
    assert board.failed == min(times, REFERENCE_TRIES)
    assert len([line for line in said if "the reference network could not be measured 3 times" in line]) == (
        found == "predicted"
    )
    assert len([line for line in said if ": predicted " in line]) == 2  # before it was given up


@pytest.mark.slow
def test_a_short_absence_costs_time_and_nothing_else(store: Store, token: str) -> None:
    with listening(token=token) as board:
        url, port = board.url, board.address[1]
        keep = measuring([url], None, [HOST], None, store, timing=QUICK, patience_s=60.0)
        hook, _ = keep.__enter__()
        assert isinstance(hook, Boards)
        assert origins(hook, [small(2)]) == ["measured"]
    hook.prepare([small(4)])
    time.sleep(0.5)
    with listening(token=token, port=port):
        assert origins(hook, [small(4)]) == ["measured"]
        keep.__exit__(None, None, None)


def test_boards_that_never_answer_or_cannot_be_are_one_line(store: Store, token: str) -> None:
    with pytest.raises(EdgenasError, match=r"no board can measure: board http://127.0.0.1:9 does not answer"):
        measuring(["http://127.0.0.1:9"], None, [HOST], None, store).__enter__()
    with pytest.raises(EdgenasError, match="measures one target, and there are host-cpu, jetson-nano"):
        measuring(["http://127.0.0.1:9"], None, [HOST, JETSON], None, store).__enter__()
    with pytest.raises(EdgenasError, match="as fp32 or fp16, not int8"):
        measuring(["http://127.0.0.1:9"], None, [HOST], "int8", store).__enter__()
    with pytest.raises(EdgenasError, match="possible are https://HOST:PORT, http://HOST:PORT"):
        open_board("ftp://x")


def test_a_limit_on_energy_needs_a_board_that_measures_power(tmp_path: Path, token: str) -> None:
    study = StudyRecord("gnas", "classification", "digits", ("host-cpu",), "fp32", Limits(energy_mj=5.0), 0)
    with Store.create(tmp_path / "thrifty", study) as store, listening(token=token) as board:
        if board.board.info()["device"]["power_mw"]:
            pytest.skip("this machine has power sensors")
        with pytest.raises(EdgenasError, match="has no power sensor, and there is a limit on energy"):
            measuring([board.url], None, [HOST], None, store).__enter__()


def test_what_stands_beside_a_search_is_measured_alike_kept_apart_and_never_predicted(store: Store, token: str) -> None:
    def on_a_board(url: str, network: ChainArchitecture) -> Cost:
        with measuring_beside([url], None, [HOST], None, store, timing=QUICK, patience_s=0.5) as (hook, name):
            return CostModel([HOST], "fp32", Limits(), hook, name)(network)

    with listening(token=token) as board:
        with measuring([board.url], None, [HOST], None, store, timing=QUICK) as (hook, _):
            assert hook is not None
            (searched,) = costs(cast("Boards", hook), [small(4)])
        assert on_a_board(board.url, small(4)).latencies == searched.latencies  # of the search: not measured again
        assert not store.all(BESIDE, Measurement)
        before = store.all(KIND, Measurement)
        public = on_a_board(board.url, small(8))
        assert store.all(KIND, Measurement) == before  # what decides how the search goes on is as it was
        assert list(store.all(BESIDE, Measurement)) == [f"{small(8).fingerprint} host-cpu fp32"]
        store.put(
            DECIDED, f"{small(2).fingerprint} host-cpu fp32", Decided(small(2), Latency(9.0, "datasheet", "host-cpu"))
        )
        assert on_a_board(board.url, small(2)).latencies["host-cpu"].origin == "measured"
    assert remembered(store, HOST, None, small(8)) == public.latencies["host-cpu"]
    assert remembered(store, HOST, None, small(16)) is None
    with pytest.raises(EdgenasError, match="no board can measure"):
        on_a_board(board.url, small(16))


def test_without_boards_only_this_machine_is_measured(store: Store) -> None:
    with measuring([], None, [JETSON], None, store) as nothing:
        assert nothing == (None, None)
    with measuring([], None, [JETSON, HOST], None, store, timing=QUICK) as (hook, name):
        assert name == "host-cpu"
        assert hook is not None


def test_a_board_whose_reference_differs_from_its_siblings_is_named() -> None:
    same = {"a": [1.0] * 5, "b": [1.02] * 5, "c": [1.0] * 5}
    assert different_siblings(same) == {}
    assert different_siblings({**same, "c": [1.08] * 5}) == {"c": pytest.approx(1.08 / 1.01 - 1)}
    assert different_siblings({**same, "c": [1.5] * 4}) == {}  # not seen often enough
    assert different_siblings({"a": [2.0] * 5}) == {}


@pytest.mark.parametrize(("ms", "named"), [(1.049, False), (1.051, True), (0.951, False), (0.949, True)])
def test_a_board_is_named_beyond_five_percent_more_or_less_than_its_siblings(ms: float, named: bool) -> None:
    found = different_siblings({"a": [1.0] * 5, "b": [1.0] * 5, "c": [ms] * 5})
    assert found == ({"c": pytest.approx(ms - 1)} if named else {})


class Hot(Drawn):
    """A board that is throttled the first so many times that it measures."""

    def __init__(self, throttled: int) -> None:
        super().__init__()
        self.throttled, self.repeats = throttled, list[int]()

    def measure(self, model: bytes, job: Job) -> Measurement:
        self.repeats.append(job.repeat)
        status = "throttled" if len(self.repeats) <= self.throttled else "ok"
        return msgspec.structs.replace(super().measure(model, job), status=status)


@pytest.mark.parametrize(("throttled", "repeats", "status"), [(0, 1, "ok"), (2, 3, "ok"), (9, 3, "throttled")])
def test_a_throttled_measurement_is_repeated_and_the_third_is_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch, throttled: int, repeats: int, status: str
) -> None:
    """Each as a question of its own, which the board has not answered yet."""
    board = Hot(throttled)
    hook = Boards([board], PI, "fp32", store, QUICK, 0.3, no_one)
    monkeypatch.setattr(hook._end, "wait", lambda _: False)
    assert hook._measure(board, model_from_architecture(small(2), PI, "fp32")).status == status
    assert board.repeats == list(range(repeats))


def test_a_throttled_measurement_stays_where_it_cannot_be_repeated(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Hot(9)
    board.refuses = 1
    hook = Boards([board], PI, "fp32", store, QUICK, 0.3, no_one)
    monkeypatch.setattr(hook._end, "wait", lambda _: False)
    assert hook._measure(board, model_from_architecture(small(2), PI, "fp32")).status == "throttled"
    assert board.repeats == [0, 1]
    board.refuses = board.asked
    with pytest.raises(MeasureError):
        hook._measure(board, model_from_architecture(small(2), PI, "fp32"))


@pytest.mark.parametrize("url", ["http://nano:99999", "ssh://nano:22a"])
def test_a_port_that_is_none_is_one_line(url: str, token: str) -> None:
    with pytest.raises(EdgenasError, match=r"^board .(http|ssh)"):
        open_board(url, None)


def test_something_else_that_answers_is_one_line(token: str) -> None:
    class Greeter(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"hello": "world"}')

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Greeter) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(EdgenasError, match="no edgenas agent of this version"):
            open_board(f"http://127.0.0.1:{server.server_port}", None).info()
        server.shutdown()


def test_a_board_that_answers_nonsense_is_not_waited_for(store: Store) -> None:
    class Odd:
        url = "http://odd"

        def info(self) -> dict[str, Any]:
            return {}

        def measure(self, model: bytes, job: Job) -> Measurement:
            raise KeyError("reference_ms")

    boards = Boards([Odd()], HOST, "fp32", store, QUICK, 1.0, lambda _: None)
    threading.Thread(target=boards._serve, args=(Odd(),), daemon=True).start()
    with pytest.raises(EdgenasError, match="http://odd: KeyError"):
        boards._submit("key", b"model").result(timeout=60)
    boards._end.set()


ORIN = profile_from_name("jetson")  # whose precision is fp16


def test_candidates_are_measured_in_the_precision_of_the_search(store: Store, token: str) -> None:
    with listening(token=token) as board, measuring([board.url], None, [ORIN], None, store, timing=QUICK) as (hook, _):
        assert isinstance(hook, Boards)
        latency = costs(hook, [small(4)])[0].latencies[ORIN.name]
    assert (latency.precision, latency.origin) == ("fp16", "measured")
    taken = store.get("measurement", f"{small(4).fingerprint} {ORIN.name} fp16", Measurement)
    assert taken is not None
    assert taken.precision == "fp16"
    assert taken.detail["sha256"] == hashlib.sha256(model_from_architecture(small(4), ORIN, "fp16")).hexdigest()


def test_a_search_that_began_in_fp32_goes_on_in_fp32(store: Store, token: str) -> None:
    with listening(token=token) as board:
        with measuring([board.url], None, [ORIN], "fp32", store, timing=QUICK) as (hook, _):
            assert isinstance(hook, Boards)
            first = costs(hook, [small(4)])
        with measuring([board.url], None, [ORIN], None, store, timing=QUICK) as (hook, _):
            assert isinstance(hook, Boards)
            assert costs(hook, [small(4)]) == first
            assert costs(hook, [small(6)])[0].latencies[ORIN.name].precision == "fp32"


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("http://nano:8765", "http://nano:8765"),
        ("http://nano", "https://Nano:8765/"),
        ("ssh://nano", "ssh://pi@nano/opt/edgenas?threads=2"),
    ],
)
def test_one_board_under_two_addresses_is_refused(one: str, other: str, token: str) -> None:
    with pytest.raises(EdgenasError, match=r"is the same as .*: name each board once"):
        open_boards([one, "http://xavier", other], None, None, no_one)


def test_two_agents_on_one_host_are_two_boards(token: str) -> None:
    urls = ["http://nano", "http://nano:8766", "ssh://nano", "ssh://nano:2222"]
    assert [board.url for board in open_boards(urls, None, None, no_one)] == urls
