"""The agent over TLS, on loopback: who is let in, who is refused, and what is said where a token would be readable."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgenas.errors import EdgenasError
from edgenas.remote import listener
from edgenas.remote.boards import open_board
from edgenas.remote.client import BoardAway, HttpBoard
from edgenas.remote.desk import Quota
from edgenas.remote.job import job_for
from edgenas.remote.tls import Tls, is_loopback
from tests.certificates import Signers, authorities, certificate
from tests.remote.conftest import Running, listening, until
from tests.remote.models import QUICK, honest


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Signers:
    return authorities(tmp_path_factory.mktemp("authorities"))


@pytest.fixture(scope="module")
def secure(signers: Signers, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """An agent with a certificate that our authority signed for 127.0.0.1."""
    made = certificate(tmp_path_factory.mktemp("board"), by=signers.ours)
    with listening(tls=Tls(*made)) as running:
        yield running


def line(caught: pytest.ExceptionInfo[EdgenasError]) -> str:
    assert "\n" not in str(caught.value)
    return str(caught.value)


# ---------------------------------------------------------------- who is trusted


def test_a_board_whose_certificate_the_named_ca_signed_measures(secure: Running, signers: Signers) -> None:
    model = honest()
    board = HttpBoard(secure.url, secure.token, signers.ours.certificate)
    assert board.info()["runtime"] == "onnxruntime"
    assert len(board.measure(model, job_for(model, "host-cpu", QUICK)).samples_ms) >= QUICK.runs


@pytest.mark.parametrize("variable", ["EDGENAS_AGENT_CA", "SSL_CERT_FILE"])
def test_the_ca_may_come_from_the_environment_or_be_the_system_s(
    secure: Running, signers: Signers, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SSL_CERT_FILE is where OpenSSL looks for the system's."""
    monkeypatch.setenv(variable, str(signers.ours.certificate))
    assert HttpBoard(secure.url, secure.token).info()["runtime"] == "onnxruntime"
    monkeypatch.setenv(variable, str(signers.others.certificate))
    with pytest.raises(EdgenasError, match="nobody trusted here signed it"):
        HttpBoard(secure.url, secure.token).info()


