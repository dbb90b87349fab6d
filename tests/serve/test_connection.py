"""Clients that ask and do not read the answers."""

import contextlib
import logging
import socket
from collections.abc import Iterator

import pytest

from edgenas.remote.tls import Tls
from edgenas.serve import connection
from tests.certificates import certificate
from tests.digits_bundle import digits_bundle
from tests.serve.hosted import Hosted, hosted, standing_clock
from tests.serve.running import HOST, eventually

ABOUT = b"GET / HTTP/1.1\r\nHost: localhost\r\n%s\r\n"  # answered with 600 bytes


@pytest.fixture(scope="module", params=["http", "https"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hosted]:
    """The kernel holds little of what is answered."""
    tls = Tls(*certificate(tmp_path_factory.mktemp("tls"))) if request.param == "https" else None
    with hosted(digits_bundle().folder, tls=tls) as running:
        for listener in running.server.servers[0].sockets:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        yield running


@contextlib.contextmanager
def narrow(server: Hosted) -> Iterator[socket.socket]:
    """A client whose kernel, too, holds little."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.settimeout(60)
        client.connect((HOST, server.port))
        client = server.context.wrap_socket(client, server_hostname=HOST) if server.context else client
        with client:
            yield client


def held(server: Hosted) -> list[connection.PatientProtocol]:
    return list(server.server.server_state.connections)


def has_come(client: socket.socket) -> bool:
    """Something is there to be read, and stays there."""
    return len(socket.socket.recv(client, 1, socket.MSG_PEEK)) == 1


def asks_until_nothing_more_is_taken(client: socket.socket) -> None:
    client.settimeout(0.5)
    with contextlib.suppress(OSError):  # or until it is let go
        while True:
            client.sendall(ABOUT % b"")


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n"])
def test_a_client_that_takes_none_of_its_answers_is_let_go(
    server: Hosted, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, last: bytes
) -> None:
    """Some 30 kB of answers lie in the server, less than it stops writing at: it closes in vain, after the last or a pause."""
    monkeypatch.setattr(connection, "TAKEN_S", 0.5)
    monkeypatch.setattr(connection, "HEADER_S", 0.5)
    eventually(lambda: not held(server))
    with caplog.at_level(logging.WARNING), narrow(server) as client:
        client.sendall(ABOUT % b"" * 50 + ABOUT % last)
        assert has_come(client)
        eventually(lambda: not held(server))
    assert server.ready()
    assert not caplog.records


def test_a_client_that_asks_on_and_on_and_reads_nothing_is_let_go(
    server: Hosted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Until the server waits for it with the next answer, and reads no more of what it asks."""
    monkeypatch.setattr(connection, "TAKEN_S", 2.0)
    with narrow(server) as client:
        client.sendall(ABOUT % b"")
        assert has_come(client)
        asks_until_nothing_more_is_taken(client)
        eventually(lambda: not held(server))
    assert server.ready()


def test_a_client_that_reads_slowly_gets_all_of_its_answers(server: Hosted, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes longer than the server waits, and so much at least in that time. The time is the test's: see `standing_clock`."""
    if server.context:
        pytest.skip("of TLS nobody knows how much has been taken")
    monkeypatch.setattr(connection, "TAKEN_S", 0.6)
    monkeypatch.setattr(connection, "TAKEN_BYTES", 1024)
    count, found, waited = 50, b"", 0
    eventually(lambda: not held(server))
    with standing_clock(server.loop) as go_on, narrow(server) as client:
        client.sendall(ABOUT % b"" * (count - 1) + ABOUT % b"Connection: close\r\n")
        assert has_come(client)
        (one,) = held(server)
        eventually(lambda: one._taken_timer is not None)  # all are answered: it closes
        while part := client.recv(2048):
            found += part
            timer = one._taken_timer
            if timer is not None and one._untaken - one.transport.get_write_buffer_size() >= 1024:
                go_on(0.6)
                waited += 1
                eventually(lambda last=timer: one._taken_timer is not last)
    assert waited >= 3
    assert found.count(b"HTTP/1.1 200 OK") == count
