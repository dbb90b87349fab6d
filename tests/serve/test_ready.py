"""The health check of a container: it asks the server that runs there, wherever and however that listens."""

from __future__ import annotations

import inspect
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from edgenas.cli.serve import serve
from edgenas.remote.tls import Tls, server_context
from edgenas.serve import ready
from edgenas.serve.guard import OPEN_PATHS, RequestBounds
from tests.certificates import certificate

IN_A_CONTAINER = ["/opt/edgenas/bin/python3", "/opt/edgenas/bin/edgenas", "serve", "/bundle"]
ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("words", "address"),
    [
        ([], "http://127.0.0.1:8000"),
        (["--host", "0.0.0.0", "--token-file", "/cache/token"], "http://127.0.0.1:8000"),
        (["--host=0.0.0.0", "--port=9000"], "http://127.0.0.1:9000"),
        (["--port", "9000", "--port", "9001"], "http://127.0.0.1:9001"),
        (["--host", "10.0.0.5"], "http://10.0.0.5:8000"),
        (["--host", "::"], "http://[::1]:8000"),
        (["--tls-key", "/k.pem", "--tls-cert", "/c.pem", "--host", "0.0.0.0"], "https://127.0.0.1:8000"),
    ],
)
def test_a_server_is_asked_where_its_command_says(words: list[str], address: str) -> None:
    assert ready.ready_url([*IN_A_CONTAINER, *words, ""]) == f"{address}/v2/health/ready"
    assert ready.ready_url(["/sbin/docker-init", "--", *IN_A_CONTAINER, *words]) == f"{address}/v2/health/ready"
    assert "/v2/health/ready" in OPEN_PATHS


def test_what_the_command_does_not_say_is_what_serve_takes() -> None:
    defaults = {name: one.default.default for name, one in inspect.signature(serve).parameters.items()}
    assert (defaults["host"], defaults["port"], defaults["tls_cert"]) == ("127.0.0.1", 8000, None)
    assert (defaults["queue"], defaults["deadline_s"], defaults["body_mb"]) == (64, 10, 32)  # docs/deploy.md
    assert RequestBounds() == RequestBounds(body_bytes=32_000_000, body_s=10, bodies=4)


@contextmanager
def answering(status: int, context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The port of a server that gives this status to /v2/health/ready, and 404 else."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path == "/v2/health/ready" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Answer) as server:
        if context is not None:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield str(server.server_port)
        finally:
            server.shutdown()
            thread.join()


def test_only_a_ready_server_is_healthy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ready, "TIMEOUT_S", 60.0)
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")  # docker gives containers that of its host
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(ready, "COMMAND", tmp_path / "cmdline")
    for status, code in ((200, 0), (503, 1)):
        with answering(status) as port:
            words = [*IN_A_CONTAINER, "--port", port]
            assert (str(status) in ready.why_not(words)) == bool(code)
            ready.COMMAND.write_bytes("\0".join([*words, ""]).encode())
            assert ready.main() == code
    assert ready.why_not(words)  # nobody listens there any more


def test_a_server_that_speaks_https_is_asked_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Its certificate is that of a device, not of 127.0.0.1."""
    monkeypatch.setattr(ready, "TIMEOUT_S", 60.0)
    crt, key = certificate(tmp_path)
    with answering(200, server_context(Tls(crt, key))) as port:
        asked = [*IN_A_CONTAINER, "--port", port]
        assert ready.why_not([*asked, "--tls-cert", str(crt), "--tls-key", str(key)]) == ""
        assert ready.why_not(asked).startswith(f"http://127.0.0.1:{port}/v2/health/ready: ")


@pytest.mark.parametrize(
    ("command", "asked"),
    [
        (["edgenas", "serve", "/bundle"], True),
        (["/sbin/docker-init", "--", "edgenas", "serve", "/bundle", "--port", "9"], True),
        (["edgenas", "agent", "--host", "0.0.0.0"], False),
        (["edgenas", "doctor"], False),
    ],
)
def test_the_health_check_of_the_image_asks_servers_alone(command: list[str], asked: bool, tmp_path: Path) -> None:
    text = (ROOT / "deploy" / "Dockerfile").read_text()
    line = text.partition("HEALTHCHECK")[2].partition(" CMD ")[2].partition("\n")[0]
    assert line.endswith("|| exec python3 -m edgenas.serve.ready")
    (tmp_path / "cmdline").write_bytes("\0".join([*command, ""]).encode())
    told = line.replace("/proc/1/cmdline", str(tmp_path / "cmdline")).replace(
        "exec python3 -m edgenas.serve.ready", "exit 7"
    )
    assert subprocess.run(["sh", "-c", told], check=False).returncode == (7 if asked else 0)