def test_the_option_goes_before_the_environment(
    secure: Running, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EDGENAS_AGENT_CA", str(signers.others.certificate))
    assert HttpBoard(secure.url, secure.token, signers.ours.certificate).info()


def test_without_a_ca_a_board_that_signed_itself_is_refused_in_one_line(secure: Running, signers: Signers) -> None:
    for ca in (None, signers.others.certificate):
        with pytest.raises(EdgenasError) as caught:
            HttpBoard(secure.url, secure.token, ca).info()
        assert not isinstance(caught.value, BoardAway)  # waiting for it would not help
        assert "give the certificate of who did with --ca FILE or EDGENAS_AGENT_CA" in line(caught)


@pytest.mark.parametrize(
    ("host", "days", "words"),
    [
        ("127.0.0.1", (-3, -1), "it is expired: renew it on the board"),
        ("127.0.0.1", (1, 3), "it is not valid yet: renew it on the board, or set the clock"),
        ("127.0.0.2", (-1, 1), "it is not for 127.0.0.1: use a name that it is for"),
        ("board", (-1, 1), "it is not for 127.0.0.1: use a name that it is for"),
    ],
)
def test_a_certificate_of_another_time_or_host_is_refused_before_the_token_is_sent(
    tmp_path: Path, signers: Signers, host: str, days: tuple[float, float], words: str
) -> None:
    made = certificate(tmp_path, by=signers.ours, host=host, days=days)
    heard: list[str] = []
    with listening(tls=Tls(*made), log=heard.append) as running, pytest.raises(EdgenasError) as caught:
        HttpBoard(running.url, "0" * 64, signers.ours.certificate).info()
    assert words in line(caught)
    assert heard == []  # a wrong token that arrives is a 401 in the log


def test_a_certificate_for_a_name_is_taken_under_that_name(tmp_path: Path, signers: Signers) -> None:
    made = certificate(tmp_path, by=signers.ours, host="localhost")
    with listening(tls=Tls(*made)) as running:
        url = f"https://localhost:{running.address[1]}"
        assert HttpBoard(url, running.token, signers.ours.certificate).info()


def test_a_ca_file_that_is_none_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(EdgenasError, match=rf"^--ca .*{name} cannot be used .*give a PEM file"):
            HttpBoard("https://board", "0" * 64, tmp_path / name)
        monkeypatch.setenv("EDGENAS_AGENT_CA", str(tmp_path / name))
        with pytest.raises(EdgenasError, match=rf"^\$EDGENAS_AGENT_CA: .*{name} cannot be used"):
            HttpBoard("https://board", "0" * 64)
        monkeypatch.delenv("EDGENAS_AGENT_CA")


# ---------------------------------------------------------------- one side alone


def test_one_side_without_tls_is_told_what_the_other_speaks(secure: Running, signers: Signers) -> None:
    plain = HttpBoard(secure.url.replace("https", "http"), secure.token)
    with pytest.raises(BoardAway, match="an agent with a certificate is asked as https://") as caught:
        plain.info()
    line(caught)
    with listening() as running:
        board = HttpBoard(running.url.replace("http", "https"), running.token, signers.ours.certificate)
        with pytest.raises(
            EdgenasError, match=r"speaks no TLS .*--tls-cert and --tls-key, or ask for http://"
        ) as other:
            board.info()
    assert not isinstance(other.value, BoardAway)
    line(other)


def test_a_board_that_hangs_up_while_shaking_hands_is_away(signers: Signers) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"

        def hang_up() -> None:
            connection, _ = listener.accept()
            connection.recv(10_000)
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        with pytest.raises(BoardAway, match="does not answer"):
            HttpBoard(url, "0" * 64, signers.ours.certificate).info()
        thread.join()


# ---------------------------------------------------------------- handshakes that do not come


def silent(running: Running, stack: contextlib.ExitStack) -> socket.socket:
    return stack.enter_context(socket.create_connection(running.address, timeout=60))


def nothing_and_half_of_a_hello(running: Running, stack: contextlib.ExitStack) -> list[socket.socket]:
    held = [silent(running, stack) for _ in range(4)]
    for connection in held[2:]:
        connection.sendall(b"\x16\x03\x01\x02\x00\x01")
    return held


def test_silent_connections_keep_nobody_out(tmp_path: Path, signers: Signers) -> None:
    """As many as there are slots, which would have them for ten minutes."""
    made = certificate(tmp_path, by=signers.ours)
    long = Quota(connections=4, stranger_s=600.0, idle_s=600.0, request_s=600.0)
    with listening(long, tls=Tls(*made)) as running, contextlib.ExitStack() as stack:
        nothing_and_half_of_a_hello(running, stack)
        assert HttpBoard(running.url, running.token, signers.ours.certificate).info()


def test_silent_connections_are_closed(tmp_path: Path, signers: Signers) -> None:
    made = certificate(tmp_path, by=signers.ours)
    with listening(Quota(stranger_s=0.5), tls=Tls(*made)) as running, contextlib.ExitStack() as stack:
        for connection in nothing_and_half_of_a_hello(running, stack):
            with contextlib.suppress(ConnectionResetError):
                while connection.recv(1000):  # an alert, or nothing
                    pass


@pytest.mark.parametrize("secured", [True, False])
def test_a_client_that_finds_all_connections_taken_hears_503_even_while_it_sends(
    tmp_path: Path, signers: Signers, secured: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SENT_AWAY_S", "LINGER_S", "LINGER_PAUSE_S", "SHOW_TOKEN_S"):
        monkeypatch.setattr(listener, name, 60.0)
    tls = Tls(*certificate(tmp_path, by=signers.ours)) if secured else None
    context = ssl.create_default_context(cafile=signers.ours.certificate)
    long = Quota(connections=1, stranger_s=600.0, idle_s=600.0, request_s=600.0)
    with listening(long, tls=tls) as running, contextlib.ExitStack() as stack:

        def connected() -> socket.socket:
            plain = stack.enter_context(socket.create_connection(running.address, timeout=60))
            return stack.enter_context(context.wrap_socket(plain, server_hostname="127.0.0.1")) if secured else plain

        model = honest()
        job = job_for(model, "host-cpu", QUICK).canonical_json().decode()
        known = connected()  # has shown its token, and gives way to nobody
        known.sendall(
            f"POST /v1/jobs HTTP/1.1\r\nAuthorization: Bearer {running.token}\r\nX-Edgenas-Job: {job}\r\n"
            f"Content-Length: {len(model)}\r\n\r\n".encode()
        )
        until(lambda: bool(running.server._open) and not running.server._strangers)
        for _ in range(5):
            silent(running, stack)
        late = connected()  # where each that says nothing took a minute of everybody's, this would not get in
        for _ in range(10):
            late.sendall(b"x" * 100_000)
            time.sleep(0.01)
        assert late.recv(1000).startswith(b"HTTP/1.0 503 Service Unavailable\r\nRetry-After: 1\r\n")
        known.sendall(model)
        assert known.recv(1000).startswith(b"HTTP/1.0 202")


# ---------------------------------------------------------------- what is said of plain HTTP


def own_address() -> str:
    """This machine's address beyond loopback; choosing it sends no packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
        except OSError:
            pytest.skip("this machine has no address but loopback")
        return str(probe.getsockname()[0])


def test_a_token_that_leaves_loopback_over_plain_http_is_warned_of_once(tmp_path: Path, signers: Signers) -> None:
    address = own_address()
    for host, tls, warnings in (
        (address, None, 1),
        (address, Tls(*certificate(tmp_path, by=signers.ours, host=address)), 0),
        ("127.0.0.1", None, 0),
    ):
        said: list[str] = []
        with listening(host="0.0.0.0", tls=tls) as running:
            url = f"{running.scheme}://{host}:{running.address[1]}"
            board = HttpBoard(url, running.token, signers.ours.certificate if tls else None, said.append)
            board.info()
            board.info()
        assert len(said) == warnings
        assert all("whoever listens in reads the token" in words and "\n" not in words for words in said)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("10.0.0.1", False),
        ("::ffff:10.0.0.1", False),
        ("fe80::1%eth0", False),
        ("::1%lo", True),
        ("127.0.0.1%evil.example", False),
        ("board", False),
    ],
)
def test_loopback_is_what_stays_on_this_machine(address: str, here: bool) -> None:
    assert is_loopback(address) is here


def test_names_that_no_host_has_are_one_line(signers: Signers) -> None:
    for scheme, ca in (("http", None), ("https", signers.ours.certificate)):
        with pytest.raises(EdgenasError, match="is no name of a host") as caught:
            HttpBoard(f"{scheme}://{'x' * 70}:8765", "0" * 64, ca).info()
        line(caught)
    with pytest.raises(EdgenasError, match=r"https://HOST:PORT, http://HOST:PORT"):
        open_board("ftps://board")
