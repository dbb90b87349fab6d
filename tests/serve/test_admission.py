"""What is held of requests before, and while, they are answered: bodies, connections, threads."""

import asyncio
import contextlib
import gzip
import http.client
import json
import resource
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgenas.serve.connection import BACKLOG, CONNECTIONS
from edgenas.serve.guard import RequestBounds
from edgenas.serve.protocol import SMALL
from tests.certificates import certificate
from tests.digits_bundle import digits_bundle
from tests.serve.hosted import Hosted, hosted
from tests.serve.running import HOST, TOKEN, Running, counted, eventually, serving, started, token_file

INFER = "/v2/models/digits/infer"


def good() -> bytes:
    data = np.random.default_rng(0).standard_normal(64).tolist()
    return json.dumps({"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32", "data": data}]}).encode()


def head(length: int, path: str = INFER, *lines: str, method: str = "POST") -> bytes:
    extra = "".join(f"{line}\r\n" for line in lines)
    return f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{extra}\r\n".encode()


def answer(connection: socket.socket) -> tuple[int, bytes]:
    """Status and everything that comes until the server closes."""
    connection.settimeout(30)
    parts = []
    while part := connection.recv(65536):
        parts.append(part)
    content = b"".join(parts)
    return int(content.split(b" ")[1]), content


