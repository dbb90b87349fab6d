"""The server in a thread of the test, on a real port: for tests that must hold up one of its threads or break its device."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from starlette.routing import Route

from edgenas.bundle import read_bundle
from edgenas.remote.tls import Tls
from edgenas.serve.app import Service, create_app
from edgenas.serve.classification import ClassifierService
from edgenas.serve.guard import RequestBounds
from edgenas.serve.model import ServedModel
from edgenas.serve.server import Address, Server, server_config
from tests.serve.running import Running, eventually


@dataclass
class Hosted(Running):
    """`ask` as of a process; `service` and `loop` are those of the thread."""

    service: Service = None
    loop: asyncio.AbstractEventLoop = None
    server: Server = None
    routes: list[Route] = None


@contextlib.contextmanager
def hosted(
    folder: Path, *, deadline_s: float = 30, bounds: RequestBounds = RequestBounds(), tls: Tls | None = None
) -> Iterator[Hosted]:
    """Ready; stopped at the end."""
    model = ServedModel(read_bundle(folder), None, "onnxruntime", queue=64, deadline_s=deadline_s)
    service = Service(model, lambda reason: running.server.fail(f"the device is lost: {reason}"))
    ports: queue.Queue[int] = queue.Queue()
    app = create_app(service, bounds=bounds, extra=ClassifierService(service).routes())
    config = server_config(app, Address("127.0.0.1", 0, tls))
    context = ssl.create_default_context(cafile=tls.certificate) if tls else None
    listening = Server(config, model, ports.put, service.metrics.count)
    running = Hosted(0, None, None, None, context, service, None, listening, app.app.routes)

    async def main() -> None:
        running.loop = asyncio.get_running_loop()
        await running.server.serve_model()

    thread = threading.Thread(target=asyncio.run, args=(main(),))
    thread.start()
    try:
        running.port = ports.get(timeout=90)
        eventually(running.ready)
        yield running
    finally:
        running.server.should_exit = True
        thread.join(90)
        model.close()
        service.reader.close()
    assert not thread.is_alive()


@contextlib.contextmanager
def standing_clock(loop: asyncio.AbstractEventLoop) -> Iterator[Callable[[float], None]]:
    """The clock of its timers stands still but for the seconds that it is told. Afterwards it goes on from there."""
    before = loop.time
    now = [before()]

    def go_on(seconds: float) -> None:
        now[0] += seconds
        loop.call_soon_threadsafe(bool)  # it looks

    loop.time = lambda: now[0]
    try:
        yield go_on
    finally:
        ahead = now[0] - before()
        loop.time = lambda: before() + ahead
