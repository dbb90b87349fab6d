"""uvicorn around the application: slow headers are cut off, SIGTERM drains, a lost device ends the process."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Iterator
from types import FrameType

import h11
import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from edgenas.errors import EdgenasError
from edgenas.serve.model import Model

HEADER_S = 10.0  # to send all headers of a request in
LAME_DUCK_S = 1.0  # no longer accepting, still answering, closing every connection after its answer
DRAIN_S = 30.0  # for what is being computed


class PatientProtocol(H11Protocol):
    """HTTP/1.1 that closes a connection whose headers do not arrive in time."""

    _header_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget()
        super().connection_lost(exc)

    def _watch(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._forget()
        elif self._header_timer is None:
            self._header_timer = self.loop.call_later(HEADER_S, self._give_up)

    def _forget(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _give_up(self) -> None:
        self._header_timer = None
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.transport.close()


class Server(uvicorn.Server):
    """Loads the model while it listens; ends by itself when told to, or when the model or device fails."""

    def __init__(self, config: uvicorn.Config, model: Model) -> None:
        super().__init__(config)
        self.model = model
        self.failure = ""
        self.told = False  # by a signal

    def fail(self, reason: str) -> None:
        """End the process with an error, so that whoever started it starts it again."""
        self.failure = self.failure or reason
        self.should_exit = True

    async def serve_model(self) -> None:
        loading = asyncio.create_task(self._load())
        try:
            await self.serve()
        finally:
            loading.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await loading

    async def _load(self) -> None:
        try:
            await self.model.load()
        except EdgenasError as error:
            self.fail(str(error))

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT drain; a second one does not wait. Exit code 0 afterwards: this is how a server is meant to end."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002  # uvicorn's signature
        if self.told:
            self.should_exit = self.force_exit = True
            return
        self.told = True
        asyncio.get_running_loop().call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        """Whoever comes now is refused, so nothing more is accepted; who is here is answered, and then told to go."""
        for listener in self.servers:
            listener.close()
        self.model.draining = True
        asyncio.get_running_loop().call_later(LAME_DUCK_S, self._stop)

    def _stop(self) -> None:
        self.should_exit = True


def run_server(app: Starlette, model: Model, host: str, port: int, on_lost: list[Server]) -> None:
    """Serve until a signal comes. EdgenasError where the port is taken, the self-test fails or the device is lost."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=PatientProtocol,
        ws="none",
        loop="asyncio",
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=int(DRAIN_S),
        h11_max_incomplete_event_size=16_384,
        limit_concurrency=None,
    )
    server = Server(config, model)
    on_lost.append(server)
    try:
        asyncio.run(server.serve_model())
    except SystemExit as error:  # uvicorn's way to say that it cannot listen
        raise EdgenasError(f"cannot listen on {host}:{port}: choose another --host or --port") from error
    finally:
        model.close()
    if server.failure:
        raise EdgenasError(server.failure)
    sys.stderr.write("drained; stopped\n")
