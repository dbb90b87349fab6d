"""Boards that lie, drip, cut off or are too busy; agents that strangers press upon."""

import hashlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from edgenas.cli.main import app
from edgenas.errors import EdgenasError
from edgenas.hardware.measure import BENCH, MeasureError, latency_from_measurement
from edgenas.remote import client
from edgenas.remote.client import BoardAway, HttpBoard
from edgenas.remote.desk import Quota
from edgenas.remote.job import Job, job_for
from edgenas.remote.ssh import SshBoard
from edgenas.remote.token import VARIABLE
from tests.cli.edgenas import refusal
from tests.remote.conftest import Running, listening, until
from tests.remote.models import QUICK, honest

TOKEN = "t" * 64
DEVICE = {"model": "Board", "kernel": "", "l4t": "", "power_mode": "", "clocks_mhz": {}, "temperatures_c": {}, "power_mw": {},
          "throttle_events": {}, "throttling": []}  # fmt: skip
DETAIL = {"runs": 20, "sha256": hashlib.sha256(b"model").hexdigest(), "batch_size": 1,
          "reference_ms": [1.0, 1.1], "round_ms": [2.0, 2.3], "warnings": [], "energy_mj": None,
          "settings": {"runtime": "onnxruntime", "runtime_version": "1", "provider": "cpu", "threads": 1},
          "device": {"before": DEVICE, "after": DEVICE}}  # fmt: skip
MEASURED = {"profile": "host-cpu", "host": "Board", "runtime": "onnxruntime 1", "precision": "fp32", "warmup": 1,
            "samples_ms": [1.0, 2.0, 3.0], "stable": True, "status": "ok", "detail": DETAIL}  # fmt: skip
INFO = {"device": DEVICE, "runtime": "onnxruntime", "runtime_version": "1", "load": {"provider": "cpu"}}

Speak = Callable[[socket.socket, int], None]  # a connection whose request was read, and its number


@contextmanager
def board_that(speaks: Speak) -> Iterator[str]:
    """The address of something that answers each connection in this way, once a request's header has arrived."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.1)
    end = threading.Event()

    def one(connection: socket.socket, number: int) -> None:
        with connection:
            connection.settimeout(20)
            try:
                read = b""
                while b"\r\n\r\n" not in read:
                    if not (part := connection.recv(65536)):
                        return
                    read += part
                speaks(connection, number)
            except OSError:
                pass

    def serve() -> None:
        number = 0
        while not end.is_set():
            try:
                connection, _ = listener.accept()
            except TimeoutError:
                continue
            threading.Thread(target=one, args=(connection, number), daemon=True).start()
            number += 1

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        end.set()
        thread.join()
        listener.close()


def answer(code: int, body: bytes, extra: str = "") -> bytes:
    return f"HTTP/1.0 {code} X\r\n{extra}Content-Length: {len(body)}\r\n\r\n".encode() + body


def saying(body: Any) -> Speak:
    return lambda connection, _: connection.sendall(answer(200, msgspec.json.encode(body)))


def job() -> Job:
    return job_for(b"model", "host-cpu", QUICK)


def heard(**changes: Any) -> Any:
    """What a client makes of the answer in which these parts of the measurement were changed."""
    told = {**MEASURED, **changes}
    with board_that(saying({"id": job().id, "status": told["status"], "measurement": told})) as url:
        return HttpBoard(url, TOKEN).measure(b"model", job())


def test_an_honest_answer_is_believed() -> None:
    assert heard().samples_ms == (1.0, 2.0, 3.0)
    assert heard(detail={**DETAIL, "energy_mj": 3.5}).detail["energy_mj"] == 3.5
    assert heard(status="throttled").status == "throttled"


def test_a_runtime_of_another_package_need_not_say_a_provider() -> None:
    """As the tutorial's (docs/tutorials/new-runtime.md)."""
    found = heard(
        runtime="reference 1", detail={**DETAIL, "settings": {"runtime": "reference", "runtime_version": "1"}}
    )
    assert latency_from_measurement(found).detail.startswith("Board: reference 1, 1 thread(s), fp32")
    assert latency_from_measurement(heard()).detail.startswith("Board: onnxruntime 1 cpu, 1 thread(s), fp32")
    with pytest.raises(EdgenasError, match="no edgenas agent of this version"):
        heard(detail={**DETAIL, "settings": {"runtime": "reference"}})