@pytest.fixture(scope="module")
def server() -> Iterator[Hosted]:
    with hosted(digits_bundle().folder, bounds=RequestBounds(body_bytes=100_000, body_s=60, bodies=4)) as running:
        yield running


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that asks for a token."""
    file = token_file(tmp_path_factory.mktemp("closed"))
    with serving(digits_bundle().folder, "--token-file", str(file), token=TOKEN) as running:
        yield running


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/health/ready", "/v2/health/live/"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_health_check_with_a_body_is_refused_before_the_body_is_there(
    closed: Running, path: str, method: str
) -> None:
    """The body is announced and never sent: whoever waited for it would answer 408 after ten seconds."""
    with socket.create_connection((HOST, closed.port)) as connection:
        connection.sendall(head(30_000_000, path, method=method))
        status, content = answer(connection)
    assert status == 400
    assert b"takes no body here" in content
    assert b"connection: close" in content


@pytest.mark.parametrize("line", ["Authorization: Bearer wrong", "Accept: */*"])
def test_before_the_token_no_body_is_waited_for(closed: Running, line: str) -> None:
    with socket.create_connection((HOST, closed.port)) as connection:
        connection.sendall(head(30_000_000, INFER, line))
        assert answer(connection)[0] == 401
    with socket.create_connection((HOST, closed.port)) as connection:
        connection.sendall(head(30_000_000, INFER, line, "Expect: 100-continue"))
        status, content = answer(connection)
    assert status == 401
    assert b"100 Continue" not in content


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_only_post_has_a_body(server: Hosted, method: str) -> None:
    assert server.json(method, "/v2/models/digits", b"x")[0] == 400
    assert server.json("GET", "/v2/models/digits")[0] == 200


def test_all_bodies_in_flight_have_one_budget(server: Hosted) -> None:
    """Four of 99,000 bytes fit into 400,000; a fifth does not, until one of them is gone."""
    with contextlib.ExitStack() as stack:
        waiting = [stack.enter_context(socket.create_connection((HOST, server.port))) for _ in range(4)]
        for connection in waiting:
            connection.sendall(head(99_500) + b" " * 99_000)
        eventually(lambda: server.ask("POST", INFER, b" " * 99_000)[0] == 503)  # all four have arrived
        status, headers, body = server.ask("POST", INFER, b" " * 99_000)
        assert (status, headers["retry-after"], "being held already" in json.loads(body)["error"]) == (503, "1", True)
        assert server.json("POST", INFER, good())[0] == 200  # small ones fit
        assert server.ready()
        for connection in waiting:
            connection.sendall(b" " * 500)
            assert connection.recv(12) == b"HTTP/1.1 400"  # spaces are no request
    assert server.ask("POST", INFER, b" " * 99_000)[0] == 400


def test_what_is_inflated_counts_too(server: Hosted) -> None:
    small = gzip.compress(b" " * 99_000)
    with contextlib.ExitStack() as stack:
        for _ in range(4):
            connection = stack.enter_context(socket.create_connection((HOST, server.port)))
            connection.sendall(head(99_500) + b" " * 99_000)
        eventually(lambda: server.ask("POST", INFER, small, Content_Encoding="gzip")[0] == 503)
    eventually(lambda: server.ask("POST", INFER, small, Content_Encoding="gzip")[0] == 400)  # the four are gone


def test_a_bomb_stops_at_the_limit_of_one_body(server: Hosted) -> None:
    assert server.ask("POST", INFER, gzip.compress(bytes(100_001)), Content_Encoding="gzip")[0] == 413
    assert server.ask("POST", INFER, gzip.compress(b" " * 100_000), Content_Encoding="gzip")[0] == 400
    assert server.ask("POST", INFER, b" " * 100_001)[0] == 413
    assert server.ask("POST", INFER, b" " * 100_000)[0] == 400


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_json_and_gzip_are_read_beside_the_event_loop(server: Hosted, encoding: str) -> None:
    """While the thread that reads is held up, all else is answered, and what is large or packed waits."""
    go = threading.Event()
    asyncio.run_coroutine_threadsafe(server.service.reader.run(go.wait), server.loop)
    found: list[int] = []
    body = gzip.compress(good()) if encoding == "gzip" else good() + b" " * SMALL
    asking = threading.Thread(
        target=lambda: found.append(server.ask("POST", INFER, body, Content_Encoding=encoding)[0])
    )
    asking.start()
    try:
        for path in ("/v2/health/live", "/v2/health/ready", "/metrics", "/v2/models/digits"):
            for _ in range(20):
                assert server.ask("GET", path)[0] == 200
        assert server.ask("POST", INFER, good())[0] == 200
        assert found == []
    finally:
        go.set()
        asking.join()
    assert found == [200]


def test_a_device_whose_files_keep_a_reader_waiting_holds_up_its_metrics_alone(
    server: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    go, begun = threading.Event(), threading.Event()

    def slow(*_: object) -> None:
        begun.set()
        go.wait(90)

    monkeypatch.setattr("edgenas.serve.metrics.power_mw", slow)
    found: list[int] = []
    asking = threading.Thread(target=lambda: found.append(server.ask("GET", "/metrics")[0]))
    asking.start()
    try:
        assert begun.wait(60)
        assert server.ready()
        assert found == []
    finally:
        go.set()
        asking.join()
    assert found == [200]


@pytest.mark.parametrize("unit", [b"[],", b"{},", b'"",', b"0,", b"null,"])
@pytest.mark.parametrize("frame", [b'{"inputs":[%s]}', b'{"inputs":[{"name":%s}]}', b'{"id":[%s]}', b'{"x":[%s]}'])
def test_a_long_list_of_nonsense_is_refused_whereever_it_stands(server: Hosted, frame: bytes, unit: bytes) -> None:
    body = frame.replace(b"%s", unit * (90_000 // len(unit)) + unit[:-1])
    assert server.json("POST", INFER, body)[0] == 400


def test_a_client_that_half_closes_gets_its_answer(server: Hosted) -> None:
    for body, status in ((good(), 200), (b"{", 400)):
        with socket.create_connection((HOST, server.port)) as connection:
            connection.sendall(head(len(body)) + body)
            connection.shutdown(socket.SHUT_WR)
            assert answer(connection)[0] == status


def test_of_two_requests_before_a_half_close_both_are_answered(server: Hosted) -> None:
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(2 * (head(len(good())) + good()))
        connection.shutdown(socket.SHUT_WR)
        assert answer(connection)[1].count(b"HTTP/1.1 200") == 2


def test_a_client_that_goes_in_the_middle_of_a_body_is_let_go(server: Hosted) -> None:
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(head(500) + b"{")
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(30)  # half of the minute that a body may take here
        assert connection.recv(100) == b""


def test_where_there_are_too_many_connections_the_idle_ones_go_first(
    server: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgenas.serve.connection.HEADER_S", 600.0)  # they go for no other reason
    connections = [socket.create_connection((HOST, server.port)) for _ in range(CONNECTIONS + 20)]
    try:
        assert server.ready()
        assert server.json("POST", INFER, good())[0] == 200
        gone = 0
        for connection in connections[:20]:
            connection.settimeout(60)
            gone += connection.recv(1) == b""
        assert gone == 20
    finally:
        for connection in connections:
            connection.close()


def test_where_every_connection_is_in_the_middle_of_a_request_a_new_one_is_told_to_wait(server: Hosted) -> None:
    there = server.server.server_state.connections
    eventually(lambda: not there)  # those of the test before are gone
    with contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(connection := socket.create_connection((HOST, server.port)))
            connection.sendall(head(500) + b"{")
        # one whose request has not been read yet still counts as idle, and would have to go
        eventually(lambda: sum(not one.is_idle for one in list(there)) == CONNECTIONS)
        with socket.create_connection((HOST, server.port)) as late:
            late.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            status, content = answer(late)
        assert status == 503
        assert b"retry-after: 1" in content
        assert json.loads(content.partition(b"\r\n\r\n")[2]) == {
            "error": f"{CONNECTIONS} connections are being answered already"
        }
        assert len(there) == CONNECTIONS  # none had to go
    assert counted(server, "other", 503) >= 1


@contextlib.contextmanager
def silent(port: int, count: int) -> Iterator[None]:
    """So many connections that say nothing."""
    with contextlib.ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(socket.create_connection((HOST, port), timeout=20))
        yield


def test_more_connections_may_wait_than_are_taken_up_in_one_turn(server: Hosted) -> None:
    """The kernel lets others try again after a second."""
    server.loop.call_soon_threadsafe(time.sleep, 3)
    with contextlib.ExitStack() as stack:
        for _ in range(3 * BACKLOG):
            stack.enter_context(socket.create_connection((HOST, server.port), timeout=0.9))
    assert server.ready()


def test_connections_without_a_handshake_are_bounded_too_and_keep_nobody_out(tmp_path: Path) -> None:
    crt, key = certificate(tmp_path)
    context = ssl.create_default_context(cafile=crt)
    with started(digits_bundle().folder, "--tls-cert", str(crt), "--tls-key", str(key)) as running:
        held = Path(f"/proc/{running.process.pid}/fd")
        before = len([*held.iterdir()])
        with silent(running.port, 2 * CONNECTIONS):
            eventually(lambda: len([*held.iterdir()]) >= before + CONNECTIONS)
            connection = http.client.HTTPSConnection(HOST, running.port, timeout=20, context=context)
            connection.request("GET", "/v2/health/live")
            assert connection.getresponse().status == 200
            # closed in the turns after the one in which they were ended; without a handshake all would be after ten seconds
            eventually(lambda: len([*held.iterdir()]) <= before + CONNECTIONS + 2, seconds=4)
            connection.close()
        log = running.text()
    assert log.count("\n") <= 4, log


@pytest.mark.parametrize("tls", [False, True])
def test_a_system_that_has_no_room_for_connections_is_said_once(tmp_path: Path, tls: bool) -> None:
    crt, key = certificate(tmp_path)
    options = ("--tls-cert", str(crt), "--tls-key", str(key)) if tls else ()
    with started(digits_bundle().folder, *options) as running:
        eventually(lambda: "serving " in running.text())
        resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE, (64, 64))
        with silent(running.port, 100):
            eventually(lambda: "out of system resource" in running.text())
            time.sleep(2.5)  # asyncio tries again every second
            assert running.text().count("out of system resource") == 1


def test_what_is_no_http_is_told_so_as_json_and_counted(server: Hosted) -> None:
    before = counted(server, "other", 400)
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01\r\n\r\n")
        status, content = answer(connection)
    assert status == 400
    assert json.loads(content.partition(b"\r\n\r\n")[2])["error"]
    assert counted(server, "other", 400) == before + 1
