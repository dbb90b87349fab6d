"""A real agent on loopback."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec
import pytest

from edgenas.hardware.worker import Load
from edgenas.remote.agent import agent
from edgenas.remote.client import HttpBoard
from edgenas.remote.desk import Quota
from edgenas.remote.job import Bounds
from edgenas.remote.listener import AgentServer
from edgenas.remote.tls import Tls, server_context


@dataclass(frozen=True)
class Running:
    server: AgentServer
    token: str
    scheme: str = "http"

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.server.server_address[1]

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.address[1]}"

    @property
    def board(self) -> HttpBoard:
        return HttpBoard(self.url, self.token)


PATIENT = Quota(idle_s=60.0, stranger_s=60.0, request_s=600.0)  # longer than a busy machine keeps anybody waiting


@contextmanager
def listening(
    quota: Quota = PATIENT,
    bounds: Bounds = Bounds(1024, 4),
    port: int = 0,
    token: str = "",
    log: Callable[[str], None] = lambda _: None,
    tls: Tls | None = None,
    host: str = "127.0.0.1",
) -> Iterator[Running]:
    token = token or secrets.token_hex(32)
    context = server_context(tls) if tls else None
    with agent(host, port, token, load=Load(""), bounds=bounds, quota=quota, log=log, tls=context) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield Running(server, token, "https" if tls else "http")
        finally:
            server.shutdown()
            thread.join()


def until(true: Callable[[], bool], patience_s: float = 120) -> None:
    """Waits for what comes by itself; fails where it does not."""
    deadline = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture(scope="module")
def running() -> Iterator[Running]:
    with listening(msgspec.structs.replace(PATIENT, connections=8, uploads=2, queue=3)) as agent_here:
        yield agent_here