@pytest.mark.parametrize(
    "lie",
    [
        {"samples_ms": [-5.0]},
        {"samples_ms": [1.0, 0.0]},
        {"samples_ms": [1e308]},
        {"samples_ms": []},
        {"precision": "fp8"},
        {"detail": {**DETAIL, "sha256": "0" * 64}},  # of another file than was sent
        {"detail": {**DETAIL, "sha256": ""}},
        {"detail": {**DETAIL, "batch_size": 8}},
        {"status": "splendid"},
        {"status": "timeout"},
        {"profile": "jetson-nano"},
        {"detail": {}},
        *({"detail": {**DETAIL, **lie}} for lie in (
            {"reference_ms": []}, {"reference_ms": [0.0]}, {"reference_ms": [-1.0]}, {"reference_ms": [1e300]}, {"runs": 0},
            {"round_ms": []}, {"round_ms": [2.0]}, {"round_ms": [2.0, 0.0]}, {"round_ms": "ab"}, {"warnings": None},
            {"warnings": [3]},
            {"settings": {}}, {"device": {}}, {"device": {"before": {}, "after": {}}}, {"energy_mj": -1.0}, {"energy_mj": 1e300},
        )),
    ],
)  # fmt: skip
def test_a_measurement_that_cannot_be_is_refused_in_one_line(lie: dict[str, Any]) -> None:
    with pytest.raises(
        EdgenasError, match=r"^board http\S+: what answers there is no edgenas agent of this version"
    ) as caught:
        heard(**lie)
    assert not isinstance(caught.value, BoardAway | MeasureError)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("part", DETAIL)
def test_a_measurement_that_lacks_what_is_read_of_it_is_refused(part: str) -> None:
    detail = {name: value for name, value in DETAIL.items() if name != part}
    if part == "energy_mj":  # which few boards can measure
        assert heard(detail=detail).detail == detail
    else:
        with pytest.raises(EdgenasError, match=part):
            heard(detail=detail)


