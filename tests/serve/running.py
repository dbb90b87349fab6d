"""A real `edgenas serve` in a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgenas.runtimes.child import child_environment

HOST = "127.0.0.1"
TOKEN = "0123456789abcdef0123456789abcdef"


@dataclass
class Running:
    port: int
    process: subprocess.Popen[bytes]
    token: str | None
    log: IO[bytes]
    context: ssl.SSLContext | None = None  # where it speaks TLS

    def text(self) -> str:
        """All that it wrote on stderr so far."""
        return os.pread(self.log.fileno(), 1_000_000, 0).decode()

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one request on a connection of its own."""
        connection = (
            http.client.HTTPSConnection(HOST, self.port, timeout=60, context=self.context)
            if self.context
            else http.client.HTTPConnection(HOST, self.port, timeout=60)
        )
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if self.token and "Authorization" not in sent:
                sent["Authorization"] = f"Bearer {self.token}"
            connection.connect()
            with contextlib.suppress(ConnectionError):  # ended while it is sent: the answer is there all the same
                connection.request(method, path, body, sent)
            response = connection.getresponse()
            return response.status, {k.lower(): v for k, v in response.getheaders()}, response.read()
        finally:
            connection.close()

    def json(self, method: str, path: str, body: bytes | None = None, **headers: str):
        status, _, content = self.ask(method, path, body, **headers)
        return status, json.loads(content)

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.ask("GET", "/v2/health/ready")[0] == 200
        return False


def counted(server: Running, endpoint: str, status: int) -> float:
    """How often an endpoint has answered with this status."""
    line = f'edgenas_requests_total{{endpoint="{endpoint}",status="{status}"}} '
    found = [text for text in server.ask("GET", "/metrics")[2].decode().splitlines() if text.startswith(line)]
    return float(found[0].removeprefix(line)) if found else 0.0


def eventually(condition: Callable[[], bool], seconds: float = 90) -> None:
    """Waits for what comes by itself; fails where it does not."""
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.01)


@contextlib.contextmanager
def started(bundle: Path, *options: str, token: str | None = None, path: Path | None = None) -> Iterator[Running]:
    """Listening on a free port, not necessarily ready; stopped by SIGTERM at the end. `path`: where hooks are imported from."""
    command = [sys.executable, "-m", "edgenas", "serve", str(bundle), "--port", "0", *options]
    environment = child_environment()
    if path is not None:
        environment["PYTHONPATH"] += f"{os.pathsep}{path}"
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, env=environment, stderr=log)
        running = Running(0, process, token, log)
        try:
            deadline = time.monotonic() + 120
            while not (
                found := re.search(
                    r"^(?:loading .* for|serving .* on) https?://\S+:(\d+)$", running.text(), re.MULTILINE
                )
            ):
                assert process.poll() is None, running.text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            running.port = int(found[1])
            yield running
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(60)


@contextlib.contextmanager
def serving(bundle: Path, *options: str, token: str | None = None, path: Path | None = None) -> Iterator[Running]:
    """Up and ready; stopped by SIGTERM at the end."""
    with started(bundle, *options, token=token, path=path) as running:
        deadline = time.monotonic() + 120
        while not running.ready() or not re.search(r"^serving ", running.text(), re.MULTILINE):
            assert running.process.poll() is None, running.text()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield running


def token_file(folder: Path) -> Path:
    """A file with TOKEN that `--token-file` takes."""
    file = folder / "token"
    file.write_text(TOKEN)
    file.chmod(0o600)
    return file
