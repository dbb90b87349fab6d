"""A real `edgenas serve` in a process of its own, on a free port of 127.0.0.1."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HOST = "127.0.0.1"


@dataclass
class Running:
    port: int
    process: subprocess.Popen[bytes]
    token: str | None = None

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Status, headers (lower case) and body of one request on a connection of its own."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=30)
        try:
            sent = {name.replace("_", "-"): value for name, value in headers.items()}
            if self.token and "Authorization" not in sent:
                sent["Authorization"] = f"Bearer {self.token}"
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


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def serving(bundle: Path, *options: str, token: str | None = None) -> Iterator[Running]:
    """Up and ready; stopped by SIGTERM at the end."""
    port = free_port()
    command = [sys.executable, "-m", "edgenas", "serve", str(bundle), "--port", str(port), *options]
    process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(Path.cwd())}, stderr=subprocess.PIPE)
    running = Running(port, process, token)
    try:
        deadline = time.monotonic() + 60
        while not running.ready():
            assert process.poll() is None, process.stderr.read().decode()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(30)
        process.stderr.close()