def test_bench_shows_all_of_an_honest_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every part that the command reads is one that was checked."""
    (tmp_path / "model.onnx").write_bytes(honest())
    monkeypatch.setenv(VARIABLE, TOKEN)

    def speak(connection: socket.socket, number: int) -> None:
        asked = job_for(honest(), "Board", BENCH)
        detail = {**DETAIL, "sha256": asked.sha256}
        told = {"id": asked.id, "status": "ok", "measurement": {**MEASURED, "profile": "Board", "detail": detail}}
        connection.sendall(answer(200, msgspec.json.encode(told if number else INFO)))

    with board_that(speak) as url:
        done = CliRunner().invoke(app, ["bench", str(tmp_path / "model.onnx"), "--target", url, "--json"])
    assert done.exception is None, done.exception
    document = msgspec.json.decode(done.stdout)
    assert (document["ms"]["median"], document["n"], document["warnings"]) == (2.0, 20, [])
    assert document["reference_ratio"] == pytest.approx((2.0 / 1.0 + 2.3 / 1.1) / 2)


def test_an_answer_to_another_job_is_refused() -> None:
    lie = {"id": "f" * 32, "status": "ok", "measurement": MEASURED}
    with board_that(saying(lie)) as url, pytest.raises(EdgenasError, match="another job than was asked: ffff"):
        HttpBoard(url, TOKEN).measure(b"model", job())


def test_bench_refuses_a_lie_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(honest())
    monkeypatch.setenv(VARIABLE, TOKEN)
    with board_that(saying({**INFO, "device": {}})) as url:
        assert "no edgenas agent of this version" in refusal("bench", str(tmp_path / "model.onnx"), "--target", url)


@pytest.mark.parametrize("gap", [{"device": {}}, {"load": {}}, {"runtime": 3}, {"device": None}])
def test_info_that_lacks_what_a_search_reads_is_refused(gap: dict[str, Any]) -> None:
    with (
        board_that(saying({**INFO, **gap})) as url,
        pytest.raises(EdgenasError, match="no edgenas agent of this version"),
    ):
        HttpBoard(url, TOKEN).info()


def test_a_boards_words_cannot_steer_a_terminal() -> None:
    escape = "\x1b]0;owned\x07"
    with board_that(saying({**INFO, "device": {**DEVICE, "model": f"Nano{escape}"}})) as url:
        assert HttpBoard(url, TOKEN).info()["device"]["model"] == r"Nano\x1b]0;owned\x07"
    assert heard(host=f"Nano{escape}").host == r"Nano\x1b]0;owned\x07"
    for body in (
        {"id": job().id, "status": "invalid", "error": escape},
        {"id": escape, "status": "invalid"},
        {"no": escape},
    ):
        with board_that(saying(body)) as url, pytest.raises(EdgenasError) as caught:
            HttpBoard(url, TOKEN).measure(b"model", job())
        assert str(caught.value).isprintable()
    with board_that(lambda c, _: c.sendall(answer(400, escape.encode()))) as url, pytest.raises(EdgenasError) as caught:
        HttpBoard(url, TOKEN).info()
    assert str(caught.value).isprintable()


# ---------------------------------------------------------------- busy, slow, endless


def test_an_empty_503_is_waited_for_in_every_request() -> None:
    queued = msgspec.json.encode({"id": job().id, "status": "queued"})
    done = msgspec.json.encode({"id": job().id, "status": "ok", "measurement": MEASURED})
    busy = [answer(503, b"", f"Retry-After: {after}\r\n") for after in ("0", "1", "soon")]
    info = answer(200, msgspec.json.encode(INFO))
    script = [busy[0], answer(202, queued), busy[1], answer(503, b""), answer(200, done), busy[2], info]
    with board_that(lambda connection, number: connection.sendall(script[number])) as url:
        assert HttpBoard(url, TOKEN).measure(b"model", job()).status == "ok"
        assert HttpBoard(url, TOKEN).info()["runtime"] == "onnxruntime"


def test_a_board_that_stays_busy_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BUSY_S", 2.5)
    clock = {"s": 0.0}
    passing = SimpleNamespace(monotonic=lambda: clock["s"], sleep=lambda s: clock.update(s=clock["s"] + s))
    monkeypatch.setattr(client, "time", passing)
    asked: list[float] = []

    def busy(connection: socket.socket, _: int) -> None:
        asked.append(clock["s"])
        connection.sendall(answer(503, b"", "Retry-After: 1\r\n"))

    with board_that(busy) as url, pytest.raises(BoardAway, match="is too busy: too many others are connected"):
        HttpBoard(url, TOKEN).info()
    assert asked == [0, 1, 2]


AWAY = dict.fromkeys((408, 422, 429, 500, 502, 504, 507), BoardAway)
REFUSES = dict.fromkeys((400, 401, 403, 411), EdgenasError)


@pytest.mark.parametrize(("code", "kind"), {**AWAY, **REFUSES, 413: MeasureError}.items())
def test_a_refusal_is_one_that_passes_or_one_of_the_model_or_one_of_the_board(
    code: int, kind: type[EdgenasError]
) -> None:
    with (
        board_that(lambda connection, _: connection.sendall(answer(code, b'{"error": "so it is"}'))) as url,
        pytest.raises(EdgenasError) as caught,
    ):
        HttpBoard(url, TOKEN).measure(b"model", job())
    assert type(caught.value) is kind
    assert str(caught.value) == f"board {url} refuses ({code}): so it is" or code == 401


def test_a_board_that_is_not_free_is_away() -> None:
    busy = {"id": job().id, "status": "busy", "error": "another measurement has held the lock for 900 s"}
    with board_that(saying(busy)) as url, pytest.raises(BoardAway, match="cannot measure now: another measurement"):
        HttpBoard(url, TOKEN).measure(b"model", job())


def test_an_answer_that_drips_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "REQUEST_S", 1.5)

    def drip(connection: socket.socket, number: int) -> None:
        head = b"HTTP/1.0 200 OK\r\nContent-Length: 1000\r\n\r\n" if number else b"HTTP/1.0 200 OK\r\nX: "
        for byte in head + b" " * 1000:
            connection.sendall(bytes([byte]))
            time.sleep(0.1 if byte == 32 else 0.0)

    with board_that(drip) as url:
        for _ in range(2):  # in the header, then in the body
            begun = time.monotonic()
            with pytest.raises(BoardAway, match="its answer was not there after"):
                HttpBoard(url, TOKEN).info()
            assert 1 < time.monotonic() - begun < 90  # and not the 100 seconds that it drips


def test_an_answer_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LARGEST_ANSWER", 1_000_000)

    def endlessly(connection: socket.socket, _: int) -> None:
        connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * 65536)

    with board_that(endlessly) as url, pytest.raises(EdgenasError, match="answers with more than 1 MB") as caught:
        HttpBoard(url, TOKEN).info()
    assert not isinstance(caught.value, BoardAway)


def test_an_answer_that_is_cut_off_is_an_absence() -> None:
    whole = answer(200, msgspec.json.encode(INFO))
    with board_that(lambda connection, _: connection.sendall(whole[:-5])) as url, pytest.raises(BoardAway):
        HttpBoard(url, TOKEN).info()


# ---------------------------------------------------------------- strangers at an agent


def strangers(running: Running, count: int) -> list[socket.socket]:
    return [socket.create_connection(running.address, timeout=60) for _ in range(count)]


def test_those_without_a_token_keep_nobody_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "BUSY_S", 20)
    with listening(Quota(connections=8, stranger_s=30.0, request_s=60.0, idle_s=30.0)) as running:
        held = strangers(running, 8)
        time.sleep(0.7)
        for _ in range(5):
            assert running.board.info()["runtime"] == "onnxruntime"
        for connection in held:
            connection.close()


def test_who_does_not_show_a_token_is_ended_sooner_than_who_does() -> None:
    quota, model = Quota(stranger_s=600.0, request_s=600.0, idle_s=600.0), honest()
    with listening(quota) as running:
        known = socket.create_connection(running.address, timeout=60)
        head = (
            f"POST /v1/jobs HTTP/1.0\r\nAuthorization: Bearer {running.token}\r\nContent-Length: {len(model)}\r\n"
            f"X-Edgenas-Job: {job_for(model, 'host-cpu', QUICK).canonical_json().decode()}\r\n\r\n"
        )
        known.sendall(head.encode() + model[:100])
        until(lambda: bool(running.server._open) and not running.server._strangers)  # it has shown its token
        running.server.desk.quota = msgspec.structs.replace(quota, stranger_s=1.0)
        begun = time.monotonic()
        stranger, drips = strangers(running, 2)
        with pytest.raises(ConnectionError):  # noqa: PT012  it is ended while it goes on
            drips.sendall(b"GET /v1/info HTTP/1.0\r\nX: ")
            while time.monotonic() - begun < 120:
                drips.sendall(b"x")
                time.sleep(0.1)
        assert stranger.recv(100) == b""
        assert time.monotonic() - begun > 0.9
        known.sendall(model[100:])
        assert known.recv(100).startswith(b"HTTP/1.0 202")
        for connection in (stranger, drips, known):
            connection.close()


def test_a_strangers_request_cannot_write_to_the_agents_terminal() -> None:
    said: list[str] = []
    with listening(log=said.append) as running:
        (stranger,) = strangers(running, 1)
        stranger.sendall(b"GET /\x1b]0;owned\x07\xc2\x9b31m HTTP/1.0\r\n\r\n")
        assert b" 401 " in stranger.recv(1000)
        stranger.close()
    assert any(r"\x1b]0;owned\x07" in line for line in said)
    assert all(line.isprintable() for line in said)


def test_a_client_that_says_nothing_is_no_news() -> None:
    said: list[str] = []
    with listening(Quota(stranger_s=0.3, idle_s=0.3), log=said.append) as running:
        silent, half = strangers(running, 2)
        half.sendall(b"GET /v1/info HTTP/1.0\r\nX: y")
        for stranger in (silent, half):
            assert stranger.recv(100) == b""
            stranger.close()
    assert said == []


def test_a_request_that_was_cut_is_not_carried_out() -> None:
    """http.server takes the end of the connection for the end of the headers."""
    said: list[str] = []
    with listening(log=said.append) as running:

        def answer(request: bytes) -> bytes:
            with socket.create_connection(running.address, timeout=20) as connection:
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                return connection.recv(100)

        whole = f"GET /v1/info HTTP/1.0\r\nX: y\r\nAuthorization: Bearer {running.token}\r\n\r\n".encode()
        for end in (1, 10, whole.index(b"\r"), whole.index(b"X"), whole.index(b"y"), len(whole) - 5, len(whole) - 2):
            assert answer(whole[:end]) == b"", whole[:end]
        assert said == []
        assert answer(whole).startswith(b"HTTP/1.0 200")


# ---------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url",
    ["http://[::1", "ssh://[::1", "http://nano:0", "ssh://nano:0", "http://", "ssh://@", "http://[]", "ssh://[]:22"],
)
def test_an_address_that_is_none_is_one_line(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, TOKEN)
    (tmp_path / "model.onnx").write_bytes(honest())
    line = refusal("bench", str(tmp_path / "model.onnx"), "--target", url)
    assert line.startswith(f"board {url!r}: ")


@pytest.mark.parametrize(
    "url", ["http://nano:8765?runtime=tensorrt", "https://nano/?threads=4", "http://nano#x", "http://nano?"]
)
def test_what_an_agent_measures_with_is_not_said_behind_its_port(url: str) -> None:
    with pytest.raises(EdgenasError, match="nothing may stand behind the port"):
        HttpBoard(url, TOKEN)


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("ssh://MyBoard", "MyBoard"),
        ("ssh://pi@MyBoard:2222/opt/edgenas", "MyBoard"),
        ("ssh://[fe80::1%25eth0]:22", "fe80::1%eth0"),
        ("ssh://[::1]", "::1"),
    ],
)
def test_a_host_is_called_as_it_was_written(url: str, host: str) -> None:
    assert SshBoard(url)._ssh[-1] == host


def test_an_agent_is_reached_at_an_address_of_six_bytes_too() -> None:
    assert HttpBoard("http://[fe80::1%25eth0]", TOKEN)._address == ("fe80::1%eth0", 8765)
    assert HttpBoard("http://Nano:80/", TOKEN)._address == ("Nano", 80)
